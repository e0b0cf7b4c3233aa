"""Accounts in bulk through the command: what it says, what it writes, and what it leaves alone."""

from __future__ import annotations

import codecs
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Command

ACCOUNTS = (
    "account_id;name;owner;renewal_date;term_months\n"
    'acme;"Acme\nInc";Kim;2027-02-01;12\n'
    "globex;=Globex;Lee;31.01.2027;12\n"
    "initech;Initech;;;\n"
)


def written(command: Command, name: str, text: str) -> Path:
    path = command.folder / name
    path.write_text("\ufeff" + text, encoding="utf-8", newline="")
    return path


def told(command: Command, *words: str | Path) -> dict[str, Any]:
    ended = command("import", *words, "-o", "json")
    assert ended.code in (0, 1), ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def counts(answer: dict[str, Any]) -> list[tuple[int, int, int]]:
    return [(each["changed"], each["unchanged"], each["refused"]) for each in answer["files"]]


def test_a_file_is_tried_taken_in_and_does_nothing_again(upgraded: Command) -> None:
    file = written(upgraded, "accounts.csv", ACCOUNTS)
    tried = upgraded("import", file, "--dry-run")
    assert tried.code == 1
    rows = [line.split() for line in tried.out.splitlines()]
    assert ["2", "acme", "renewal_date", "2027-02-01"] in rows
    assert f"{file} (accounts), lines: 2 would be changed, 0 unchanged, 1 refused" in tried.out
    assert "nothing was written" in tried.out
    assert tried.err == (
        f"{file}:4: renewal_date: '31.01.2027' is neither a date YYYY-MM-DD nor an RFC 3339 instant with an offset; "
        "write it as 2026-12-31\n"
    )
    assert upgraded("accounts", "-o", "json").out.count('"account_id"') == 0

    taken = upgraded("import", file)
    assert (taken.code, "2 changed, 0 unchanged, 1 refused" in taken.out) == (1, True)
    assert "2 accounts judged" in taken.out
    again = upgraded("import", file)
    assert (again.code, "0 changed, 2 unchanged, 1 refused" in again.out) == (1, True)
    assert "judged" not in again.out
    with sqlite3.connect(upgraded.folder / "bellwether.db") as database:
        assert database.execute("SELECT count(*) FROM journal").fetchone() == (2,)
        assert database.execute("SELECT name, owner FROM account ORDER BY account_id").fetchall() == [
            ("Acme\nInc", "Kim"),
            ("Initech", None),
        ]


def test_what_is_edited_in_a_spreadsheet_comes_back(upgraded: Command) -> None:
    written(upgraded, "accounts.csv", ACCOUNTS.replace("31.01.2027", "2027-01-31"))
    money = "account_id,mrr,currency,purchased\nacme,1200,eur,25\nglobex,99.5,EUR,3\n"
    roles = "account_id,contact_id,user_id,roles\nacme,c1,u1,champion;member\n"
    written(upgraded, "money.csv", money)
    written(upgraded, "people.csv", roles)
    taken = told(upgraded, "accounts.csv", "money.csv", "people.csv")
    assert [each["kind"] for each in taken["files"]] == ["accounts", "subscriptions", "contacts"]
    assert (counts(taken), taken["judged"]) == ([(3, 0, 0), (2, 0, 0), (1, 0, 0)], 3)

    out = upgraded.folder / "out.csv"
    assert upgraded("export", "accounts", "-o", out).err == f"{out}: 3 accounts\n"
    text = out.read_text(encoding="utf-8-sig")
    assert "\nglobex,'=Globex,Lee," in text
    unchanged = told(upgraded, out)
    assert (counts(unchanged), unchanged["events"]) == ([(0, 3, 0)], 0)
    out.write_text(text.replace(",Lee,", ",Zoë,"), encoding="utf-8")
    (edited,) = told(upgraded, out)["files"]
    assert edited["changes"] == [
        {"line": 4, "account_id": "globex", "field": "owner", "old": "Lee", "new": "Zoë"}
    ]
    assert upgraded("export", "subscriptions").out.splitlines() == [
        "account_id,subscription_id,mrr,currency,renewal_date,purchased",
        "acme,default,1200.00,EUR,,25",
        "globex,default,99.50,EUR,,3",
    ]
    assert upgraded("export", "contacts").out.splitlines() == [
        "account_id,contact_id,user_id,name,email,roles,active",
        "acme,c1,u1,,,champion;member,",
    ]
    metrics = json.loads(upgraded("risk", "acme", "-o", "json").out)
    assert (metrics["renewal_date"], metrics["mrr"]) == ("2027-02-01", "1200.00")


