"""What a file would change: only what differs, the same whenever it is asked, and nothing of a line that is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bulk.plan import Plan, plan_sheet
from app.bulk.rows import kept_of
from app.bulk.sheet import read_sheet
from app.bulk.standing import Standing
from consumers.champions import DEPARTED
from consumers.days import Calendar, micros
from consumers.facts import HISTORY, Fact, derive, merge_facts

NOW = micros(datetime(2026, 11, 22, 12, tzinfo=UTC))
HOUR = 3_600_000_000
BERLIN = Calendar("Europe/Berlin")


@dataclass
class Store:
    """What a database keeps of accounts: facts, each once."""

    facts: dict[str, list[Fact]] = field(default_factory=dict)

    def known(self, account_ids: Sequence[str]) -> Mapping[str, Standing]:
        return {each: Standing(self.facts.get(each, ()), known=each in self.facts) for each in account_ids}

    def take(self, plan: Plan, most: int | None = None) -> None:
        for event, _ in plan.events[:most]:
            self.facts[event.account_id] = merge_facts(self.facts.get(event.account_id, []), [kept_of(event)])

    def say(self, account_id: str, at: int, kind: str, event_id: str = "e", **data: object) -> None:
        fact = Fact(at, event_id, kind, "", data)
        self.facts[account_id] = merge_facts(self.facts.get(account_id, []), [fact])


def planned(store: Store, text: str, *, kind: str = "", now: int = NOW) -> Plan:
    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        sheet = read_sheet(Path(file.name), kind)
    return plan_sheet(sheet, BERLIN, store.known, now)


def taken(store: Store, text: str, *, kind: str = "", now: int = NOW) -> Plan:
    plan = planned(store, text, kind=kind, now=now)
    store.take(plan)
    return plan


def changes(plan: Plan) -> list[tuple[int, str, str | None, str]]:
    return [(each.line, each.field, each.old, each.new) for each in plan.changes]


def refused(plan: Plan) -> list[tuple[int, str, str]]:
    return [(each.line, each.column, each.problem) for each in plan.refused]


def test_only_what_differs_is_said() -> None:
    store = Store()
    store.say("acme", NOW - HOUR, "account.updated", name="Acme", owner="Kim", term_months=12)
    plan = planned(store, "account_id,name,owner,term_months,tier\nacme,Acme,Lee,12,\n")
    assert changes(plan) == [(2, "owner", "Kim", "Lee")]
    ((event, _),) = plan.events
    assert kept_of(event).data == {"owner": "Lee"}
    assert (plan.changed, plan.unchanged, kept_of(event).at) == (1, 0, NOW)


def test_an_account_nobody_has_heard_of_begins_with_its_line() -> None:
    store = Store()
    plan = taken(store, "account_id,name\nacme,\nglobex,Globex\n")
    assert changes(plan) == [
        (2, "account", None, "new"),
        (3, "account", None, "new"),
        (3, "name", None, "Globex"),
    ]
    assert planned(store, "account_id,name\nacme,\nglobex,Globex\n").unchanged == 2


def test_a_value_taken_back_and_told_again_is_another_event() -> None:
    store = Store()
    ids = [
        taken(store, f"account_id,owner\nacme,{owner}\n", now=NOW + hour * HOUR).events[0][0].id
        for hour, owner in enumerate(["Kim", "Lee", "Kim", "Lee"])
    ]
    assert len(set(ids)) == 4
    assert derive(store.facts["acme"], BERLIN).attributes == {"owner": "Lee"}


def test_a_file_that_is_sent_again_before_it_was_stored_has_the_same_ids() -> None:
    text = "account_id,owner,as_of\nacme,Kim,2026-11-01\nglobex,Lee,\n"
    first, again = planned(Store(), text), planned(Store(), text, now=NOW + HOUR)
    assert [event.id for event, _ in first.events] == [event.id for event, _ in again.events]


def test_a_date_is_the_start_of_that_day_where_the_organisation_is() -> None:
    plan = planned(Store(), "account_id,owner,as_of\nacme,Kim,2026-11-01\n")
    assert kept_of(plan.events[0][0]).at == micros(datetime(2026, 10, 31, 23, tzinfo=UTC))


def test_a_file_mended_under_the_same_date_counts() -> None:
    store = Store()
    text = "account_id,owner,as_of\nacme,{},2026-11-01\n"
    for owner in ["Kim", "Lee", "Kim", "Ada", "Zoe", "Bo", "Kim"]:
        assert changes(taken(store, text.format(owner)))[-1][3] == owner
        assert planned(store, text.format(owner)).unchanged == 1
    assert max(len(fact.id) for fact in store.facts["acme"]) < 80


def test_a_newer_word_stands_and_the_line_says_so() -> None:
    store = Store()
    store.say("acme", NOW, "account.updated", owner="Lee")
    plan = planned(store, "account_id,owner,tier,as_of\nacme,Kim,gold,2026-11-01\n")
    assert changes(plan) == [(2, "tier", None, "gold")]
    assert [(each.column, each.problem) for each in plan.older] == [("owner", "a newer word on it is known")]


def test_every_cell_that_is_wrong_is_named_with_what_to_write() -> None:
    plan = planned(
        Store(),
        "account_id,renewal_date,term_months,touch,external_ids,as_of\n"
        'acme,12/31/2026,"1,000",highest,crm=4,2026-11-01\n'
        "globex,46387,12,high,,22.11.2026\n"
        ",2026-12-31,12,high,,\n"
        "initech,2026-12-31,12,high,,2026-11-23\n"
        'fine,2026-12-31,12.0,low,"{""crm"": 4}",2026-11-22\n',
    )
    neither = "neither a date YYYY-MM-DD nor an RFC 3339 instant with an offset; write it as 2026-12-31"
    assert refused(plan) == [
        (2, "touch", "'highest' (expected one of high, low, tech)"),
        (2, "term_months", "'1,000'; write a whole number without separators, such as 12"),
        (2, "external_ids", '\'crm=4\'; write JSON, such as {"crm": "42"}'),
        (2, "renewal_date", f"'12/31/2026' is {neither}"),
        (3, "occurred_at", f"'22.11.2026' is {neither}"),
        (3, "renewal_date", f"'46387' is {neither}"),
        (4, "account_id", "it is empty; say which account"),
        (5, "occurred_at", "2026-11-22T23:00:00+00:00 is more than five minutes ahead"),
    ]
    assert {event.account_id for event, _ in plan.events} == {"fine"}


def test_an_id_with_a_blank_at_its_end_makes_no_account() -> None:
    store = Store()
    store.say("acme ", NOW, "account.updated", owner="Lee")
    plan = planned(store, "account_id,owner\nacme ,Kim\nglobex ,Kim\n")
    assert refused(plan) == [(3, "account_id", "'globex ' begins or ends with a blank; take it off")]
    assert plan.changed == 1


def test_two_lines_that_contradict_each_other_are_not_both_taken() -> None:
    plan = planned(Store(), "account_id,owner,tier\nacme,Kim,gold\nacme,Kim,\nacme,Lee,\n")
    assert refused(plan) == [
        (4, "owner", "line 2 says otherwise; keep one of them, or say since when each is so")
    ]
    dated = planned(Store(), "account_id,owner,as_of\nacme,Kim,2026-10-01\nacme,Lee,2026-11-01\n")
    assert (dated.changed, refused(dated)) == (2, [])


def test_a_subscription_keeps_its_amount_and_a_new_one_needs_it() -> None:
    store = Store()
    store.say("acme", NOW - HOUR, "subscription.changed", mrr="2400.00", currency="EUR")
    plan = planned(
        store,
        "account_id,subscription_id,mrr,renewal_date,purchased\n"
        "acme,default,,2027-01-31,25\nacme,extra,,2027-01-31,\nacme,more,,,3\n",
    )
    assert changes(plan) == [
        (2, "renewal_date", None, "2027-01-31"),
        (2, "purchased", None, "25"),
        (4, "more purchased", None, "3"),
    ]
    assert refused(plan) == [(3, "mrr", "it is empty, and the subscription is new; write its amount")]
    money = next(
        kept_of(event) for event, _ in plan.events if event.id and kept_of(event).kind.startswith("sub")
    )
    assert money.data == {"mrr": "2400.00", "renewal_date": "2027-01-31"}


@pytest.mark.parametrize(("mrr", "problem"), [("1.200,50", "invalid decimal"), ("-5", "is not between 0")])
def test_an_amount_that_is_none_is_refused(mrr: str, problem: str) -> None:
    ((_, column, said),) = refused(planned(Store(), f'account_id,mrr\nacme,"{mrr}"\n'))
    assert column == "mrr"
    assert problem in said
    assert said.endswith("write it as 1200.00")


def test_the_history_of_a_subscription_comes_in_with_its_dates() -> None:
    store = Store()
    rows = ["300,2026-10-01", "100,2025-01-01", "200.5,2025-06-01", "100,2025-03-01"]
    text = "account_id,mrr,as_of\n" + "".join(f"acme,{row}\n" for row in rows)
    plan = taken(store, text)
    assert (plan.changed, plan.unchanged) == (3, 1)
    assert [fact.data["mrr"] for fact in store.facts["acme"]] == ["100.00", "200.50", "300.00"]
    assert planned(store, text).unchanged == 4


def test_roles_are_those_in_effect() -> None:
    store = Store()
    store.say(
        "acme", NOW - 9 * HOUR, "contact.updated", "e1", contact_id="c1", user_id="u1", roles=["champion"]
    )
    store.say("acme", NOW - 8 * HOUR, "champion.changed", "e2", previous_user_id="u1", user_id="u2")
    text = "account_id,contact_id,roles\nacme,c1,{}\nacme,u2,champion\n"
    assert planned(store, text.format("[]")).unchanged == 2
    assert planned(store, text.format("champion")).unchanged == 2
    plan = taken(store, text.format("member"))
    assert changes(plan) == [(2, "c1 roles", "[]", "member")]
    plan = taken(store, text.format("member;champion"), now=NOW + HOUR)
    assert changes(plan) == [(2, "c1 roles", "member", "member;champion")]
    assert derive(store.facts["acme"], BERLIN).profile.champions == 2


def test_a_list_of_contacts_told_again_does_not_bring_back_a_champion_who_departed() -> None:
    store = Store()
    text = "account_id,contact_id,user_id,name,roles\nacme,c1,u1,{},champion\n"
    taken(store, text.format("Ada"), now=NOW - 9 * HOUR)
    taken(store, "account_id,user_id,deactivated\nacme,u1,true\n", now=NOW - 8 * HOUR)
    assert planned(store, text.format("Ada")).unchanged == 1
    assert changes(taken(store, text.format("Ada L."))) == [(2, "c1 name", "Ada", "Ada L.")]
    assert derive(store.facts["acme"], BERLIN).profile.champion == DEPARTED


def test_a_champion_of_whom_only_the_user_is_known_is_a_contact_too() -> None:
    store = Store()
    store.say("acme", NOW - HOUR, "champion.changed", user_id="u7")
    found = Standing(store.facts["acme"])
    found.advance(None)
    assert [(each, thing.fields) for each, thing in found.contacts()] == [
        ("u7", {"user_id": "u7", "roles": ["champion"]})
    ]
    assert planned(store, "account_id,contact_id,user_id,roles\nacme,u7,u7,champion\n").unchanged == 1


def test_what_has_a_status_changes_with_it() -> None:
    store = Store()
    head = "account_id,qbr_id,status,scheduled_for\n"
    assert changes(taken(store, head + "acme,q4,scheduled,2026-12-10\n"))[1:] == [
        (2, "q4 status", None, "scheduled"),
        (2, "q4 scheduled_for", None, "2026-12-10"),
    ]
    assert planned(store, head + "acme,q4,,2026-12-10\n").unchanged == 1
    moved = taken(store, head + "acme,q4,Scheduled,2026-12-17\n", now=NOW + HOUR)
    assert changes(moved) == [(2, "q4 scheduled_for", "2026-12-10", "2026-12-17")]
    held = taken(store, head + "acme,q4,held,\n", now=NOW + 2 * HOUR)
    assert changes(held) == [(2, "q4 status", "scheduled", "held")]
    wrong = planned(store, head + "acme,q4,done,\nacme,q5,scheduled,\n")
    assert refused(wrong) == [
        (2, "status", "'done' (expected one of scheduled, held, cancelled)"),
        (3, "scheduled_for", "it is empty and needed; write it as 2026-12-31"),
    ]


def test_what_happened_with_its_instant_is_told_once_however_often_it_happened_alike() -> None:
    store = Store()
    text = "account_id,rating,as_of\nacme,green,2026-11-01\nacme,green,2026-11-08\nacme,red,2026-11-15\n"
    assert taken(store, text).changed == 3
    assert [fact.data["rating"] for fact in store.facts["acme"]] == ["green", "green", "red"]
    assert planned(store, text).unchanged == 3
    assert planned(store, "account_id,rating\nacme,red\n").unchanged == 1
    assert changes(planned(store, "account_id,rating\nacme,yellow\n")) == [(2, "rating", "red", "yellow")]


def test_two_that_happened_at_once_have_to_say_when() -> None:
    plan = planned(Store(), "account_id,channel,note\nacme,call,one\nacme,call,two\nacme,call,one\n")
    assert refused(plan) == [
        (3, "occurred_at", "line 2 tells the same otherwise; say of both when it happened")
    ]
    assert (plan.changed, plan.unchanged) == (1, 1)


def test_what_is_too_old_to_be_kept_is_not_told_again_and_again() -> None:
    store = Store()
    store.say("acme", NOW, "seats.changed", purchased=3)
    plan = planned(store, "account_id,ticket_id,as_of\nacme,t1,2024-01-01\n")
    assert (plan.changed, plan.unchanged) == (0, 1)
    assert [each.problem for each in plan.older] == ["it is older than anything that is kept"]


ACCOUNTS = st.sampled_from(["acme", "globex"])
WHEN = st.sampled_from(["", "2024-05-01", "2026-10-01", "2026-11-01", "2026-11-01T09:00:00Z", "2026-11-20"])
FILES = {
    "accounts": ["owner", "tier"],
    "contacts": ["contact_id", "roles", "active", "name"],
    "subscriptions": ["subscription_id", "mrr", "renewal_date", "purchased"],
    "users": ["user_id", "deactivated"],
    "champions": ["previous_user_id", "user_id"],
    "qbrs": ["qbr_id", "status", "scheduled_for"],
    "escalations": ["escalation_id", "status", "severity"],
    "tickets": ["ticket_id", "status"],
    "ratings": ["rating", "note"],
    "surveys": ["kind", "score"],
    "milestones": ["milestone"],
    "touchpoints": ["channel", "note"],
    "integrations": ["integration", "status"],
}
CELLS = {
    "owner": ["", "Kim", "Lee"],
    "tier": ["", "gold"],
    "contact_id": ["c1", "c2", ""],
    "roles": ["", "champion", "member;champion", "[]", "economic_buyer"],
    "active": ["", "true", "FALSE"],
    "name": ["", "Ada"],
    "subscription_id": ["", "s1"],
    "mrr": ["", "0", "100", "200.5"],
    "renewal_date": ["", "2027-01-31", "31.01.2027"],
    "purchased": ["", "5", "9"],
    "user_id": ["u1", "u2"],
    "previous_user_id": ["", "u1", "u3"],
    "deactivated": ["", "true", "false"],
    "qbr_id": ["q1", "q2"],
    "scheduled_for": ["2026-12-10", "2026-12-17"],
    "escalation_id": ["x1", "x2"],
    "severity": ["", "high"],
    "ticket_id": ["t1"],
    "rating": ["red", "green"],
    "note": ["", "hm"],
    "kind": ["nps", "csat"],
    "score": ["4", "9"],
    "milestone": ["first_value"],
    "channel": ["call", "mail"],
    "integration": ["crm", "erp"],
}
STATUSES = {
    "qbrs": ["scheduled", "held", "cancelled"],
    "escalations": ["opened", "resolved"],
    "tickets": ["opened", "closed"],
    "integrations": ["connected", "synced", "disconnected"],
}


@st.composite
def files(draw: st.DrawFn) -> tuple[str, str]:
    """A kind, and a file of it."""
    kind = draw(st.sampled_from(sorted(FILES)))
    columns = FILES[kind]
    cells = {**CELLS, "status": STATUSES.get(kind, [])}
    row = st.tuples(ACCOUNTS, *(st.sampled_from(cells[column]) for column in columns), WHEN)
    rows = draw(st.lists(row, max_size=7))
    lines = [("account_id", *columns, "occurred_at"), *rows]
    return kind, "\n".join(",".join(line) for line in lines) + "\n"


def ready(store: Store, before: list[tuple[str, str]]) -> None:
    for hour, (kind, text) in enumerate(before):
        taken(store, text, kind=kind, now=NOW - (len(before) - hour) * HOUR)


@settings(max_examples=120)
@given(st.lists(files(), max_size=3), files())
def test_the_same_file_twice_changes_nothing(before: list[tuple[str, str]], file: tuple[str, str]) -> None:
    store = Store()
    ready(store, before)
    kind, text = file
    first = taken(store, text, kind=kind)
    again = planned(store, text, kind=kind, now=NOW + HOUR)
    assert (again.events, again.changes) == ([], [])
    assert again.unchanged == first.changed + first.unchanged
    assert refused(again) == refused(first)


@settings(max_examples=80)
@given(st.lists(files(), max_size=2), files(), st.integers(0, 6))
def test_an_import_that_was_cut_off_ends_where_a_whole_one_does(
    before: list[tuple[str, str]], file: tuple[str, str], most: int
) -> None:
    whole, cut = Store(), Store()
    ready(whole, before)
    ready(cut, before)
    kind, text = file
    taken(whole, text, kind=kind)
    cut.take(planned(cut, text, kind=kind), most)
    taken(cut, text, kind=kind)
    assert cut.facts == whole.facts


@settings(max_examples=80)
@given(st.lists(files(), max_size=3), files())
def test_every_event_of_a_plan_is_in_effect_once_it_is_stored(
    before: list[tuple[str, str]], file: tuple[str, str]
) -> None:
    """None is dropped for its place among others at the same instant, and none has another's id."""
    store = Store()
    ready(store, before)
    kind, text = file
    plan = taken(store, text, kind=kind)
    ids = [event.id for event, _ in plan.events]
    assert len(set(ids)) == len(ids)
    stored = {fact.id for facts in store.facts.values() for fact in facts}
    overtaken = {"accounts", "users", "integrations"}  # of the same told twice only the newest is kept
    kept = {event.id for event, _ in plan.events if kept_of(event).data and event.occurred_at.year > 2024}
    if kind not in overtaken:
        assert kept <= stored


