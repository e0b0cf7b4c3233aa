"""Files as spreadsheets write them are read as they are meant, or refused with the line and what to do."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.bulk.cells import as_meant, cell_of, defused, read_cell
from app.bulk.kinds import KINDS, kind_of
from app.bulk.sheet import Row, read_sheet, write_sheet
from consumers.errors import ConfigurationError, SourceError
from consumers.events import TYPES


def sheet(tmp_path: Path, text: str | bytes, kind: str = "", skip: tuple[str, ...] = ()):
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_sheet(path, kind, skip)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_write_is_read(tmp_path: Path, mark: str, delimiter: str, end: str) -> None:
    lines = [["Account ID", "name", "owner"], ["acme", "Acme", ""], ["", "", ""], ["globex", "", "Lee"]]
    text = mark + end.join(delimiter.join(cells) for cells in lines) + end
    read = sheet(tmp_path, text)
    assert read.kind.name == "accounts"
    assert read.rows == [
        Row(2, {"account_id": "acme", "name": "Acme"}),
        Row(4, {"account_id": "globex", "owner": "Lee"}),
    ]
    assert not read.refused


def test_a_cell_may_go_over_several_lines_and_the_first_one_counts(tmp_path: Path) -> None:
    read = sheet(tmp_path, 'account_id,note,rating\nacme,"call\nagain; ""soon""",red\nglobex,,green\n')
    assert [(row.line, row.cells.get("note")) for row in read.rows] == [(2, 'call\nagain; "soon"'), (4, None)]


def test_a_line_that_is_no_row_is_refused_and_stops_no_other(tmp_path: Path) -> None:
    read = sheet(tmp_path, 'account_id,name,\na,b,,\nc,"d"e,\nf,g\nh,i,j\nk,"l,\nm,n,\n')
    assert [row.line for row in read.rows] == [2]
    assert [(each.line, each.problem.partition(";")[0]) for each in read.refused] == [
        (3, "',' expected after '\"'"),
        (6, "a double quote begins a cell and none ends it"),
        (4, "2 cells where the first line names 3 columns"),
        (5, "'j' stands in a column without a name"),
    ]


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("account_id", "accounts"),
        ("account_id,owner,as_of", "accounts"),
        ("account_id,renewal_date", "accounts"),
        ("account_id,contact_id,roles", "contacts"),
        ("account_id,mrr", "subscriptions"),
        ("account_id,subscription_id,renewal_date", "subscriptions"),
        ("account_id,purchased", "subscriptions"),
        ("account_id,user_id,deactivated", "users"),
        ("account_id,previous_user_id,user_id", "champions"),
        ("account_id,qbr_id,status,scheduled_for", "qbrs"),
        ("account_id,escalation_id,status", "escalations"),
        ("account_id,ticket_id", "tickets"),
        ("account_id,rating,note", "ratings"),
        ("account_id,kind,score", "surveys"),
        ("account_id,milestone,occurred_at", "milestones"),
        ("account_id,channel,note", "touchpoints"),
        ("account_id,integration,status", "integrations"),
    ],
)
def test_the_first_line_says_which_kind_of_file_it_is(header: str, kind: str) -> None:
    assert kind_of(header.split(","), "file.csv:1").name == kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_template_is_a_file_of_its_kind_and_says_what_goes_where(tmp_path: Path, kind: str) -> None:
    header = KINDS[kind].header
    read = sheet(tmp_path, ",".join(header))
    # Seats are a part of subscriptions, with the same columns.
    assert read.kind.name == {"seats": "subscriptions"}.get(kind, kind)
    assert all(KINDS[kind].means(column) for column in header)


def test_every_state_event_has_a_kind_of_file() -> None:
    told = {name for kind in KINDS.values() for name in kind.types.values()} | {"seats.changed"}
    assert told == TYPES.keys() - {"user.login", "feature.used", "session.ended"}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "account_id,ownr,nmae",
            'unknown column "ownr": did you mean "owner"?; unknown column "nmae": did you mean "name"?',
        ),
        ("account_id,contact_id,rolls", 'unknown column "rolls": did you mean "roles"?'),
        ("account_id,channel", "the columns could be those of accounts or touchpoints"),
        ("account,name", "there is no column account_id"),
        ("account_id,name,name", "the column name is there twice"),
        ("account_id,name,occurred_at,as_of", "the column occurred_at is there twice"),
        ("account_id,roles,email", "there is no column contact_id, which contacts need"),
    ],
)
def test_columns_that_are_wrong_are_named_with_the_nearest_known_one(
    tmp_path: Path, header: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        sheet(tmp_path, header + "\n")
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path / 'file.csv'}:1: ")
    assert len(str(refused.value).splitlines()) == 2


