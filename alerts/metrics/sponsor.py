"""The executive sponsor (METRICS section 2.6): whoever pays must be seen, whatever the end users do."""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import ACTIVITY, CONTACTS, standing, whole
from alerts.portfolio import Portfolio
from alerts.values import Values


def days_since_login(portfolio: Portfolio, floor: int | None) -> Values:
    """Days since the newest activity of any current contact with the role ``economic_buyer`` (METRICS 2.6).

    Where none of them was ever seen, it counts from the later of the day on which the contact got the role and
    the day on which logins were first received, or features or sessions where logins never were. ``unknown``
    when there is no such contact, or none with a user id (``sponsor.unmapped``), and while no activity was ever
    received; refused while the activity's source is stale.
    """
    day = portfolio.sponsor_day()
    mapped = portfolio.number("sponsors_mapped")
    return whole(
        np.maximum(portfolio.as_of - day, 0),
        standing(portfolio, CONTACTS, ACTIVITY, unseen=mapped == 0, silence=ACTIVITY),
        parts={
            "sponsor_day": day,
            "sponsors": portfolio.number("sponsors"),
            "sponsors_with_user": mapped,
        },
    )


def unmapped(portfolio: Portfolio, floor: int | None) -> Values:
    """Whether nobody can be watched: no current economic buyer, or none with a user id (METRICS 2.6)."""
    sponsors, mapped = portfolio.number("sponsors"), portfolio.number("sponsors_mapped")
    return whole(
        (mapped == 0).astype(np.int64),
        standing(portfolio, CONTACTS),
        parts={"sponsors": sponsors, "sponsors_with_user": mapped},
    )
