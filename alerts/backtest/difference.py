"""Two versions of the rules on one history: which alerts a change would make, and which it would spare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from alerts.backtest.score import ANY_RULE, Opening, of_any_rule
from alerts.configuration import Configuration
from alerts.replay import Summary, ledger
from alerts.rules.rule import Rule
from consumers.days import Calendar
from consumers.history import History

_OLD, _NEW = "old ", "new "  # before the id of a rule, so that both files' can be replayed at once


class Change(StrEnum):
    """What happened to a rule. ``changed``: something that decides, so not its title or playbook."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Alerts:
    """Alerts that opened, and the first day of each account that had one."""

    opened: int = 0
    first_days: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, openings: Iterable[Opening]) -> Alerts:
        """Of ``openings``, in any order."""
        opened, days = 0, dict[str, int]()
        for _, account_id, day in openings:
            opened += 1
            days[account_id] = min(day, days.get(account_id, day))
        return cls(opened, days)


@dataclass(frozen=True, slots=True)
class RuleDifference:
    """One rule before and after."""

    rule: str
    change: Change
    old: Alerts
    new: Alerts

    @property
    def gained(self) -> dict[str, int]:
        """Accounts that would alert and did not, and since when."""
        return {
            account: day for account, day in self.new.first_days.items() if account not in self.old.first_days
        }

    @property
    def lost(self) -> dict[str, int]:
        """Accounts that would not alert any more, and since when they did."""
        return {
            account: day for account, day in self.old.first_days.items() if account not in self.new.first_days
        }

    def describe(self, calendar: Calendar) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "rule": self.rule,
            "change": self.change.value,
            "alerts_before": self.old.opened,
            "alerts_after": self.new.opened,
            "gained": list(_accounts(self.gained, calendar)),
            "lost": list(_accounts(self.lost, calendar)),
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Every rule's, in the order of the files, and ``whole``: that of any rule, as :mod:`alerts.backtest` has it."""

    rules: Sequence[RuleDifference]
    whole: RuleDifference


def difference(
    before: Configuration,
    after: Configuration,
    histories: tuple[History, History],
    calendar: Calendar,
    *,
    first: int | None = None,
    until: int | None = None,
    summary: Summary | None = None,
) -> Difference:
    """Replay the rules of both on the closes [first..until]; ``histories`` may be one and the same, told once then.

    Files that name other internal users have two histories, and those with another health model are told apart too:
    then rules that did not change may tell of other accounts all the same.
    """
    one = histories[0] is histories[1] and before.model == after.model
    old, new = ({rule.id: rule for rule in each.rules} for each in (before, after))
    shared = {name for name in old.keys() & new.keys() if one and old[name].version == new[name].version}
    olds = [replace(rule, id=f"{_OLD}{name}") for name, rule in old.items()]
    news = [replace(rule, id=f"{_NEW}{name}") for name, rule in new.items() if name not in shared]
    summary = Summary() if summary is None else summary

    def told(side: Configuration, history: History, rules: Sequence[Rule], counted: Summary) -> list[Opening]:
        lines = ledger(
            history,
            rules,
            calendar,
            first,
            until,
            summary=counted,
            with_metrics=False,
            model=side.model,
        )
        return [Opening(line.rule, line.account_id, line.day) for line in lines if line.event == "opened"]

    if one:
        found = told(before, histories[0], [*olds, *news], summary)
    else:
        found = told(before, histories[0], olds, Summary()) + told(after, histories[1], news, summary)
    was, will = (
        [each._replace(rule=each.rule.removeprefix(side)) for each in found if each.rule.startswith(side)]
        for side in (_OLD, _NEW)
    )
    will += [each for each in was if each.rule in shared]
    rules = [
        RuleDifference(
            name,
            _change(old.get(name), new.get(name)),
            Alerts.of(each for each in was if each.rule == name),
            Alerts.of(each for each in will if each.rule == name),
        )
        for name in dict.fromkeys([*old, *new])
    ]
    return Difference(
        rules,
        RuleDifference(ANY_RULE, _overall(rules), _of_any_rule(was, old), _of_any_rule(will, new)),
    )


def _of_any_rule(openings: Sequence[Opening], rules: Mapping[str, Rule]) -> Alerts:
    return Alerts.of(of_any_rule(openings, {name: rule.severity for name, rule in rules.items()}))


def _change(old: Rule | None, new: Rule | None) -> Change:
    if old is None or new is None:
        return Change.ADDED if old is None else Change.REMOVED
    return Change.SAME if old.version == new.version else Change.CHANGED


def _overall(rules: Sequence[RuleDifference]) -> Change:
    return Change.SAME if all(each.change is Change.SAME for each in rules) else Change.CHANGED


def _accounts(days: Mapping[str, int], calendar: Calendar) -> Iterator[dict[str, str]]:
    for account, day in sorted(days.items()):
        yield {"account_id": account, "since": calendar.date(day).isoformat()}