def test_a_column_is_left_out_only_when_told(tmp_path: Path) -> None:
    text = "account_id,name,Sales Region\nacme,Acme,EMEA\n"
    with pytest.raises(ConfigurationError, match='unknown column "sales_region"'):
        sheet(tmp_path, text)
    assert sheet(tmp_path, text, skip=("Sales Region",)).rows == [
        Row(2, {"account_id": "acme", "name": "Acme"})
    ]
    with pytest.raises(ConfigurationError, match="--skip regoin"):
        sheet(tmp_path, text, skip=("regoin",))


def test_a_kind_that_is_named_is_that_kind(tmp_path: Path) -> None:
    assert sheet(tmp_path, "account_id,channel\n", kind="touchpoints").kind.name == "touchpoints"
    with pytest.raises(ConfigurationError, match='unknown kind "touchpoint": did you mean "touchpoints"'):
        sheet(tmp_path, "account_id,channel\n", kind="touchpoint")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("account_id,name\nacme,Café\n".encode("latin-1"), ":2: byte 0xe9 is not UTF-8"),
        ("account_id\n".encode("utf-16"), "is not CSV in UTF-8"),
        (b"PK\x03\x04", "is not CSV in UTF-8"),
        (b"\n\n", "there is nothing in it"),
    ],
)
def test_what_is_no_csv_in_utf8_is_refused_whole(tmp_path: Path, raw: bytes, said: str) -> None:
    with pytest.raises(SourceError) as refused:
        sheet(tmp_path, raw)
    assert said in str(refused.value)


@given(st.text(st.sampled_from("'=+-@\t\r\nab "), max_size=6))
def test_no_cell_is_a_formula_and_every_one_is_read_as_it_was(text: str) -> None:
    written = defused(text)
    assert not written.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert as_meant(written) == text


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
ids = texts.filter(lambda text: text == text.strip() and text != "")


@example(["NULL"])
@given(st.lists(ids, max_size=4))
def test_a_list_is_read_as_it_was_written(values: list[str]) -> None:
    kind = KINDS["accounts"].type_of("core_features")
    cell = cell_of(values)
    assert read_cell(cell, kind) == values if cell else not values


@given(st.dictionaries(texts, st.one_of(texts, st.integers(-(2**53), 2**53)), max_size=3))
def test_an_object_is_read_as_it_was_written(value: dict[str, str | int]) -> None:
    assert read_cell(cell_of(value), KINDS["accounts"].type_of("external_ids")) == value


@given(st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=5))
def test_what_is_written_is_read_cell_by_cell(tmp_path_factory: pytest.TempPathFactory, rows) -> None:
    path = tmp_path_factory.mktemp("written") / "file.csv"
    header = ("account_id", "name", "owner")
    write_sheet(header, rows, path)
    read = read_sheet(path)
    wanted = [
        {name: cell for name, cell in zip(header, row, strict=True) if cell.strip()}
        for row in rows
        if any(cell.strip() for cell in row)
    ]
    assert [dict(row.cells) for row in read.rows] == wanted
    assert not read.refused


def test_a_written_file_shows_spreadsheets_that_it_is_utf8(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    write_sheet(("account_id", "name"), [("acme", '=HYPERLINK("x")')], path)
    raw = path.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert list(csv.reader(io.StringIO(raw.decode("utf-8-sig"))))[1] == ["acme", '\'=HYPERLINK("x")']
    with pytest.raises(ConfigurationError, match="there is no folder"):
        write_sheet(("account_id",), [], tmp_path / "none" / "file.csv")
    assert [each.name for each in tmp_path.iterdir()] == ["file.csv"]
