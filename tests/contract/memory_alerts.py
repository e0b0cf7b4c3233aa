"""Alerts in memory: the same contract as the database's, kept by plain dictionaries and one lock."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from alerts.account_rows import AccountRows, MedianChange
from alerts.alert import Alert, AlertStatus, Move
from alerts.delivery import Delivery
from alerts.health.state import HEALTH_DTYPE, Records
from alerts.store import AccountCard, AlertMoved, Batch, Judged, Standing, Waiting


@dataclass(slots=True)
class MemoryAccount:
    """One account: its windows as ``consumers.windows`` lays them out, and its line in the directory."""

    card: AccountCard
    profile: bytes
    days: bytes
    users: bytes = b""
    facts: bytes = b""
    usage: bytes = b""
    login_maps: bytes = b""
    health: bytes = bytes(HEALTH_DTYPE.itemsize)
    risk_level: str = "unknown"
    judged_at: int | None = None
    evaluated_at: int | None = None


@dataclass(slots=True)
class Position:
    """How far a partition is: whether it is behind, and when it last moved."""

    behind: bool
    updated_at: int


@dataclass(slots=True)
class _Content:
    accounts: dict[int, MemoryAccount] = field(default_factory=dict)
    families: dict[str, int] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    marks: set[tuple[int, str]] = field(default_factory=set)
    alerts: dict[str, Alert] = field(default_factory=dict)
    history: list[tuple[Move, int]] = field(default_factory=list)
    deliveries: dict[tuple[str, str], Delivery] = field(default_factory=dict)
    baseline: str | None = None
    median: MedianChange | None = None
    real_us: int = 0  # the real time, at which partitions move


class MemoryAlertStore:
    """Implements ``alerts.store.AlertStore``. Thread-safe: one transaction at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.content = _Content()
        self.opens: Callable[[_Content], MemoryAlertTransaction] = MemoryAlertTransaction

    def waiting(self, now: int, patience_us: int) -> Waiting:
        """What there is to do."""
        with self._lock:
            held = _held(self.content, patience_us)
            return Waiting(
                touched=any(no not in held for no, _ in self.content.marks),
                due=any(
                    _rings(alert, now) and alert.account_no not in held
                    for alert in self.content.alerts.values()
                ),
                baseline=self.content.baseline is not None,
            )

    def families(self) -> Mapping[str, int]:
        """The first day of each family of events over the portfolio."""
        return dict(self.content.families)

    def median_change(self) -> MedianChange | None:
        """The portfolio's median change of the newest close; None before the first."""
        return self.content.median

    def login_pages(self, size: int) -> Iterator[AccountRows]:
        """All accounts in pages of up to ``size``, by number."""
        nos = sorted(self.content.accounts)
        for start in range(0, len(nos), size):
            yield _rows(self.content, nos[start : start + size])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[MemoryAlertTransaction]:
        """Begin: committed at the end, rolled back on any error."""
        with self._lock:
            draft = copy.deepcopy(self.content)
            yield self.opens(draft)
            self.content = draft


