"""What the rows of a file would change: compared with how each account stands, as events that say only that.

An event's id is a hash of what it says and of the facts that it follows. So the same row over the same state is the
same event, whoever sends it again; and a value that is told, taken back and told again is another one each time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.bulk.cells import cell_of
from app.bulk.kinds import ACCOUNT, STATUS, WHEN
from app.bulk.rows import SOURCE, Said, Spoken, build, kept_of, spoken
from app.bulk.sheet import Refusal, Sheet
from app.bulk.standing import CHAMPION, GROUPS, Group, Place, Standing, Telling, Thing, key_of
from consumers.days import Calendar
from consumers.events import Event
from consumers.facts import HISTORY, Fact
from consumers.rejection import Rejection

AT_ONCE = 500  # accounts whose facts are held at a time
_LONGEST_ID = 128
_BEHIND = re.compile(r"(.+)~(\d{4})[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Change:
    """One field of an account that a line changes; values as cells, None: not known before."""

    line: int
    account_id: str
    field: str
    old: str | None
    new: str


@dataclass(slots=True)
class Plan:
    """What a file would do. ``older`` are lines that say what a newer word has replaced, or nothing keeps any more."""

    changes: list[Change] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    older: list[Refusal] = field(default_factory=list)
    events: list[tuple[Event, bytes]] = field(default_factory=list)
    changed: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class _Step:
    """One event of a row that says something new: ``follows`` are the facts that it takes the place of."""

    said: Said
    data: Mapping[str, Any]
    changes: Sequence[Change]
    follows: Sequence[Place]


class _Refused(Exception):
    def __init__(self, line: int, column: str, problem: str) -> None:
        super().__init__(problem)
        self.refusal = Refusal(line, column, problem)


def plan_sheet(
    sheet: Sheet, calendar: Calendar, known: Callable[[Sequence[str]], Mapping[str, Standing]], now: int
) -> Plan:
    """What a file would change at ``now``, in epoch microseconds; ``known`` says how some accounts stand."""
    planner = Planner(now)
    made = planner.plan
    made.refused += sheet.refused
    by_account: dict[str, list[Spoken]] = {}
    for row in sheet.rows:
        says = spoken(row, sheet.kind, calendar, now)
        if isinstance(says, Spoken):
            by_account.setdefault(says.account_id, []).append(says)
        else:
            made.refused += says
    ids = list(by_account)
    for first in range(0, len(ids), AT_ONCE):
        for account_id, standing in known(ids[first : first + AT_ONCE]).items():
            planner.account(by_account[account_id], standing)
    made.changes.sort(key=lambda each: each.line)
    made.refused.sort(key=lambda each: each.line)
    made.older.sort(key=lambda each: each.line)
    return made


class Planner:
    """Plans rows of one file, account by account."""

    def __init__(self, now: int) -> None:
        """``now`` is the moment from which on a row counts that does not say when, in epoch microseconds."""
        self._now = now
        self.plan = Plan()

    def account(self, rows: Iterable[Spoken], standing: Standing) -> None:
        """Plan all rows of one account, in the order in which they hold."""
        claims: dict[tuple[Any, ...], tuple[Any, int]] = {}
        rows = sorted(rows, key=lambda each: (each.at is None, each.at or 0, _leans(each), each.line))
        standing = standing.told_until(max(self._now if row.at is None else row.at for row in rows))
        for row in rows:
            standing.advance(row.at)
            try:
                self._row(row, standing, claims)
            except _Refused as refused:
                self.plan.refused.append(refused.refusal)

    def _row(self, row: Spoken, standing: Standing, claims: dict[tuple[Any, ...], tuple[Any, int]]) -> None:
        if not standing.known and row.account_id != row.account_id.strip():
            raise _Refused(row.line, ACCOUNT, f"{row.account_id!r} begins or ends with a blank; take it off")
        for said in row.said:
            _claim(claims, row, said)
        plan = self.plan
        older = len(plan.older)
        at = self._now if row.at is None else row.at
        steps = [
            replace(step, follows=[*step.follows, *standing.beside(said.type, at)])
            for said in row.said
            if (step := self._step(row, said, standing)) is not None
        ]
        if not standing.known and not steps and len(plan.older) == older:
            steps = [_Step(Said("account.updated", "", {}), {}, (), ())]
        built = [self._event(row, step) for step in steps]
        if not built:
            plan.unchanged += 1
            return
        plan.changed += 1
        if not standing.known:
            plan.changes.append(Change(row.line, row.account_id, "account", None, "new"))
        for step, (event, body) in zip(steps, built, strict=True):
            plan.changes += step.changes
            plan.events.append((event, body))
            standing.say(kept_of(event))

    def _step(self, row: Spoken, said: Said, standing: Standing) -> _Step | None:
        group = GROUPS[said.type]
        as_fact = Fact(self._now if row.at is None else row.at, "", said.type, said.user_id, dict(said.data))
        thing = standing.thing(group, key_of(group, as_fact))
        match group.telling:
            case Telling.NEWEST:
                return self._newest(row, said, thing)
            case Telling.FIELDS:
                return _fields(row, said, group, thing)
            case _:
                known = standing.happened(as_fact) if row.at is not None else thing.said == said.data
                if group.telling is Telling.STATUS:
                    known = _as_it_is(group, said, thing)
                elif row.at is None:
                    known = known and thing.type == said.type
                if known:
                    return None
                if row.at is not None and standing.too_old(as_fact):
                    self.plan.older.append(Refusal(row.line, "", "it is older than anything that is kept"))
                    return None
                return _happening(row, said, group, thing)

    def _newest(self, row: Spoken, said: Said, thing: Thing) -> _Step | None:
        """Of fields of which only the newest word is kept."""
        dated = HISTORY if row.at is not None else frozenset()
        new = {
            name: value
            for name, value in said.data.items()
            if (thing.then if name in dated else thing.fields).get(name) != value
        }
        if row.at is not None:
            later = [name for name in new if thing.places.get(name, (0, ""))[0] > row.at]
            for name in [name for name in later if name not in dated]:
                self.plan.older.append(Refusal(row.line, name, "a newer word on it is known"))
                del new[name]
        if not new:
            return None
        told_by = {**thing.places, **{name: thing.then_places.get(name) for name in dated}}
        follows = [place for name in new if (place := told_by.get(name)) is not None]
        before = {**thing.fields, **{name: thing.then.get(name) for name in dated}}
        return _Step(said, new, _changes(row, new, before, said.user_id), follows)

    def _event(self, row: Spoken, step: _Step) -> tuple[Event, bytes]:
        newest = max(step.follows, default=(0, ""))
        at = max(self._now, newest[0]) if row.at is None else row.at
        event_id = _event_id(row, step, at)
        who = (row.account_id, step.said.user_id)
        built = build(step.said.type, *who, at=at, event_id=event_id, data=step.data, now=self._now)
        if isinstance(built, Rejection):
            raise _Refused(row.line, "", built.detail)
        return built


def _leans(row: Spoken) -> bool:
    """Whether it says something of a subscription but not its amount, which another row of that moment may say."""
    return any(said.type == "subscription.changed" and "mrr" not in said.data for said in row.said)


def _fields(row: Spoken, said: Said, group: Group, thing: Thing) -> _Step | None:
    """Of a thing whose fields stay until another word: the whole row is said, that it be so together."""
    told = {name: value for name, value in said.data.items() if name not in group.key}
    new = {name: value for name, value in told.items() if not _same(name, thing.fields.get(name), value)}
    if "roles" in new and _same("roles", thing.told_roles, new["roles"]):
        del new["roles"]  # told again they change nothing, whoever has become champion since
    if said.type == "subscription.changed" and "mrr" not in told and new:
        if "mrr" not in thing.fields:
            raise _Refused(row.line, "mrr", "it is empty, and the subscription is new; write its amount")
        told["mrr"] = thing.fields["mrr"]
    if not new and (thing.last is not None or thing.fields):
        return None
    keys = {name: value for name, value in said.data.items() if name in group.key}
    changes = _changes(row, new, thing.fields, _label(keys))
    if not new:
        changes = [Change(row.line, row.account_id, _label(keys) or group.name, None, "new")]
    return _Step(said, {**keys, **told}, changes, [] if thing.last is None else [thing.last])


def _as_it_is(group: Group, said: Said, thing: Thing) -> bool:
    """Whether a thing has that status already."""
    return thing.type == said.type and all(
        thing.said.get(name) == said.data.get(name) for name in group.compared if name in said.data
    )


def _happening(row: Spoken, said: Said, group: Group, thing: Thing) -> _Step:
    keys = {name: value for name, value in said.data.items() if name in group.key}
    told = {name: value for name, value in said.data.items() if name not in group.key}
    label = _label(keys)
    if group.telling is Telling.STATUS:
        word = said.type.rpartition(".")[2]
        before = thing.type.rpartition(".")[2] or None
        changes = [] if word == before else [_change(row, STATUS, before, word, label)]
        changes += [
            _change(row, name, thing.said.get(name), value, label)
            for name, value in told.items()
            if thing.said.get(name) != value
        ]
    else:
        before_it = thing.fields if said.type == "sentiment.rated" else {}
        changes = [_change(row, name, before_it.get(name), value, label) for name, value in told.items()]
        changes = changes or [_change(row, said.type, None, "told", label)]
    # Told with its own instant it is the same event whatever came before it.
    follows = [] if thing.last is None else [thing.last]
    if row.at is not None and group.telling is Telling.REPEATS:
        follows = [place for place in follows if place[0] == row.at]
    return _Step(said, said.data, changes, follows)


def _claim(claims: dict[tuple[Any, ...], tuple[Any, int]], row: Spoken, said: Said) -> None:
    """Two rows of a file must not say different things of the same field from the same moment on."""
    group = GROUPS[said.type]
    if group.telling is Telling.REPEATS and row.at is not None:
        return
    key = key_of(group, Fact(0, "", said.type, said.user_id, dict(said.data)))
    told: dict[str, Any] = {name: value for name, value in said.data.items() if name not in group.key}
    if group.telling is Telling.STATUS:
        told = {STATUS: said.type.rpartition(".")[2], **{name: told.get(name) for name in group.compared}}
    elif group.telling is Telling.REPEATS:
        told = {said.type: told}
    places = {(group.name, *key, name, row.at): (name, value) for name, value in told.items()}
    if said.type == "contact.updated" and "user_id" in told and "roles" in told:
        person = ("person", told["user_id"], row.at)
        places[person] = ("roles", CHAMPION in told["roles"])
    for place, (name, value) in places.items():
        before, line = claims.setdefault(place, (value, row.line))
        if before == value:
            continue
        if group.telling in (Telling.STATUS, Telling.REPEATS):
            raise _Refused(
                row.line, WHEN, f"line {line} tells the same otherwise; say of both when it happened"
            )
        raise _Refused(
            row.line, name, f"line {line} says otherwise; keep one of them, or say since when each is so"
        )


def _event_id(row: Spoken, step: _Step, at: int) -> str:
    """The same for the same words after the same facts; larger than the id of any of them at the same instant."""
    words = [
        SOURCE,
        step.said.type,
        row.account_id,
        step.said.user_id,
        row.at,
        step.data,
        sorted(step.follows),
    ]
    text = json.dumps(words, sort_keys=True, ensure_ascii=True)
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    event_id = f"{SOURCE}-{digest}"
    rival = max((known for instant, known in step.follows if instant == at), default="")
    if event_id > rival:
        return event_id
    before = _BEHIND.fullmatch(rival)
    stem, count = (before[1], int(before[2])) if before else (rival, 0)
    event_id = f"{stem}~{count + 1:04d}{digest[:12]}"
    if len(event_id) > _LONGEST_ID or count >= 9_999:
        raise _Refused(row.line, WHEN, "another word of that very instant stands; write a later one")
    return event_id


def _changes(
    row: Spoken, new: Mapping[str, Any], known: Mapping[str, Any], label: str = ""
) -> Sequence[Change]:
    return [_change(row, name, known.get(name), value, label) for name, value in new.items()]


def _change(row: Spoken, name: str, old: Any, new: Any, label: str) -> Change:
    before = None if old is None else cell_of(old)
    return Change(row.line, row.account_id, f"{label} {name}".strip(), before, cell_of(new))


def _label(keys: Mapping[str, Any]) -> str:
    return " ".join(str(value) for value in keys.values())


def _same(name: str, known: Any, told: Any) -> bool:
    return set(known or ()) == set(told) and known is not None if name == "roles" else bool(known == told)
