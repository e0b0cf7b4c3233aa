"""Who hears of an alert."""

from __future__ import annotations

from typing import Any

from alerts.alert import Severity
from alerts.configuration import Match, Route
from alerts.routing import Subject, recipients

EVERYBODY = ("slack", "crm", "pager")
SUBJECT = Subject(rule="login-decline", severity="high", owner="ana", labels={"team": "cs", "tier": "1"})


def to(*names: str, continues: bool = False, **match: Any) -> Route:
    return Route(Match(**match), names, continues)


def test_without_routes_everybody_hears_of_everything() -> None:
    assert recipients((), EVERYBODY, SUBJECT) == EVERYBODY


def test_the_first_route_that_matches_wins() -> None:
    routes = (
        to("pager", severity=frozenset({Severity.CRITICAL})),
        to("crm", severity=frozenset({Severity.HIGH, Severity.CRITICAL})),
        to("slack"),
    )
    assert recipients(routes, EVERYBODY, SUBJECT) == ("crm",)


def test_a_route_that_continues_lets_the_next_ones_match_too_and_nobody_hears_twice() -> None:
    routes = (
        to("crm", continues=True),
        to("slack", "crm", continues=True),
        to("pager", owner=frozenset({"ben"})),
    )
    assert recipients(routes, EVERYBODY, SUBJECT) == ("crm", "slack")


def test_where_no_route_matches_nobody_hears() -> None:
    assert recipients((to("crm", rule=frozenset({"gone-dark"})),), EVERYBODY, SUBJECT) == ()


def test_every_part_of_a_match_must_fit() -> None:
    fits = {
        "severity": frozenset({Severity.HIGH}),
        "rule": frozenset({"login-decline", "gone-dark"}),
        "owner": frozenset({"ana"}),
        "labels": {"team": "cs"},
    }
    assert recipients((to("crm", **fits),), EVERYBODY, SUBJECT) == ("crm",)
    misfits = {
        "severity": frozenset({Severity.LOW}),
        "rule": frozenset({"gone-dark"}),
        "owner": frozenset({"ben"}),
        "labels": {"team": "cs", "tier": "2"},
    }
    for part, value in misfits.items():
        assert recipients((to("crm", **{**fits, part: value}),), EVERYBODY, SUBJECT) == ()


def test_an_account_without_an_owner_matches_no_route_that_asks_for_one() -> None:
    nobodys = Subject(rule="login-decline", severity="high")
    assert recipients((to("crm", owner=frozenset({"ana"})),), EVERYBODY, nobodys) == ()


def test_a_route_to_a_destination_that_is_gone_reaches_nobody() -> None:
    assert recipients((to("crm", "fax"),), EVERYBODY, SUBJECT) == ("crm",)
