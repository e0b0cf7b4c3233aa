"""The four inputs of the health score (METRICS 3.2), each from 0 to 100, higher is better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alerts.arrays import BoolArray, IntArray, StatusArray
from alerts.health.closing import Components
from alerts.health.engagement import DAYS, Engagement, engagement, fed_since
from alerts.health.points import FULL, deducted, mean, rounded
from alerts.health.scales import scales
from alerts.metrics import champion, logins, others, seats
from alerts.metrics.standing import (
    ACTIVITY,
    CONTACTS,
    ESCALATIONS,
    QBRS,
    TICKETS,
    stale,
)
from alerts.portfolio import Portfolio
from alerts.values import Status, Values
from consumers.facts import RATINGS
from consumers.moments import CSAT, NPS, QBR_BOOKED, QBR_HELD, TICKET_OPENED
from consumers.windows import NEVER

SURVEYS = ("surveys",)

AT_RISK = 2_500  # off the engagement score for each of 2.1 and 2.3
PER_ESCALATION, MOST_ESCALATIONS = 2_500, 5_000
PER_TICKET, MOST_TICKETS = 1_000, 5_000

# champion active, sponsor seen, a QBR, contacts active: points of 100
RELATIONSHIP = (30, 25, 25, 20)
SPONSOR_DAYS, QBR_DAYS, CONTACT_DAYS, CONTACTS_ENOUGH = 60, 90, 90, 3
RED = RATINGS.index("red")
RED_CAP, RED_LASTS_DAYS = 4_000, 30

SURVEY_DAYS, ANSWERS_ENOUGH = 180, 3
MIDDLE = 5_000


@dataclass(frozen=True, slots=True)
class Component:
    """One input of n accounts: hundredths of a point, which stand where ``status`` is OK, and what they are made of:
    counts, and the first and last day of the windows that they were counted over."""

    points: IntArray
    status: StatusArray
    counts: dict[str, IntArray]
    windows: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Health:
    """Everything that is scored now of n accounts, by name, in the order of ``alerts.model.COMPONENTS``."""

    engagement: Engagement
    parts: dict[str, Component]
    components: Components


def health(portfolio: Portfolio) -> Health:
    """The engagement score, the four inputs, and both as what a close decides by."""
    by = scales(portfolio, portfolio.moment.model.health)
    engaged = engagement(portfolio, by)
    parts = {
        "product": product(portfolio, engaged),
        "support": support(portfolio),
        "relationship": relationship(portfolio),
        "satisfaction": satisfaction(portfolio),
    }
    components = Components(
        values=np.stack([part.points for part in parts.values()], axis=1),
        status=np.stack([part.status for part in parts.values()], axis=1),
        weights=by.weights,
        green_above=by.green_above,
        red_below=by.red_below,
    )
    return Health(engaged, parts, components)


def product(portfolio: Portfolio, engaged: Engagement) -> Component:
    """The engagement score, less 25 while logins are at risk and less 25 while seats are below 0.40.

    A metric that is not ``ok`` takes nothing off.
    """
    decline, use = logins.change_28d(portfolio, logins.FLOOR), seats.utilization(portfolio, None)
    declines, empty = _at_most(decline, -1, 5), _below(use, 2, 5)
    points = np.maximum(engaged.points, 0)
    for taken_off in (declines, empty):
        points = deducted(points, AT_RISK, taken_off)
    marks = {"logins_at_risk": declines.astype(np.int64), "seats_below_40": empty.astype(np.int64)}
    windows = {"engagement": (portfolio.as_of - DAYS + 1, portfolio.as_of)}
    return Component(points, engaged.status, {"engagement": engaged.points, **marks}, windows)


def support(portfolio: Portfolio) -> Component:
    """100 less 25 per open escalation (at most 50) and 10 per ticket above the usual (at most 50).

    Usual is ``tickets.median_28d``, which needs an account and a stream of tickets seen since the first of its windows.
    What was never received takes nothing off; neither received: no value.
    """
    day, n = portfolio.as_of, portfolio.size
    points = np.full(n, FULL, dtype=np.int64)
    has_escalations = portfolio.fed(*ESCALATIONS)
    opened = portfolio.number("escalations_open")
    counts = {"escalations_open": opened}
    if has_escalations:
        points -= np.minimum(np.maximum(opened, 0) * PER_ESCALATION, MOST_ESCALATIONS)
    recent, usual = (
        portfolio.moment_sum(TICKET_OPENED, day - 27, day),
        others.tickets_median_28d(portfolio, None),
    )
    above = np.maximum(recent * usual.denominator - usual.numerator, 0)
    has_tickets = usual.ok()
    points -= np.where(has_tickets, np.minimum(PER_TICKET * above // usual.denominator, MOST_TICKETS), 0)
    counts |= {"tickets_28d": recent, "tickets_usual_twice": usual.numerator}
    status = np.full(n, Status.OK.value, dtype=np.uint8)
    if not has_escalations:
        why = Status.INSUFFICIENT_HISTORY if portfolio.fed(*TICKETS) else Status.UNKNOWN
        status[~has_tickets] = why
    windows = {"tickets_28d": (day - 27, day), "tickets_usual": (day - 139, day - 28)}
    return Component(points, status, counts, windows)


def relationship(portfolio: Portfolio) -> Component:
    """Champion active 30, sponsor seen 25, a QBR held or booked 25, three contacts active 20; red caps it at 40.

    What was never received is left out and the rest scaled to 100. Absence counts only from the day on which
    the portfolio first received the family: a QBR, or active contacts, that are not there count against the
    account once 90 days could have shown them.
    """
    day, today = portfolio.as_of, portfolio.today
    champions = champion.status(portfolio, None)
    assert champions.text is not None
    sponsor_day = portfolio.sponsor_day()
    met = portfolio.moment_count(QBR_HELD, day - QBR_DAYS + 1, today)
    meets = portfolio.moment_count(QBR_BOOKED, today, day + QBR_DAYS)
    contacts = portfolio.contacts_active(day - CONTACT_DAYS + 1, today)
    achieved = np.stack(
        [
            champions.ok() & (champions.text == "active"),
            (sponsor_day != NEVER) & (day - sponsor_day < SPONSOR_DAYS),
            (met + meets) > 0,
            contacts >= CONTACTS_ENOUGH,
        ],
        axis=1,
    )
    knows_people = portfolio.fed(*CONTACTS)
    told = achieved.copy()
    told[:, 0:2] = knows_people
    told[:, 2] |= fed_since(portfolio, QBRS, day - QBR_DAYS + 1)
    told[:, 3] |= fed_since(portfolio, ACTIVITY, day - CONTACT_DAYS + 1)
    told[:, 2] &= portfolio.fed(*QBRS)
    told[:, 3] &= knows_people
    weights = np.where(told, np.array(RELATIONSHIP, dtype=np.int64), 0)
    points = mean(np.where(achieved, FULL, 0), weights)
    sentiment_day = portfolio.number("sentiment_day")
    red = (portfolio.number("sentiment") == RED) & (day - sentiment_day <= RED_LASTS_DAYS)
    status = np.where(points >= 0, Status.OK.value, Status.UNKNOWN.value).astype(np.uint8)
    if knows_people and stale(portfolio, ACTIVITY):
        status[:] = Status.STALE_SOURCE
    counts = {
        "champion_active": achieved[:, 0].astype(np.int64),
        "sponsor_day": sponsor_day,
        "qbrs_held_90d": met,
        "qbrs_booked_90d": meets,
        "contacts_active_90d": contacts,
        "sentiment_red": red.astype(np.int64),
    }
    windows = {
        "sponsor": (day - SPONSOR_DAYS + 1, today),
        "qbrs_held_90d": (day - QBR_DAYS + 1, today),
        "qbrs_booked_90d": (today, day + QBR_DAYS),
        "contacts_active_90d": (day - CONTACT_DAYS + 1, today),
        "sentiment_red": (day - RED_LASTS_DAYS, today),
    }
    return Component(np.where(red, np.minimum(points, RED_CAP), points), status, counts, windows)


def satisfaction(portfolio: Portfolio) -> Component:
    """50 and how much better the answers of the last 180 days are than those of the 180 before, from 0 to 100.

    Answers count from 0 to 100 (NPS 0..10, CSAT 1..5), three at least in each window; of one window alone its
    own mean; of none no value.
    """
    day = portfolio.as_of
    windows = {
        "answers_180d": (day - SURVEY_DAYS + 1, day),
        "answers_180d_before": (day - 2 * SURVEY_DAYS + 1, day - SURVEY_DAYS),
    }
    now, before = (_answers(portfolio, *window) for window in windows.values())
    enough_now, enough_before = now[0] >= ANSWERS_ENOUGH, before[0] >= ANSWERS_ENOUGH
    count, total = np.maximum(now[0], 1), now[1]
    count_before, total_before = np.maximum(before[0], 1), before[1]
    both = MIDDLE * count * count_before + 100 * (total * count_before - total_before * count)
    trend = np.minimum(rounded(np.maximum(both, 0), count * count_before), FULL)
    points = np.select(
        [enough_now & enough_before, enough_now, enough_before],
        [trend, rounded(100 * total, count), rounded(100 * total_before, count_before)],
        0,
    )
    status = np.where(enough_now | enough_before, Status.OK.value, Status.LOW_VOLUME.value).astype(np.uint8)
    if not portfolio.fed(*SURVEYS):
        status[:] = Status.UNKNOWN
    counts = {"answers_180d": now[0], "answers_180d_before": before[0]}
    sums = {"answers_sum_180d": now[1], "answers_sum_180d_before": before[1]}
    return Component(points, status, counts | sums, windows)


def _answers(portfolio: Portfolio, first: int, last: int) -> tuple[IntArray, IntArray]:
    """How many answers, and their sum on the scale of 0 to 100."""
    nps, csat = (portfolio.moment_count(kind, first, last) for kind in (NPS, CSAT))
    total = 10 * portfolio.moment_sum(NPS, first, last) + 25 * (
        portfolio.moment_sum(CSAT, first, last) - csat
    )
    return nps + csat, total


def _at_most(values: Values, numerator: int, denominator: int) -> BoolArray:
    result: BoolArray = values.ok() & (values.numerator * denominator <= values.denominator * numerator)
    return result


def _below(values: Values, numerator: int, denominator: int) -> BoolArray:
    result: BoolArray = values.ok() & (values.numerator * denominator < values.denominator * numerator)
    return result
