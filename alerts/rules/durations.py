"""Lengths of time as rules write them: ``90s``, ``15m``, ``6h``, ``3d``, ``2w``, and sums such as ``1d12h``."""

from __future__ import annotations

import re

DAY_US = 86_400_000_000
LONGEST_US = 3_660 * DAY_US  # ten years; a longer wait is a typing mistake

_UNITS = {"w": 7 * DAY_US, "d": DAY_US, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
_DURATION = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS))


def parse_duration(text: str) -> int:
    """Microseconds. Raises ValueError with a message for the person who wrote it."""
    found = _DURATION.fullmatch(text.strip())
    if not text.strip() or found is None:
        raise ValueError("a length of time looks like 90s, 15m, 6h, 3d or 2w")
    total = sum(
        int(count) * unit for count, unit in zip(found.groups(), _UNITS.values(), strict=True) if count
    )
    if total > LONGEST_US:
        raise ValueError("longer than ten years")
    return total


def spelt_duration(microseconds: int) -> str:
    """The shortest text that :func:`parse_duration` reads back; without weeks, as days are easier to compare."""
    parts = []
    for unit, size in list(_UNITS.items())[1:]:
        count, microseconds = divmod(microseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
