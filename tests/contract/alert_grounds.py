"""The ground that evaluations stand on in tests: accounts, marks and positions, in memory and in a real database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlalchemy import insert, select, update

from alerts.alert import Alert
from alerts.delivery import Delivery
from alerts.store import AccountCard, AlertStore
from app.database.alerts import SqlAlertStore
from app.database.engine import Database
from app.database.outbox import SqlOutbox
from app.database.tables import (
    account,
    account_detail,
    account_window,
    alert,
    alert_history,
    family,
    feed,
    position,
    touched,
)
from consumers.facts import Profile
from consumers.windows import KEPT_DAYS
from tests.contract.kept_deliveries import deliveries
from tests.contract.memory_alerts import MemoryAccount, MemoryAlertStore, Position

REAL = 5_000_000_000_000_000  # the real clock, far from every moment of judgement
DAYS = bytes(2 * KEPT_DAYS)


class Ground(Protocol):
    """What tests do beside the Protocol: put accounts there, and look at what became of them."""

    @property
    def store(self) -> AlertStore:
        """The store under test."""

    def account(
        self, account_id: str, profile: Profile, *, owner: str | None = None, days: bytes = DAYS
    ) -> int:
        """Add an account, or change its profile. Returns its number."""

    def fed(self, families: Mapping[str, int]) -> None:
        """The portfolio has received these families of events since these days."""

    def detail(self, no: int, facts: bytes, usage: bytes) -> None:
        """What is stored of an account's facts, and of the features that it uses."""

    def heard(self, source: str, family: str, at: int) -> None:
        """The source's newest event of the family."""

    def touch(self, no: int, partition: str = "journal") -> None:
        """Mark an account."""

    def behind(self, partition: str, behind: bool, updated_at: int) -> None:
        """Say how far a partition is."""

    def alerts(self) -> Sequence[Alert]:
        """All alerts, by rule, account and episode."""

    def history(self) -> Sequence[tuple[str, int, str]]:
        """All moves as (alert id, seq, kind), in order of writing within each alert."""

    def deliveries(self) -> Sequence[Delivery]:
        """All deliveries, by destination, alert and seq."""

    def line(self, no: int) -> tuple[str, int | None, int | None]:
        """An account's risk level, judged_at and evaluated_at."""

    def marks(self) -> int:
        """How many marks there are."""


class MemoryGround:
    """In plain dictionaries."""

    def __init__(self) -> None:
        self.store = MemoryAlertStore()
        self.store.content.real_us = REAL

    def account(
        self, account_id: str, profile: Profile, *, owner: str | None = None, days: bytes = DAYS
    ) -> int:
        accounts = self.store.content.accounts
        for no, known in accounts.items():
            if known.card.account_id == account_id:
                known.profile = profile.blob()
                return no
        no = len(accounts) + 1
        card = AccountCard(no, account_id, owner=owner)
        accounts[no] = MemoryAccount(card, profile.blob(), days)
        return no

    def fed(self, families: Mapping[str, int]) -> None:
        self.store.content.families.update(families)

    def detail(self, no: int, facts: bytes, usage: bytes) -> None:
        self.store.content.accounts[no].facts, self.store.content.accounts[no].usage = facts, usage

    def heard(self, source: str, family: str, at: int) -> None:
        newest = self.store.content.newest
        newest[family] = max(at, newest.get(family, at))

    def touch(self, no: int, partition: str = "journal") -> None:
        self.store.content.marks.add((no, partition))

    def behind(self, partition: str, behind: bool, updated_at: int) -> None:
        self.store.content.positions[partition] = Position(behind, updated_at)

    def alerts(self) -> Sequence[Alert]:
        return sorted(
            self.store.content.alerts.values(), key=lambda each: (each.rule, each.account_no, each.episode)
        )

    def history(self) -> Sequence[tuple[str, int, str]]:
        return sorted((move.after.id, move.after.seq, move.kind) for move, _ in self.store.content.history)

    def deliveries(self) -> Sequence[Delivery]:
        found = self.store.content.deliveries.values()
        return sorted(found, key=lambda each: (each.destination, each.alert_id, each.seq))

    def line(self, no: int) -> tuple[str, int | None, int | None]:
        known = self.store.content.accounts[no]
        return known.risk_level, known.judged_at, known.evaluated_at

    def marks(self) -> int:
        return len(self.store.content.marks)


class SqlGround:
    """In a database, whose schema is there."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.outbox = SqlOutbox(self.database)
        self.store = SqlAlertStore(self.database, self.outbox, lambda: REAL)

    def account(
        self, account_id: str, profile: Profile, *, owner: str | None = None, days: bytes = DAYS
    ) -> int:
        with self.database.write() as connection:
            no = connection.scalar(select(account.c.no).where(account.c.account_id == account_id))
            if no is not None:
                window = update(account_window).where(account_window.c.account_no == no)
                connection.execute(window.values(profile=profile.blob()))
                return int(no)
            fresh = insert(account).values(account_id=account_id, owner=owner).returning(account.c.no)
            no = connection.execute(fresh).scalar_one()
            blobs = {"profile": profile.blob(), "days": days, "users": b"", "login_maps": b""}
            connection.execute(insert(account_window).values(account_no=no, **blobs))
            return int(no)

    def fed(self, families: Mapping[str, int]) -> None:
        with self.database.write() as connection:
            rows = [{"name": name, "first_day": day} for name, day in families.items()]
            connection.execute(insert(family), rows)

    def detail(self, no: int, facts: bytes, usage: bytes) -> None:
        with self.database.write() as connection:
            blobs = {"facts": facts, "features": usage, "user_ids": b""}
            connection.execute(insert(account_detail).values(account_no=no, **blobs))

    def heard(self, source: str, family: str, at: int) -> None:
        with self.database.write() as connection:
            row = {"newest_at": at, "first_day": 0, "hours": b"", "updated_at": at}
            connection.execute(insert(feed).values(source=source, family=family, **row))

    def touch(self, no: int, partition: str = "journal") -> None:
        with self.database.write() as connection:
            connection.execute(insert(touched).values(account_no=no, partition=partition))

    def behind(self, partition: str, behind: bool, updated_at: int) -> None:
        with self.database.write() as connection:
            values = {"behind": behind, "updated_at": updated_at}
            moved = connection.execute(
                update(position).where(position.c.partition == partition).values(**values)
            )
            if not moved.rowcount:
                connection.execute(insert(position).values(partition=partition, next=1, **values))

    def alerts(self) -> Sequence[Alert]:
        with self.store.transaction() as work, self.database.read() as connection:
            ids = connection.scalars(select(alert.c.id)).all()
            found = work.alerts(ids).values()
        return sorted(found, key=lambda each: (each.rule, each.account_no, each.episode))

    def history(self) -> Sequence[tuple[str, int, str]]:
        columns = (alert_history.c.alert_id, alert_history.c.seq, alert_history.c.kind)
        with self.database.read() as connection:
            return sorted((row[0], row[1], row[2]) for row in connection.execute(select(*columns)))

    def deliveries(self) -> Sequence[Delivery]:
        return sorted(deliveries(self.database), key=lambda each: (each.destination, each.alert_id, each.seq))

    def line(self, no: int) -> tuple[str, int | None, int | None]:
        columns = (account.c.risk_level, account.c.judged_at, account.c.evaluated_at)
        with self.database.read() as connection:
            row = connection.execute(select(*columns).where(account.c.no == no)).one()
        return row[0], row[1], row[2]

    def marks(self) -> int:
        with self.database.read() as connection:
            return len(connection.execute(select(touched)).all())
