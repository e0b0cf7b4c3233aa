"""The demo's 120 customers: invented companies, and which of our teams looks after each."""

from __future__ import annotations

from dataclasses import dataclass

_PLACES = (
    "Aldermoor", "Brackwater", "Calderwick", "Dunmarrow", "Eastmere", "Fennhollow",
    "Glasswick", "Harrowden", "Inchmark", "Kestrelby", "Lowfield", "Marlhaven",
)  # fmt: skip
_TRADES = (
    "Logistics", "Foods", "Robotics", "Insurance", "Travel",
    "Textiles", "Clinics", "Energy", "Media", "Freight",
)  # fmt: skip
_OWNERS = ("CS North", "CS South", "CS East", "CS West")
_SIZES = ("smb", "mid_market", "enterprise")


@dataclass(frozen=True, slots=True)
class Company:
    """A customer as its account record says; ``number`` counts from 0."""

    number: int
    account_id: str
    name: str
    owner: str
    size: str

    def user(self, number: int) -> str:
        """The id of one of its users."""
        return f"u-{self.number:03}-{number:02}"


def companies() -> list[Company]:
    """All of them, trade by trade, so that neighbours do not share a name's first word."""
    found: list[Company] = []
    for trade in _TRADES:
        for place in _PLACES:
            number = len(found)
            owner = _OWNERS[number % 4]
            account_id = f"{place}-{trade}".lower()
            found.append(Company(number, account_id, f"{place} {trade}", owner, _SIZES[number % 3]))
    return found