def test_a_row_may_leave_the_amount_to_a_later_row_of_the_same_subscription() -> None:
    store = Store()
    text = "account_id,mrr,renewal_date\nacme,,2027-01-31\nacme,100,\n"
    plan = taken(store, text, kind="subscriptions")
    assert refused(plan) == []
    assert {(field, new) for _, field, _, new in changes(plan)} == {
        ("account", "new"),
        ("mrr", "100.00"),
        ("renewal_date", "2027-01-31"),
    }
    again = planned(store, text, kind="subscriptions", now=NOW + HOUR)
    assert (again.events, again.changed, again.unchanged) == ([], 0, 2)


def test_a_dated_row_mends_the_word_of_that_instant_though_a_newer_one_stands() -> None:
    store = Store()
    left, back = (
        f"account_id,user_id,deactivated,occurred_at\nacme,u1,{word},2026-10-01\n"
        for word in ("true", "false")
    )
    taken(store, left, kind="users")
    taken(store, "account_id,user_id,deactivated\nacme,u1,false\n", kind="users")
    for text in (back, left, back, left):
        assert taken(store, text, kind="users", now=NOW + HOUR).changed == 1
        assert planned(store, text, kind="users", now=NOW + HOUR).unchanged == 1


def test_what_is_kept_of_the_past_is_known_here_as_there() -> None:
    names = ("name", "owner", "size", "channel", "tier", "use_case", "lifecycle", "country")
    before = dict.fromkeys(names, "x")
    facts = [Fact(1, "a", "account.updated", "", before), Fact(2, "b", "account.updated", "", before)]
    kept = {name for fact in merge_facts([], facts) if fact.at == 1 for name in fact.data}
    assert kept | {"deactivated"} == HISTORY


def test_the_segment_of_an_account_comes_in_with_its_dates() -> None:
    store = Store()
    store.say("acme", NOW, "account.updated", tier="gold", owner="Lee")
    text = "account_id,tier,owner,as_of\nacme,silver,Kim,2025-06-01\nacme,gold,,2026-01-01\n"
    plan = taken(store, text)
    assert changes(plan) == [(2, "tier", None, "silver"), (3, "tier", "silver", "gold")]
    assert derive(store.facts["acme"], BERLIN).attributes == {"tier": "gold", "owner": "Lee"}
    assert planned(store, text).unchanged == 2
