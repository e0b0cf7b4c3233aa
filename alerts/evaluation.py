"""The use case: accounts that moved, a day that closed or a timer that ran out become alerts that move.

Every batch of accounts is one transaction: taken, judged by every rule in vectors, the few cells that may have moved
looked at one by one (:mod:`alerts.worklist`, :mod:`alerts.lifecycle`), and alerts, history and deliveries written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from alerts.account_rows import Moment
from alerts.alert import Move, Reason, alert_key
from alerts.announcement import Baseline
from alerts.finding import Occasion, Subject
from alerts.lifecycle import resolved, transition
from alerts.metrics.details import details, subjects
from alerts.metrics.health import close_again, close_health
from alerts.metrics.readings import Readings
from alerts.particulars import Details, Verdicts, with_particulars
from alerts.portfolio import Portfolio
from alerts.portfolio_median import is_settled, reads_median, settle_median
from alerts.risk import changed_levels, indicated
from alerts.rulebook import Rulebook
from alerts.rules.rule import Mode
from alerts.ruling import terms_of
from alerts.store import AlertMoved, AlertStore, AlertTransaction, Batch, Judged
from alerts.worklist import Cell, accounts_within, worklist
from consumers.days import Calendar

# One sweep transaction: what is read fits the processor's cache, and intake waits for some 0.05 s at most.
SWEEP_ACCOUNTS = 5_000
DUE_ACCOUNTS = 1_000
# Of cells that are looked at one by one, each perhaps with evidence to write: half a second of work at most. Accounts
# beyond it are judged in the next transaction.
MOST_CELLS = 1_000
# A source that is behind and has not moved for this long no longer holds its accounts back.
NO_PROGRESS_US = 15 * 60 * 1_000_000
_TRIES = 5  # of a transaction that lost a race; each loss means that a rival has made progress


@dataclass(slots=True)
class Summary:
    """What an evaluation did. ``moves`` counts by kind; ``more`` says that accounts are waiting."""

    accounts: int = 0
    moves: Counter[str] = field(default_factory=Counter)
    deliveries: int = 0
    more: bool = False

    def add(self, other: Summary) -> None:
        """Add another batch's."""
        self.accounts += other.accounts
        self.moves.update(other.moves)
        self.deliveries += other.deliveries
        self.more = other.more


Take = Callable[[AlertTransaction], Batch]


