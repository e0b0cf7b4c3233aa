"""What the database says, read by its layout alone: plain drivers, plain SQL, nothing of the package."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from tests.stored_windows import _READ, Windows, _windows

_KEPT = (
    "account",
    "account_window",
    "account_detail",
    "alert",
    "alert_history",
    "delivery",
    "touched",
    "family",
)


class Transition(NamedTuple):
    """One move of an alert that somebody would be told of."""

    account: str
    rule: str
    kind: str  # firing | resolved


class Books:
    """Opens a connection for every question, so that nothing is held while a fault is on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite")
        self.path = Path(url.removeprefix("sqlite:///")) if self.sqlite else None

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query that SQLite and PostgreSQL both understand; ``?`` stands for a value."""
        if self.sqlite:
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)) as connection:
                return connection.execute(statement, values).fetchall()
        with closing(psycopg.connect(_plain(self.url), autocommit=True, connect_timeout=5)) as connection:
            return connection.execute(statement.replace("?", "%s"), values).fetchall()

    def lock(self) -> sqlite3.Connection:
        """A connection to SQLite that may write, for whoever wants to be in the way."""
        assert self.path is not None
        return sqlite3.connect(self.path, isolation_level=None, timeout=30)

    def positions(self) -> dict[str, int]:
        """The next offset of each partition."""
        return dict(self.ask('SELECT "partition", next FROM position'))

    def counters(self) -> Counter[str]:
        """The running totals."""
        return Counter(dict(self.ask("SELECT name, value FROM counter")))

    def windows(self) -> dict[str, Windows]:
        """Every account's windows, taken apart."""
        return {account: _windows(*map(bytes, blobs)) for account, *blobs in self.ask(_READ)}

    def transitions(self) -> list[Transition]:
        """All that was told or would be, in the order of each account; what was true from the start is not."""
        return [
            Transition(*row)
            for row in self.ask(
                "SELECT a.account_id, a.rule, h.kind FROM alert_history AS h JOIN alert AS a ON a.id = h.alert_id"
                " WHERE h.kind IN ('firing', 'resolved') AND NOT (a.baseline AND h.kind = 'firing')"
                " ORDER BY a.account_id, a.rule, a.episode, h.seq"
            )
        ]

    def open_alerts(self) -> set[tuple[str, str]]:
        """(account, rule) of every alert that is not resolved."""
        return set(self.ask("SELECT account_id, rule FROM alert WHERE status <> 'resolved'"))

    def idle(self) -> bool:
        """Whether everything that was read is judged."""
        return not self.ask("SELECT 1 FROM touched LIMIT 1")

    def sent(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self.ask("SELECT 1 FROM delivery WHERE status IN ('queued', 'sending') LIMIT 1")

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of the tables of state, to be compared byte for byte."""
        return {name: sorted(self.ask(f"SELECT * FROM {name}"), key=repr) for name in _KEPT}

    def sound(self) -> bool:
        """What the database says of its own integrity; PostgreSQL is asked to read every table."""
        if self.sqlite:
            return self.ask("PRAGMA integrity_check") == [("ok",)]
        return bool(self.everything())


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
