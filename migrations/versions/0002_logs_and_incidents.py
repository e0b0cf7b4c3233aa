"""Which log a position counts in, what befell partitions, and which processes run.

Revision 0002, after 0001. It only adds: the release before runs on this schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.serving import KEY, serves

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Hashes, maps and counts hardly compress, and trying took a third of the server's time in intake. A row of up to a page
# stays whole: laid aside in pieces, as PostgreSQL does from 2 KB on, it is written and found piece by piece.
BLOBS = {
    "account_window": ("profile", "days", "users", "login_maps"),
    "account_detail": ("user_ids", "features", "facts"),
    "seen_segment": ("ids", "prints"),
}
WHOLE_TO = 8160  # bytes, the most there is
# Days seen and judgements change no index of the directory: with room on its page a new version stays beside the old.
ROOM = {"account": 80}


def upgrade() -> None:
    """Add ``position.log``, ``incident`` and ``process``."""
    op.add_column("position", sa.Column("log", sa.String(length=128), server_default="", nullable=False))
    op.add_column("position", sa.Column("current_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "incident",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("detail", sa.String(length=1024), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_incident"),
        comment="What a partition met that a person must know of",
    )
    op.create_index(
        "ix_incident_closed_at_kind_subject", "incident", ["closed_at", "kind", "subject"], unique=False
    )
    op.create_table(
        "process",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("beat_at", sa.BigInteger(), nullable=False),
        sa.Column("trouble", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_process"),
        comment="Processes that run, by what each says of itself every few seconds: a dead consumer reports no lag",
    )
    if op.get_context().dialect.name == "postgresql":
        for table, columns in BLOBS.items():
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
            op.execute(f"ALTER TABLE {table} SET (toast_tuple_target = {WHOLE_TO})")
        for table, filled in ROOM.items():
            op.execute(f"ALTER TABLE {table} SET (fillfactor = {filled})")
    serves("0001")


def downgrade() -> None:
    """Back to 0001: what befell partitions is forgotten."""
    if op.get_context().dialect.name == "postgresql":
        for table in ROOM:
            op.execute(f"ALTER TABLE {table} RESET (fillfactor)")
        for table, columns in BLOBS.items():
            op.execute(f"ALTER TABLE {table} RESET (toast_tuple_target)")
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTENDED")
    op.execute(f"DELETE FROM setting WHERE key = '{KEY}'")  # noqa: S608 - a constant
    op.drop_table("process")
    op.drop_index("ix_incident_closed_at_kind_subject", table_name="incident")
    op.drop_table("incident")
    with op.batch_alter_table("position") as batch:
        batch.drop_column("log")
        batch.drop_column("current_at")
