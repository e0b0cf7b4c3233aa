"""Our own people among a customer's users: ids and globs that intake leaves out (METRICS section 1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import translate

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class InternalUsers:
    """A set of user ids, given as ids and globs (``*``, ``?``, ``[abc]``); letters match in their own case."""

    patterns: tuple[str, ...] = ()
    matches: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile once: intake asks for every event."""
        object.__setattr__(self, "matches", _matcher(self.patterns))

    def __bool__(self) -> bool:
        return bool(self.patterns)


def _matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Ids by hash, ``prefix*`` and ``*suffix`` by one C call each; only the rest needs a regular expression."""
    exact: set[str] = set()
    prefixes: list[str] = []
    suffixes: list[str] = []
    others: list[str] = []
    for pattern in patterns:
        if not _WILD.search(pattern):
            exact.add(pattern)
        elif not _WILD.search(pattern[:-1]) and pattern[-1] == "*":
            prefixes.append(pattern[:-1])
        elif not _WILD.search(pattern[1:]) and pattern[0] == "*":
            suffixes.append(pattern[1:])
        else:
            others.append(translate(pattern))
    known, heads, tails = frozenset(exact), tuple(prefixes), tuple(suffixes)
    matches_other = re.compile("|".join(others)).match if others else None

    def matches(user_id: str) -> bool:
        return (
            user_id in known
            or user_id.startswith(heads)
            or user_id.endswith(tails)
            or (matches_other is not None and matches_other(user_id) is not None)
        )

    return matches
