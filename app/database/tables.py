"""Every table, once: SQLAlchemy Core definitions that migrations and queries share.

Instants are UTC epoch microseconds in BIGINT columns named ``*_at`` or ``*_until``: they compare and index the
same on SQLite and PostgreSQL. Days are days since 1970-01-01 in the organisation's zone, in columns named
``*_day``. Blobs of ``account_window`` and ``account_detail`` are laid out by ``consumers.windows``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives a row id only to INTEGER PRIMARY KEY, PostgreSQL wants BIGINT.
Serial = BigInteger().with_variant(Integer, "sqlite")

setting = Table(
    "setting",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    comment="What is fixed at the first start: the zone of the days, the instance id",
)

# --- events in ------------------------------------------------------------------------------------------------

journal = Table(
    "journal",
    metadata,
    Column("offset", Serial, primary_key=True, autoincrement=True),
    Column("received_at", BigInteger, nullable=False),
    Column("sender", String(128), nullable=False, server_default=""),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,  # an offset is never given twice, even after pruning
    comment="The embedded log: what HTTP intake accepted, durable before the 202",
)

position = Table(
    "position",
    metadata,
    Column("partition", String(255), primary_key=True),
    Column("next", BigInteger, nullable=False),
    Column("end", BigInteger),
    Column("behind", Boolean, nullable=False),
    Column("origin", Text, nullable=False, server_default=""),
    Column("updated_at", BigInteger, nullable=False),
    Column("log", String(128), nullable=False, server_default=""),
    Column(
        "current_at", BigInteger
    ),  # the moment of judgement at which it was last seen to be read to its end
    comment="How far each partition of each source is handled; moved by compare-and-set with the batch",
)

seen_segment = Table(
    "seen_segment",
    metadata,
    Column("lane", String(255), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("newest_day", Integer, nullable=False),
    Column("ids", LargeBinary, nullable=False),
    Column("prints", LargeBinary, nullable=False),
    Column(
        "batches", BigInteger, nullable=False, server_default="1"
    ),  # of them, seq is the last one's number
    Index("ix_seen_segment_lane_newest_day", "lane", "newest_day"),
    comment="Hashes of the event ids of one batch: de-duplication that survives a restart",
)

family = Table(
    "family",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("first_day", Integer, nullable=False),
    comment="The first day of each family of events over the portfolio: never fed is not absent",
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("partition", String(255), nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("detail", String(1024), nullable=False),
    Column("origin", String(1024), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),  # waiting | replayed
    Column("replayed_at", BigInteger),
    Column("log", String(128), nullable=False, server_default=""),  # which one the offset counts in
    UniqueConstraint("partition", "log", "offset"),
    Index("ix_dead_letter_status_id", "status", "id"),
    comment="Rejected events with their original bytes, each once",
)

incident = Table(
    "incident",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),  # one of app.database.incidents.KINDS
    Column("subject", String(255), nullable=False),  # the partition; of stale_source the source
    Column("detail", String(1024), nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Index("ix_incident_closed_at_kind_subject", "closed_at", "kind", "subject"),
    comment="What a partition met that a person must know of",
)

feed = Table(
    "feed",
    metadata,
    Column("source", String(255), primary_key=True),
    Column("family", String(32), primary_key=True),
    Column("newest_at", BigInteger, nullable=False),
    Column("first_day", Integer, nullable=False),
    Column("hours", LargeBinary, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    comment="How each source fed each family of events: what is not flowing is our silence, not a customer's",
)

counter = Table(
    "counter",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
    comment="Totals over all processes: accepted, duplicate, conflicting_duplicate, internal, rejected.<reason>",
)

# --- accounts and their windows -------------------------------------------------------------------------------

account = Table(
    "account",
    metadata,
    Column("no", Serial, primary_key=True, autoincrement=True),
    Column("account_id", String(128), nullable=False, unique=True),
    Column("name", Text),
    Column("owner", Text),
    Column("owner_email", Text),
    Column("size", Text),
    Column("channel", Text),
    Column("tier", Text),
    Column("use_case", Text),
    Column("touch", Text),
    Column("lifecycle", Text),
    Column("usage_cadence", Text),
    Column("country", Text),
    Column("term_months", Integer),
    Column("renewal_day", Integer),
    Column("mrr_cents", BigInteger),
    Column("currency", String(3)),
    Column("first_day", Integer),
    Column("last_day", Integer),
    Column("risk_level", String(16), nullable=False, server_default="unknown"),
    Column("judged_at", BigInteger),  # null: never judged, so what is true now opens as baseline
    Column("evaluated_at", BigInteger),
    Index("ix_account_risk_level", "risk_level"),
    Index("ix_account_renewal_day", "renewal_day"),
    comment="The directory: one row per account, with what lists filter and sort by, projected from its facts",
)

account_window = Table(
    "account_window",
    metadata,
    Column("account_no", BigInteger, ForeignKey("account.no", ondelete="CASCADE"), primary_key=True),
    Column("profile", LargeBinary, nullable=False),
    Column("days", LargeBinary, nullable=False),
    Column("users", LargeBinary, nullable=False),
    Column("login_maps", LargeBinary, nullable=False),
    # Written with every new row, and by `bellwether db upgrade` in those that were there before.
    Column("active_days", LargeBinary),
    Column("moments", LargeBinary),
    Column("features", LargeBinary),
    Column("sessions", LargeBinary),
    Column("ledger", LargeBinary),
    comment="What the sweep reads: fixed-size profile, daily login counts, one cell per user; last, what it leaves",
)

account_detail = Table(
    "account_detail",
    metadata,
    Column("account_no", BigInteger, ForeignKey("account.no", ondelete="CASCADE"), primary_key=True),
    Column("user_ids", LargeBinary, nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("facts", LargeBinary, nullable=False),
    comment="What folding needs beside it: the users' ids, who used which feature, the facts behind the profile",
)

# Pages of 1,024 accounts (app.database.health): page = no // 1024, place = no % 1024.
health_state = Table(
    "health_state",
    metadata,
    Column("page", Integer, primary_key=True, autoincrement=False),
    Column("day", Integer, nullable=False),  # the newest day that closed an account of the page
    Column("records", LargeBinary, nullable=False),
    comment="What a day's close needs of the one before: band, kept inputs (alerts.health.state)",
)

health_history = Table(
    "health_history",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("page", Integer, primary_key=True, autoincrement=False),
    Column("records", LargeBinary, nullable=False),
    comment="Score, band and coverage of every account at every day's close (alerts.health.history)",
)

touched = Table(
    "touched",
    metadata,
    Column("account_no", BigInteger, ForeignKey("account.no", ondelete="CASCADE"), primary_key=True),
    Column("partition", String(255), primary_key=True),
    comment="Accounts to judge, and the partition that touched them: judged when it has caught up",
)

# --- alerts ---------------------------------------------------------------------------------------------------

alert = Table(
    "alert",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("rule", String(128), nullable=False),
    Column("account_no", BigInteger, ForeignKey("account.no", ondelete="CASCADE"), nullable=False),
    Column("account_id", String(128), nullable=False),
    Column("label", String(128), nullable=False, server_default=""),
    Column("episode", Integer, nullable=False),
    Column("status", String(16), nullable=False),  # pending | firing | resolved
    Column("severity", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("reason", String(32)),
    Column("baseline", Boolean, nullable=False),
    Column("dismissed", Boolean, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("pending_since", BigInteger),
    Column("fired_at", BigInteger),
    Column("resolved_at", BigInteger),
    Column("false_since", BigInteger),
    Column("unknown_since_day", Integer),
    Column("check_at", BigInteger),  # the instant at which the clock must look again
    Column("due_at", BigInteger),
    Column("acknowledged_at", BigInteger),
    Column("acknowledged_by", Text),
    Column("snoozed_until", BigInteger),
    Column("rule_version", String(64), nullable=False),
    Column("evidence", Text, nullable=False),  # JSON, as it was at the last transition
    Column("updated_at", BigInteger, nullable=False),
    Column(
        "outcome", String(16)
    ),  # what came of it, as a person said: saved | churned | false_alarm | no_action
    Column("outcome_at", BigInteger),
    Column("outcome_by", Text),
    Column("outcome_note", Text),
    Index(
        "uq_alert_open_key",
        "key",
        unique=True,
        sqlite_where=text("status <> 'resolved'"),
        postgresql_where=text("status <> 'resolved'"),
    ),
    Index("ix_alert_account_no_rule", "account_no", "rule"),
    Index("ix_alert_status_updated_at", "status", "updated_at"),
    Index("ix_alert_check_at", "check_at"),
    comment="One row per episode; at most one open per key (rule, account, label), guarded by the index",
)

alert_history = Table(
    "alert_history",
    metadata,
    Column("alert_id", String(32), ForeignKey("alert.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("reason", String(32), nullable=False, server_default=""),
    Column("actor", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default="{}"),
    comment="Every move of an alert, append only",
)

# --- notifier -------------------------------------------------------------------------------------------------

destination = Table(
    "destination",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("status", String(16), nullable=False),  # enabled | disabled | removed
    Column("reason", Text, nullable=False, server_default=""),
    Column("not_before", BigInteger, nullable=False, server_default="0"),
    Column("updated_at", BigInteger, nullable=False),
    comment="What is known of each configured destination; its address and secret stay in the configuration",
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("destination", String(128), nullable=False),
    Column(
        "kind", String(32), nullable=False
    ),  # alert.firing | alert.resolved | alert.updated | alert.summary
    Column("alert_id", String(64), nullable=False),  # or the id of a summary
    Column("account_id", String(128), nullable=False, server_default=""),
    Column("seq", Integer, nullable=False),
    Column("webhook_id", String(64), nullable=False),
    Column("payload", Text, nullable=False),  # JSON of the alert as it was at the transition
    Column("status", String(16), nullable=False),  # queued | sending | sent | parked | shadow
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger),
    Column("lease_holder", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Column("detail", Text, nullable=False, server_default=""),
    UniqueConstraint("destination", "webhook_id"),
    Index("ix_delivery_destination_status_next_at", "destination", "status", "next_at"),
    Index("ix_delivery_destination_alert_id_seq", "destination", "alert_id", "seq"),
    Index("ix_delivery_alert_id_id", "alert_id", "id"),
    comment="The outbox: one row per transition and destination, written with the alert",
)

delivery_attempt = Table(
    "delivery_attempt",
    metadata,
    Column("delivery_id", BigInteger, ForeignKey("delivery.id", ondelete="CASCADE"), primary_key=True),
    Column("no", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("status_code", Integer),
    Column("outcome", String(32), nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    comment="Every attempt, append only",
)

# --- the house ------------------------------------------------------------------------------------------------

api_key = Table(
    "api_key",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    comment="API keys by the hash of their secret",
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(64), primary_key=True),  # hash of key owner, method, path and the client's key
    Column("body_digest", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("response", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    comment="Answers to writes that carried an Idempotency-Key",
)

process = Table(
    "process",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("beat_at", BigInteger, nullable=False),
    Column("trouble", Text, nullable=False, server_default=""),
    comment="Processes that run, by what each says of itself every few seconds: a dead consumer reports no lag",
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until", BigInteger, nullable=False),
    comment="What must happen once: one holder at a time, by the database's word",
)

schedule = Table(
    "schedule",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("closed_day", Integer),
    Column("closed_at", BigInteger),
    Column("due_at", BigInteger, nullable=False),
    comment="Due times of the clock; the scheduler only rings",
)
