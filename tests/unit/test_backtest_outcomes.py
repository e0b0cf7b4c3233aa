"""The outcomes file: dates of churns and renewals, and where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.backtest.outcomes import Course, Outcomes, Term
from app.cli.history_files import read_outcomes
from consumers.days import Calendar
from consumers.errors import SourceError

DAY = Calendar().parse_day("2026-01-01")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outcomes.csv"


def read(file: Path, text: str, zone: str = "UTC") -> Outcomes:
    file.write_bytes(text.encode())
    return read_outcomes(file, Calendar(zone))


def test_a_row_has_either_date_and_an_account_several_rows(file: Path) -> None:
    found = read(
        file,
        "account_id,churned_on,renewed_on\na,2026-01-01,\nb,,2026-01-05\na,,2026-01-03\na,2026-01-09,\nc,,\n",
    )
    assert found.courses == {
        "a": Course((DAY, DAY + 8), (DAY + 2,)),
        "b": Course((), (DAY + 4,)),
        "c": Course(),
    }


def test_the_columns_may_stand_in_any_order_with_others_between(file: Path) -> None:
    found = read(file, "\ufeffname, churned_on ,account_id\r\nAcme,2026-01-01,a\r\n\r\n")
    assert found.courses == {"a": Course((DAY,))}


def test_it_is_read_as_spreadsheets_write_it(file: Path) -> None:
    text = '\ufeffAccount ID;Churned-On;\r\n\'=acme;2026-01-01;\r\n"two; three";2026-01-02;\r\n'
    assert read(file, text).courses == {"=acme": Course((DAY,)), "two; three": Course((DAY + 1,))}
    text = "account_id\tname\trenewed on\n b \tAcme, Inc.\t 2026-01-01 \n\tof nobody\t\n"
    assert read(file, text).courses == {"b": Course((), (DAY,))}


def test_one_of_the_two_columns_is_enough(file: Path) -> None:
    assert read(file, "account_id,renewed_on\na,2026-01-01\n").courses == {"a": Course((), (DAY,))}


def test_an_instant_is_a_day_of_the_organisation(file: Path) -> None:
    text = "account_id,churned_on\na,2026-01-01T23:30:00Z\n"
    assert read(file, text, "Europe/Berlin").courses == {"a": Course((DAY + 1,))}


def test_a_row_that_comes_twice_says_it_once(file: Path) -> None:
    assert read(file, "account_id,churned_on\na,2026-01-01\na,2026-01-01\n").courses == {"a": Course((DAY,))}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ": there is nothing in it"),
        ("id,churned_on\n", ":1: its first line has no column account_id"),
        ("account_id,churned\n", ":1: its first line has no column churned_on or renewed_on"),
        ("account_id,churned_on,churned_on\n", ":1: two columns are called churned_on"),
        ("account_id,churned_on\na,2026-01-01\nb,01/02/2026\n", ":3: churned_on '01/02/2026' is not a day"),
        ("account_id,churned_on\na,2026-02-30\n", ":2: churned_on '2026-02-30' is not a day"),
        ("account_id,churned_on\n ,2026-01-01\n", ":2: no account_id"),
        ("account_id,churned_on\na\n", ":2: 1 cells where the first line names 2 columns"),
        ('account_id,churned_on\n"a,2026-01-01\n', ":2: a double quote begins a cell and none ends it"),
        ("account_id,churned_on\na,2026-01-01\na,2026-01-03\n", ":3: a churned already, in line 2"),
        ("account_id,churned_on,renewed_on\na,2026-01-01,2026-01-01\n", "renewed on the same day"),
    ],
)
def test_a_wrong_line_is_told_with_its_place(file: Path, text: str, told: str) -> None:
    with pytest.raises(SourceError) as refused:
        read(file, text)
    assert str(refused.value).startswith(f"{file}:")
    assert told in str(refused.value)


def test_what_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"account_id,churned_on\n\xff,2026-01-01\n")
    with pytest.raises(SourceError, match="2: byte 0xff is not UTF-8"):
        read_outcomes(file, Calendar())
    with pytest.raises(SourceError, match="cannot be read"):
        read_outcomes(file.parent / "none.csv", Calendar())


# --- an account's terms as a customer


def test_a_term_ends_the_day_before_the_churn_and_begins_again_with_the_renewal() -> None:
    course = Course((10, 30), (20,))
    assert list(course.terms(0, 100)) == [Term(0, 9, 10), Term(20, 29, 30)]
    assert list(course.terms(0, 25)) == [Term(0, 9, 10), Term(20, 25, None)]
    assert list(course.terms(15, 100)) == [Term(20, 29, 30)]
    assert list(course.terms(25, 100)) == [Term(25, 29, 30)]
    assert list(course.terms(40, 100)) == []


def test_without_an_outcome_there_is_one_term() -> None:
    assert list(Outcomes().course("a").terms(3, 9)) == [Term(3, 9, None)]
    assert list(Outcomes().course("a").terms(10, 9)) == []
