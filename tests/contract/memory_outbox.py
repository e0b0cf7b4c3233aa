"""The outbox in plain lists: what the contract means, without a database in the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from alerts.delivery import (
    PACES_US,
    REPLAYABLE,
    UNSETTLED,
    Decision,
    Delivery,
    DeliveryStatus,
    DestinationState,
    DestinationStatus,
    Settlement,
)
from tests.contract.kept_deliveries import Attempt


class MemoryOutbox:
    """One process, one thread, gone with the process."""

    def __init__(self, *, paces_us: Mapping[str, int] = PACES_US) -> None:
        self._paces_us = paces_us
        self._rows: dict[int, Delivery] = {}
        self._attempts: dict[int, list[Attempt]] = {}
        self._destinations: dict[str, DestinationState] = {}

    def enqueue(self, unit: None, deliveries: Sequence[Delivery]) -> None:
        known = {(row.destination, row.webhook_id) for row in self._rows.values()}
        for each in deliveries:
            if (each.destination, each.webhook_id) not in known:
                number = len(self._rows) + 1
                self._rows[number] = replace(each, id=number)
                self._attempts[number] = []

    def due(self, now: int) -> Sequence[str]:
        return [
            name
            for name in sorted(self._destinations)
            if self._open(name, now) and self._claimable(name, now)
        ]

    def claim(
        self, now: int, holder: str, lease_us: int, limit: int, only: Collection[str] | None = None
    ) -> Sequence[Delivery]:
        taken: list[Delivery] = []
        for name, state in sorted(self._destinations.items()):
            if (only is not None and name not in only) or not self._open(name, now):
                continue
            pace_us = self._paces_us.get(state.kind, 0)
            found = self._claimable(name, now)[
                : min(1, limit - len(taken)) if pace_us else limit - len(taken)
            ]
            for row in found:
                self._rows[row.id] = replace(
                    row, status=DeliveryStatus.SENDING, lease_holder=holder, lease_until=now + lease_us
                )
                log = reversed(self._attempts[row.id])
                throttles = sum(
                    1 for _ in takewhile(lambda attempt: attempt.outcome == Decision.THROTTLED, log)
                )
                taken.append(replace(self._rows[row.id], throttles=throttles))
            if found and pace_us:
                self._destinations[name] = replace(state, not_before=now + pace_us)
        return taken

    def settle(self, settlements: Sequence[Settlement]) -> Collection[int]:
        return {each.delivery.id for each in settlements if self._settle(each)}

    def settle_and_claim(
        self, settlements: Sequence[Settlement], now: int, holder: str, lease_us: int, limit: int
    ) -> tuple[Collection[int], Sequence[Delivery]]:
        written = self.settle(settlements)
        name = settlements[0].delivery.destination
        return written, self.claim(now, holder, lease_us, limit, (name,))

    def _settle(self, each: Settlement) -> bool:
        delivery, verdict, outcome, at = each.delivery, each.verdict, each.outcome, each.at
        row = self._rows[delivery.id]
        lease = (DeliveryStatus.SENDING, delivery.lease_holder, delivery.lease_until)
        if (row.status, row.lease_holder, row.lease_until) != lease:
            return False
        self._rows[row.id] = replace(
            row,
            status=verdict.status,
            attempts=row.attempts + verdict.costs_an_attempt,
            next_at=row.next_at if verdict.at is None else verdict.at,
            lease_holder=None,
            lease_until=None,
            settled_at=None if verdict.status in UNSETTLED else at,
            detail=verdict.reason,
        )
        log = self._attempts[row.id]
        detail = "\n".join(filter(None, (verdict.reason, outcome.body)))
        log.append(
            Attempt(len(log) + 1, at, outcome.latency_ms, outcome.status_code, verdict.decision.value, detail)
        )
        state = self._destinations[row.destination]
        if verdict.decision is Decision.DISABLED:
            state = replace(state, status=DestinationStatus.DISABLED, reason=verdict.reason, updated_at=at)
        pace_us = self._paces_us.get(state.kind, 0)
        until = max(verdict.hold_until or 0, at + pace_us if pace_us else 0)
        state = replace(state, not_before=max(state.not_before, until))
        self._destinations[row.destination] = state
        return True

    def deliveries(self) -> Sequence[Delivery]:
        return sorted(self._rows.values(), key=lambda row: -row.id)

    def attempts(self, delivery_id: int) -> Sequence[Attempt]:
        return self._attempts.get(delivery_id, [])

    def replay(self, now: int, ids: Collection[int]) -> int:
        chosen = [row for row in self._rows.values() if row.status in REPLAYABLE and row.id in ids]
        for row in chosen:
            self._rows[row.id] = replace(
                row, status=DeliveryStatus.QUEUED, attempts=0, next_at=now, settled_at=None, detail="replayed"
            )
        return len(chosen)

    def sync_destinations(self, configured: Mapping[str, str], now: int) -> None:
        for name, kind in configured.items():
            state = self._destinations.get(name)
            if state is None:
                state = DestinationState(name, kind, DestinationStatus.ENABLED, "", 0, now)
            elif state.status is DestinationStatus.REMOVED:
                state = replace(state, status=DestinationStatus.ENABLED, reason="", updated_at=now)
            self._destinations[name] = replace(state, kind=kind)
        for name in self._destinations.keys() - configured.keys():
            self._destinations[name] = replace(
                self._destinations[name], status=DestinationStatus.REMOVED, updated_at=now
            )

    def enable(self, name: str, now: int) -> bool:
        state = self._destinations.get(name)
        if state is None or state.status is DestinationStatus.REMOVED:
            return False
        self._destinations[name] = replace(
            state, status=DestinationStatus.ENABLED, reason="", not_before=0, updated_at=now
        )
        return True

    def destinations(self) -> Sequence[DestinationState]:
        return [self._destinations[name] for name in sorted(self._destinations)]

    def counts(self) -> Mapping[tuple[str, DeliveryStatus], int]:
        counts: dict[tuple[str, DeliveryStatus], int] = {}
        for row in self._rows.values():
            counts[row.destination, row.status] = counts.get((row.destination, row.status), 0) + 1
        return counts

    def _open(self, name: str, now: int) -> bool:
        state = self._destinations[name]
        return state.status is DestinationStatus.ENABLED and state.not_before <= now

    def _claimable(self, name: str, now: int) -> Sequence[Delivery]:
        rows = [row for row in self._rows.values() if row.destination == name and row.status in UNSETTLED]
        firsts: dict[str, int] = {}
        for row in rows:
            firsts[row.alert_id] = min(row.seq, firsts.get(row.alert_id, row.seq))
        due = [
            row
            for row in rows
            if row.seq == firsts[row.alert_id]
            and (row.next_at if row.status is DeliveryStatus.QUEUED else row.lease_until or 0) <= now
        ]
        return sorted(due, key=lambda row: (row.next_at, row.id))
