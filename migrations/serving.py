"""Expand and contract: each revision says which release's code still runs on the schema that it makes.

It is kept in the database, so that a release that is older than the schema can tell whether it may go on.
"""

from __future__ import annotations

from alembic import op

KEY = "schema_serves"  # in the table ``setting``: the oldest revision whose code runs on this schema


def serves(oldest: str) -> None:
    """The code that was written for the revision ``oldest``, and all since, runs on the schema from now on."""
    op.execute(f"DELETE FROM setting WHERE key = '{KEY}'")  # noqa: S608 - a constant
    op.execute(f"INSERT INTO setting (key, value) VALUES ('{KEY}', '{oldest}')")  # noqa: S608 - ours, a revision
