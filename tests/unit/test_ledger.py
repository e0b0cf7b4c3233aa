"""What is kept of an account's money and segments: the same whatever the order in which it was told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumers.days import Calendar, micros, parse_instant
from consumers.facts import Fact
from consumers.ledger import Ledger, ledger_of, load, store

UTC = Calendar()


def fact(at: str, kind: str, **data: object) -> Fact:
    return Fact(micros(parse_instant(at)), at, kind, "", data)


def day(text: str) -> int:
    return UTC.parse_day(text)


def kept(*facts: Fact, zone: str = "UTC") -> Ledger:
    return load(ledger_of(facts, Calendar(zone)))


def test_nothing_told_keeps_nothing() -> None:
    assert ledger_of([], UTC) == b""
    assert ledger_of([fact("2026-01-01T00:00:00Z", "qbr.held", qbr_id="q")], UTC) == b""
    assert load(b"") == Ledger()
    assert Ledger().mrr_at(day("2026-01-01"), "USD") == 0


def test_subscriptions_are_summed_in_each_currency() -> None:
    ledger = kept(
        fact("2026-01-01T10:00:00Z", "subscription.changed", mrr="100.50", currency="USD"),
        fact("2026-02-01T10:00:00Z", "subscription.changed", mrr="20", currency="USD", subscription_id="b"),
        fact("2026-03-01T10:00:00Z", "subscription.changed", mrr="7", currency="EUR", subscription_id="c"),
        fact("2026-04-01T10:00:00Z", "subscription.changed", mrr="0"),  # the currency stays as it was told
    )
    assert ledger.mrr == {
        "USD": [(day("2026-01-01"), 10_050), (day("2026-02-01"), 12_050), (day("2026-04-01"), 2_000)],
        "EUR": [(day("2026-03-01"), 700)],
    }
    assert ledger.mrr_at(day("2025-12-31"), "USD") == 0
    assert ledger.mrr_at(day("2026-03-31"), "USD") == 12_050


def test_a_subscription_that_changes_its_currency_leaves_the_old_one() -> None:
    ledger = kept(
        fact("2026-01-01T10:00:00Z", "subscription.changed", mrr="10", currency="USD"),
        fact("2026-02-01T10:00:00Z", "subscription.changed", mrr="9", currency="EUR"),
    )
    assert ledger.mrr == {
        "USD": [(day("2026-01-01"), 1_000), (day("2026-02-01"), 0)],
        "EUR": [(day("2026-02-01"), 900)],
    }


def test_the_close_of_a_day_is_what_counts() -> None:
    ledger = kept(
        fact("2026-01-01T10:00:00Z", "subscription.changed", mrr="10", currency="USD"),
        fact("2026-01-01T11:00:00Z", "subscription.changed", mrr="30", currency="USD"),
        fact("2026-01-02T10:00:00Z", "subscription.changed", mrr="99", currency="USD"),
        fact("2026-01-02T11:00:00Z", "subscription.changed", mrr="30", currency="USD"),
    )
    assert ledger.mrr == {"USD": [(day("2026-01-01"), 3_000)]}


def test_days_are_those_of_the_organisation() -> None:
    told = fact("2026-01-01T23:30:00Z", "subscription.changed", mrr="10", currency="USD")
    assert kept(told, zone="Europe/Berlin").mrr == {"USD": [(day("2026-01-02"), 1_000)]}


def test_where_clocks_go_back_over_midnight_the_later_instant_stands() -> None:
    # In São Paulo the 17th of February 2018 ended twice.
    ledger = kept(
        fact("2018-02-18T01:59:00Z", "subscription.changed", mrr="10", currency="BRL"),
        fact("2018-02-18T02:30:00Z", "subscription.changed", mrr="20", currency="BRL"),
        fact("2018-02-18T04:00:00Z", "subscription.changed", mrr="30", currency="BRL"),
        zone="America/Sao_Paulo",
    )
    assert ledger.mrr == {"BRL": [(day("2018-02-17"), 2_000), (day("2018-02-18"), 3_000)]}


def test_segments_and_the_lifecycle_are_kept_as_they_changed() -> None:
    ledger = kept(
        fact("2026-01-01T10:00:00Z", "account.updated", size="smb", lifecycle="active"),
        fact("2026-01-05T10:00:00Z", "account.updated", size="smb", channel="ads"),
        fact("2026-02-01T10:00:00Z", "account.updated", size="enterprise", lifecycle="churned"),
        fact("2026-03-01T10:00:00Z", "account.updated", lifecycle="onboarding"),
    )
    assert ledger.segments == {
        "size": [(day("2026-01-01"), "smb"), (day("2026-02-01"), "enterprise")],
        "channel": [(day("2026-01-05"), "ads")],
    }
    assert ledger.churned == [(day("2026-02-01"), True), (day("2026-03-01"), False)]
    assert ledger.segment_at(day("2026-01-31"), "size") == "smb"
    assert ledger.segment_at(day("2025-12-31"), "size") is None
    assert ledger.segment_at(day("2026-01-31"), "tier") is None


_days = st.integers(0, 30_000)


def _history(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    entries = st.lists(st.tuples(_days, values), min_size=1, max_size=6, unique_by=lambda entry: entry[0])
    return entries.map(sorted)


@given(
    st.builds(
        Ledger,
        mrr=st.dictionaries(st.sampled_from(("", "EUR")), _history(st.integers(0, 10**15))),
        segments=st.dictionaries(st.sampled_from(("size", "tier")), _history(st.text(max_size=5))),
    ),
    _days,
)
def test_storing_changes_nothing_that_is_asked(ledger: Ledger, when: int) -> None:
    again = load(store(ledger))
    for currency in ("", "EUR"):
        assert again.mrr_at(when, currency) == ledger.mrr_at(when, currency)
    for name in ("size", "tier"):
        assert again.segment_at(when, name) == ledger.segment_at(when, name)
    assert store(again) == store(ledger)
