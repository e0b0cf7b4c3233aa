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

# ruff: noqa: S608 - names and conditions in these texts are ours; values never are in them
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from alerts.account_rows import AccountRows
from alerts.alert import AlertStatus
from alerts.risk import RiskLevel
from alerts.store import AccountCard, Batch, Standing
from app.database.drivers import Driver, driver_rows
from app.database.health import read_health
from app.database.tables import account, account_window, alert, position, touched

_SLICE = 5_000  # values in one IN list; SQLite takes 32,766
_AHEAD_US = 3_600_000_000  # of the patience with a partition

OPEN = alert.c.status != AlertStatus.RESOLVED
# The accounts that wait: a partition that marked them is behind and on its way. Positions first: they are few, and
# mostly none is.
HELD = """
SELECT t.account_no FROM position AS p CROSS JOIN touched AS t
WHERE p.behind AND p.updated_at BETWEEN ? AND ? AND t.partition = p.partition
"""
MARKED = f"SELECT account_no FROM touched WHERE account_no NOT IN ({HELD})"
RINGING = f"SELECT account_no FROM alert WHERE account_no NOT IN ({HELD}) AND check_at <= ?"
# PostgreSQL: of accounts that nobody holds; the others are passed by.
_TAKE = "SELECT no FROM account WHERE no IN ({}) ORDER BY no LIMIT ? FOR NO KEY UPDATE SKIP LOCKED"
_STANDING = f"""
SELECT id, account_no, rule, episode, severity, status = '{AlertStatus.FIRING}',
  status = '{AlertStatus.FIRING}' AND false_since IS NULL AND unknown_since_day IS NULL AND check_at IS NULL, dismissed
FROM alert WHERE (status <> '{AlertStatus.RESOLVED}' OR dismissed OR resolved_at > ?)
"""
# What the shipped rules read of every account, in one look: a second one for one more column costs half as much again.
_COLUMNS = ("profile", "days", "users", "moments", "features", "sessions")
_WINDOWS = tuple(account_window.c[name] for name in _COLUMNS)
_CARD = tuple(each.name for each in fields(AccountCard) if each.name != "account_no")
_NEVER_US = 1 << 62  # an instant that nothing is later than


