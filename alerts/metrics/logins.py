"""Login decline (METRICS section 2.1): is the account used less than it was?

All windows are trends: complete days only, so that half of today never looks like a decline. The counts are
of logins; the family of events that must flow is ``logins``, the history that must be long enough is that of
any activity. Never fed is not absent: a window that begins before logins were first received by anybody is
``insufficient_history`` too.
"""

from __future__ import annotations

import numpy as np

from alerts.metrics.per_business_day import LEAST_ACCOUNTS, change, days_of, medians
from alerts.metrics.standing import LOGINS, never_active, seen_since, standing, whole
from alerts.portfolio import Portfolio
from alerts.values import BoolArray, IntArray, Status, StatusArray, Values

FLOOR = 20  # fewer logins than these in the baseline make a ratio of noise


def change_28d(portfolio: Portfolio, floor: int | None) -> Values:
    """Change in logins per user, the last 28 days against the 28 before (METRICS 2.1).

    ``current / previous - 1``, with current over [D-27..D] and previous over [D-55..D-28]. The user base is
    the same for both windows, so it cancels out. ``insufficient_history`` when the account's first activity is
    later than D-55, or the first login received by anybody; ``low_volume`` when previous is under the floor,
    and always when it is 0. No logins after some is -1.
    """
    current, previous = _current(portfolio), _previous(portfolio)
    return Values(
        current - previous,
        np.maximum(previous, 1),
        _status(portfolio, 55, low=_under(previous, floor, FLOOR)),
        parts={"current": current, "previous": previous},
        windows=_both_windows(portfolio),
    )


def current_28d(portfolio: Portfolio, floor: int | None) -> Values:
    """Logins in the last 28 days, [D-27..D] (METRICS 2.1).

    ``insufficient_history`` when the account's first activity, or the first login received by anybody, is later
    than D-27: the window must have been seen whole.
    """
    return whole(_current(portfolio), _status(portfolio, 27), windows={"current": _window(portfolio, 27, 0)})


def previous_28d(portfolio: Portfolio, floor: int | None) -> Values:
    """Logins in the 28 days before the last 28, [D-55..D-28] (METRICS 2.1).

    ``insufficient_history`` as the change has it.
    """
    return whole(
        _previous(portfolio), _status(portfolio, 55), windows={"previous": _window(portfolio, 55, 28)}
    )


def users_56d(portfolio: Portfolio, floor: int | None) -> Values:
    """Distinct users who logged in during the last 56 days, [D-55..D] (METRICS 2.1): the base of both averages.

    ``insufficient_history`` as the change has it.
    """
    return whole(_base(portfolio), _status(portfolio, 55), windows={"base": _window(portfolio, 55, 0)})


def per_user_current(portfolio: Portfolio, floor: int | None) -> Values:
    """Logins per user in the last 28 days: those of [D-27..D] over the users of [D-55..D] (METRICS 2.1).

    ``insufficient_history`` as the change has it; ``not_applicable`` when nobody logged in during the 56
    days.
    """
    return _per_user(portfolio, "current", _current(portfolio))


def per_user_previous(portfolio: Portfolio, floor: int | None) -> Values:
    """Logins per user in the 28 days before: those of [D-55..D-28] over the users of [D-55..D] (METRICS 2.1).

    ``insufficient_history`` as the change has it; ``not_applicable`` when nobody logged in during the 56
    days.
    """
    return _per_user(portfolio, "previous", _previous(portfolio))


def per_active_user_change_28d(portfolio: Portfolio, floor: int | None) -> Values:
    """Change in logins per active user, each of the two 28-day windows over its own users (METRICS 2.1).

    It hides users who went away, which is why it stands beside the change and not in its place. Statuses as
    there; ``not_applicable`` when nobody logged in during the last 28 days, since an average over nobody is
    none.
    """
    day = portfolio.as_of
    current, previous = _current(portfolio), _previous(portfolio)
    users_current = portfolio.active_users(day - 27, day, logins=True)
    users_previous = portfolio.active_users(day - 55, day - 28, logins=True)
    before = previous * users_current
    return Values(
        current * users_previous - before,
        np.maximum(before, 1),
        _status(portfolio, 55, nobody=users_current == 0, low=_under(previous, floor, FLOOR)),
        parts={
            "current": current,
            "previous": previous,
            "users_current": users_current,
            "users_previous": users_previous,
        },
        windows=_both_windows(portfolio),
    )


