"""The champion (METRICS section 2.7): whose going predicts a lost renewal better than any number."""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import ACTIVITY, CONTACTS, days_since, standing, whole
from alerts.portfolio import Portfolio
from alerts.values import IntArray, Values
from consumers.champions import DEPARTED, PEOPLE, UNMAPPED
from consumers.windows import NEVER

WORDS = ("active", "silent", "departed", "unmapped")
_ACTIVE, _SILENT, _DEPARTED, _UNMAPPED = range(4)
_TEXT = np.array(WORDS, dtype=object)


def status(portfolio: Portfolio, floor: int | None) -> Values:
    """``active``, ``silent``, ``departed`` or ``unmapped`` (METRICS 2.7).

    ``active`` if any current champion is; else ``silent``: none of them was active in [D-29..today], and each
    was on 4 or more of the 28 days that end with his own last activity day; ``departed`` when all have left
    and none followed; ``unmapped`` when nobody ever was one. A champion without a user id is ``active`` until
    somebody says otherwise. Where activity decides, it is refused while the activity's source is stale.
    """
    facts = portfolio.number("champion")
    people = facts == PEOPLE
    champions, silent = portfolio.number("champions"), _silent(portfolio)
    code = np.full(portfolio.size, _ACTIVE)
    code[people & (silent == champions)] = _SILENT
    code[facts == DEPARTED] = _DEPARTED
    code[facts == UNMAPPED] = _UNMAPPED
    return whole(
        code,
        standing(portfolio, CONTACTS, silence=ACTIVITY, silenced=people),
        text=_TEXT[code],
        parts={"champions_with_user": champions, "champions_silent": silent},
        windows={"silence": (portfolio.as_of - 29, portfolio.today)},
    )


def departed(portfolio: Portfolio, floor: int | None) -> Values:
    """Whether the account's champions have all left and nobody followed (METRICS 2.7).

    Until a successor is named: a contact whose roles had no ``champion`` when they were told before, or the user
    of a ``champion.changed``. Roles told again as they were name nobody, and nobody is named by them while his
    user is deactivated. It counts from the moment it is known, whatever day the departure takes effect, and
    rests on what was said alone, so it does not wait for activity to flow.
    """
    gone = portfolio.number("champion") == DEPARTED
    return whole(gone.astype(np.int64), standing(portfolio, CONTACTS))


def days_since_change(portfolio: Portfolio, floor: int | None) -> Values:
    """Days since the newest departure or replacement of a champion (METRICS 2.7).

    A change matters even when a successor is named at once. The first naming of a champion is none.
    ``not_applicable`` when there never was one.
    """
    day = portfolio.number("champion_change_day")
    return whole(
        days_since(portfolio, "champion_change_day"),
        standing(portfolio, CONTACTS, absent=day == NEVER),
        parts={"change_day": day},
    )


def _silent(portfolio: Portfolio) -> IntArray:
    return portfolio.silent_champions(portfolio.as_of - 29, width=28, days=4)
