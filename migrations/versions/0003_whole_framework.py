"""What the metrics of the whole framework keep: more of each account, health, feeds, and what came of alerts.

Revision 0003, after 0002. The windows get another layout: afterwards `bellwether db upgrade` makes those that are there
anew, and the release before cannot read them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.layout_1 import back_to_layout_1
from migrations.serving import serves

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = ("active_days", "moments", "features", "sessions", "ledger")


def upgrade() -> None:
    """Add to ``account_window`` and ``alert``, and ``feed``, ``health_state`` and ``health_history``."""
    for name in COLUMNS:
        op.add_column("account_window", sa.Column(name, sa.LargeBinary(), nullable=True))
    op.add_column("alert", sa.Column("outcome", sa.String(length=16), nullable=True))
    op.add_column("alert", sa.Column("outcome_at", sa.BigInteger(), nullable=True))
    op.add_column("alert", sa.Column("outcome_by", sa.Text(), nullable=True))
    op.add_column("alert", sa.Column("outcome_note", sa.Text(), nullable=True))
    op.create_table(
        "feed",
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("family", sa.String(length=32), nullable=False),
        sa.Column("newest_at", sa.BigInteger(), nullable=False),
        sa.Column("first_day", sa.Integer(), nullable=False),
        sa.Column("hours", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "family", name="pk_feed"),
        comment="How each source fed each family of events: what is not flowing is our silence, not a customer's",
    )
    op.create_table(
        "health_state",
        sa.Column("page", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("records", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("page", name="pk_health_state"),
        comment="What a day's close needs of the one before: band, kept inputs (alerts.health.state)",
    )
    op.create_table(
        "health_history",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("page", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("records", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("day", "page", name="pk_health_history"),
        comment="Score, band and coverage of every account at every day's close (alerts.health.history)",
    )
    if op.get_context().dialect.name == "postgresql":
        for name in COLUMNS:  # as the blobs beside them
            op.execute(f"ALTER TABLE account_window ALTER COLUMN {name} SET STORAGE EXTERNAL")
    # It served no query, and PostgreSQL refuses an account whose owner is too long for an index.
    op.drop_index("ix_account_owner", table_name="account")
    serves("0003")


def downgrade() -> None:
    """Back to 0002: what only these tables and columns hold is lost, the windows get the layout they had."""
    back_to_layout_1(op.get_bind())
    op.create_index("ix_account_owner", "account", ["owner"], unique=False)
    op.drop_table("health_history")
    op.drop_table("health_state")
    op.drop_table("feed")
    with op.batch_alter_table("alert") as batch:
        for name in ("outcome_note", "outcome_by", "outcome_at", "outcome"):
            batch.drop_column(name)
    with op.batch_alter_table("account_window") as batch:
        for name in reversed(COLUMNS):
            batch.drop_column(name)
    op.execute("DELETE FROM setting WHERE key LIKE 'windows_layout%'")
    serves("0001")
