"""A CSV file is read as the events that its lines are."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.days import micros
from consumers.decode import Rejection, decode
from consumers.errors import SourceError
from consumers.events import AccountUpdated, SeatsChanged, SurveyAnswered, UserLogin
from consumers.source import Position
from consumers.table import CsvSource, event_of

NOW = micros(datetime(2026, 11, 22, 12, tzinfo=UTC))
HEAD = "id,type,account_id,user_id,occurred_at"
LOGIN = "{},user.login,acme,u1,2026-11-22T10:00:00Z"


def read(path: Path) -> list[tuple[int, bytes]]:
    source = CsvSource(path)
    found: list[tuple[int, bytes]] = []
    while chunks := source.poll(2, 0.0):
        for chunk in chunks:
            found += zip(chunk.offsets, chunk.bodies, strict=True)
    source.close()
    return found


def accepted(line: str, names: str) -> Any:
    event = decode(event_of(line.encode(), names.split(",")), NOW)
    assert not isinstance(event, Rejection), event
    return event


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_line_but_the_first_is_an_event(tmp_path: Path, end: str, zipped: bool) -> None:
    text = end.join(["\ufeff" + HEAD, LOGIN.format(1), "", LOGIN.format(2), LOGIN.format(3)]).encode()
    path = tmp_path / "events.csv"
    path.write_bytes(gzip.compress(text) if zipped else text)
    found = read(path)
    assert [offset for offset, _ in found] == [1, 3, 4]
    events = [decode(body, NOW) for _, body in found]
    assert all(type(event) is UserLogin for event in events)
    assert [event.id for event in events if not isinstance(event, Rejection)] == ["1", "2", "3"]


def test_reading_goes_on_at_any_line(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("\n".join([HEAD, LOGIN.format(1), LOGIN.format(2)]))
    source = CsvSource(path)
    source.seek(source.partition, Position(2, ""))
    [chunk] = source.poll(10, 0.0)
    source.close()
    assert (list(chunk.offsets), json.loads(chunk.bodies[0])["id"]) == ([2], "2")


def test_cells_are_what_their_field_wants() -> None:
    envelope = "id,type,account_id,occurred_at"
    row = "7,{},acme,2026-11-22T10:00:00Z,"
    seats: SeatsChanged = accepted(row.format("seats.changed") + "25", envelope + ",purchased")
    assert (seats.id, seats.data.purchased) == ("7", 25)
    account: AccountUpdated = accepted(
        row.format("account.updated") + '12,007,reports; exports,,"{""crm"": 7}"',
        envelope + ",term_months,name,core_features,owner,external_ids",
    )
    assert (account.data.term_months, account.data.name, account.data.owner) == (12, "007", None)
    assert account.data.core_features == ("reports", "exports")
    assert account.data.external_ids == {"crm": 7}
    survey: SurveyAnswered = accepted(row.format("survey.answered") + "nps,9", envelope + ",kind,score")
    assert survey.data.score == 9
    gone = accepted(row.format("user.updated") + "u1,TRUE", envelope + ",user_id,deactivated")
    assert gone.data.deactivated is True


def test_the_delimiter_is_the_one_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("\n".join([HEAD + ",data.feature", LOGIN.format(1) + ",a"]).replace(",", ";"))
    [(_, body)] = read(path)
    assert json.loads(body)["data"] == {"feature": "a"}


@pytest.mark.parametrize("line", ["1,user.login", LOGIN.format(1) + ",more", LOGIN.format('"open'), "\udcff"])
def test_a_line_that_cannot_be_taken_apart_is_refused_as_it_is(line: str) -> None:
    body = line.encode(errors="surrogateescape")
    assert event_of(body, HEAD.split(",")) == body
    assert isinstance(decode(body, NOW), Rejection)


def test_a_file_without_the_needed_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("id,account_id\n1,acme\n")
    with pytest.raises(SourceError, match="no column type, occurred_at\n"):
        CsvSource(path)


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("")
    assert read(path) == []


@given(st.text(max_size=60), st.sampled_from([HEAD, "id,type,account_id,occurred_at,purchased,roles,mrr"]))
def test_any_line_gets_an_answer(line: str, names: str) -> None:
    decode(event_of(line.encode(), names.split(",")), NOW)
    cells = ["1", "contact.updated", "acme", "2026-11-22T10:00:00Z", line.replace(",", ""), line, line]
    decode(event_of(",".join(cells[: len(names.split(","))]).encode(), names.split(",")), NOW)