class Evaluator:
    """Judges accounts. Thread-safe: what it keeps is in the database."""

    def __init__(
        self,
        store: AlertStore,
        rulebook: Callable[[], Rulebook],
        calendar: Calendar,
        *,
        stale: Callable[[int], Collection[str]] = lambda _now: (),
        sweep_accounts: int = SWEEP_ACCOUNTS,
        most_cells: int = MOST_CELLS,
    ) -> None:
        """``rulebook`` gives the configuration in force; ``stale(now)`` the families of events that do not flow
        (METRICS section 7)."""
        self._store = store
        self._rulebook = rulebook
        self._calendar = calendar
        self._stale = stale
        self._sweep_accounts = sweep_accounts
        self._most_cells = most_cells

    def evaluate_touched(self, limit: int, now: int) -> Summary:
        """Judge up to ``limit`` accounts that events have touched and whose sources have caught up.

        When none are left, what was true at first judgements is told in one summary for each destination.
        """
        waiting = self._store.waiting(now, NO_PROGRESS_US)
        if not (waiting.touched or waiting.baseline):
            return Summary()  # without asking for the right to write, which intake may hold
        rulebook = self._rulebook()
        cooling = _cooling_since(rulebook, now)
        summary = self._batch(
            rulebook, lambda work: work.touched(limit, NO_PROGRESS_US, cooling), Occasion(now)
        )
        summary.more = summary.more or summary.accounts >= limit
        # What a baseline keeps it keeps by moves; that of others they tell, or the next look finds it.
        if not summary.more and (waiting.baseline or summary.moves):
            summary.deliveries += self._tell_baseline(rulebook, now)
        return summary

    def evaluate_due(self, now: int) -> Summary:
        """Judge the accounts of alerts whose ``check_at`` has come."""
        if not self._store.waiting(now, NO_PROGRESS_US).due:
            return Summary()
        rulebook = self._rulebook()
        cooling = _cooling_since(rulebook, now)
        total = Summary()
        while True:
            batch = self._batch(
                rulebook,
                lambda work: work.due(now, DUE_ACCOUNTS, NO_PROGRESS_US, cooling),
                Occasion(now),
            )
            total.add(batch)
            # A batch in which nothing moved would come again: the rest is for the next ring.
            if not batch.moves or not (batch.more or batch.accounts >= DUE_ACCOUNTS):
                break
        if total.accounts:
            total.deliveries += self._tell_baseline(rulebook, now)
        return total

    def close_day(self, day: int, now: int, *, alive: Callable[[], None] = lambda: None) -> Summary:
        """Judge every account as ``day`` closes. Done again after a crash halfway, it moves nothing twice.

        ``alive`` is called after each batch; what it raises ends the sweep.
        """
        return self._sweep(Occasion(now, close_day=day), alive)

    def evaluate_all(self, now: int, *, alive: Callable[[], None] = lambda: None) -> Summary:
        """Judge every account, as after the rules have changed."""
        return self._sweep(Occasion(now), alive)

    def retire_rules(self, now: int) -> Summary:
        """Resolve the open alerts of rules that are no longer configured; at the start and after a reload."""
        rulebook = self._rulebook()
        names = [rule.id for rule in rulebook.rules]
        total = Summary()
        while True:
            batch = self._attempt(lambda: self._retire(rulebook, names, now))
            total.add(batch)
            if not batch.moves:
                return total

    def settle_median(self, now: int) -> None:
        """Work out what the portfolio's median change was as the last day closed, unless that was done."""
        self._settle_median(self._rulebook(), now, anew=False)

    # --- one batch

    def _settle_median(self, rulebook: Rulebook, now: int, *, anew: bool) -> None:
        moment = self._moment(rulebook, self._store.families(), now)
        if anew or not is_settled(self._store.median_change(), moment.as_of):
            settle_median(self._store, moment, self._sweep_accounts)

    def _moment(self, rulebook: Rulebook, families: Mapping[str, int], now: int) -> Moment:
        stale = self._stale(now)
        return Moment.live(self._calendar, now, families=families, stale=stale, model=rulebook.model)

    def _sweep(self, occasion: Occasion, alive: Callable[[], None]) -> Summary:
        rulebook = self._rulebook()
        now = occasion.now
        cooling = _cooling_since(rulebook, now)
        if reads_median(rulebook.rules):
            self._settle_median(rulebook, now, anew=occasion.close_day is not None)
        total, after, size = Summary(), 0, self._sweep_accounts
        while True:
            batch = self._sweep_batch(rulebook, occasion, after, size, cooling)
            if batch is None:
                break
            summary, after = batch
            total.add(summary)
            # Where much moves, what was read for nothing should be little.
            size = summary.accounts if summary.more else min(2 * size, self._sweep_accounts)
            alive()
        total.more = False
        total.deliveries += self._tell_baseline(rulebook, now)
        return total

    def _sweep_batch(
        self, rulebook: Rulebook, occasion: Occasion, after: int, size: int, cooling: int | None
    ) -> tuple[Summary, int] | None:
        """The accounts with numbers above ``after``: what was done, and the number to go on from; None at the end."""
        taken: Sequence[int] = ()

        def take(work: AlertTransaction) -> Batch:
            nonlocal taken
            batch = work.after(after, size, NO_PROGRESS_US, cooling)
            taken = batch.rows.nos
            return batch

        summary = self._batch(rulebook, take, occasion)
        return (summary, taken[summary.accounts - 1]) if summary.accounts else None

    def _batch(self, rulebook: Rulebook, take: Take, occasion: Occasion) -> Summary:
        def work_once() -> Summary:
            with self._store.transaction() as work:
                batch = take(work)
                if not len(batch):
                    return Summary()
                return self._judge(work, rulebook, batch, occasion)

        return self._attempt(work_once)

    def _attempt(self, work_once: Callable[[], Summary]) -> Summary:
        for _ in range(_TRIES - 1):
            try:
                return work_once()
            except AlertMoved:
                continue  # nothing was kept: look again
        return work_once()

    def _judge(self, work: AlertTransaction, rulebook: Rulebook, batch: Batch, occasion: Occasion) -> Summary:
        now = occasion.now
        moment = replace(self._moment(rulebook, work.families(), now), newest=cache(work.newest))
        if reads_median(rulebook.rules):
            moment = replace(moment, median_change=work.median_change())
        portfolio = Portfolio(batch.rows, moment)
        closing = occasion.close_day is not None
        # A sweep in between finds what was closed while something was unheard.
        closed = close_health(portfolio) if closing else None if batch.marked else close_again(portfolio)
        readings = Readings(portfolio)
        judgements = [rule.judge(readings) for rule in rulebook.rules]
        cells = worklist(rulebook.rules, judgements, portfolio.churned, batch, closing=closing)
        judged = accounts_within(cells, self._most_cells, len(batch))
        verdicts = Verdicts(rulebook.rules, judgements, batch, readings)
        moves = self._moves(work, verdicts, [cell for cell in cells if cell.account < judged], occasion)
        deliveries = self._write(work, rulebook, moves, moment.today, now)
        levels = changed_levels(batch, moves, indicated(readings)[:judged])
        nos = batch.rows.nos[:judged]
        if closing:  # that all were judged is told by the schedule, in one row
            nos = [no for no, before in zip(nos, batch.judged, strict=False) if not before]
        work.judge(Judged(nos, now, levels))
        if closed is not None:
            mine = closed.first(judged)
            work.keep_health(portfolio.nos[mine.places].tolist(), mine.records, mine.day)
        work.touch(batch.marked[judged:])
        return Summary(judged, Counter(move.kind for move in moves), deliveries, judged < len(batch))

    def _moves(
        self, work: AlertTransaction, verdicts: Verdicts, cells: Sequence[Cell], occasion: Occasion
    ) -> list[Move]:
        if not cells:
            return []
        batch = verdicts.batch
        alerts = work.alerts([cell.standing.id for cell in cells if cell.standing is not None])
        fresh = {int(batch.rows.nos[cell.account]) for cell in cells if cell.standing is None}
        episodes = work.last_episodes(sorted(fresh))
        first = replace(occasion, first_judgement=True)
        moving: list[tuple[Cell, Move]] = []
        for cell in cells:
            rule, place = verdicts.rules[cell.rule], cell.account
            alert = None if cell.standing is None else alerts[cell.standing.id]
            subject = Subject(int(batch.rows.nos[place]), batch.rows.account_ids[place])
            move = transition(
                alert,
                subject,
                terms_of(rule),
                verdicts.finding(cell),
                occasion if batch.judged[place] else first,
                last_episode=episodes.get(alert_key(rule.id, subject.account_id), 0),
            )
            if move is not None:
                moving.append((cell, move))
        named = self._details(work, verdicts, [cell for cell, move in moving if move.kind != "held"])
        return [
            with_particulars(move, verdicts, cell, self._calendar, named.get(cell.account))
            for cell, move in moving
        ]

    def _details(
        self, work: AlertTransaction, verdicts: Verdicts, cells: Sequence[Cell]
    ) -> dict[int, Details]:
        """What evidence names beside the numbers of these cells, by the place of the account."""
        about: dict[int, frozenset[str]] = {}
        for cell in cells:
            if found := subjects(verdicts.rules[cell.rule].metrics):
                about[cell.account] = about.get(cell.account, frozenset()) | found
        portfolio, nos = verdicts.readings.portfolio, verdicts.batch.rows.nos
        places = sorted(about)
        gave_up = [
            place for place in places if "features" in about[place] and portfolio.abandoned_features(place)
        ]
        facts = work.facts([nos[place] for place in places])
        usage = work.usage([nos[place] for place in gave_up])
        return {
            place: details(
                portfolio,
                place,
                self._calendar,
                facts=facts.get(nos[place], b""),
                usage=usage.get(nos[place], b""),
                about=about[place],
            )
            for place in places
        }

    def _write(
        self, work: AlertTransaction, rulebook: Rulebook, moves: Sequence[Move], today: int, now: int
    ) -> int:
        if not moves:
            return 0
        told = [move for move in moves if move.tells]
        baseline = [move for move in moves if _is_baseline(move)]
        cards = work.cards({move.after.account_no for move in (*told, *baseline)})
        deliveries = rulebook.announcer.deliveries(told, cards, today=today, now=now)
        work.apply(moves, deliveries, now)
        if baseline:
            kept = Baseline.load(work.baseline())
            rulebook.announcer.add_baseline(kept, baseline, cards)
            work.keep_baseline(kept.dump())
        return len(deliveries)

    def _tell_baseline(self, rulebook: Rulebook, now: int) -> int:
        """Tell what was kept for the summary, also by a run that did not live to tell it."""
        if not self._store.waiting(now, NO_PROGRESS_US).baseline:
            return 0
        with self._store.transaction() as work:
            text = work.baseline()
            if text is None:
                return 0
            deliveries = rulebook.announcer.summaries(Baseline.load(text), now=now)
            work.apply([], deliveries, now)
            work.keep_baseline(None)
        return len(deliveries)

    def _retire(self, rulebook: Rulebook, names: Sequence[str], now: int) -> Summary:
        today = self._calendar.day_of_us(now)
        with self._store.transaction() as work:
            moves = []
            for alert in work.orphans(names, DUE_ACCOUNTS):
                move = resolved(alert, Reason.RULE_REMOVED, now)
                shadow = alert.evidence.get("mode") == Mode.SHADOW.value
                moves.append(replace(move, tells=False) if shadow else move)
            deliveries = self._write(work, rulebook, moves, today, now)
            work.touch({move.after.account_no for move in moves})  # their risk level may have fallen
        return Summary(0, Counter(move.kind for move in moves), deliveries)


def _cooling_since(rulebook: Rulebook, now: int) -> int | None:
    """The instant from which on a resolved alert may still keep its rule from opening."""
    longest = max((rule.cooldown_us for rule in rulebook.rules), default=0)
    return now - longest if longest else None


def _is_baseline(move: Move) -> bool:
    """Whether the summary tells of it: it began to fire as part of a baseline, by a rule that is told."""
    return move.kind == "firing" and move.after.baseline and "mode" not in move.after.evidence
