"""The first schema: events in, windows, alerts, the outbox, keys.

Revision 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "account",
        sa.Column(
            "no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("owner_email", sa.Text(), nullable=True),
        sa.Column("size", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("tier", sa.Text(), nullable=True),
        sa.Column("use_case", sa.Text(), nullable=True),
        sa.Column("touch", sa.Text(), nullable=True),
        sa.Column("lifecycle", sa.Text(), nullable=True),
        sa.Column("usage_cadence", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("term_months", sa.Integer(), nullable=True),
        sa.Column("renewal_day", sa.Integer(), nullable=True),
        sa.Column("mrr_cents", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("first_day", sa.Integer(), nullable=True),
        sa.Column("last_day", sa.Integer(), nullable=True),
        sa.Column("risk_level", sa.String(length=16), server_default="unknown", nullable=False),
        sa.Column("judged_at", sa.BigInteger(), nullable=True),
        sa.Column("evaluated_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("no", name="pk_account"),
        sa.UniqueConstraint("account_id", name="uq_account_account_id"),
        comment="The directory: one row per account, with what lists filter and sort by, projected from its facts",
    )
    op.create_index("ix_account_owner", "account", ["owner"], unique=False)
    op.create_index("ix_account_renewal_day", "account", ["renewal_day"], unique=False)
    op.create_index("ix_account_risk_level", "account", ["risk_level"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
        comment="API keys by the hash of their secret",
    )
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counter"),
        comment="Totals over all processes: accepted, duplicate, conflicting_duplicate, internal, rejected.<reason>",
    )
    op.create_table(
        "dead_letter",
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
        comment="Rejected events with their original bytes, each once",
    )
    op.create_index("ix_dead_letter_status_id", "dead_letter", ["status", "id"], unique=False)
    op.create_table(
        "delivery",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("destination", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("alert_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=128), server_default="", nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("webhook_id", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("lease_holder", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_delivery"),
        sa.UniqueConstraint("destination", "webhook_id", name="uq_delivery_destination_webhook_id"),
        comment="The outbox: one row per transition and destination, written with the alert",
    )
    op.create_index("ix_delivery_alert_id_id", "delivery", ["alert_id", "id"], unique=False)
    op.create_index(
        "ix_delivery_destination_alert_id_seq", "delivery", ["destination", "alert_id", "seq"], unique=False
    )
    op.create_index(
        "ix_delivery_destination_status_next_at",
        "delivery",
        ["destination", "status", "next_at"],
        unique=False,
    )
    op.create_table(
        "destination",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("not_before", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_destination"),
        comment="What is known of each configured destination; its address and secret stay in the configuration",
    )
    op.create_table(
        "family",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("first_day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_family"),
        comment="The first day of each family of events over the portfolio: never fed is not absent",
    )
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("body_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency"),
        comment="Answers to writes that carried an Idempotency-Key",
    )
    op.create_table(
        "journal",
        sa.Column(
            "offset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.String(length=128), server_default="", nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("offset", name="pk_journal"),
        comment="The embedded log: what HTTP intake accepted, durable before the 202",
        sqlite_autoincrement=True,
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lease"),
        comment="What must happen once: one holder at a time, by the database's word",
    )
    op.create_table(
        "position",
        sa.Column("partition", sa.String(length=255), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=True),
        sa.Column("behind", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name="pk_position"),
        comment="How far each partition of each source is handled; moved by compare-and-set with the batch",
    )
    op.create_table(
        "schedule",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("closed_day", sa.Integer(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_schedule"),
        comment="Due times of the clock; the scheduler only rings",
    )
    op.create_table(
        "seen_segment",
        sa.Column("lane", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("newest_day", sa.Integer(), nullable=False),
        sa.Column("ids", sa.LargeBinary(), nullable=False),
        sa.Column("prints", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("lane", "seq", name="pk_seen_segment"),
        comment="Hashes of the event ids of one batch: de-duplication that survives a restart",
    )
    op.create_table(
        "setting",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_setting"),
        comment="What is fixed at the first start: the zone of the days, the instance id",
    )
    op.create_table(
        "account_detail",
        sa.Column("account_no", sa.BigInteger(), nullable=False),
        sa.Column("user_ids", sa.LargeBinary(), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_no"], ["account.no"], name="fk_account_detail_account_no", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_no", name="pk_account_detail"),
        comment="What folding needs beside it: the users' ids, who used which feature, the facts behind the profile",
    )
    op.create_table(
        "account_window",
        sa.Column("account_no", sa.BigInteger(), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.Column("days", sa.LargeBinary(), nullable=False),
        sa.Column("users", sa.LargeBinary(), nullable=False),
        sa.Column("login_maps", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_no"], ["account.no"], name="fk_account_window_account_no", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_no", name="pk_account_window"),
        comment="What the sweep reads: fixed-size profile, daily login counts, one cell per user; last, what it leaves",
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=128), nullable=False),
        sa.Column("account_no", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("label", sa.String(length=128), server_default="", nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("baseline", sa.Boolean(), nullable=False),
        sa.Column("dismissed", sa.Boolean(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("pending_since", sa.BigInteger(), nullable=True),
        sa.Column("fired_at", sa.BigInteger(), nullable=True),
        sa.Column("resolved_at", sa.BigInteger(), nullable=True),
        sa.Column("false_since", sa.BigInteger(), nullable=True),
        sa.Column("unknown_since_day", sa.Integer(), nullable=True),
        sa.Column("check_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("snoozed_until", sa.BigInteger(), nullable=True),
        sa.Column("rule_version", sa.String(length=64), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_no"], ["account.no"], name="fk_alert_account_no", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_alert"),
        comment="One row per episode; at most one open per key (rule, account, label), guarded by the index",
    )
    op.create_index("ix_alert_account_no_rule", "alert", ["account_no", "rule"], unique=False)
    op.create_index("ix_alert_check_at", "alert", ["check_at"], unique=False)
    op.create_index("ix_alert_status_updated_at", "alert", ["status", "updated_at"], unique=False)
    op.create_index(
        "uq_alert_open_key",
        "alert",
        ["key"],
        unique=True,
        sqlite_where=sa.text("status <> 'resolved'"),
        postgresql_where=sa.text("status <> 'resolved'"),
    )
    op.create_table(
        "delivery_attempt",
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["delivery.id"], name="fk_delivery_attempt_delivery_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("delivery_id", "no", name="pk_delivery_attempt"),
        comment="Every attempt, append only",
    )
    op.create_table(
        "touched",
        sa.Column("account_no", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_no"], ["account.no"], name="fk_touched_account_no", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_no", "partition", name="pk_touched"),
        comment="Accounts to judge, and the partition that touched them: judged when it has caught up",
    )
    op.create_table(
        "alert_history",
        sa.Column("alert_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), server_default="", nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alert.id"], name="fk_alert_history_alert_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("alert_id", "seq", name="pk_alert_history"),
        comment="Every move of an alert, append only",
    )


def downgrade() -> None:
    """Drop every table."""
    op.drop_table("alert_history")
    op.drop_table("touched")
    op.drop_table("delivery_attempt")
    op.drop_index(
        "uq_alert_open_key",
        table_name="alert",
        sqlite_where=sa.text("status <> 'resolved'"),
        postgresql_where=sa.text("status <> 'resolved'"),
    )
    op.drop_index("ix_alert_status_updated_at", table_name="alert")
    op.drop_index("ix_alert_check_at", table_name="alert")
    op.drop_index("ix_alert_account_no_rule", table_name="alert")
    op.drop_table("alert")
    op.drop_table("account_window")
    op.drop_table("account_detail")
    op.drop_table("setting")
    op.drop_table("seen_segment")
    op.drop_table("schedule")
    op.drop_table("position")
    op.drop_table("lease")
    op.drop_table("journal")
    op.drop_table("idempotency")
    op.drop_table("family")
    op.drop_table("destination")
    op.drop_index("ix_delivery_destination_status_next_at", table_name="delivery")
    op.drop_index("ix_delivery_destination_alert_id_seq", table_name="delivery")
    op.drop_index("ix_delivery_alert_id_id", table_name="delivery")
    op.drop_table("delivery")
    op.drop_index("ix_dead_letter_status_id", table_name="dead_letter")
    op.drop_table("dead_letter")
    op.drop_table("counter")
    op.drop_table("api_key")
    op.drop_index("ix_account_risk_level", table_name="account")
    op.drop_index("ix_account_renewal_day", table_name="account")
    op.drop_index("ix_account_owner", table_name="account")
    op.drop_table("account")