def change_28d_adjusted(portfolio: Portfolio, floor: int | None) -> Values:
    """Change in logins per business day, less the portfolio's own (METRICS 2.1).

    ``(current / its business days) / (previous / its business days) - 1``, less the median of the same over all
    accounts of which it is ``ok`` at the floor of the metric, at the close of D; from 20 such accounts, with fewer
    nothing is taken off. Windows and statuses as the change has them. Business days are those of the account's
    ``country``, else of the configured ``country``: public holidays as they are observed, and the weekends there;
    Monday to Friday where no country is named, or none that has a calendar. The median of an even number is the
    mean of the middle two. Until the close of D has worked it out, that of the close before counts.
    """
    current, previous, days = _current(portfolio), _previous(portfolio), days_of(portfolio)
    raw = change(current, previous, days)
    ok: BoolArray = _status(portfolio, 55, low=_under(previous, None, FLOOR)) == Status.OK.value
    usual = np.zeros((4, portfolio.size), dtype=np.int64)
    for median, mine in medians(portfolio, raw, ok):
        counts = median.accounts >= LEAST_ACCOUNTS
        top, bottom = (median.numerator, median.denominator) if counts else (0, 1)
        usual[:, mine] = np.array([[top], [bottom], [median.accounts], [median.day]])
    return Values(
        raw[0] * usual[1] - usual[0] * raw[1],
        raw[1] * usual[1],
        _status(portfolio, 55, low=_under(previous, floor, FLOOR)),
        parts={
            "current": current,
            "previous": previous,
            "business_days_current": days[0],
            "business_days_previous": days[1],
            "median_numerator": usual[0],
            "median_denominator": usual[1],
            "median_accounts": usual[2],
            "median_day": usual[3],
        },
        windows=_both_windows(portfolio),
    )


def comparable(portfolio: Portfolio) -> tuple[IntArray, IntArray]:
    """The changes per business day that the portfolio's median is taken of: numerators and denominators."""
    previous = _previous(portfolio)
    top, bottom = change(_current(portfolio), previous, days_of(portfolio))
    ok: BoolArray = _status(portfolio, 55, low=_under(previous, None, FLOOR)) == Status.OK.value
    return top[ok], bottom[ok]


def drawdown_180d(portfolio: Portfolio, floor: int | None) -> Values:
    """Logins of the last 28 days against the best 28 days of the last half year: the slow fade (METRICS 2.1).

    ``current / peak - 1``; peak is the largest total of 28 days in a row that ends on a day of [D-179..D].
    ``insufficient_history`` as the change has it; ``low_volume`` when the peak is under the floor.
    """
    day = portfolio.as_of
    current = _current(portfolio)
    peak = portfolio.peak_logins(28, day - 179, day)
    return Values(
        current - peak,
        np.maximum(peak, 1),
        _status(portfolio, 55, low=_under(peak, floor, FLOOR)),
        parts={"current": current, "peak": peak},
        windows={"current": _window(portfolio, 27, 0), "peak_ends": _window(portfolio, 179, 0)},
    )


def _per_user(portfolio: Portfolio, window: str, logins: IntArray) -> Values:
    base = _base(portfolio)
    windows = _both_windows(portfolio)
    return Values(
        logins,
        np.maximum(base, 1),
        _status(portfolio, 55, nobody=base == 0),
        parts={"logins": logins, "users": base},
        windows={"logins": windows[window], "users": _window(portfolio, 55, 0)},
    )


def _status(
    portfolio: Portfolio, reach: int, *, nobody: BoolArray | None = None, low: BoolArray | None = None
) -> StatusArray:
    first = portfolio.as_of - reach
    return standing(
        portfolio,
        LOGINS,
        unseen=never_active(portfolio),
        silence=LOGINS,
        short=~seen_since(portfolio, first) | (portfolio.family_day("logins") > first),
        nobody=nobody,
        low=low,
    )


def _under(baseline: IntArray, floor: int | None, default: int) -> BoolArray:
    """Under the floor; a baseline of 0 always is, since nothing can be divided by it."""
    result: BoolArray = baseline < max(default if floor is None else floor, 1)
    return result


def _current(portfolio: Portfolio) -> IntArray:
    return portfolio.logins(portfolio.as_of - 27, portfolio.as_of)


def _previous(portfolio: Portfolio) -> IntArray:
    return portfolio.logins(portfolio.as_of - 55, portfolio.as_of - 28)


def _base(portfolio: Portfolio) -> IntArray:
    return portfolio.active_users(portfolio.as_of - 55, portfolio.as_of, logins=True)


def _window(portfolio: Portfolio, first: int, last: int) -> tuple[int, int]:
    return portfolio.as_of - first, portfolio.as_of - last


def _both_windows(portfolio: Portfolio) -> dict[str, tuple[int, int]]:
    return {"current": _window(portfolio, 27, 0), "previous": _window(portfolio, 55, 28)}
