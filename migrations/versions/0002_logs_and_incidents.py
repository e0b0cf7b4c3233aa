"""Which log a position counts in, and what befell partitions.

Revision 0002, after 0001. It only adds: the release before runs on this schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add ``position.log`` and ``incident``."""
    op.add_column("position", sa.Column("log", sa.String(length=128), server_default="", nullable=False))
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


def downgrade() -> None:
    """Back to 0001: what befell partitions is forgotten."""
    op.drop_index("ix_incident_closed_at_kind_subject", table_name="incident")
    op.drop_table("incident")
    with op.batch_alter_table("position") as batch:
        batch.drop_column("log")
