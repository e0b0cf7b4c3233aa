"""Answers what became of the customers: outcomes of the whole portfolio, from one snapshot of what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from alerts.columns import MOMENT_DTYPE, PROFILE_DTYPE
from alerts.outcomes.books import Books
from alerts.outcomes.freemium import FreemiumDays, LogoRetention, freemium_retention
from alerts.outcomes.months import Month, last_complete
from alerts.outcomes.outcomes import Outcomes
from alerts.outcomes.surveys import LEVEL_DAYS, Answered, Answers, Survey
from alerts.values import Status
from app.database import outcomes as stored
from app.database.engine import Database
from app.database.outcomes import NamedLedgers, StoredOutcomes
from consumers.moments import CSAT, NPS
from consumers.windows import KEPT_DAYS

_KINDS = {Survey.NPS: NPS, Survey.CSAT: CSAT}
_ACTIVITY = ("logins", "features", "sessions")


@dataclass(frozen=True, slots=True)
class Question:
    """Which months: so many up to ``at``, D being ``as_of``. ``currency`` None: that of most accounts."""

    at: Month
    months: int
    currency: str | None
    as_of: int


@dataclass(frozen=True, slots=True)
class Freemium:
    """Logo retention of freemium accounts, its status and its two windows."""

    status: Status
    days: FreemiumDays
    retention: LogoRetention


@dataclass(frozen=True, slots=True)
class SurveyWindow:
    """The answers of the inclusive days; ``month`` where they are those of one."""

    first: int
    last: int
    status: Status
    answers: Answers
    month: Month | None = None


@dataclass(frozen=True, slots=True)
class SurveyTrend:
    """The level over the 180 days up to t, the one over the 180 days before, and month by month."""

    level: SurveyWindow
    previous: SurveyWindow
    months: list[SurveyWindow]

    @property
    def change(self) -> Fraction | None:
        """The level less the one before; None unless both stand."""
        now, before = self.level, self.previous
        if now.status is not Status.OK or before.status is not Status.OK:
            return None
        score, earlier = now.answers.score, before.answers.score
        return None if score is None or earlier is None else score - earlier


@dataclass(frozen=True, slots=True)
class Retention:
    """All that ``/v1/portfolio/retention`` tells."""

    accounts: int
    outcomes: Outcomes
    freemium: Freemium | None
    surveys: Mapping[Survey, SurveyTrend]


def read_retention(database: Database, question: Question) -> Retention:
    """Over every account. Raises StorageError, and ValueError for a month without a complete day."""
    with database.read() as connection:
        families = stored.first_days(connection)
        found = stored.everything(connection)
    outcomes = _outcomes(Books(found.ledgers, question.currency), question, families)
    newest = outcomes.span.month >= last_complete(question.as_of)
    return Retention(
        accounts=len(found.ledgers),
        outcomes=outcomes,
        freemium=_freemium(found, outcomes, families, question.as_of) if newest else None,
        surveys=_surveys(found, outcomes, families.get("surveys"), question.as_of),
    )


def read_waterfall(database: Database, question: Question) -> tuple[Outcomes, NamedLedgers]:
    """The twelve months of each account, in the order of their ids. Raises as :func:`read_retention`."""
    with database.read() as connection:
        families = stored.first_days(connection)
        found = stored.by_account(connection)
    return _outcomes(Books(found.ledgers, question.currency), question, families), found


def _outcomes(books: Books, question: Question, families: Mapping[str, int]) -> Outcomes:
    subscribed = families.get("subscriptions")
    return Outcomes(books, question.at, question.months, as_of=question.as_of, subscribed=subscribed)


def _freemium(found: StoredOutcomes, outcomes: Outcomes, families: Mapping[str, int], as_of: int) -> Freemium:
    """At the close of D: activity is kept for 416 days, which the end of a month a while ago would be short of."""
    days = FreemiumDays.ending(as_of)
    free = np.flatnonzero(~outcomes.books.paying(days.first[1])).tolist()  # in whatever currency
    profiles = np.frombuffer(b"".join([found.profiles[place] for place in free]), dtype=PROFILE_DTYPE)
    retention = freemium_retention(
        [found.active_days[place] for place in free], profiles["last_day"].astype(np.int64), days
    )
    seen = min((families[name] for name in _ACTIVITY if name in families), default=None)
    subscribed = families.get("subscriptions")  # before it nobody can tell who paid
    if seen is None or subscribed is None:
        status = Status.UNKNOWN
    elif seen > days.first[0] or subscribed > days.first[1]:
        status = Status.INSUFFICIENT_HISTORY
    else:
        status = Status.OK if retention.accounts else Status.NOT_APPLICABLE
    return Freemium(status, days, retention)


def _surveys(
    found: StoredOutcomes, outcomes: Outcomes, surveyed: int | None, as_of: int
) -> dict[Survey, SurveyTrend]:
    moments = np.frombuffer(b"".join(found.moments), dtype=MOMENT_DTYPE)
    end = outcomes.span.end
    trends = {}
    for survey, kind in _KINDS.items():
        told = moments[moments["kind"] == kind]
        answered = Answered(survey, told["day"].astype(np.int64), told["value"])

        def window(
            first: int, last: int, month: Month | None = None, *, answered: Answered = answered
        ) -> SurveyWindow:
            within = answered.within(first, last)
            return SurveyWindow(first, last, _survey_status(within, first, surveyed, as_of), within, month)

        trends[survey] = SurveyTrend(
            level=window(end - LEVEL_DAYS + 1, end),
            previous=window(end - 2 * LEVEL_DAYS + 1, end - LEVEL_DAYS),
            months=[window(span.month.first_day, span.end, span.month) for span in outcomes.spans],
        )
    return trends


def _survey_status(within: Answers, first: int, surveyed: int | None, as_of: int) -> Status:
    if surveyed is None:
        return Status.UNKNOWN
    # An account keeps its answers for KEPT_DAYS before the newest it was told, which may be of today.
    if first < max(surveyed, as_of + 2 - KEPT_DAYS):
        return Status.INSUFFICIENT_HISTORY
    return Status.OK if within.enough else Status.LOW_VOLUME
