"""What a database says when it cannot, in our own words: what is wrong and what to do; never a password.

SQLite is told by its words, PostgreSQL by its SQLSTATE, and where it has none, before a session exists, by its words.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from consumers.errors import StorageBusy, StorageError, StorageFull, StorageReadOnly

_Naming = tuple[type[StorageError], str, str]

_WAIT = "nothing acknowledged was lost; it is tried again"
_LOCKED: _Naming = (
    StorageBusy,
    "is locked by another process",
    "stop that process or wait; nothing acknowledged was lost",
)
_FULL: _Naming = (
    StorageFull,
    "has no room left: its disk is full or failing",
    "free some room; nothing acknowledged was lost",
)
_OLDER: _Naming = (StorageError, "has an older schema", "run: bellwether db upgrade")
_AWAY: _Naming = (StorageError, "cannot be reached", _WAIT)
_CROWDED: _Naming = (
    StorageBusy,
    "has no connection left for us",
    "raise max_connections, or run fewer processes; nothing acknowledged was lost",
)
_FROZEN: _Naming = (
    StorageError,
    "does not answer: its server stands still, or its disk does",
    _WAIT,
)
_REFUSED: _Naming = (
    StorageError,
    "does not let this user in",
    "check user and password of BELLWETHER_DATABASE_URL, and the server's pg_hba.conf",
)
_MISSING: _Naming = (StorageError, "does not exist", "create it: createdb NAME, then: bellwether db upgrade")
_RIVAL: _Naming = (StorageBusy, "gave way to another process at the same rows", "try again; nothing was kept")

# What SQLite says, in lower case.
_SQLITE: tuple[tuple[tuple[str, ...], _Naming], ...] = (
    (("locked", "busy"), _LOCKED),
    (
        ("readonly", "read-only"),
        (StorageReadOnly, "is read-only", "give this user write permission to the file and its folder"),
    ),
    (("disk is full", "no space", "disk i/o error"), _FULL),
    (
        ("unable to open",),
        (StorageError, "cannot be opened", "check that its folder exists and may be written"),
    ),
    (
        ("not a database", "malformed"),
        (StorageError, "is not a sound SQLite database", "restore a backup or name another file"),
    ),
    (("no such table", "no such column"), _OLDER),
)

# How an SQLSTATE of PostgreSQL begins; the longer ones first.
_SQLSTATES: tuple[tuple[str, _Naming], ...] = (
    ("55P03", _LOCKED),  # lock_timeout
    ("40", _RIVAL),  # deadlock, serialization failure
    ("53100", _FULL),
    ("58030", _FULL),  # I/O error
    ("53300", _CROWDED),
    ("53", (StorageBusy, "is short of memory or of another resource", _WAIT)),
    (
        "25006",
        (
            StorageReadOnly,
            "is read-only",
            "it is a standby, or was set so: name the primary in BELLWETHER_DATABASE_URL",
        ),
    ),
    ("25P03", (StorageBusy, "ended a transaction that had stood still", _WAIT)),
    ("42P01", _OLDER),
    ("42703", _OLDER),
    (
        "42501",
        (
            StorageError,
            "does not let this user do that",
            "grant the user the rights to its tables and schema",
        ),
    ),
    ("3D000", _MISSING),
    ("28", _REFUSED),
    ("57014", (StorageBusy, "cancelled a statement, which took too long or was ended by somebody", _WAIT)),
    ("57", _AWAY),  # shut down, crashed, starting
    ("08", _AWAY),
)

# What libpq says before there is a session, and we of one that is frozen, in lower case.
_CONNECTING: tuple[tuple[tuple[str, ...], _Naming], ...] = (
    (("no answer within",), _FROZEN),
    (("too many clients", "remaining connection slots", "too many connections"), _CROWDED),
    (("authentication failed", "no password supplied", "no pg_hba.conf entry", "role "), _REFUSED),
    (('database "',), _MISSING),
)


def named_error(error: DBAPIError, label: str) -> StorageError:
    """The failure under one of our names: locked, read-only, full, away or other."""
    said = str(error.orig)
    naming = _naming(error.orig, said.lower())
    if naming is None:
        return StorageError(f"{label}: {said.splitlines()[0] if said else type(error.orig).__name__}")
    kind, what, advice = naming
    return kind(f"{label} {what}\n{advice}")


def _naming(cause: BaseException | None, low: str) -> _Naming | None:
    if not hasattr(cause, "sqlstate"):
        return _said(_SQLITE, low)
    state: str | None = getattr(cause, "sqlstate", None)
    if state is not None:
        return next((naming for begins, naming in _SQLSTATES if state.startswith(begins)), None)
    # Without an SQLSTATE: the connection failed or broke. Anything else, as a value that cannot be sent, is our fault.
    if type(cause).__name__ not in {"OperationalError", "ConnectionTimeout"}:
        return None
    return _said(_CONNECTING, low) or _AWAY


def _said(known: tuple[tuple[tuple[str, ...], _Naming], ...], low: str) -> _Naming | None:
    return next((naming for needles, naming in known if any(needle in low for needle in needles)), None)
