"""The intervention queue: who is in it, and in which order."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alerts.health.state import BANDS, RED, Records, blank
from alerts.queue import Cause, Customer, Intervention, listed, queue

TODAY = 20_780
AS_OF = TODAY - 1

# Few values each, so that ties are many.
accounts = st.fixed_dictionaries({
    "band": st.sampled_from(BANDS),
    "days": st.sampled_from([0, 1, 27, 28, 29, 400]),
    "renewal": st.sampled_from([None, -1, 0, 1, 90, 91, 200]),
    "term": st.sampled_from([None, 5, 6, 12]),
    "mrr": st.sampled_from([None, 0, 100, 200]),
})  # fmt: skip
portfolios = st.lists(accounts, max_size=12).flatmap(
    lambda some: st.tuples(st.just(some), st.permutations(range(len(some))))
)


def stored(account: dict[str, Any], no: int) -> Customer:
    renewal = account["renewal"]
    return Customer(
        account_no=no,
        account_id=f"a{no:03}",
        renewal_day=None if renewal is None else TODAY + renewal,
        term_months=account["term"],
        mrr_cents=account["mrr"],
    )


def record(account: dict[str, Any]) -> Records:
    made = blank(1)
    made["day"], made["since_day"] = AS_OF, AS_OF - account["days"]
    made["band"], made["score"] = BANDS.index(account["band"]), 5_000
    return made


def reasons(account: dict[str, Any]) -> list[str]:
    """By the words of METRICS section 5, with nothing of the code under test."""
    near = account["renewal"] in {0, 1, 90} and account["term"] != 5
    found = []
    if account["band"] == "red":
        found.append("red")
    if account["band"] == "yellow" and account["days"] >= 28:
        found.append("yellow_28_days")
    if account["band"] in {"red", "yellow"} and near:
        found.append("renewing_90_days")
    return found


def precedes(one: tuple[int, dict[str, Any]], other: tuple[int, dict[str, Any]]) -> bool:
    """Whether ``one`` comes before ``other``: question after question, until one of them tells."""
    (no, mine), (other_no, theirs) = one, other
    for better in (
        lambda each: "renewing_90_days" in reasons(each),
        lambda each: each["band"] == "red",
    ):
        if better(mine) != better(theirs):
            return bool(better(mine))
    ahead = [
        each["renewal"] if (each["renewal"] or 0) >= 0 and each["term"] != 5 else None
        for each in (mine, theirs)
    ]
    if ahead[0] != ahead[1]:
        return ahead[1] is None or (ahead[0] is not None and ahead[0] < ahead[1])
    money = [-1 if each["mrr"] is None else each["mrr"] for each in (mine, theirs)]
    return money[0] > money[1] if money[0] != money[1] else no < other_no


def in_queue(some: list[dict[str, Any]], order: list[int]) -> list[Intervention]:
    records = np.concatenate([blank(0), *(record(some[no]) for no in order)])
    return queue([stored(some[no], no) for no in order], records, as_of=AS_OF, today=TODAY)


@given(portfolios)
def test_all_with_a_reason_each_once_with_all_their_reasons(
    drawn: tuple[list[dict[str, Any]], list[int]],
) -> None:
    some, order = drawn
    found = {
        each.customer.account_no: [cause.value for cause in each.causes] for each in in_queue(some, order)
    }
    assert found == {no: reasons(each) for no, each in enumerate(some) if reasons(each)}


@given(portfolios)
def test_nobody_stands_before_somebody_who_precedes_him(
    drawn: tuple[list[dict[str, Any]], list[int]],
) -> None:
    some, order = drawn
    line = [each.customer.account_no for each in in_queue(some, order)]
    for place, no in enumerate(line):
        for behind in line[place + 1 :]:
            assert precedes((no, some[no]), (behind, some[behind]))


@given(portfolios)
def test_what_is_looked_up_is_enough_for_the_queue(drawn: tuple[list[dict[str, Any]], list[int]]) -> None:
    some, order = drawn
    records = np.concatenate([blank(0), *(record(some[no]) for no in order)])
    surely, if_renewing = listed(records, AS_OF)
    assert not (surely & if_renewing).any()
    for no, sure, near in zip(order, surely.tolist(), if_renewing.tolist(), strict=True):
        alone = [cause for cause in reasons(some[no]) if cause != Cause.RENEWING]
        assert sure == bool(alone)
        assert bool(reasons(some[no])) <= (sure or near)


def test_the_days_of_a_band_that_has_just_begun_are_none() -> None:
    (only,) = in_queue([{"band": "red", "days": -1, "renewal": None, "term": None, "mrr": None}], [0])
    assert (only.days_in_band, only.score, only.band, only.band_word) == (0, 5_000, RED, "red")
