"""What the evaluator needs of a database: one transaction in which accounts are taken, judged and their alerts moved.

Everything happens in one writing transaction per batch of accounts: marks are taken, windows and alerts read, moves,
history and deliveries written. What was read is what is judged, so an event that arrives meanwhile marks its account
again, and no judgement of an older reading can overwrite a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from alerts.account_rows import AccountRows, MedianChange
from alerts.alert import Alert, Move
from alerts.delivery import Delivery
from alerts.health.state import Records
from consumers.errors import StorageError


class AlertMoved(StorageError):
    """A rival moved the same alert first; this transaction is dropped, the accounts are judged again."""


class Standing(NamedTuple):
    """As much of an alert as a sweep needs to see that nothing moves: of most alerts nothing else is read.

    Standings are open, dismissed or resolved lately (cooling). ``settled``: it fires and no timer runs.
    """

    id: str
    account_no: int
    rule: str
    episode: int
    severity: str
    firing: bool
    settled: bool
    dismissed: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """n accounts to judge, in the order of their numbers: their windows, and what is known of each beside them."""

    rows: AccountRows
    risk_levels: Sequence[str]
    judged: Sequence[bool]  # False: never before, so what is true is the baseline
    standings: Sequence[Standing]  # by account and rule, oldest episode first
    marked: Sequence[int] = ()  # those of the numbers whose marks were cleared

    def __len__(self) -> int:
        return len(self.rows.nos)


@dataclass(frozen=True, slots=True)
class AccountCard:
    """What a message says of an account beside the alert. Days are since 1970-01-01."""

    account_no: int
    account_id: str
    name: str | None = None
    owner: str | None = None
    owner_email: str | None = None
    size: str | None = None
    tier: str | None = None
    renewal_day: int | None = None
    mrr_cents: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What is written down of the accounts of a batch: all of ``nos`` were evaluated at ``at``, in order; ``risk``
    has those whose risk level changed."""

    nos: Sequence[int]
    at: int
    risk: Mapping[int, str]


class AlertTransaction(Protocol):
    """One batch's work; all of it is kept or none."""

    # --- accounts to judge

    def touched(self, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Take up to ``limit`` marked accounts and clear their marks.

        An account waits while a partition that touched it is behind, unless that made no progress for
        ``patience_us``, by the real clock. Alerts that were resolved since ``cooling_since`` are in the standings too.
        """

    def due(self, now: int, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts of alerts whose ``check_at`` has come, but for those that wait.

        The ``check_at`` of resolved alerts is cleared: it rings once.
        """

    def after(self, account_no: int, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts with numbers above ``account_no``, but for those that wait: for a sweep."""

    def families(self) -> Mapping[str, int]:
        """The first day of each family of events over the portfolio."""

    def newest(self) -> Mapping[str, int]:
        """The instant of the newest event of each family of activity, of whatever source."""

    def facts(self, account_nos: Sequence[int]) -> Mapping[int, bytes]:
        """What is stored of the facts of these accounts, which are in order; those without any are left out."""

    def usage(self, account_nos: Sequence[int]) -> Mapping[int, bytes]:
        """The same of the features that they use."""

    def cards(self, account_nos: Iterable[int]) -> Mapping[int, AccountCard]:
        """What messages say of these accounts."""

    def judge(self, judged: Judged) -> None:
        """Write down that accounts were evaluated, and their risk levels."""

    def keep_health(self, account_nos: Sequence[int], records: Records, day: int) -> None:
        """Write what the close of ``day`` left of the health of these accounts, which are of the batch and in order."""

    def median_change(self) -> MedianChange | None:
        """What :meth:`keep_median` kept last; None before the first time."""

    def keep_median(self, median: MedianChange) -> None:
        """Keep the portfolio's median change of a day that closed, in place of the one before."""

    def touch(self, account_nos: Iterable[int]) -> None:
        """Mark accounts to be judged, whatever their partitions are up to."""

    # --- alerts

    def alerts(self, ids: Sequence[str]) -> Mapping[str, Alert]:
        """These alerts by id, whole."""

    def open_alerts(self, account_no: int) -> Sequence[Alert]:
        """An account's open alerts, whole."""

    def orphans(self, rules: Sequence[str], limit: int) -> Sequence[Alert]:
        """Up to ``limit`` open alerts of rules that are none of ``rules``."""

    def last_episodes(self, account_nos: Sequence[int]) -> Mapping[str, int]:
        """The number of the newest episode of each key that the accounts ever had."""

    def apply(self, moves: Sequence[Move], deliveries: Sequence[Delivery], now: int) -> None:
        """Write moved alerts, their history and what is to be told. An alert that moved without new evidence keeps
        what it has. Raises AlertMoved if a rival was first."""

    # --- the summary of what was true from the start

    def baseline(self) -> str | None:
        """What :meth:`keep_baseline` kept and no summary has told yet."""

    def keep_baseline(self, text: str | None) -> None:
        """Keep what the next summary will say, so that a killed run does not lose it; None when it was told."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether there are accounts to judge, alerts whose ``check_at`` has come, and a summary to tell."""

    touched: bool
    due: bool
    baseline: bool


class AlertStore(Protocol):
    """Where alerts live."""

    def waiting(self, now: int, patience_us: int) -> Waiting:
        """What there is to do, read without asking for the right to write."""

    def families(self) -> Mapping[str, int]:
        """The first day of each family of events over the portfolio, read in the same way."""

    def median_change(self) -> MedianChange | None:
        """The portfolio's median change of the newest close, read in the same way; None before the first."""

    def login_pages(self, size: int) -> Iterator[AccountRows]:
        """All accounts in pages of up to ``size``, by number, held by nobody: profiles, daily logins and attributes."""

    def transaction(self) -> AbstractContextManager[AlertTransaction]:
        """Begin: committed at the end, rolled back on any error."""
