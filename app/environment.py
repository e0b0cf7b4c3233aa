"""Reading BELLWETHER_* variables: the process first, then `.env`, a secret also from the file that ``…_FILE`` names.

A name nobody knows is refused with the nearest one that exists: a typo must not silently leave a default in force.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from consumers.errors import ConfigurationError

PREFIX = "BELLWETHER_"
DOTENV = Path(".env")
# A Kubernetes Service called "bellwether" puts its address under these names into every pod of its namespace.
_SERVICE_LINKS = re.compile(r"BELLWETHER_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)")
_OF_THE_TESTS = frozenset(
    {
        "BELLWETHER_REAL_DATA",
        "BELLWETHER_TESTS_MUST_RUN_ALL",
        "BELLWETHER_TEST_KAFKA",
        "BELLWETHER_TEST_POSTGRES",
    }
)


@dataclass(frozen=True, slots=True)
class Variable:
    """One value with the place it came from, for messages: ``environment``, ``.env`` or a secret's file."""

    value: str
    place: str


def read(
    environ: Mapping[str, str], dotenv: Path | None, *, names: Iterable[str], secrets: Iterable[str]
) -> dict[str, Variable]:
    """Every variable that is set and not empty, by its full name; secrets' files are read and trimmed.

    ``names`` are the known variables, ``secrets`` those that may also come as ``…_FILE``. Raises ConfigurationError.
    """
    files = {f"{name}_FILE" for name in secrets}
    found = {name: Variable(value, dotenv.name if dotenv else "") for name, value in _dotenv(dotenv).items()}
    found |= {name: Variable(value, "environment") for name, value in environ.items()}
    ours = {name: variable for name, variable in found.items() if _is_ours(name) and variable.value.strip()}
    known = {*names, *files}
    for name in sorted(ours):
        if name not in known:
            raise ConfigurationError(_unknown(name, ours[name].place, known))
    for name in sorted(files & ours.keys()):
        plain = name.removesuffix("_FILE")
        if plain in ours:
            raise ConfigurationError(f"{plain} and {name} are both set\nkeep one of them")
        ours[plain] = Variable(_secret(name, ours.pop(name).value), name)
    return ours


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX) and name not in _OF_THE_TESTS and not _SERVICE_LINKS.fullmatch(name)


def _dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    from dotenv import dotenv_values  # noqa: PLC0415 - most deployments have no such file

    try:
        return {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


def _secret(name: str, path: str) -> str:
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(f"{name}: {path} cannot be read: {said}") from None
    if not value:
        raise ConfigurationError(f"{name}: {path} is empty")
    return value


def _unknown(name: str, place: str, known: set[str]) -> str:
    # Compared without the prefix, which would make every name look near.
    near = get_close_matches(
        name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known], n=1, cutoff=0.6
    )
    hint = f"did you mean {PREFIX}{near[0]}?" if near else "all names: bellwether config show"
    return f"{name} ({place}) is not a setting\n{hint}"
