"""Which log offsets count in, what befell partitions, which processes run, and segments of more than one batch.

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


def _dead_letter() -> sa.Table:
    """As 0001 made it: SQLite changes a constraint by making the table anew, and the script is written without one."""
    return sa.Table(
        "dead_letter",
        sa.MetaData(),
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("partition", sa.String(length=255), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=1024), nullable=False),
        sa.Column("origin", sa.String(length=1024), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("replayed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letter"),
        sa.UniqueConstraint("partition", "offset", name="uq_dead_letter_partition_offset"),
        sa.Index("ix_dead_letter_status_id", "status", "id"),
        comment="Rejected events with their original bytes, each once",
    )


def upgrade() -> None:
    """Add ``position.log``, ``dead_letter.log``, ``seen_segment.batches``, ``incident`` and ``process``."""
    op.add_column("position", sa.Column("log", sa.String(length=128), server_default="", nullable=False))
    op.add_column("position", sa.Column("current_at", sa.BigInteger(), nullable=True))
    op.add_column("seen_segment", sa.Column("batches", sa.BigInteger(), server_default="1", nullable=False))
    op.create_index("ix_seen_segment_lane_newest_day", "seen_segment", ["lane", "newest_day"], unique=False)
    with op.batch_alter_table("dead_letter", copy_from=_dead_letter()) as batch:
        batch.add_column(sa.Column("log", sa.String(length=128), server_default="", nullable=False))
        batch.drop_constraint("uq_dead_letter_partition_offset", type_="unique")
        batch.create_unique_constraint("uq_dead_letter_partition_log_offset", ["partition", "log", "offset"])
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
    """Back to 0001: what befell partitions is forgotten, and of dead letters at one offset all but the first."""
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
    op.execute(
        "DELETE FROM dead_letter WHERE id NOT IN"
        ' (SELECT MIN(id) FROM dead_letter GROUP BY "partition", "offset")'
    )
    with op.batch_alter_table("dead_letter") as batch:
        batch.drop_constraint("uq_dead_letter_partition_log_offset", type_="unique")
        batch.create_unique_constraint("uq_dead_letter_partition_offset", ["partition", "offset"])
        batch.drop_column("log")
    op.drop_index("ix_seen_segment_lane_newest_day", table_name="seen_segment")
    with op.batch_alter_table("seen_segment") as batch:
        batch.drop_column("batches")
    with op.batch_alter_table("position") as batch:
        batch.drop_column("log")
        batch.drop_column("current_at")
