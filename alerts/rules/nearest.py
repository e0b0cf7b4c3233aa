"""The name that somebody probably meant, for messages about one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 60  # enough of what was written to find it again


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The closest of ``names``, whatever the case of ``word``; None when none is at all close."""
    by_folded = {name.casefold(): name for name in names}
    found = get_close_matches(shown(word).casefold(), by_folded, n=1, cutoff=0.55)
    return by_folded[found[0]] if found else None


def unknown(what: str, word: str, names: Iterable[str], where: str = "") -> str:
    """``unknown field "severty" in a rule: did you mean "severity"?``, with `` in a rule`` as ``where``."""
    close = nearest(word, names)
    hint = f': did you mean "{close}"?' if close else ""
    return f'unknown {what} "{shown(word)}"{where}{hint}'


def shown(word: str) -> str:
    """A piece of somebody's text for a one-line message: printable, and not too long."""
    clean = "".join(char if char.isprintable() else "�" for char in word[: _SHOWN + 1])
    return clean if len(clean) <= _SHOWN else clean[:_SHOWN] + "…"
