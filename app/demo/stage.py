"""Where the demo's stories are put together: companies get a part, and what all of them do becomes one feed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.demo.companies import Company
from app.demo.script import Event, Script

DAYS = 90

Told = tuple[str, str]  # ("firing" or "resolved", rule)


@dataclass(frozen=True, slots=True)
class Story:
    """One account's story: what is true of it once history is in, and what today's events then move."""

    title: str
    company: Company
    baseline: frozenset[str] = frozenset()
    live: frozenset[Told] = frozenset()


@dataclass(frozen=True, slots=True)
class Play:
    """Everything the demo sends, in the order in which it is sent.

    ``history`` are events up to yesterday with everything a real feed does wrong: ``duplicates`` of them are repeats,
    ``late`` came days after newer ones, and ``refused`` are lines that must be rejected. ``spare`` are healthy accounts
    with a champion, for the command that a person pastes.
    """

    now: datetime
    stories: Sequence[Story]
    history: Sequence[Event]
    refused: Sequence[bytes]
    duplicates: int
    late: int
    live: Sequence[Event]
    spare: Sequence[Company]

    @property
    def told(self) -> dict[str, frozenset[Told]]:
        """What today's events move, by account."""
        return {story.company.account_id: story.live for story in self.stories if story.live}


@dataclass(slots=True)
class Stage:
    """Casts companies, lets them live, and collects what they do."""

    script: Script
    now: datetime
    free: list[Company]
    told: list[Story] = field(default_factory=list)
    live: list[Event] = field(default_factory=list)
    spare: list[Company] = field(default_factory=list)

    def cast(
        self,
        title: str,
        *,
        users: int = 12,
        seats: int | None = None,
        renewal: int | None = 200,
        name: str | None = None,
        since: int = DAYS,
        champion: bool = True,
        baseline: Sequence[str] = (),
        live: Sequence[Told] = (),
        **account: Any,
    ) -> Company:
        """The next company with its account record; ``renewal`` is in days from today."""
        company, say = self.free.pop(0), self.script.say
        fields: dict[str, Any] = {
            "name": name or company.name,
            "owner": company.owner,
            "size": company.size,
            "lifecycle": "active",
            "term_months": 12,
            "notice_days": 30,
            **account,
        }
        if renewal is not None:
            fields["renewal_date"] = self.script.day(-renewal).isoformat()
        say(company, "account.updated", since, **fields)
        mrr = (40 + 15 * (company.number % 7)) * (users + 4)
        say(company, "subscription.changed", since, mrr=str(mrr), currency="USD")
        say(company, "seats.changed", since, purchased=seats or round(users / 0.71))
        if champion:
            roles = ["champion"]
            say(company, "contact.updated", since, contact_id="c-1", user_id=company.user(0), roles=roles)
        say(
            company,
            "contact.updated",
            since,
            contact_id="c-2",
            user_id=company.user(1),
            roles=["economic_buyer"],
        )
        say(company, "contact.updated", since, contact_id="c-3", user_id=company.user(2), roles=["member"])
        self.told.append(Story(title, company, frozenset(baseline), frozenset(live)))
        return company

    def healthy(self) -> Company:
        """Steady use, seats in use, a renewal far off or prepared for."""
        number = len(self.free)
        users = 6 + number % 6
        near = number % 4 == 0
        company = self.cast("healthy", users=users, renewal=30 + number % 55 if near else 100 + number * 2)
        self.script.work(company, range(users), past(DAYS))
        if near:
            self.book(company, ahead=12 + number % 15)
        self.script.say(company, "qbr.held", 35, qbr_id="review-1")
        self.spare.append(company)
        return company

    def book(self, company: Company, ahead: int) -> None:
        """A business review, in so many days."""
        day = self.script.day(-ahead).isoformat()
        self.script.say(company, "qbr.scheduled", 9, qbr_id="review-2", scheduled_for=f"{day}T15:00:00Z")

    def today(self, company: Company, kind: str, user: str | None = None, /, **data: Any) -> None:
        """An event of the last minutes, sent when the history has been judged."""
        at = self.now - timedelta(seconds=90 - len(self.live))
        self.live.append(self.script.say_at(company, kind, at, user, **data))
        self.script.events.pop()

    def play(self) -> Play:
        """All of it, in the order of sending."""
        events, dice = self.script.events, self.script.dice
        # On a Sunday evening nobody may have come for a day, and then the silence would count as the source's own.
        last = self.now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(seconds=1)
        evening = self.script.say_at(self.spare[0], "user.login", last, self.spare[0].user(0))
        events.pop()  # it comes after all others
        events.sort(key=lambda event: str(event["occurred_at"]))
        # A feed with several senders: neighbours change places, some arrive days later, some twice.
        for first in range(0, len(events), 50):
            some = events[first : first + 50]
            dice.shuffle(some)
            events[first : first + 50] = some
        late = [place for place, event in enumerate(events) if _may_be_late(event) and dice.random() < 0.02]
        behind = [events[place] for place in late]
        for place in reversed(late):
            del events[place]
        repeated = [dict(event) for event in dice.sample(events, 25)]
        for event in repeated[:2]:  # the same id with another story: the first to come stands
            event["account_id"] = repeated[-1]["account_id"]
        return Play(
            now=self.now,
            stories=self.told,
            history=[*events, *behind, *repeated, evening],
            refused=_refused(self.script, self.spare[0]),
            duplicates=len(repeated),
            late=len(late),
            live=self.live,
            spare=self.spare,
        )


def past(days: int, until: int = 1) -> range:
    """From so many days ago up to ``until`` days ago."""
    return range(days, until - 1, -1)


def _may_be_late(event: Event) -> bool:
    return bool(event["type"] == "user.login")


def _refused(script: Script, company: Company) -> list[bytes]:
    """Lines that no feed should send, one for each of several reasons."""
    day = script.day(1).isoformat()
    head = f'"account_id":"{company.account_id}","occurred_at":"{day}T12:00:00Z"'
    ahead = f'"account_id":"{company.account_id}","occurred_at":"{script.day(-30).isoformat()}T12:00:00Z"'
    return [
        f'{{"id":"bad-1","type":"user.logged_in","user_id":"u-1",{head}}}'.encode(),
        f'{{"id":"bad-2","type":"user.login",{head}}}'.encode(),
        f'{{"id":"bad-3","type":"seats.changed","data":{{"purchased":-5}},{head}}}'.encode(),
        f'{{"id":"bad-4","type":"user.login","user_id":"u-1",{ahead}}}'.encode(),
        b'{"id":"bad-5","type":"user.login"',
    ]
