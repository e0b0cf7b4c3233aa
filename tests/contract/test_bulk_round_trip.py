"""What is written out and read in again is the same, whatever accounts there are."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bulk.exporting import export
from app.bulk.importing import DryRun, Import
from app.bulk.kinds import EXPORTED, KINDS
from app.bulk.sheet import read_sheet
from app.clock import Clock
from app.database import dead_letters, journal
from app.database.engine import Database
from app.database.migrate import upgrade
from app.quality import data_quality
from app.settings import Settings
from consumers.days import instant, micros
from consumers.decode import Rejection, decode

NOW = micros(datetime(2026, 11, 22, 12, tzinfo=UTC))
DAY = 86_400_000_000


@dataclass(frozen=True)
class Opened:
    """What a command opens."""

    settings: Settings
    clock: Clock
    database: Database


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of today's schema with nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@contextlib.contextmanager
def copied(empty: Path, folder: Path, name: str) -> Iterator[Opened]:
    path = folder / f"{name}.db"
    shutil.copy(empty, path)
    database = Database(f"sqlite:///{path}")
    rules = folder / "rules.yaml"  # reading the shipped ones takes longer than all the rest
    rules.write_text("rules: []\n")
    try:
        yield Opened(Settings(database_url=f"sqlite:///{path}", now=NOW, config=rules), Clock(NOW), database)
    finally:
        database.close()


def told(opened: Opened, events: list[dict[str, Any]]) -> None:
    good = []
    for number, event in enumerate(events):
        body = json.dumps({"id": f"e{number}", **event}).encode()
        judged = decode(body, NOW)
        assert not isinstance(judged, Rejection), judged
        good.append((judged, body))
    Import(opened).send(good)


def exported(opened: Opened, folder: Path) -> dict[str, bytes]:
    found = {}
    for kind in EXPORTED:
        export(opened.database, KINDS[kind], folder / f"{kind}.csv")
        found[kind] = (folder / f"{kind}.csv").read_bytes()
    return found


text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["=1+1", "'=x", "-", "a;b", 'say "hi"', "two\nlines", "\ttab", "@home", "'"]
)
ids = text.filter(lambda each: each != "" and each == each.strip() and not each.isspace())
days = st.dates(min_value=datetime(2020, 1, 1).date(), max_value=datetime(2030, 1, 1).date()).map(str)
accounts = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("name", "owner", "size", "country"), text),
        "touch": st.sampled_from(["high", "low", "tech"]),
        "lifecycle": st.sampled_from(["trial", "active", "churned"]),
        "renewal_date": days,
        "contract_start": days,
        "term_months": st.integers(0, 1200),
        "parent_id": ids,
        "core_features": st.lists(ids, max_size=3),
        "external_ids": st.dictionaries(text, text | st.integers(0, 9), max_size=2),
    },
)
people = st.sampled_from(["1", "2", "3"])
contacts = st.builds(
    lambda who, more: {"contact_id": f"c{who}", "user_id": f"u{who}", **more},
    people,
    st.fixed_dictionaries(
        {},
        optional={
            "name": text,
            "email": text,
            "roles": st.lists(st.sampled_from(["champion", "economic_buyer", "member"]), unique=True),
            "active": st.booleans(),
        },
    ),
)
champions = st.fixed_dictionaries(
    {}, optional={"previous_user_id": people.map("u{}".format), "user_id": people.map("u{}".format)}
)
subscriptions = st.fixed_dictionaries(
    {"mrr": st.decimals(0, 10**9, places=2).map(str)},
    optional={"currency": st.sampled_from(["EUR", "usd"]), "subscription_id": ids, "renewal_date": days},
)
seats = st.fixed_dictionaries({"purchased": st.integers(0, 10**6)}, optional={"subscription_id": ids})
KIND = {
    "account.updated": accounts,
    "contact.updated": contacts,
    "champion.changed": champions,
    "subscription.changed": subscriptions,
    "seats.changed": seats,
}
events = st.one_of(
    *(
        st.fixed_dictionaries(
            {
                "type": st.just(kind),
                "account_id": st.sampled_from(["acme", "=globex", "Ünï;té"]),
                "occurred_at": st.integers(1, 60).map(lambda ago: instant(NOW - ago * DAY).isoformat()),
                "data": data,
            }
        )
        for kind, data in KIND.items()
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("user.updated"),
            "account_id": st.just("acme"),
            "user_id": people.map("u{}".format),
            "occurred_at": st.integers(1, 60).map(lambda ago: instant(NOW - ago * DAY).isoformat()),
            "data": st.fixed_dictionaries({"deactivated": st.booleans()}),
        }
    ),
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(events, max_size=12))
def test_accounts_that_are_written_out_are_the_same_elsewhere(
    empty: Path, tmp_path: Path, given_events: list[dict[str, Any]]
) -> None:
    with copied(empty, tmp_path, "here") as here, copied(empty, tmp_path, "there") as there:
        told(here, given_events)
        before = exported(here, tmp_path)
        for opened, changes in ((here, False), (there, True)):
            dry, work = DryRun(opened), Import(opened)
            sheets = [read_sheet(tmp_path / f"{kind}.csv", kind) for kind in EXPORTED]
            tried = [dry.take(sheet) for sheet in sheets]
            for sheet, before_it in zip(sheets, tried, strict=True):
                plan = work.take(sheet)
                assert not plan.refused
                assert plan == before_it
                if not changes:
                    assert (plan.events, plan.changes) == ([], [])
        assert exported(there, tmp_path) == before


FILES = (
    "account_id,name,owner\nacme,Acme,Kim\nglobex,Globex,\n",
    "account_id,name,owner\nacme,Acme,Lee\nglobex,Globex,\n",
    "account_id,mrr,currency,renewal_date\nacme,1000,EUR,\nglobex,,EUR,\n",
    "account_id,mrr,currency,renewal_date\nacme,,,2027-01-01\nglobex,5,EUR,\n",
    "account_id,contact_id,user_id,roles\nacme,c1,u1,champion;member\nacme,c2,u2,\n",
    "account_id,kind,previous_user_id,user_id,effective_at\nacme,replaced,u1,u2,\n",
    "account_id,contact_id,user_id,roles\nacme,c1,u1,member\nacme,c2,u2,champion\n",
    "account_id,owner,as_of\nacme,Ada,2026-11-01\ninitech,Bo,2026-11-01\n",
    "account_id,rating,by\nacme,red,kim\ninitech,green,kim\n",
    "account_id,rating,by\nacme,red,kim\ninitech,red,kim\n",
)


def test_a_dry_run_compares_each_file_with_what_those_before_it_say(empty: Path, tmp_path: Path) -> None:
    sheets = []
    for number, content in enumerate(FILES):
        (tmp_path / f"{number}.csv").write_text(content)
        sheets.append(read_sheet(tmp_path / f"{number}.csv"))
    with copied(empty, tmp_path, "tried") as opened:
        dry = DryRun(opened)
        tried = [dry.take(sheet) for sheet in sheets]
        assert data_quality(opened).accounts == 0
        work = Import(opened)
        done = [work.take(sheet) for sheet in sheets]
    assert tried == done
    assert [(each.changed, each.unchanged, len(each.refused)) for each in tried[:4]] == [
        (2, 0, 0),
        (1, 1, 0),
        (1, 0, 1),
        (2, 0, 0),
    ]


def test_a_dry_run_knows_how_many_events_wait_to_be_stored(empty: Path, tmp_path: Path) -> None:
    with copied(empty, tmp_path, "waiting") as opened:
        assert DryRun(opened).unread == 0
        with opened.database.write() as connection:
            journal.append(connection, [b"{}", b"{}"], sender="test", received_at=NOW)
        assert DryRun(opened).unread == 2
        Import(opened)
        assert DryRun(opened).unread == 0


def test_what_was_taken_in_but_not_stored_yet_is_not_taken_in_again(empty: Path, tmp_path: Path) -> None:
    """A run that was killed between the journal and the windows."""
    file = tmp_path / "accounts.csv"
    file.write_text("account_id,owner\nacme,Kim\nglobex,Lee\n")
    with copied(empty, tmp_path, "cut") as opened:
        first = Import(opened)
        killed = _Killed(first)
        with pytest.raises(KeyboardInterrupt):
            killed.take(read_sheet(file))
        assert Import(opened).take(read_sheet(file)).unchanged == 2
        assert data_quality(opened).accounts == 2


class _Killed(Import):
    """Dies when its events are durable and none is stored."""

    def __init__(self, whole: Import) -> None:
        self.__dict__.update(whole.__dict__)

    def _settle(self) -> None:
        raise KeyboardInterrupt


def test_events_of_types_that_nobody_knows_are_counted_by_their_types(empty: Path, tmp_path: Path) -> None:
    with copied(empty, tmp_path, "unknown") as opened:
        bodies = [
            {"id": f"e{number}", "type": kind} for number, kind in enumerate(["seen", "user.logn", "seen"])
        ]
        with opened.database.write() as connection:
            for number, body in enumerate([*bodies, {"id": "e3"}]):
                rejection = decode(json.dumps(body).encode(), NOW)
                assert isinstance(rejection, Rejection)
                refused = dead_letters.Refused(json.dumps(body).encode(), rejection, f"test {number}")
                dead_letters.keep(connection, [refused], received_at=NOW)
        found = data_quality(opened)
    assert found.document()["not_understood"] == [
        {"detail": "'seen' is no event type, such as 'user.login'", "events": 2},
        {"detail": "'user.logn' is no event type; did you mean 'user.login'?", "events": 1},
    ]


def test_the_quality_of_the_data_is_counted_over_all_accounts(empty: Path, tmp_path: Path) -> None:
    at = instant(NOW - DAY).isoformat()
    with copied(empty, tmp_path, "quality") as opened:
        told(
            opened,
            [
                {"type": "user.login", "account_id": "acme", "user_id": "u1", "occurred_at": at},
                {"type": "user.login", "account_id": "acme", "user_id": "u2", "occurred_at": at},
                *(
                    {
                        "type": "feature.used",
                        "account_id": account,
                        "user_id": "u1",
                        "occurred_at": at,
                        "data": {"feature": feature},
                    }
                    for account, feature in (("acme", "reports"), ("globex", "reports"), ("acme", "export"))
                ),
                {
                    "type": "account.updated",
                    "account_id": "initech",
                    "occurred_at": at,
                    "data": {"owner": "Kim", "renewal_date": "2027-01-01", "country": "Germany"},
                },
                {"type": "seats.changed", "account_id": "acme", "occurred_at": at, "data": {"purchased": 5}},
                {
                    "type": "contact.updated",
                    "account_id": "acme",
                    "occurred_at": at,
                    "data": {"contact_id": "c1", "roles": ["champion"]},
                },
            ],
        )
        found = data_quality(opened)
    assert {name: (lack.count, lack.examples) for name, lack in found.lacks.items()} == {
        "any activity": (1, ["initech"]),
        "an owner": (2, ["acme", "globex"]),
        "a renewal date": (2, ["acme", "globex"]),
        "seats": (2, ["globex", "initech"]),
        "a champion": (2, ["globex", "initech"]),
        "a holiday calendar of their country": (1, ["initech"]),
    }
    assert found.countries == [("Germany", 1)]
    assert [(each.type, each.accounts, each.kept, each.since) for each in found.types] == [
        ("user.login", 1, 2, "2026-11-21"),
        ("feature.used", 2, None, "2026-11-21"),
        ("seats.changed", 1, 1, "2026-11-21"),
        ("account.updated", 1, 1, None),
        ("contact.updated", 1, 1, "2026-11-21"),
    ]
    assert found.features == [("reports", 2), ("export", 1)]
    assert found.metrics["renewal.days_to"] == {"not_applicable": 2, "ok": 1}
    assert found.metrics["account.owner"] == {"ok": 1, "unknown": 2}
    assert all(sum(counts.values()) == 3 for counts in found.metrics.values())