class MemoryAlertTransaction:
    """Implements ``alerts.store.AlertTransaction`` on a copy of the content."""

    def __init__(self, content: _Content) -> None:
        self._content = content

    def touched(self, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Take up to ``limit`` marked accounts that need not wait, and clear their marks."""
        held = _held(self._content, patience_us)
        nos = sorted({no for no, _ in self._content.marks if no not in held})[:limit]
        self._content.marks -= {mark for mark in self._content.marks if mark[0] in nos}
        return replace(self._batch(nos, cooling_since), marked=nos)

    def due(self, now: int, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts of alerts whose ``check_at`` has come; that of resolved ones is cleared."""
        held = _held(self._content, patience_us)
        ringing = [alert for alert in self._content.alerts.values() if _rings(alert, now)]
        nos = sorted({alert.account_no for alert in ringing if alert.account_no not in held})[:limit]
        batch = self._batch(nos, cooling_since)
        for alert in ringing:
            if alert.account_no in nos and not alert.open:
                self._content.alerts[alert.id] = replace(alert, check_at=None)
        return batch

    def after(self, account_no: int, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts with numbers above ``account_no``, but for those that wait."""
        held = _held(self._content, patience_us)
        nos = sorted(no for no in self._content.accounts if no > account_no and no not in held)
        return self._batch(nos[:limit], cooling_since)

    def families(self) -> Mapping[str, int]:
        """The first day of each family of events over the portfolio."""
        return dict(self._content.families)

    def newest(self) -> Mapping[str, int]:
        """The instant of the newest event of each family of activity."""
        return dict(self._content.newest)

    def facts(self, account_nos: Sequence[int]) -> Mapping[int, bytes]:
        """What is stored of the facts of these accounts."""
        return {no: facts for no in account_nos if (facts := self._content.accounts[no].facts)}

    def usage(self, account_nos: Sequence[int]) -> Mapping[int, bytes]:
        """The same of the features that they use."""
        return {no: usage for no in account_nos if (usage := self._content.accounts[no].usage)}

    def cards(self, account_nos: Iterable[int]) -> Mapping[int, AccountCard]:
        """What messages say of these accounts."""
        return {no: self._content.accounts[no].card for no in account_nos if no in self._content.accounts}

    def judge(self, judged: Judged) -> None:
        """Write down that accounts were evaluated, and their risk levels."""
        for no in judged.nos:
            account = self._content.accounts[no]
            account.evaluated_at = judged.at
            account.judged_at = judged.at if account.judged_at is None else account.judged_at
        for no, level in judged.risk.items():
            self._content.accounts[no].risk_level = level

    def keep_health(self, account_nos: Sequence[int], records: Records, day: int) -> None:
        """Write what the close of ``day`` left of the health of these accounts."""
        for no, record in zip(account_nos, records, strict=True):
            self._content.accounts[no].health = record.tobytes()

    def median_change(self) -> MedianChange | None:
        """The portfolio's median change of the newest close; None before the first."""
        return self._content.median

    def keep_median(self, median: MedianChange) -> None:
        """Keep that of a day that closed, in place of the one before."""
        self._content.median = median

    def touch(self, account_nos: Iterable[int]) -> None:
        """Mark accounts to be judged, whatever their partitions are up to."""
        self._content.marks |= {(no, "") for no in account_nos}

    def alerts(self, ids: Sequence[str]) -> Mapping[str, Alert]:
        """These alerts by id, whole."""
        return {id_: self._content.alerts[id_] for id_ in ids if id_ in self._content.alerts}

    def open_alerts(self, account_no: int) -> Sequence[Alert]:
        """An account's open alerts, whole."""
        found = [
            alert for alert in self._content.alerts.values() if alert.account_no == account_no and alert.open
        ]
        return sorted(found, key=lambda alert: alert.id)

    def orphans(self, rules: Sequence[str], limit: int) -> Sequence[Alert]:
        """Up to ``limit`` open alerts of rules that are none of ``rules``."""
        found = [alert for alert in self._content.alerts.values() if alert.open and alert.rule not in rules]
        return sorted(found, key=lambda alert: alert.id)[:limit]

    def last_episodes(self, account_nos: Sequence[int]) -> Mapping[str, int]:
        """The number of the newest episode of each key that the accounts ever had."""
        newest: dict[str, int] = {}
        for alert in self._content.alerts.values():
            if alert.account_no in account_nos:
                newest[alert.key] = max(alert.episode, newest.get(alert.key, 0))
        return newest

    def apply(self, moves: Sequence[Move], deliveries: Sequence[Delivery], now: int) -> None:
        """Write moved alerts, their history and what is to be told. Raises AlertMoved if a rival was first."""
        for move in moves:
            stands = self._content.alerts.get(move.after.id)
            if (stands and stands.seq) != (move.before and move.before.seq):
                raise AlertMoved("another process moved the same alert first; its word stands")
            if (
                any(alert.key == move.after.key and alert.open for alert in self._others(move))
                and move.after.open
            ):
                raise AlertMoved("another process opened the same alert first; its word stands")
            evidence = move.after.evidence or (stands.evidence if stands else {})
            self._content.alerts[move.after.id] = replace(move.after, evidence=evidence)
            self._content.history.append((move, now))
        for delivery in deliveries:
            self._content.deliveries.setdefault((delivery.destination, delivery.webhook_id), delivery)

    def _others(self, move: Move) -> list[Alert]:
        return [alert for alert in self._content.alerts.values() if alert.id != move.after.id]

    def baseline(self) -> str | None:
        """What was kept and no summary has told yet."""
        return self._content.baseline

    def keep_baseline(self, text: str | None) -> None:
        """Keep what the next summary will say; None when it was told."""
        self._content.baseline = text

    def _batch(self, nos: Sequence[int], cooling_since: int | None) -> Batch:
        accounts = [self._content.accounts[no] for no in nos]
        rows = _rows(self._content, nos)
        judged = [account.judged_at is not None for account in accounts]
        return Batch(
            rows, [account.risk_level for account in accounts], judged, self._standings(nos, cooling_since)
        )

    def _standings(self, nos: Sequence[int], cooling_since: int | None) -> list[Standing]:
        chosen = [
            alert
            for alert in self._content.alerts.values()
            if alert.account_no in nos and (alert.open or alert.dismissed or _cools(alert, cooling_since))
        ]
        return [
            standing_of(alert) for alert in sorted(chosen, key=lambda a: (a.account_no, a.rule, a.episode))
        ]


def _rows(content: _Content, nos: Sequence[int]) -> AccountRows:
    accounts = [content.accounts[no] for no in nos]
    return AccountRows(
        nos=nos,
        account_ids=[account.card.account_id for account in accounts],
        profiles=[account.profile for account in accounts],
        days=[account.days for account in accounts],
        users=[account.users for account in accounts],
        attributes=lambda name: [getattr(account.card, name, None) for account in accounts],
        login_maps=lambda: [account.login_maps for account in accounts],
        health=lambda: np.frombuffer(b"".join(account.health for account in accounts), HEALTH_DTYPE),
    )


def _held(content: _Content, patience_us: int) -> set[int]:
    """The accounts that a partition has touched which is behind and on its way."""
    positions = content.positions
    moving = {
        name for name, at in positions.items() if at.behind and at.updated_at > content.real_us - patience_us
    }
    return {no for no, partition in content.marks if partition in moving}


def _rings(alert: Alert, now: int) -> bool:
    return alert.check_at is not None and alert.check_at <= now


def _cools(alert: Alert, cooling_since: int | None) -> bool:
    return cooling_since is not None and alert.resolved_at is not None and alert.resolved_at > cooling_since


def standing_of(alert: Alert) -> Standing:
    """What a sweep sees of an alert."""
    firing = alert.status is AlertStatus.FIRING
    timers = (alert.false_since, alert.unknown_since_day, alert.check_at)
    settled = firing and all(timer is None for timer in timers)
    return Standing(
        alert.id,
        alert.account_no,
        alert.rule,
        alert.episode,
        alert.severity.value,
        firing,
        settled,
        alert.dismissed,
    )
