"""The directory by health band."""

from __future__ import annotations

import pytest

from tests.api.closes import close
from tests.api.house import TODAY, Api, House


@pytest.fixture
def portfolio(house: House) -> None:
    for number, band in enumerate(("red", "yellow", "green", "red", "unknown")):
        close(house, {house.add_account(f"{band}-{number}", renewal_day=TODAY + number, owner="ada"): band})
    house.add_account("never-closed", owner="ben")


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (["red"], ["red-0", "red-3"]),
        (["green", "yellow"], ["green-2", "yellow-1"]),
        (["unknown"], ["never-closed", "unknown-4"]),
        (["red", "unknown"], ["never-closed", "red-0", "red-3", "unknown-4"]),
    ],
)
@pytest.mark.usefixtures("portfolio")
def test_accounts_of_some_bands_page_by_page(api: Api, bands: list[str], expected: list[str]) -> None:
    assert [row["account_id"] for row in api.walk("/v1/accounts", band=bands, limit=1)] == expected


@pytest.mark.usefixtures("portfolio")
def test_the_band_goes_with_the_other_filters_and_orders(api: Api) -> None:
    rows = api.walk(
        "/v1/accounts", band=["red", "green"], renewing_within=2, sort="-renewal_date", owner="ada"
    )
    assert [(row["account_id"], row["band"]) for row in rows] == [("green-2", "green"), ("red-0", "red")]
    assert [row["account_id"] for row in api.walk("/v1/accounts", band="red", q="-3")] == ["red-3"]


@pytest.mark.usefixtures("portfolio")
def test_one_account_says_its_band(api: Api) -> None:
    assert api.get("/v1/accounts/red-3").json()["band"] == "red"
    assert api.get("/v1/accounts/never-closed").json()["band"] == "unknown"
