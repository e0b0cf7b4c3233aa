"""What outcomes read is the same on both databases, and rows from before they were kept count as empty."""

from __future__ import annotations

from sqlalchemy import insert, select

from alerts.outcomes.months import Month
from app.database import outcomes
from app.database.engine import Database
from app.database.tables import account, account_window, family
from app.retention import Question, read_retention, read_waterfall
from consumers.facts import Profile
from consumers.ledger import Ledger, store

DAY = 20_778  # 2026-11-21


def test_ledgers_come_whole_and_in_order(database: Database) -> None:
    paying = store(Ledger({"USD": [(DAY - 700, 5_000), (DAY - 100, 4_000)]}, {"size": [(DAY - 700, "smb")]}))
    with database.write() as connection:
        connection.execute(insert(family).values(name="subscriptions", first_day=DAY - 700))
        for account_id, ledger in (("b", paying), ("B", None), ("a", paying)):
            connection.execute(insert(account).values(account_id=account_id, name=f"Customer {account_id}"))
            no = connection.scalar(select(account.c.no).where(account.c.account_id == account_id))
            windows = {"profile": Profile().blob(), "days": b"", "users": b"", "login_maps": b""}
            connection.execute(insert(account_window).values(account_no=no, ledger=ledger, **windows))
    with database.read() as connection:
        found, named = outcomes.everything(connection), outcomes.by_account(connection)
        assert outcomes.first_days(connection) == {"subscriptions": DAY - 700}
    assert (found.ledgers, found.moments, found.active_days) == ([paying, b"", paying], [b""] * 3, [b""] * 3)
    assert named.account_ids == ["B", "a", "b"]
    assert (named.ledgers, named.names) == ([b"", paying, paying], ["Customer B", "Customer a", "Customer b"])

    question = Question(at=Month(2026, 10), months=1, currency=None, as_of=DAY)
    (year,) = read_retention(database, question).outcomes.months
    assert (year.movement.accounts, year.movement.start, year.movement.contraction) == (2, 10_000, 2_000)
    per_account, _ = read_waterfall(database, question)
    assert per_account.waterfall.contraction.tolist() == [0, 1_000, 1_000]
