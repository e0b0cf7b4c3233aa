"""Makes the replay bench's input: a year of a portfolio's events, activity and state, in time order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 365
FEATURES = ("report", "export", "search", "share", "audit", "automation", "dashboard", "api")
_KINDS = ("user.login", "feature.used", "session.ended")
_DAY_S = 86_400


def year(path: Path, *, events: int, accounts: int = 1_000, seed: int = 20261122) -> Path:
    """Write ``events`` events as NDJSON, about 180 bytes each: half logins, a third features, the rest sessions, and
    the facts that rules read. One account in five dwindles from some day on. Kept if it is there already."""
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    facts = sorted(_facts(rng, accounts))
    count = events - len(facts)
    share = rng.lognormal(0.0, 0.6, accounts)
    seats = np.maximum(3, np.round(share * 40)).astype(np.int64)
    account = rng.choice(accounts, size=count, p=share / share.sum())
    user = (rng.random(count) ** 1.5 * seats[account]).astype(np.int64)
    moment = rng.random(count) * DAYS
    ends = np.where(rng.random(accounts) < 0.2, rng.random(accounts) * DAYS, np.inf)
    late = moment > ends[account]  # of what would come after, most falls before it instead
    moment[late & (rng.random(count) < 0.8)] *= 0.5
    seconds = moment * _DAY_S
    order = np.argsort(seconds)
    account, user, seconds = account[order], user[order], seconds[order]
    kind = rng.choice(3, size=count, p=(0.5, 0.35, 0.15))
    feature = (rng.random(count) ** 2 * len(FEATURES)).astype(np.int64)
    ids = rng.integers(0, 2**63, size=(count, 2), dtype=np.uint64)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="ascii") as out:
        waiting = iter([*facts, (float("inf"), "")])
        next_at, fact = next(waiting)
        for number, (a, u, at, k, f) in enumerate(
            zip(
                account.tolist(),
                user.tolist(),
                seconds.tolist(),
                kind.tolist(),
                feature.tolist(),
                strict=True,
            )
        ):
            while next_at <= at:
                out.write(fact)
                next_at, fact = next(waiting)
            data = ("{}", f'{{"feature":"{FEATURES[f]}"}}', f'{{"duration_s":{60 + number % 1800}}}')[k]
            out.write(
                f'{{"id":"{ids[number, 0]:016x}{ids[number, 1]:016x}","type":"{_KINDS[k]}",'
                f'"account_id":"account-{a:05d}","user_id":"user-{a:05d}-{u:04d}",'
                f'"occurred_at":"{_instant(at)}","data":{data}}}\n'
            )
        while fact:
            out.write(fact)
            next_at, fact = next(waiting)
    part.rename(path)
    return path


def _facts(rng: np.random.Generator, accounts: int) -> Iterator[tuple[float, str]]:
    """(second of the year, line) of what is known of each account beside its activity."""
    number = 0

    def line(kind: str, account: int, day: float, data: str, user: str = "") -> tuple[float, str]:
        nonlocal number
        number += 1
        at = min(max(day, 0.0), DAYS - 0.01) * _DAY_S
        who = f'"user_id":"{user}",' if user else ""
        return at, (
            f'{{"id":"fact-{number}","type":"{kind}","account_id":"account-{account:05d}",{who}'
            f'"occurred_at":"{_instant(at)}","data":{{{data}}}}}\n'
        )

    for account in range(accounts):
        renewal = int(rng.integers(30, 480))
        yield line("account.updated", account, 0, f'"name":"Account {account}","owner":"csm-{account % 20}"')
        yield line("seats.changed", account, 0.1, f'"purchased":{int(rng.integers(5, 120))}')
        yield line(
            "subscription.changed",
            account,
            0.2,
            f'"mrr":{int(rng.integers(100, 9000))},"currency":"USD","renewal_date":"{_date(renewal)}"',
        )
        for contact, role in enumerate(("champion", "economic_buyer", "member")):
            yield line(
                "contact.updated",
                account,
                0.3,
                f'"contact_id":"c{account}-{contact}","user_id":"user-{account:05d}-{contact:04d}","roles":["{role}"]',
            )
        if rng.random() < 0.15:
            yield line("champion.changed", account, rng.random() * DAYS, '"kind":"left_company"', "")
        for quarter in range(4):
            day = quarter * 90 + rng.random() * 60
            if rng.random() < 0.7:
                qbr = f'"qbr_id":"q{account}-{quarter}"'
                yield line("qbr.scheduled", account, day, f'{qbr},"scheduled_for":"{_date(int(day) + 20)}"')
                yield line("qbr.held", account, day + 20, qbr)
        for month in range(12):
            day = month * 30 + rng.random() * 28
            score, rating = (
                int(rng.integers(0, 11)),
                ("green", "green", "green", "yellow", "red")[rng.integers(5)],
            )
            yield line("survey.answered", account, day, f'"kind":"nps","score":{score}')
            yield line("sentiment.rated", account, day, f'"rating":"{rating}","by":"csm-{account % 20}"')
            for ticket in range(int(rng.poisson(2))):
                yield line(
                    "ticket.opened", account, day + ticket, f'"ticket_id":"t{account}-{month}-{ticket}"'
                )
            if rng.random() < 0.05:
                yield line("escalation.opened", account, day, f'"escalation_id":"e{account}-{month}"')
                yield line("escalation.resolved", account, day + 10, f'"escalation_id":"e{account}-{month}"')


def _instant(second: float) -> str:
    at = START + timedelta(seconds=second)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _date(day: int) -> str:
    return (date(START.year, 1, 1) + timedelta(days=day)).isoformat()
