"""Health in the database: what a close wrote is read again, of few accounts or many; neighbours stay as they are."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sqlalchemy import insert, select

from alerts.health.state import HEALTH_DTYPE, blank
from app.database.health import PAGE, health_days, keep_health, prune_health, read_health
from app.database.tables import account, health_history, health_state

DAY = 20_000


def records(nos, *, day=DAY, score=None):
    """Records that tell their accounts apart."""
    made = blank(len(nos))
    made["day"] = made["since_day"] = day
    made["score"] = [no % 10_000 for no in nos] if score is None else score
    made["kept"] = np.arange(4) + np.asarray(nos)[:, None]
    made["coverage"], made["band"] = 8_049, 2
    return made


@pytest.fixture
def accounts(database):
    """Their numbers: some in three pages, and the edges of pages."""
    nos = [1, 2, 3, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE - 1, *range(3 * PAGE, 3 * PAGE + 700)]
    with database.write() as connection:
        connection.execute(insert(account), [{"no": no, "account_id": f"a{no}"} for no in nos])
    return nos


def kept(database, nos, made, day=DAY):
    with database.write() as connection:
        keep_health(connection, nos, made, day)


def read(database, nos):
    with database.read() as connection:
        return read_health(connection, nos)


def test_before_the_first_close_everything_is_zeros(database, accounts):
    assert read(database, accounts).tobytes() == blank(len(accounts)).tobytes()
    assert len(read(database, [])) == 0


def test_few_accounts_and_many_read_what_was_written(database, accounts):
    made = records(accounts)
    kept(database, accounts, made)
    assert np.array_equal(read(database, accounts), made)
    assert np.array_equal(read(database, accounts[:8]), made[:8])
    assert np.array_equal(read(database, accounts[5:6]), made[5:6])
    assert np.array_equal(read(database, accounts[2::50]), made[2::50])


def test_accounts_that_were_not_closed_lie_between_those_that_were(database, accounts):
    kept(database, accounts[1:6:2], records(accounts[1:6:2]))
    expected = blank(len(accounts))
    expected[1:6:2] = records(accounts[1:6:2])
    assert np.array_equal(read(database, accounts), expected)
    assert np.array_equal(read(database, accounts[:8]), expected[:8])


def test_a_later_close_changes_its_own_accounts_alone(database, accounts):
    kept(database, accounts, records(accounts))
    kept(database, accounts[3:5], records(accounts[3:5], day=DAY + 1, score=7), DAY + 1)
    now = read(database, accounts)
    assert now["day"].tolist() == [DAY] * 3 + [DAY + 1] * 2 + [DAY] * (len(accounts) - 5)
    assert np.array_equal(now[5:], records(accounts)[5:])


def test_closing_no_account_writes_nothing(database):
    kept(database, [], blank(0))
    with database.read() as connection:
        assert connection.execute(select(health_state)).all() == []


def test_what_was_rolled_back_never_was(database, accounts):
    def half():
        with database.write() as connection:
            keep_health(connection, accounts, records(accounts), DAY)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert not read(database, accounts)["day"].any()


def test_the_history_of_one_account_day_by_day(database, accounts):
    one, other = accounts[4], accounts[5]
    for day, score in ((DAY, 10_000), (DAY + 1, -1), (DAY + 4, 0)):
        made = records([one, other], day=day, score=[score, 5_000])
        made["band"][0] = {10_000: 3, -1: 0, 0: 1}[score]
        made["coverage"][0] = 5_950 if score < 0 else 10_000
        kept(database, [one, other], made, day)
    kept(database, [other], records([other], day=DAY + 2), DAY + 2)
    with database.read() as connection:
        days = health_days(connection, one, DAY, DAY + 9)
        later = health_days(connection, one, DAY + 1, DAY + 3)
        nothing = health_days(connection, accounts[0], DAY, DAY + 9)
    assert [tuple(each) for each in days] == [
        (DAY, 100.0, "green", 1.0),
        (DAY + 1, None, "unknown", 0.6),
        (DAY + 4, 0.0, "red", 1.0),
    ]
    assert later == days[1:2]
    assert nothing == []


def test_a_day_is_written_in_pieces_as_a_sweep_goes_on(database, accounts):
    for start in range(0, len(accounts), 100):
        some = accounts[start : start + 100]
        kept(database, some, records(some))
    assert np.array_equal(read(database, accounts), records(accounts))
    with database.read() as connection:
        assert len(health_days(connection, accounts[-1], DAY, DAY)) == 1
        assert len(connection.execute(select(health_history)).all()) == 4


def test_old_days_are_dropped_and_what_is_remembered_stays(database, accounts):
    few = accounts[:5]
    for day in range(DAY, DAY + 5):
        kept(database, few, records(few, day=day), day)
    with database.write() as connection:
        gone = 0
        while dropped := prune_health(connection, before_day=DAY + 3, limit=2):
            gone += dropped
    assert gone == 6  # two pages a day
    with database.read() as connection:
        assert [each.day for each in health_days(connection, few[0], DAY, DAY + 9)] == [DAY + 3, DAY + 4]
    assert (read(database, few)["day"] == DAY + 4).all()


def test_two_closes_of_accounts_in_one_page_lose_nothing(database, accounts):
    halves = accounts[7::2], accounts[8::2]
    together = threading.Barrier(2)

    def close(nos):
        together.wait()
        for start in range(0, len(nos), 50):
            kept(database, nos[start : start + 50], records(nos[start : start + 50]))

    threads = [threading.Thread(target=close, args=(nos,)) for nos in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(read(database, accounts[7:]), records(accounts[7:]))


def test_a_record_is_as_small_as_the_pages_are_meant_for():
    assert HEALTH_DTYPE.itemsize * PAGE == 40_960
