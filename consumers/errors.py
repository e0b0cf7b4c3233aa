"""The error tree: every failure that a person can act on.

BellwetherError                  one or two lines: what, where, what to do
├── ConfigurationError           a setting, rule file or schema is wrong: exit 2
├── SourceError                  a file or stream cannot be read
│   ├── LostPosition             a rival moved this partition: drop the batch, read the position again
│   ├── PartitionStopped         one partition cannot go on by itself; the others do
│   └── DeadLettersUnwritable    what was rejected cannot be put aside, so its partition waits
└── StorageError                 the database said no; nothing acknowledged is lost
    ├── StorageBusy              locked by another process beyond the wait
    ├── StorageReadOnly          the file or its folder cannot be written
    └── StorageFull              no room left on the disk
"""

from __future__ import annotations


class BellwetherError(Exception):
    """What went wrong, where, and what to do, in at most two lines."""


class ConfigurationError(BellwetherError):
    """A setting, a rule file or the schema is wrong; nothing was started."""


class SourceError(BellwetherError):
    """A file or stream cannot be read."""


class LostPosition(SourceError):
    """Another process moved this partition's position; its word stands, this batch is dropped."""


class PartitionStopped(SourceError):
    """One partition cannot go on without a person: its log is another one, or ends before the stored position."""

    def __init__(self, partition: str, kind: str, detail: str) -> None:
        """``kind`` is the incident's: ``recreated`` or ``truncated``."""
        super().__init__(detail)
        self.partition = partition
        self.kind = kind


class DeadLettersUnwritable(SourceError):
    """The dead-letter topic does not take what was rejected: the partition waits rather than skip it."""


class StorageError(BellwetherError):
    """The database refused; nothing that was acknowledged is lost."""


class StorageBusy(StorageError):
    """Locked by another process for longer than the wait."""


class StorageReadOnly(StorageError):
    """The database file or its folder cannot be written."""


class StorageFull(StorageError):
    """No room left where the database lives."""