def test_a_file_of_no_kind_is_refused_before_anything_is_written(upgraded: Command) -> None:
    written(upgraded, "good.csv", "account_id,owner\nacme,Kim\n")
    written(upgraded, "bad.csv", "account_id,ownr\nacme,Kim\n")
    ended = upgraded("import", "good.csv", "bad.csv")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[0] == 'bellwether: bad.csv:1: unknown column "ownr": did you mean "owner"?'
    assert json.loads(upgraded("accounts", "-o", "json").out)["data"] == []
    assert upgraded("import", "bad.csv", "--skip", "ownr").code == 0
    assert upgraded("import", "none.csv").code == 2
    assert "bellwether import --template" in upgraded("import").err


@pytest.mark.parametrize("kind", ["accounts", "contacts", "qbrs", "ratings", "touchpoints"])
def test_a_template_is_the_first_line_of_a_file(bellwether: Command, kind: str) -> None:
    shown = bellwether("import", "--template", kind)
    assert shown.code == 0
    assert len(shown.out.splitlines()) == 1
    assert shown.out.startswith("account_id,")
    assert "account_id, needed: text" in shown.err
    wrong = bellwether("import", "--template", kind[:-2])
    assert (wrong.code, f'did you mean "{kind}"?' in wrong.err) == (2, True)


def test_a_rating_is_said_by_the_person_at_the_terminal(upgraded: Command) -> None:
    unknown = upgraded("rate", "acme", "red")
    assert (unknown.code, unknown.err.splitlines()[0]) == (2, "bellwether: there is no account 'acme'")
    written(upgraded, "a.csv", "account_id,owner\nacme,Kim\n")
    assert upgraded("import", "a.csv").code == 0
    assert upgraded("rate", "acme", "green", "--by", "kim").out == "acme: rated green by kim\n"
    rated = json.loads(
        upgraded("rate", "acme", "red", "--by", "kim", "--note", "no answer", "-o", "json").out
    )
    assert (rated["rating"], rated["previous"], rated["note"]) == ("red", "green", "no answer")
    assert upgraded("rate", "acme", "red", "--by", "lee").out == "acme: rated red by lee, red before\n"
    wrong = upgraded("rate", "acme", "amber")
    assert wrong.code == 2
    assert counts(told(upgraded, written(upgraded, "r.csv", "account_id,rating,by\nacme,red,lee\n"))) == [
        (0, 1, 0)
    ]


def test_the_doctor_says_how_good_the_data_is(upgraded: Command) -> None:
    written(upgraded, "a.csv", "account_id,owner,renewal_date\nacme,Kim,2030-01-01\nglobex,,\n")
    assert upgraded("import", "a.csv").code == 0
    shown = upgraded("doctor", "--data")
    assert shown.code == 0
    assert "2 accounts, as of " in shown.out
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["an", "owner", "1", "globex"] in rows
    assert ["renewal.days_to", "1", "1", "not_applicable"] in rows
    answer = json.loads(upgraded("doctor", "--data", "-o", "json").out)
    assert answer["without"]["any activity"] == {"accounts": 2, "examples": ["acme", "globex"]}
    assert answer["metrics"]["account.owner"] == {"ok": 1, "unknown": 1}
    assert "settings" in upgraded("doctor").out


def test_the_doctor_names_what_it_did_not_understand(upgraded: Command) -> None:
    written(upgraded, "a.csv", "account_id,country\nacme,Germany\n")
    assert upgraded("import", "a.csv").code == 0
    event = {"id": "e", "type": "user.logn", "account_id": "acme", "occurred_at": "2026-01-01T00:00:00Z"}
    (upgraded.folder / "events.ndjson").write_text(json.dumps(event) + "\n")
    upgraded("ingest", "events.ndjson")
    shown = upgraded("doctor", "--data")
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["Germany", "1"] in rows
    assert ["'user.logn'", "is", "no", "event", "type;", "did", "you", "mean", "'user.login'?", "1"] in rows
    assert "dead-letters list --reason unknown_type" in shown.err


def test_a_dry_run_of_two_files_says_what_both_would_change_in_turn(upgraded: Command) -> None:
    written(upgraded, "a.csv", "account_id,owner\nacme,Kim\n")
    written(upgraded, "b.csv", "account_id,owner\nacme,Lee\n")
    tried = upgraded("import", "a.csv", "b.csv", "--dry-run", "-o", "json")
    answer = json.loads(tried.out)
    assert answer["files"][1]["changes"] == [
        {"line": 2, "account_id": "acme", "field": "owner", "old": "Kim", "new": "Lee"}
    ]
    assert answer["unread"] == 0


def test_an_export_into_a_file_by_the_shell_says_that_it_is_utf_8(upgraded: Command) -> None:
    written(upgraded, "a.csv", "account_id,owner\nacme,Zoë\n")
    assert upgraded("import", "a.csv").code == 0
    for _ in range(2):  # the second time it is written behind what is there
        with (
            (upgraded.folder / "out.csv").open("ab") as file,
            upgraded.start("export", "accounts", stdout=file) as process,
        ):
            assert process.wait(60) == 0
        text = (upgraded.folder / "out.csv").read_bytes()
        assert text.startswith(codecs.BOM_UTF8 + b"account_id,")
        assert text.count(codecs.BOM_UTF8) == 1
