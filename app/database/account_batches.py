"""Accounts taken to be judged, many at once: locked, then read.

On SQLite a writing transaction is alone by itself. On PostgreSQL any number of evaluators and consumers work at once,
and the row of an account in the directory is the lock of everything kept of it. Whoever writes its windows, marks it,
judges it or moves its alerts holds that row FOR NO KEY UPDATE from before he reads until he commits, and whoever takes
several takes them by number. A statement sees what was committed when it began, so accounts are locked by one
statement and read by later ones. What can happen between a consumer C, evaluators E and F and one account:

- C commits, then E locks: E reads C's windows and clears C's mark. Judged once, on windows as new as the mark.
- E locks, then C comes: C waits for E's commit, reads and writes windows nobody else changes, and marks the account
  anew, as E's clearing is committed. E judged the windows before, the new mark brings C's.
- C holds the account when E looks for marks: E passes it by (SKIP LOCKED) with its mark; the next look finds it. A
  sweep, which must leave nobody out, waits instead.
- E looked for marks, C commits another mark, E locks: E reads windows with what C wrote, and clears C's mark too, which
  it has honoured. But C's partition may be behind, and then the account must wait: so what waits is looked up again
  once the accounts are locked, and such accounts are left with all their marks.
- E and F look at once: F passes by what E holds and takes others. If E commits between F's look and F's lock, F locks
  an account whose mark is gone and judges it once more, which moves nothing.
- A person resolves an alert and marks the account while E judges it: the person waits for E's commit, or E passes by.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, or_, select, update

from alerts.alert import AlertStatus
from alerts.portfolio import AccountRows
from alerts.risk import RiskLevel
from alerts.store import AccountCard, Batch, Standing
from app.database.tables import account, account_window, alert, position, touched

_SLICE = 5_000  # values in one IN list; SQLite takes 32,766
_AHEAD_US = 3_600_000_000  # of the patience with a partition

OPEN = alert.c.status != AlertStatus.RESOLVED
_SETTLED = and_(
    alert.c.status == AlertStatus.FIRING,
    alert.c.false_since.is_(None),
    alert.c.unknown_since_day.is_(None),
    alert.c.check_at.is_(None),
)
_STANDING = (
    alert.c.id,
    alert.c.account_no,
    alert.c.rule,
    alert.c.episode,
    alert.c.severity,
    (alert.c.status == AlertStatus.FIRING).label("firing"),
    _SETTLED.label("settled"),
    alert.c.dismissed,
)
_WINDOWS = (account_window.c.profile, account_window.c.days, account_window.c.users)
_CARD = tuple(account.c[each.name] for each in fields(AccountCard) if each.name != "account_no")


class AccountBatches:
    """On one connection, in one writing transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._locks = connection.dialect.name != "sqlite"
        self._locked: set[int] = set()

    # --- taking

    def marked(self, limit: int, progress_since: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` marked accounts that need not wait; their marks are cleared."""
        held = held_partitions(self._connection, progress_since)
        marks = select(touched.c.account_no).distinct().where(*not_held(touched.c.account_no, held))
        nos = self._take(marks, touched.c.account_no, limit, progress_since)
        batch = self._batch(nos, cooling_since)
        for these in among(touched.c.account_no, nos):
            self._connection.execute(delete(touched).where(these))
        return replace(batch, marked=batch.rows.nos)

    def ringing(self, now: int, limit: int, progress_since: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts of alerts whose ``check_at`` has come; that of resolved ones is cleared."""
        held = held_partitions(self._connection, progress_since)
        due = (
            select(alert.c.account_no)
            .distinct()
            .where(alert.c.check_at <= now, *not_held(alert.c.account_no, held))
        )
        nos = self._take(due, alert.c.account_no, limit, progress_since)
        batch = self._batch(nos, cooling_since)
        for these in among(alert.c.account_no, nos):
            rung = update(alert).where(alert.c.check_at <= now, ~OPEN, these)
            self._connection.execute(rung.values(check_at=None))
        return batch

    def following(self, account_no: int, limit: int, progress_since: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts with numbers above ``account_no``, but for those that wait; none: at the end."""
        number = account_window.c.account_no
        while True:
            held = held_partitions(self._connection, progress_since)
            wanted = select(number, *_WINDOWS).where(number > account_no, *not_held(number, held))
            if not self._locks:
                return self._as_batch(self._driver_rows(wanted.order_by(number).limit(limit)), cooling_since)
            candidates = select(number).where(number > account_no, *not_held(number, held))
            # Not by IN: the planner would join everything that follows before it sorts and cuts.
            nos = list(self._connection.scalars(candidates.order_by(number).limit(limit)))
            self.lock(nos)
            if free := self._still_free(nos, progress_since):
                return self._batch(free, cooling_since)
            if not nos:
                return self._as_batch((), cooling_since)
            account_no = nos[-1]  # all of them wait by now: the sweep goes on behind them

    def lock(self, nos: Iterable[int]) -> None:
        """Hold these accounts until the end, where the database locks rows; by number, waiting for whoever has one."""
        if not self._locks:
            return
        new = sorted(set(nos) - self._locked)
        for these in among(account.c.no, new):
            wanted = select(account.c.no).where(these).order_by(account.c.no)
            self._connection.execute(wanted.with_for_update(key_share=True))
        self._locked.update(new)

    def _take(
        self, wanted: Select[int], number: ColumnElement[int], limit: int, progress_since: int
    ) -> Sequence[int]:
        """The first accounts of a query; where rows are locked, of those that nobody holds."""
        if not self._locks:
            return list(self._connection.scalars(wanted.order_by(number).limit(limit)))
        unlocked = select(account.c.no).where(account.c.no.in_(wanted)).order_by(account.c.no).limit(limit)
        nos = list(self._connection.scalars(unlocked.with_for_update(key_share=True, skip_locked=True)))
        self._locked.update(nos)
        return self._still_free(nos, progress_since)

    def _still_free(self, nos: Sequence[int], progress_since: int) -> Sequence[int]:
        """Those whose marks, which can no longer change, name no partition that is behind."""
        held = held_partitions(self._connection, progress_since) if nos else ()
        if not held:
            return nos
        waiting: set[int] = set()
        for these in among(touched.c.account_no, nos):
            marks = select(touched.c.account_no).where(these, touched.c.partition.in_(held))
            waiting.update(self._connection.scalars(marks))
        return [no for no in nos if no not in waiting]

    # --- reading

    def cards(self, nos: Iterable[int]) -> dict[int, AccountCard]:
        """What messages say of these accounts."""
        return {row[0]: AccountCard(*row) for row in self._of_accounts((account.c.no, *_CARD), nos)}

    def _batch(self, nos: Sequence[int], cooling_since: int | None) -> Batch:
        return self._as_batch(self._of_accounts((account.c.no, *_WINDOWS), nos, windows=True), cooling_since)

    def _as_batch(self, found: Sequence[Sequence[Any]], cooling_since: int | None) -> Batch:
        numbers, profiles, days, users = zip(*found, strict=True) if found else ((),) * 4
        levels, judged = self._how_they_stood(numbers)

        def one(column: ColumnElement[Any], *, windows: bool = False) -> list[Any]:
            wanted = self._of_accounts((account.c.no, column), numbers, windows=windows)
            return [row[1] for row in wanted]

        rows = AccountRows(
            nos=numbers,
            account_ids=_Lazily(lambda: one(account.c.account_id)),
            profiles=profiles,
            days=days,
            users=users,
            attributes=lambda name: one(account.c[name]),
            login_maps=lambda: one(account_window.c.login_maps, windows=True),
        )
        return Batch(rows, levels, judged, self._standings(numbers, cooling_since))

    def _how_they_stood(self, nos: Sequence[int]) -> tuple[list[str], list[bool]]:
        """Each account's risk level, and whether it was judged before. Only those that say something are read."""
        levels, judged = dict.fromkeys(nos, RiskLevel.LOW.value), dict.fromkeys(nos, True)
        telling = or_(account.c.risk_level != RiskLevel.LOW, account.c.judged_at.is_(None))
        for these in among(account.c.no, nos):
            wanted = select(account.c.no, account.c.risk_level, account.c.judged_at).where(these, telling)
            for no, level, judged_at in self._driver_rows(wanted):
                levels[no], judged[no] = level, judged_at is not None
        return list(levels.values()), list(judged.values())

    def _standings(self, nos: Sequence[int], cooling_since: int | None) -> list[Standing]:
        wanted = or_(OPEN, alert.c.dismissed)
        if cooling_since is not None:
            wanted = or_(wanted, alert.c.resolved_at > cooling_since)
        found: list[Standing] = []
        for these in among(alert.c.account_no, nos):
            standing = select(*_STANDING).where(these, wanted)
            ordered = standing.order_by(alert.c.account_no, alert.c.rule, alert.c.episode)
            found += map(Standing._make, self._driver_rows(ordered))
        return found

    def _driver_rows(self, wanted: Select[Any]) -> list[tuple[Any, ...]]:
        """The driver's own tuples: wrapping each row of a sweep would cost as much again as reading it."""
        result = self._connection.execute(wanted)
        found = list(result.cursor.fetchall()) if result.cursor is not None else []
        result.close()
        return found

    def _of_accounts(
        self, columns: Sequence[ColumnElement[Any]], nos: Iterable[int], *, windows: bool = False
    ) -> list[Sequence[Any]]:
        """Columns of these accounts, in the order of their numbers."""
        found: list[Sequence[Any]] = []
        for these in among(account.c.no, sorted(nos)):
            query = select(*columns).where(these).order_by(account.c.no)
            found += self._connection.execute(query.join(account_window) if windows else query).all()
        return found


class _Lazily(Sequence[str]):
    """Values that only the few accounts that move are asked for."""

    def __init__(self, read: Callable[[], list[str]]) -> None:
        self._read = read
        self._values: list[str] | None = None

    def _known(self) -> list[str]:
        if self._values is None:
            self._values = self._read()
        return self._values

    def __getitem__(self, place: Any) -> Any:
        return self._known()[place]

    def __len__(self) -> int:
        return len(self._known())


def held_partitions(connection: Connection, progress_since: int) -> Sequence[str]:
    """The partitions that are behind and on their way: what they touched waits.

    One that moved in a far future was moved by a process whose clock is wrong: nothing waits until then.
    """
    moving = position.c.updated_at.between(progress_since + 1, progress_since + _AHEAD_US)
    behind = and_(position.c.behind, moving)
    return list(connection.scalars(select(position.c.partition).where(behind)))


def not_held(account_no: ColumnElement[int], held: Collection[str]) -> list[ColumnElement[bool]]:
    """The condition that none of the partitions ``held`` marked the account; nothing where there are none."""
    if not held:
        return []
    marks = touched.alias()
    return [account_no.not_in(select(marks.c.account_no).where(marks.c.partition.in_(held)))]


def among(number: ColumnElement[int], nos: Sequence[int]) -> Iterator[ColumnElement[bool]]:
    """Conditions, one for each statement, under which ``number`` is one of ``nos``, which are in order.

    A sweep's are mostly all there are from the first to the last, which costs a tenth of naming each.
    """
    if nos and nos[-1] - nos[0] + 1 == len(nos):
        yield number.between(nos[0], nos[-1])
        return
    for some in slices(nos):
        yield number.in_(some)


def slices(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """As many as one statement may name, one after another."""
    for start in range(0, len(values), _SLICE):
        yield values[start : start + _SLICE]
