"""Which cells of rules × accounts need a look: the few where something can move, found in vectors.

A cell needs none if its condition is not true and it has no alert, or if its alert fires, the condition holds, no timer
runs and the severity is the rule's. On most days that is nearly all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alerts.alert import Verdict
from alerts.rules.rule import Judgement, Rule, VerdictArray
from alerts.store import Batch, Standing
from alerts.values import BoolArray


class Cell(NamedTuple):
    """One rule and one account, by their places in the batch, and the alert that is there."""

    rule: int
    account: int
    standing: Standing | None


def worklist(
    rules: Sequence[Rule], judgements: Sequence[Judgement], churned: BoolArray, batch: Batch, *, closing: bool
) -> list[Cell]:
    """The cells to look at, by rule and account. ``closing``: the evaluation closes a day."""
    newest: dict[str, dict[int, Standing]] = defaultdict(dict)
    places = np.searchsorted(batch.rows.nos, [standing.account_no for standing in batch.standings])
    for standing, place in zip(batch.standings, places.tolist(), strict=True):
        newest[standing.rule][place] = standing
    cells: list[Cell] = []
    for number, (rule, judgement) in enumerate(zip(rules, judgements, strict=True)):
        standings = newest.get(rule.id, {})
        opening = (judgement.verdict == Verdict.TRUE.value) & ~churned
        if standings:
            opening[list(standings)] = False
            cells.extend(
                Cell(number, place, standings[place])
                for place in _moving(rule, judgement, churned, standings, closing)
            )
        cells.extend(Cell(number, place, None) for place in np.flatnonzero(opening).tolist())
    return cells


def accounts_within(cells: Sequence[Cell], most: int, accounts: int) -> int:
    """How many of the first ``accounts`` places have ``most`` cells between them, or all; at least one."""
    if len(cells) <= most:
        return accounts
    places = sorted(cell.account for cell in cells)
    return max(1, places[most])


def clearing(judgement: Judgement) -> VerdictArray:
    """The condition as a firing alert sees it, in vectors: what ``Finding.clearing`` says of one."""
    if judgement.clear is None:
        return judgement.verdict
    gone = (judgement.verdict == Verdict.FALSE.value) & judgement.because_not_applicable
    inverse = np.where(judgement.clear == Verdict.UNKNOWN.value, judgement.clear, 1 - judgement.clear)
    decided = (judgement.verdict == Verdict.TRUE.value) | gone
    return np.where(decided, judgement.verdict, inverse).astype(np.int8)


def _moving(
    rule: Rule, judgement: Judgement, churned: BoolArray, standings: dict[int, Standing], closing: bool
) -> list[int]:
    """The places whose alerts may move."""
    chosen = np.fromiter(standings, dtype=np.int64, count=len(standings))
    seen = clearing(judgement)[chosen]
    unknown_moves = closing & ~judgement.stale[chosen]
    rests = (seen == Verdict.TRUE.value) | ((seen == Verdict.UNKNOWN.value) & ~unknown_moves)
    rests &= ~churned[chosen]
    severity = rule.severity.value
    return [
        place
        for (place, standing), at_rest in zip(standings.items(), rests.tolist(), strict=True)
        if not (at_rest and standing.settled and standing.severity == severity)
    ]