class AccountBatches:
    """On one connection, in one writing transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver = Driver(connection)
        self._locks = not self._driver.sqlite
        self._locked: set[int] = set()

    # --- taking

    def marked(self, limit: int, progress_since: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` marked accounts that need not wait; their marks are cleared."""
        nos = self._take(MARKED, (), limit, progress_since)
        batch = self._batch(nos, cooling_since)
        if nos:
            these, values = self._driver.among("account_no", nos)
            self._driver.run(f"DELETE FROM touched WHERE {these}", *values)
        return replace(batch, marked=batch.rows.nos)

    def ringing(self, now: int, limit: int, progress_since: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts of alerts whose ``check_at`` has come; that of resolved ones is cleared."""
        nos = self._take(RINGING, (now,), limit, progress_since)
        batch = self._batch(nos, cooling_since)
        if nos:
            these, values = self._driver.among("account_no", nos)
            rung = (
                f"UPDATE alert SET check_at = NULL WHERE check_at <= ? AND status = '{AlertStatus.RESOLVED}'"
            )
            self._driver.run(f"{rung} AND {these}", now, *values)
        return batch

    def following(self, account_no: int, limit: int, progress_since: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts with numbers above ``account_no``, but for those that wait; none: at the end."""
        number = account_window.c.account_no
        while True:
            held = held_partitions(self._connection, progress_since)
            wanted = select(number, *_WINDOWS).where(number > account_no, *not_held(number, held))
            if not self._locks:
                rows = driver_rows(self._connection.execute(wanted.order_by(number).limit(limit)))
                return self._as_batch(rows, cooling_since)
            candidates = select(number).where(number > account_no, *not_held(number, held))
            # Not by IN: the planner would join everything that follows before it sorts and cuts.
            found = driver_rows(self._connection.execute(candidates.order_by(number).limit(limit)))
            nos = [row[0] for row in found]
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
        if new:
            these, values = self._driver.among("no", new)
            held = f"SELECT no FROM account WHERE {these} ORDER BY no FOR NO KEY UPDATE"
            self._driver.rows(f"SELECT count(*) FROM ({held}) AS held", *values)
        self._locked.update(new)

    def _take(self, wanted: str, values: Sequence[Any], limit: int, progress_since: int) -> Sequence[int]:
        """The first accounts of a query; where rows are locked, of those that nobody holds."""
        first = (*moving(progress_since), *values, limit)
        if not self._locks:
            distinct = wanted.replace("SELECT", "SELECT DISTINCT", 1)
            return [row[0] for row in self._driver.rows(f"{distinct} ORDER BY account_no LIMIT ?", *first)]
        nos = [row[0] for row in self._driver.rows(_TAKE.format(wanted), *first)]
        self._locked.update(nos)
        return self._still_free(nos, progress_since)

    def _still_free(self, nos: Sequence[int], progress_since: int) -> Sequence[int]:
        """Those whose marks, which can no longer change, name no partition that is behind."""
        if not nos:
            return nos
        these, values = self._driver.among("t.account_no", nos)
        waiting = {
            row[0] for row in self._driver.rows(f"{HELD} AND {these}", *moving(progress_since), *values)
        }
        return [no for no in nos if no not in waiting] if waiting else nos

    # --- reading

    def cards(self, nos: Iterable[int]) -> dict[int, AccountCard]:
        """What messages say of these accounts."""
        return {row[0]: AccountCard(*row) for row in self._of_accounts(_CARD, sorted(nos))}

    def _batch(self, nos: Sequence[int], cooling_since: int | None) -> Batch:
        return self._as_batch(self._of_windows(_COLUMNS, nos), cooling_since)

    def _as_batch(self, found: Sequence[Sequence[Any]], cooling_since: int | None) -> Batch:
        numbers, *columns = zip(*found, strict=True) if found else ((),) * (1 + len(_COLUMNS))
        profiles, days, users, moments, features, sessions = columns
        levels, judged = self._how_they_stood(numbers)

        def one(column: str) -> list[Any]:
            return [row[1] for row in self._of_accounts((column,), numbers)]

        def blobs(column: Iterable[bytes | None]) -> list[bytes]:
            return [blob or b"" for blob in column]

        rows = AccountRows(
            nos=numbers,
            account_ids=_Lazily(lambda: one("account_id")),
            profiles=profiles,
            days=days,
            users=users,
            attributes=lambda name: one(account.c[name].name),
            login_maps=lambda: [row[1] for row in self._of_windows(("login_maps",), numbers)],
            moments=lambda: blobs(moments),
            features=lambda: blobs(features),
            sessions=lambda: blobs(sessions),
            health=lambda: read_health(self._connection, numbers),
        )
        return Batch(rows, levels, judged, self._standings(numbers, cooling_since))

    def _how_they_stood(self, nos: Sequence[int]) -> tuple[list[str], list[bool]]:
        """Each account's risk level, and whether it was judged before. Only those that say something are read."""
        levels, judged = dict.fromkeys(nos, RiskLevel.LOW.value), dict.fromkeys(nos, True)
        if nos:
            these, values = self._driver.among("no", nos)
            telling = f"{these} AND (risk_level <> '{RiskLevel.LOW}' OR judged_at IS NULL)"
            wanted = f"SELECT no, risk_level, judged_at FROM account WHERE {telling}"
            for no, level, judged_at in self._driver.rows(wanted, *values):
                levels[no], judged[no] = level, judged_at is not None
        return list(levels.values()), list(judged.values())

    def _standings(self, nos: Sequence[int], cooling_since: int | None) -> list[Standing]:
        if not nos:
            return []
        these, values = self._driver.among("account_no", nos)
        since = _NEVER_US if cooling_since is None else cooling_since
        ordered = f"{_STANDING} AND {these} ORDER BY account_no, rule, episode"
        return list(map(Standing._make, self._driver.rows(ordered, since, *values)))

    def _of_accounts(self, columns: Sequence[str], nos: Sequence[int]) -> Sequence[Sequence[Any]]:
        """Numbers and columns of these accounts, in the order of their numbers, as ``nos`` are."""
        if not nos:
            return ()
        these, values = self._driver.among("no", nos)
        return self._driver.rows(
            f"SELECT no, {', '.join(columns)} FROM account WHERE {these} ORDER BY no", *values
        )

    def _of_windows(self, columns: Sequence[str], nos: Sequence[int]) -> Sequence[Sequence[Any]]:
        """The same of those among them that have windows."""
        if not nos:
            return ()
        these, values = self._driver.among("account_no", nos)
        wanted = (
            f"SELECT account_no, {', '.join(columns)} FROM account_window WHERE {these} ORDER BY account_no"
        )
        return self._driver.rows(wanted, *values)


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


def moving(progress_since: int) -> tuple[int, int]:
    """Between which instants a partition has moved that is on its way."""
    return progress_since + 1, progress_since + _AHEAD_US


def held_partitions(connection: Connection, progress_since: int) -> Sequence[str]:
    """The partitions that are behind and on their way: what they touched waits.

    One that moved in a far future was moved by a process whose clock is wrong: nothing waits until then.
    """
    on_its_way = position.c.updated_at.between(*moving(progress_since))
    return list(connection.scalars(select(position.c.partition).where(position.c.behind, on_its_way)))


def not_held(account_no: ColumnElement[int], held: Collection[str]) -> list[ColumnElement[bool]]:
    """The condition that none of the partitions ``held`` marked the account; nothing where there are none."""
    if not held:
        return []
    marks = touched.alias()
    return [account_no.not_in(select(marks.c.account_no).where(marks.c.partition.in_(held)))]


def slices(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """As many as one statement may name, one after another."""
    for start in range(0, len(values), _SLICE):
        yield values[start : start + _SLICE]
