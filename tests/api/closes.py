"""Health as a day's close leaves it, put there by hand."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.health.state import BANDS, blank
from app.database.health import keep_health
from tests.api.house import TODAY, House

AS_OF = TODAY - 1


def close(
    house: House,
    bands: Mapping[int, str],
    *,
    day: int = AS_OF,
    days_in_band: int = 0,
    score: int = 5_000,
    lost: int | None = None,
) -> None:
    """Each of these accounts closed ``day`` in its band. ``score`` is in hundredths; ``lost`` is the place of an input
    that disappeared."""
    records = blank(len(bands))
    records["day"], records["since_day"] = day, day - days_in_band
    records["band"] = [BANDS.index(band) for _, band in sorted(bands.items())]
    records["score"], records["coverage"], records["kept"] = score, 10_000, score
    if lost is not None:
        records["missing"][:, lost] = 15
        records["coverage"] = 8_500
    with house.database.write() as connection:
        keep_health(connection, sorted(bands), records, day)
