"""API keys: stored as the hash of their secret, asked for on every request, gone within a second of being revoked."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, insert, select, update

from app.database.engine import Database
from app.database.tables import api_key

PREFIX = "bw_"
_REMEMBERED_S = 1.0  # a revoked key works on for this long at most
_REMEMBERED_KEYS = 1_024


class Scope(StrEnum):
    """What a key may do. ``admin`` may everything, ``write`` may also read."""

    INGEST = "ingest"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def held_by(self, scopes: frozenset[Scope]) -> bool:
        """Whether somebody with ``scopes`` may do this."""
        return self in scopes or Scope.ADMIN in scopes or (self is Scope.READ and Scope.WRITE in scopes)


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown: its secret is known only to its holder."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a key, or whoever sits at this machine while there is no key at all."""

    id: str
    name: str
    scopes: frozenset[Scope]


def digest(secret: str) -> str:
    """What is stored of a secret. Secrets are random and long, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create(
    connection: Connection, *, name: str, scopes: frozenset[Scope], created_at: int
) -> tuple[ApiKey, str]:
    """A new key and its secret, which cannot be shown again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(f"key_{secrets.token_hex(8)}", name, scopes, created_at)
    connection.execute(
        insert(api_key).values(
            id=key.id,
            name=name,
            digest=digest(secret),
            scopes=" ".join(sorted(scopes)),
            created_at=created_at,
        )
    )
    return key, secret


def listing(connection: Connection) -> Sequence[ApiKey]:
    """Every key ever made, oldest first, the revoked ones too."""
    return [
        _key(row) for row in connection.execute(select(api_key).order_by(api_key.c.created_at, api_key.c.id))
    ]


def revoke(connection: Connection, key_id: str, *, revoked_at: int) -> bool:
    """Whether there was such a key in use; from now on it opens nothing."""
    changed = connection.execute(
        update(api_key)
        .where(api_key.c.id == key_id, api_key.c.revoked_at.is_(None))
        .values(revoked_at=revoked_at)
    )
    return changed.rowcount == 1


class KeyRing:
    """Tells who holds a secret. Thread-safe; remembers an answer for a second.

    ``admin_key`` is the operator's own (BELLWETHER_ADMIN_KEY): valid as long as the process was started with it, and
    not stored, so that changing the environment is all it takes to change it.
    """

    def __init__(
        self,
        database: Database,
        admin_key: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._admin_digest = digest(admin_key) if admin_key else None
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Caller, float]] = {}
        self._any: tuple[bool, float] = (False, float("-inf"))

    def needed(self) -> bool:
        """Whether requests need a key: there is an admin key, or one was ever made.

        A service whose last key was revoked stays shut: taking a key away must not open a door.
        """
        if self._admin_digest is not None or self._any[0]:
            return True
        now = self._monotonic()
        if now - self._any[1] >= _REMEMBERED_S:
            with self._database.read() as connection:
                found = connection.execute(select(api_key.c.id).limit(1)).first() is not None
            self._any = (found, now)
        return self._any[0]

    def verify(self, secret: str) -> Caller | None:
        """Who holds this secret, or None. Raises StorageError."""
        asked = digest(secret)
        if self._admin_digest is not None and hmac.compare_digest(asked, self._admin_digest):
            return Caller("admin", "BELLWETHER_ADMIN_KEY", ALL_SCOPES)
        now = self._monotonic()
        with self._lock:
            known = self._known.get(asked)
        if known is not None and now - known[1] < _REMEMBERED_S:
            return known[0]
        caller = self._look_up(asked)
        with self._lock:
            if caller is None:
                self._known.pop(asked, None)
            else:
                if len(self._known) >= _REMEMBERED_KEYS:
                    self._known.clear()
                self._known[asked] = (caller, now)
        return caller

    def _look_up(self, asked: str) -> Caller | None:
        with self._database.read() as connection:
            row = connection.execute(
                select(api_key).where(api_key.c.digest == asked, api_key.c.revoked_at.is_(None))
            ).first()
        # The index found it by a hash; comparing once more in constant time costs nothing and trusts no collation.
        if row is None or not hmac.compare_digest(row.digest, asked):
            return None
        key = _key(row)
        return Caller(key.id, key.name, key.scopes)


def _key(row: object) -> ApiKey:
    fields = row._mapping  # type: ignore[attr-defined]
    scopes = frozenset(Scope(word) for word in fields["scopes"].split())
    return ApiKey(fields["id"], fields["name"], scopes, fields["created_at"], fields["revoked_at"])
