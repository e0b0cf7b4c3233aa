"""From moves to deliveries: what is told, to whom, and how. Pure; the store writes the result with the alerts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from alerts.alert import Move, Severity
from alerts.delivery import Delivery, Telling, address
from alerts.routing import Route, Subject, recipients
from alerts.silence import Silence
from alerts.store import AccountCard
from alerts.webhook import RuleCard, alert_payload, dump, summary_payload


class Tally(msgspec.Struct):
    """What one destination's summary will say: accounts, and their alerts by severity and by rule."""

    accounts: int = 0
    by_severity: dict[str, int] = {}
    by_rule: dict[str, int] = {}


class Baseline(msgspec.Struct):
    """What was already true when accounts were judged for the first time, and is not told yet.

    ``first`` is the id of its first alert: each alert opens once, so it names the summary as well.
    """

    first: str = ""
    tallies: dict[str, Tally] = {}

    @classmethod
    def load(cls, text: str | None) -> Baseline:
        """From :meth:`dump`."""
        return cls() if text is None else msgspec.json.decode(text, type=cls)

    def dump(self) -> str:
        """As kept until the summary is written."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True)
class Announcer:
    """Who hears what, by one configuration. ``rules`` has a card for each rule that is configured."""

    telling: Telling = Telling.OFF
    destinations: Sequence[str] = ()
    routes: Sequence[Route] = ()
    rules: Mapping[str, RuleCard] = field(default_factory=dict)
    public_url: str = ""

    def deliveries(
        self, moves: Sequence[Move], cards: Mapping[int, AccountCard], *, today: int, now: int
    ) -> list[Delivery]:
        """One delivery for each move that tells, and each destination that its alert is routed to."""
        if self.telling is Telling.OFF:
            return []
        found: list[Delivery] = []
        for move in moves:
            if not move.tells:
                continue
            alert, card = move.after, self._card(move, cards)
            rule = self.rules.get(alert.rule, RuleCard())
            found += address(
                self._recipients(move, card),
                kind=f"alert.{move.kind}",
                alert_id=alert.id,
                account_id=alert.account_id,
                episode=alert.episode,
                seq=alert.seq,
                payload=dump(alert_payload(alert, card, rule, today=today, public_url=self.public_url)),
                now=now,
                shadow=self.telling is Telling.SHADOW,
            )
        return found

    def add_baseline(
        self, baseline: Baseline, moves: Sequence[Move], cards: Mapping[int, AccountCard]
    ) -> None:
        """Count baseline alerts that began to fire into what the summary will tell, per destination."""
        if self.telling is Telling.OFF:
            return
        accounts: dict[str, set[int]] = {}
        for move in moves:
            baseline.first = baseline.first or move.after.id
            for name in self._recipients(move, self._card(move, cards)):
                tally = baseline.tallies.setdefault(name, Tally())
                _count(tally.by_severity, move.after.severity.value)
                _count(tally.by_rule, move.after.rule)
                accounts.setdefault(name, set()).add(move.after.account_no)
        for name, numbers in accounts.items():
            baseline.tallies[name].accounts += len(numbers)

    def summaries(self, baseline: Baseline, *, now: int) -> list[Delivery]:
        """One summary for each destination that would have heard of a baseline alert, and still exists."""
        summary_id = "su_" + hashlib.sha256(baseline.first.encode()).hexdigest()[:24]
        found: list[Delivery] = []
        for name, tally in baseline.tallies.items():
            if name not in self.destinations or self.telling is Telling.OFF:
                continue
            payload = summary_payload(
                summary_id,
                accounts=tally.accounts,
                by_severity={Severity(word): count for word, count in tally.by_severity.items()},
                by_rule=tally.by_rule,
                public_url=self.public_url,
            )
            found += address(
                [name],
                kind="alert.summary",
                alert_id=summary_id,
                account_id="",
                episode=1,
                seq=1,
                payload=dump(payload),
                now=now,
                shadow=self.telling is Telling.SHADOW,
            )
        return found

    def silence(self, told: Silence, *, now: int) -> list[Delivery]:
        """One message for each destination: whom alerts would have reached must know why there are none."""
        if self.telling is Telling.OFF:
            return []
        return address(
            self.destinations,
            kind="alert.summary",
            alert_id=told.id,
            account_id="",
            episode=1,
            seq=told.seq,
            payload=dump(told.payload(self.public_url)),
            now=now,
            shadow=self.telling is Telling.SHADOW,
        )

    def _recipients(self, move: Move, card: AccountCard) -> Sequence[str]:
        rule = self.rules.get(move.after.rule, RuleCard())
        severity = move.after.severity.value
        subject = Subject(rule=move.after.rule, severity=severity, owner=card.owner, labels=rule.labels)
        return recipients(self.routes, self.destinations, subject)

    @staticmethod
    def _card(move: Move, cards: Mapping[int, AccountCard]) -> AccountCard:
        alert = move.after
        return cards.get(alert.account_no) or AccountCard(alert.account_no, alert.account_id)


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
