"""What a store of alerts promises, asked of the one in memory and of the one in a database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from alerts.alert import Alert, AlertStatus, Move, Reason, Severity, alert_id, alert_key
from alerts.announcement import Announcer
from alerts.delivery import Telling, address
from alerts.desk import AlertClosed, AlertDesk, UnknownAlert
from alerts.evaluation import Evaluator, Summary
from alerts.lifecycle import moved, resolved
from alerts.metrics.catalogue import CATALOGUE
from alerts.rulebook import Rulebook
from alerts.rules.condition import Condition
from alerts.rules.rule import Mode, Playbook, Rule
from alerts.rules.title import Title
from alerts.store import AlertMoved, Judged
from app.database.account_rows import ACCOUNTS, account_rows
from app.database.feeds import received
from consumers.days import DAY_US, Calendar
from consumers.facts import Profile
from tests.contract.alert_grounds import REAL, Ground, MemoryGround, SqlGround
from tests.contract.conftest import OpenDatabase

HOUR = 3_600_000_000
DAY = 20_779
NOW = DAY * DAY_US + 10 * HOUR
UTC_DAYS = Calendar("UTC")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest, open_database: OpenDatabase) -> Ground:
    return MemoryGround() if request.param == "memory" else SqlGround(open_database(request.param))


def rule(id_: str = "short-term", when: str = "account.term_months < 6", **more: Any) -> Rule:
    given = {"severity": Severity.HIGH, **more}
    return Rule(
        id_,
        Condition.parse(when, CATALOGUE),
        Title.parse("Only {account.term_months} months", CATALOGUE),
        **given,
    )


def evaluator(ground: Ground, *rules: Rule, telling: Telling = Telling.LIVE) -> Evaluator:
    book = Rulebook(rules or (rule(),), Announcer(telling, ("crm",)))
    return Evaluator(ground.store, lambda: book, UTC_DAYS, sweep_accounts=3)


def judged(
    ground: Ground, account_id: str, months: int, *, at: int = NOW, by: Evaluator | None = None
) -> Summary:
    """The account has a term of so many months (-1: nobody said), and is judged."""
    no = ground.account(account_id, Profile(term_months=months))
    ground.touch(no)
    return (by or evaluator(ground)).evaluate_touched(100, at)


def known(ground: Ground, account_id: str = "acme", months: int = 12, by: Evaluator | None = None) -> int:
    """An account that was judged before, and not at risk."""
    judged(ground, account_id, months, at=NOW - HOUR, by=by)
    return ground.account(account_id, Profile(term_months=months))


def kinds(ground: Ground) -> list[str]:
    return [kind for _, _, kind in ground.history()]


def told(ground: Ground) -> list[str]:
    return [each.kind for each in sorted(ground.deliveries(), key=lambda each: (each.created_at, each.seq))]


# --- an account moves, an alert follows


def test_a_touched_account_is_judged_and_its_alert_history_and_delivery_written_together(
    ground: Ground,
) -> None:
    no = known(ground)
    summary = judged(ground, "acme", 3)
    [alert] = ground.alerts()
    assert (alert.status, alert.severity, alert.title) == (AlertStatus.FIRING, Severity.HIGH, "Only 3 months")
    assert alert.evidence["conditions"][0]["value"] == 3
    assert ground.history() == [(alert.id, 1, "firing")]
    assert told(ground) == ["alert.firing"]
    assert ground.line(no) == ("high", NOW - HOUR, NOW)
    assert (summary.accounts, summary.moves, summary.deliveries) == (1, Counter(firing=1), 1)


def test_what_evidence_names_is_read_for_the_accounts_that_are_asked_for_alone(ground: Ground) -> None:
    one, two, _ = (known(ground, name) for name in ("a", "b", "c"))
    ground.detail(one, b"facts of a", b"usage of a")
    ground.detail(two, b"facts of b", b"usage of b")
    ground.heard("sender crm", "logins", NOW - HOUR)
    ground.heard("files", "logins", NOW)
    ground.heard("files", "sessions", NOW - 2 * HOUR)
    with ground.store.transaction() as work:
        assert work.facts([one, two]) == {one: b"facts of a", two: b"facts of b"}
        assert (work.usage([two]), work.usage([])) == ({two: b"usage of b"}, {})
        assert work.newest() == {"logins": NOW, "sessions": NOW - 2 * HOUR}


def test_a_reader_sees_the_same_families_newest_events_and_accounts(ground: Ground) -> None:
    nos = [known(ground, name) for name in ("a", "b")]
    ground.fed({"logins": DAY - 9, "seats": DAY - 8})
    ground.heard("sender crm", "logins", NOW - HOUR)
    ground.heard("files", "logins", NOW)
    if isinstance(ground, SqlGround):
        with ground.database.read() as connection:
            assert received(connection) == ({"logins": DAY - 9, "seats": DAY - 8}, {"logins": NOW})
            rows = account_rows(connection, connection.execute(ACCOUNTS.order_by("no")).all())
        assert (rows.nos, rows.account_ids) == (nos, ["a", "b"])
        assert (rows.profiles, rows.attributes("owner")) == (
            [Profile(term_months=12).blob()] * 2,
            [None, None],
        )


def test_marks_are_cleared_with_the_judgement_and_what_was_judged_is_not_judged_again(ground: Ground) -> None:
    known(ground)
    judged(ground, "acme", 3)
    assert ground.marks() == 0
    assert evaluator(ground).evaluate_touched(100, NOW + HOUR).accounts == 0


def test_judged_again_with_the_same_windows_nothing_moves(ground: Ground) -> None:
    known(ground)
    judged(ground, "acme", 3)
    for later in range(3):
        assert not judged(ground, "acme", 3, at=NOW + later * HOUR).moves
    assert kinds(ground) == ["firing"]


def test_when_the_condition_ends_the_alert_resolves_is_told_and_the_risk_falls(ground: Ground) -> None:
    no = known(ground)
    judged(ground, "acme", 3)
    judged(ground, "acme", 12, at=NOW + HOUR)
    [alert] = ground.alerts()
    assert (alert.status, alert.reason, alert.title) == (
        AlertStatus.RESOLVED,
        Reason.CONDITION_FALSE,
        "Only 3 months",
    )
    assert told(ground) == ["alert.firing", "alert.resolved"]
    assert ground.line(no)[0] == "unknown"


def test_a_condition_that_returns_is_the_next_episode_of_the_same_key(ground: Ground) -> None:
    known(ground)
    for step, months in enumerate((3, 12, 3, 12, 3)):
        judged(ground, "acme", months, at=NOW + step * HOUR)
    alerts = ground.alerts()
    assert [(each.episode, each.status) for each in alerts] == [
        (1, AlertStatus.RESOLVED),
        (2, AlertStatus.RESOLVED),
        (3, AlertStatus.FIRING),
    ]
    assert len({each.key for each in alerts}) == 1
    assert len({each.id for each in alerts}) == 3


def test_a_churned_account_resolves_all_and_opens_none(ground: Ground) -> None:
    no = known(ground)
    judged(ground, "acme", 3)
    ground.account("acme", Profile(term_months=3, churned=1))
    ground.touch(no)
    evaluator(ground, rule(), rule("other")).evaluate_touched(100, NOW + HOUR)
    [alert] = ground.alerts()
    assert alert.reason is Reason.CHURNED


def test_an_alert_holds_through_27_closes_that_cannot_tell_and_resolves_at_the_28th(ground: Ground) -> None:
    known(ground)
    judged(ground, "acme", 3)
    ground.account("acme", Profile(term_months=-1))
    for day in range(DAY, DAY + 27):
        evaluator(ground).close_day(day, (day + 1) * DAY_US)
    assert ground.alerts()[0].open
    evaluator(ground).close_day(DAY + 27, (DAY + 28) * DAY_US)
    assert ground.alerts()[0].reason is Reason.CANNOT_TELL
    assert told(ground) == ["alert.firing", "alert.resolved"]
    assert kinds(ground) == ["firing", "held", "resolved"]


def test_a_held_alert_keeps_the_evidence_it_fired_with(ground: Ground) -> None:
    known(ground)
    judged(ground, "acme", 3)
    ground.account("acme", Profile(term_months=-1))
    evaluator(ground).close_day(DAY, (DAY + 1) * DAY_US)
    [alert] = ground.alerts()
    assert alert.unknown_since_day == DAY
    assert alert.evidence["conditions"][0]["value"] == 3


# --- catching up and the baseline


def test_an_account_waits_while_a_partition_that_touched_it_is_behind(ground: Ground) -> None:
    no = known(ground)
    ground.account("acme", Profile(term_months=3))
    ground.touch(no, "file:history")
    ground.touch(no, "journal")
    ground.behind("file:history", True, REAL)
    assert not ground.store.waiting(NOW, HOUR).touched
    assert evaluator(ground).evaluate_touched(100, NOW).accounts == 0
    evaluator(ground).close_day(DAY - 1, NOW)
    assert ground.alerts() == []
    ground.behind("file:history", False, REAL)
    assert evaluator(ground).evaluate_touched(100, NOW).accounts == 1


def test_a_partition_that_stands_still_for_a_quarter_of_an_hour_holds_nobody_back(ground: Ground) -> None:
    no = known(ground)
    ground.touch(no, "file:broken")
    minute = 60_000_000
    ground.behind("file:broken", True, REAL - 14 * minute)
    assert evaluator(ground).evaluate_touched(100, NOW).accounts == 0
    ground.behind("file:broken", True, REAL - 16 * minute)
    assert evaluator(ground).evaluate_touched(100, NOW).accounts == 1


def test_what_is_true_at_first_judgements_is_told_in_one_summary_whatever_the_batches(ground: Ground) -> None:
    for name in ("a", "b", "c", "d", "e"):
        ground.touch(ground.account(name, Profile(term_months=3)))
    judge = evaluator(ground)
    assert judge.evaluate_touched(2, NOW).more
    assert told(ground) == []
    while judge.evaluate_touched(2, NOW).more:
        pass
    assert [each.baseline for each in ground.alerts()] == [True] * 5
    [summary] = ground.deliveries()
    assert (summary.kind, summary.alert_id[:3]) == ("alert.summary", "su_")
    assert '"accounts":5' in summary.payload
    assert '"by_rule":{"short-term":5}' in summary.payload
    judged(ground, "a", 12, at=NOW + HOUR)
    assert told(ground) == ["alert.summary", "alert.resolved"]


def test_a_summary_that_a_killed_run_did_not_tell_the_next_run_tells(ground: Ground) -> None:
    for name in ("a", "b"):
        ground.touch(ground.account(name, Profile(term_months=3)))
    assert evaluator(ground).evaluate_touched(2, NOW).more  # and then the process was gone
    evaluator(ground).evaluate_touched(2, NOW + HOUR)
    assert told(ground) == ["alert.summary"]
    evaluator(ground).evaluate_touched(2, NOW + HOUR)
    assert told(ground) == ["alert.summary"]


def test_switched_off_everything_is_decided_and_nothing_told(ground: Ground) -> None:
    silent = evaluator(ground, telling=Telling.OFF)
    known(ground, by=silent)
    judged(ground, "acme", 3, by=silent)
    judged(ground, "new", 3, by=silent)
    assert (len(ground.alerts()), ground.deliveries()) == (2, [])


def test_in_shadow_what_would_be_told_is_recorded(ground: Ground) -> None:
    shadow = evaluator(ground, telling=Telling.SHADOW)
    known(ground, by=shadow)
    judged(ground, "acme", 3, by=shadow)
    assert [each.status for each in ground.deliveries()] == ["shadow"]


def test_a_shadow_rule_is_recorded_never_told_not_even_when_it_is_removed(ground: Ground) -> None:
    trial = evaluator(ground, rule(mode=Mode.SHADOW))
    known(ground, by=trial)
    judged(ground, "acme", 3, by=trial)
    judged(ground, "new", 3, by=trial)
    evaluator(ground, rule("other")).retire_rules(NOW)
    assert {each.reason for each in ground.alerts()} == {Reason.RULE_REMOVED}
    assert ground.deliveries() == []


# --- the clock


def test_a_for_that_ran_out_is_found_by_the_clock_alone(ground: Ground) -> None:
    patient = evaluator(ground, rule(for_us=3 * HOUR))
    known(ground, by=patient)
    judged(ground, "acme", 3, by=patient)
    assert patient.evaluate_due(NOW + 3 * HOUR - 1).accounts == 0
    assert patient.evaluate_due(NOW + 3 * HOUR).moves == Counter(firing=1)
    assert patient.evaluate_due(NOW + 3 * HOUR).accounts == 0


def test_a_cooldown_that_ended_rings_once_and_opens_if_it_is_still_true(ground: Ground) -> None:
    calm = evaluator(ground, rule(cooldown_us=5 * HOUR))
    known(ground, by=calm)
    for step, months in enumerate((3, 12, 3)):
        judged(ground, "acme", months, at=NOW + step * HOUR, by=calm)
    assert [each.open for each in ground.alerts()] == [False]
    assert calm.evaluate_due(NOW + 6 * HOUR).moves == Counter(firing=1)
    assert calm.evaluate_due(NOW + 6 * HOUR).accounts == 0
    assert [each.episode for each in ground.alerts()] == [1, 2]


def test_a_sweep_reaches_every_account_in_its_batches_and_twice_moves_nothing_twice(ground: Ground) -> None:
    numbers = [ground.account(f"account-{no}", Profile(term_months=3 if no % 2 else 12)) for no in range(10)]
    alive = []
    first = evaluator(ground).close_day(DAY - 1, NOW, alive=lambda: alive.append(1))
    assert (first.accounts, first.moves, len(alive)) == (10, Counter(firing=5), 4)
    assert not evaluator(ground).close_day(DAY - 1, NOW).moves
    assert all(ground.line(no)[2] == NOW for no in numbers)


def test_where_much_moves_at_once_a_transaction_takes_fewer_accounts_and_the_rest_follows(
    ground: Ground,
) -> None:
    numbers = [ground.account(f"account-{no}", Profile(term_months=3)) for no in range(7)]
    for no in numbers:
        ground.touch(no)
    book = Rulebook((rule(), rule("other")), Announcer(Telling.LIVE, ("crm",)))
    narrow = Evaluator(ground.store, lambda: book, UTC_DAYS, most_cells=4)
    assert (narrow.evaluate_touched(100, NOW).accounts, ground.marks()) == (2, 5)
    while narrow.evaluate_touched(100, NOW).more:
        pass
    assert (len(ground.alerts()), told(ground)) == (14, ["alert.summary"])
    for no in range(7):
        ground.account(f"account-{no}", Profile(term_months=12))
    swept = narrow.close_day(DAY - 1, NOW)
    assert (swept.accounts, swept.moves) == (7, Counter(resolved=14))


def test_one_account_may_have_more_to_look_at_than_a_transaction_should(ground: Ground) -> None:
    ground.touch(ground.account("acme", Profile(term_months=3)))
    book = Rulebook(tuple(rule(f"rule-{no}") for no in range(5)), Announcer())
    assert Evaluator(ground.store, lambda: book, UTC_DAYS, most_cells=2).evaluate_touched(
        9, NOW
    ).moves == Counter(firing=5)


def test_a_sweep_that_is_ended_halfway_keeps_what_it_has_done(ground: Ground) -> None:
    for no in range(10):
        ground.account(f"account-{no}", Profile(term_months=3))

    def end() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluator(ground).close_day(DAY - 1, NOW, alive=end)
    assert len(ground.alerts()) == 3
    evaluator(ground).close_day(DAY - 1, NOW + HOUR)
    assert (len(ground.alerts()), told(ground)) == (10, ["alert.summary"])


def test_the_alerts_of_a_removed_rule_resolve_told_once_and_their_accounts_are_judged_again(
    ground: Ground,
) -> None:
    no = known(ground)
    judged(ground, "acme", 3)
    fewer = evaluator(ground, rule("other", "account.term_months < 2"))
    assert fewer.retire_rules(NOW + HOUR).moves == Counter(resolved=1)
    assert not fewer.retire_rules(NOW + HOUR).moves
    assert ground.alerts()[0].reason is Reason.RULE_REMOVED
    assert told(ground) == ["alert.firing", "alert.resolved"]
    fewer.evaluate_touched(100, NOW + HOUR)
    assert ground.line(no)[0] == "unknown"


# --- by hand


def desk(ground: Ground, act: Callable[[AlertDesk], Alert]) -> Alert:
    with ground.store.transaction() as work:
        return act(AlertDesk(work, Announcer(Telling.LIVE, ("crm",)), UTC_DAYS))


def firing(ground: Ground) -> Alert:
    known(ground)
    judged(ground, "acme", 3)
    return ground.alerts()[0]


def test_acknowledged_once_it_stays_so_and_is_not_told(ground: Ground) -> None:
    alert = firing(ground)
    desk(ground, lambda it: it.acknowledge(alert.id, "ana", NOW + 1))
    again = desk(ground, lambda it: it.acknowledge(alert.id, "ben", NOW + 2))
    assert (again.acknowledged_by, again.acknowledged_at) == ("ana", NOW + 1)
    assert kinds(ground) == ["firing", "acknowledged"]
    assert told(ground) == ["alert.firing"]
    assert ground.alerts()[0].evidence == alert.evidence


def test_an_acknowledgement_outlives_judgements_and_ends_with_the_alert(ground: Ground) -> None:
    alert = firing(ground)
    desk(ground, lambda it: it.acknowledge(alert.id, "ana", NOW + 1))
    judged(ground, "acme", 2, at=NOW + HOUR)
    assert ground.alerts()[0].acknowledged_by == "ana"
    judged(ground, "acme", 12, at=NOW + 2 * HOUR)
    assert ground.alerts()[0].acknowledged_by is None


def test_snoozed_until_an_instant_and_woken_by_one_that_is_past(ground: Ground) -> None:
    alert = firing(ground)
    assert desk(ground, lambda it: it.snooze(alert.id, NOW + HOUR, "ana", NOW)).snoozed_until == NOW + HOUR
    assert desk(ground, lambda it: it.snooze(alert.id, NOW, "ana", NOW)).snoozed_until is None
    assert kinds(ground) == ["firing", "snoozed", "snoozed"]


def test_resolved_by_hand_it_is_told_lowers_the_risk_and_stays_closed_until_it_was_false(
    ground: Ground,
) -> None:
    alert = firing(ground)
    done = desk(ground, lambda it: it.resolve(alert.id, "ana", NOW + HOUR))
    assert (done.status, done.reason, done.dismissed) == (AlertStatus.RESOLVED, Reason.MANUAL, True)
    assert told(ground) == ["alert.firing", "alert.resolved"]
    assert ground.line(alert.account_no)[0] == "low"
    evaluator(ground).close_day(DAY, NOW + DAY_US)
    judged(ground, "acme", 3, at=NOW + DAY_US)
    assert len(ground.alerts()) == 1
    judged(ground, "acme", 12, at=NOW + DAY_US)
    judged(ground, "acme", 3, at=NOW + DAY_US)
    assert [each.open for each in ground.alerts()] == [False, True]


def test_what_cannot_be_done_by_hand_says_so(ground: Ground) -> None:
    alert = firing(ground)
    with pytest.raises(UnknownAlert):
        desk(ground, lambda it: it.resolve("al_nothing", "ana", NOW))
    desk(ground, lambda it: it.resolve(alert.id, "ana", NOW))
    assert desk(ground, lambda it: it.resolve(alert.id, "ben", NOW)).status is AlertStatus.RESOLVED
    with pytest.raises(AlertClosed):
        desk(ground, lambda it: it.acknowledge(alert.id, "ana", NOW))


# --- rivals


def made(no: int, account_id: str = "acme") -> Alert:
    key = alert_key("short-term", account_id)
    return Alert(
        id=alert_id(key, 1),
        key=key,
        rule="short-term",
        account_no=no,
        account_id=account_id,
        episode=1,
        status=AlertStatus.FIRING,
        severity=Severity.LOW,
        title="",
        rule_version="v1",
        updated_at=NOW,
        seq=1,
        fired_at=NOW,
    )


def test_an_alert_that_a_rival_moved_is_not_moved_and_nothing_of_the_batch_is_kept(ground: Ground) -> None:
    alert = firing(ground)
    late = resolved(replace(alert, seq=alert.seq + 5), Reason.MANUAL, NOW)
    other = ground.account("other", Profile())
    word = address(
        ["crm"],
        kind="alert.resolved",
        alert_id=alert.id,
        account_id="acme",
        episode=1,
        seq=9,
        payload="{}",
        now=NOW,
    )

    def write() -> None:
        with ground.store.transaction() as work:
            work.judge(Judged([other], NOW, {other: "critical"}))
            work.apply([late], word, NOW)

    with pytest.raises(AlertMoved):
        write()
    assert ground.alerts() == [alert]
    assert ground.line(other)[0] == "unknown"
    assert told(ground) == ["alert.firing"]


def test_two_open_alerts_of_one_key_are_refused_by_the_store_itself(ground: Ground) -> None:
    alert = firing(ground)
    twin = replace(alert, id=alert_id(alert.key, 2), episode=2, seq=1)
    with pytest.raises(AlertMoved), ground.store.transaction() as work:
        work.apply([Move(None, twin, "firing", Reason.CONDITION_TRUE, tells=False)], [], NOW)
    assert ground.alerts() == [alert]


def test_six_threads_that_judge_the_same_accounts_open_each_alert_once(ground: Ground) -> None:
    numbers = [ground.account(f"account-{no}", Profile(term_months=3)) for no in range(12)]
    for no in numbers:
        ground.touch(no)
    start, failures = threading.Barrier(6), []

    def judge_and_sweep(mine: int) -> None:
        judge = evaluator(ground)
        start.wait()
        try:
            for _ in range(4):
                while judge.evaluate_touched(2, NOW).more:
                    pass
                if mine % 2:
                    judge.evaluate_all(NOW)
        except Exception as error:  # a thread's error would be lost
            failures.append(error)

    threads = [threading.Thread(target=judge_and_sweep, args=(mine,)) for mine in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Counter(each.account_no for each in ground.alerts()) == Counter(numbers)
    assert kinds(ground) == ["firing"] * 12
    assert set(told(ground)) == {"alert.summary"}


def test_threads_that_move_one_alert_by_hand_and_by_judgement_leave_an_unbroken_history(
    ground: Ground,
) -> None:
    alert = firing(ground)
    start, failures = threading.Barrier(4), []

    def until(instant: int) -> Callable[[AlertDesk], Alert]:
        return lambda it: it.snooze(alert.id, instant, "ana", NOW)

    def snooze(mine: int) -> None:
        start.wait()
        try:
            for turn in range(5):
                desk(ground, until(NOW + mine * 100 + turn + 1))
                evaluator(ground).evaluate_all(NOW)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=snooze, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [seq for _, seq, _ in ground.history()] == list(range(1, 22))


def test_the_last_episode_is_known_of_every_key_the_account_ever_had(ground: Ground) -> None:
    no = ground.account("acme", Profile())
    first = made(no)
    closed = resolved(first, Reason.MANUAL, NOW).after
    second = replace(first, id=alert_id(first.key, 2), episode=2)
    with ground.store.transaction() as work:
        work.apply([Move(None, first, "firing", Reason.CONDITION_TRUE, tells=False)], [], NOW)
        work.apply([moved(first, closed, "resolved", Reason.MANUAL, NOW, tells=False)], [], NOW)
        work.apply([Move(None, second, "firing", Reason.CONDITION_TRUE, tells=False)], [], NOW)
        assert work.last_episodes([no]) == {first.key: 2}
        assert [each.id for each in work.open_alerts(no)] == [second.id]


def test_a_due_day_is_named_by_its_last_second(ground: Ground) -> None:
    hurry = evaluator(ground, rule(playbook=Playbook("call", due_days=14, or_renewal=True)))
    known(ground, by=hurry)
    judged(ground, "acme", 3, by=hurry)
    assert ground.alerts()[0].due_at == (DAY + 15) * DAY_US - 1_000_000
