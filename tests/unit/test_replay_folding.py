"""What a replay keeps of accounts from day to day, against what they are folded to at once."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.past import Past
from consumers.days import Calendar
from consumers.facts import Fact, State, derive, merge_facts
from consumers.history import read_history
from consumers.telling import Telling
from tests.unit.metric_streams import TODAY, Stream

UTC = Calendar("UTC")
DAY_US = 86_400_000_000

# --- facts, over more days than what passes is kept

_what = st.one_of(
    st.tuples(
        st.sampled_from(("ticket.opened", "ticket.closed")),
        st.builds(dict, ticket_id=st.sampled_from("12")),
    ),
    st.tuples(st.just("survey.answered"), st.builds(dict, kind=st.just("nps"), score=st.integers(0, 10))),
    st.tuples(
        st.sampled_from(("integration.connected", "integration.synced", "integration.disconnected")),
        st.builds(dict, integration=st.sampled_from("xy")),
    ),
    st.tuples(st.just("touchpoint.logged"), st.builds(dict, channel=st.just("call"))),
    st.tuples(
        st.just("account.updated"),
        st.fixed_dictionaries(
            {},
            optional={
                "lifecycle": st.sampled_from(("active", "churned")),
                "core_features": st.sampled_from((["own"], [])),
            },
        ),
    ),
    st.tuples(
        st.just("contact.updated"),
        st.fixed_dictionaries(
            {"contact_id": st.sampled_from("cd")},
            optional={
                "user_id": st.sampled_from(("u1", "u2")),
                "roles": st.sampled_from((["economic_buyer"], ["champion"], [])),
                "active": st.booleans(),
            },
        ),
    ),
    st.tuples(
        st.just("subscription.changed"),
        st.builds(dict, mrr=st.sampled_from((0, 100)), currency=st.just("USD")),
    ),
    st.tuples(
        st.just("sentiment.rated"), st.builds(dict, rating=st.sampled_from(("red", "yellow", "green")))
    ),
)
_when = st.tuples(st.integers(20_000, 21_000) | st.integers(20_400, 20_440), st.integers(0, DAY_US - 1))


def told(state: State) -> tuple[Any, ...]:
    return (
        state.profile.blob(),
        state.attributes,
        state.currency,
        state.marks,
        sorted(state.moments),
        sorted(state.people),
        state.core,
    )


@settings(max_examples=200)
@given(events=st.lists(st.tuples(_when, _what), max_size=40), late=st.booleans())
def test_facts_told_day_by_day_say_what_they_say_together(
    events: list[tuple[tuple[int, int], tuple[str, dict[str, Any]]]], late: bool
) -> None:
    facts = [
        Fact(at=day * DAY_US + us, id=f"e{number}", kind=kind, user_id="", data=data)
        for number, ((day, us), (kind, data)) in enumerate(events)
    ]
    if not late:
        facts.sort(key=lambda fact: fact.at)
    telling, so_far = Telling(UTC), []
    for _, group in groupby(facts, key=lambda fact: fact.at // DAY_US):
        batch = list(group)
        so_far += batch
        assert told(telling.tell(batch)) == told(derive(merge_facts([], so_far), UTC))


# --- windows


def test_a_day_with_more_logins_than_two_bytes_hold_counts_them_all() -> None:
    [line] = Stream().add("user.login", "a", TODAY, "u").lines
    event = json.loads(line)
    lines = [json.dumps({**event, "id": str(number)}).encode() for number in range(65_540)]
    lines += Stream().active("b", ["u"], [TODAY - 1]).lines
    (stretch,) = Past(read_history(lines, UTC), UTC).stretches(TODAY, TODAY)
    counted = dict(
        zip(stretch.portfolio.account_ids, stretch.portfolio.logins(TODAY - 27, TODAY), strict=True)
    )
    assert counted == {"a": 65_540, "b": 1}


def test_a_ring_of_days_forgets_what_was_there_a_year_before() -> None:
    stream = Stream().active("a", ["u"], [TODAY - 832, TODAY - 416, TODAY])
    stream.add("session.ended", "a", TODAY - 64, "u", duration_s=60)
    (stretch,) = Past(read_history(stream.lines, UTC), UTC).stretches(TODAY + 1, TODAY + 1)
    portfolio = stretch.portfolio
    assert portfolio.logins(TODAY - 200, TODAY + 1).tolist() == [1]
    assert portfolio.session_ms(TODAY - 61, TODAY + 1).tolist() == [0]


def test_accounts_stand_in_the_order_of_their_first_days() -> None:
    stream = Stream().active("late", ["u"], [TODAY]).active("early", ["u"], [TODAY - 3, TODAY])
    stream.add("seats.changed", "middle", TODAY - 1, purchased=5)
    known = [
        list(stretch.portfolio.account_ids[rows])
        for stretch in Past(read_history(stream.lines, UTC), UTC).stretches(TODAY - 3, TODAY)
        for _, rows in stretch.closes
    ]
    assert known == [["early"], ["early"], ["early", "middle"], ["early", "middle", "late"]]
