"""User ids of accounts seen lately, decoded: a batch decodes only those that another process has changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from consumers.state import decode_ids
from consumers.windows import UserIds


class KnownIds:
    """Decoded ids by account number, with the blob they stand for.

    An entry is taken out while a transaction works on it, and comes back only with its commit; it is used again only
    if the stored blob is still what it stands for. Thread-safe.
    """

    def __init__(self, most: int = 1_000_000) -> None:
        """``most``: user ids kept over all accounts, about 150 bytes each."""
        self._most = most
        self._kept = 0
        self._entries: dict[int | None, tuple[bytes, UserIds]] = {}
        self._lock = threading.Lock()

    def take(self, no: int, blob: bytes) -> UserIds:
        """The ids that ``blob`` holds."""
        with self._lock:
            entry = self._entries.pop(no, None)
            if entry is not None:
                self._kept -= len(entry[1])
        return entry[1] if entry is not None and entry[0] == blob else UserIds(decode_ids(blob))

    def keep(self, stored: Mapping[int | None, tuple[bytes, UserIds]]) -> None:
        """Keep what a committed transaction has stored, for the next batch."""
        with self._lock:
            if self._kept > self._most:
                self._entries.clear()
                self._kept = 0
            for no, entry in stored.items():
                self._kept += len(entry[1])
                self._entries[no] = entry
