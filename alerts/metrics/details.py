"""What an account's facts say beside its numbers, for evidence: who, which and since when.

Windows have no room for names, so facts are read again for the few accounts whose evidence is wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from alerts.metrics.others import LOST_WITHIN_DAYS
from alerts.metrics.readings import iso
from alerts.portfolio import Portfolio
from consumers.days import Calendar
from consumers.state import AccountState
from consumers.usage import Usage, feature_hash

SUBJECTS = frozenset({"champion", "seats", "features", "sponsor", "escalations", "integrations"})
"""The first words of the names of metrics that have any."""


def subjects(metrics: Iterable[str]) -> frozenset[str]:
    """Those of SUBJECTS that ``metrics`` are about."""
    return SUBJECTS & {name.partition(".")[0] for name in metrics}


def details(
    portfolio: Portfolio,
    index: int,
    calendar: Calendar,
    *,
    facts: bytes,
    usage: bytes,
    about: Collection[str] = SUBJECTS,
) -> dict[str, dict[str, Any]]:
    """Those of the account at ``index``, by subject, in JSON's types, days as ISO dates.

    ``facts`` is what is stored of its facts. ``usage``, of the features that it uses, is needed only ``about``
    features, and only if core features were given up (``portfolio.abandoned_features``).
    """
    told = AccountState("", facts_blob=facts).details(calendar)
    lost = [each for each in told["integrations"] if each["lost_day"] > portfolio.as_of - LOST_WITHIN_DAYS]
    found = {
        "champion": told["champions"],
        "seats": {"purchased": told["seats"]},
        "sponsor": {"contacts": _dated(told["sponsors"])},
        "escalations": {"open": _dated(told["escalations"])},
        "integrations": {"lost": _dated(lost)},
    }
    if "features" in about:
        hashes = set(portfolio.abandoned_features(index))
        names = Usage(usage).numbers if hashes else ()
        found["features"] = {"abandoned": sorted(name for name in names if feature_hash(name) in hashes)}
    return {subject: found[subject] for subject in about}


def _dated(told: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Days as ISO dates, under names that no longer say that they are days."""
    return [
        {
            name.removesuffix("_day"): iso(value) if name.endswith("_day") else value
            for name, value in each.items()
        }
        for each in told
    ]
