"""What happens to the demo's 120 customers, and which alerts each story must end in. Pure: relative to ``now``.

Most accounts are healthy, and none of them may alert. The others each tell one story. History goes up to
yesterday; what happens today comes live, when everybody is already being watched.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from app.demo.companies import companies
from app.demo.script import FEATURES, Script
from app.demo.stage import DAYS, Play, Stage, past

SEED = 20
FADE_DAYS = 172  # half a year is where a fade shows that never loses a fifth from one month to the next
HOSTILE_NAME = "Moss & Fern <script>alert('hi')</script> *Studios* @channel"


def stories(now: datetime, seed: int = SEED) -> Play:
    """The demo as of ``now``: the same every time but for the dates."""
    now = now.astimezone(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    # No secret depends on these dice: they only have to fall alike each time.
    stage = Stage(Script(midnight, random.Random(seed)), now, companies())  # noqa: S311 - a story, not a secret
    for tell in _STORIES:
        tell(stage)
    while stage.free:
        stage.healthy()
    return stage.play()


def _champion_leaves(stage: Stage) -> None:
    live = [("firing", "champion-departed"), ("firing", "champion-changed")]
    company = stage.cast("the champion leaves", renewal=118, live=live)
    stage.script.work(company, range(12), past(DAYS))
    stage.today(company, "champion.changed", kind="left_company", previous_user_id=company.user(0))


def _hostile_name(stage: Stage) -> None:
    company = stage.cast(
        "a name that is markup, and a new champion",
        name=HOSTILE_NAME,
        renewal=141,
        live=[("firing", "champion-changed")],
    )
    stage.script.work(company, range(12), past(DAYS))
    stage.today(
        company,
        "champion.changed",
        kind="replaced",
        previous_user_id=company.user(0),
        user_id=company.user(4),
    )


def _review_called_off(stage: Stage) -> None:
    company = stage.cast("the business review is called off", renewal=64, live=[("firing", "qbr-missing")])
    stage.script.work(company, range(12), past(DAYS))
    stage.book(company, ahead=20)
    stage.today(company, "qbr.cancelled", qbr_id="review-2")


def _team_let_go(stage: Stage) -> None:
    live = [("firing", "seat-utilization-low"), ("firing", "seats-declining")]
    company = stage.cast("the admin deactivates a whole team", users=14, seats=19, renewal=157, live=live)
    stage.script.work(company, range(14), past(DAYS))
    for user in range(8, 14):
        stage.today(company, "user.updated", company.user(user), deactivated=True)


def _room_bought(stage: Stage) -> None:
    company = stage.cast(
        "an expansion: they buy the seats they need",
        users=19,
        seats=20,
        baseline=["seats-upsell"],
        live=[("resolved", "seats-upsell")],
    )
    stage.script.work(company, range(19), past(DAYS))
    stage.today(company, "seats.changed", purchased=32)


def _review_booked(stage: Stage) -> None:
    company = stage.cast(
        "the missing review is booked",
        renewal=52,
        baseline=["qbr-missing"],
        live=[("resolved", "qbr-missing")],
    )
    stage.script.work(company, range(12), past(DAYS))
    day = stage.script.day(-14).isoformat()
    stage.today(company, "qbr.scheduled", qbr_id="review-2", scheduled_for=f"{day}T15:00:00Z")


def _rating_crashes(stage: Stage) -> None:
    live = [("firing", "sentiment-red"), ("firing", "sentiment-crashed")]
    company = stage.cast("the CSM's rating falls from green to red", renewal=149, live=live)
    stage.script.work(company, range(12), past(DAYS))
    stage.script.say(company, "sentiment.rated", 4, rating="green", by=company.owner)
    stage.today(
        company, "sentiment.rated", rating="red", by=company.owner, note="they ask for their data back"
    )


def _expansion(stage: Stage) -> None:
    for users, seats in ((18, 20), (11, 12)):
        company = stage.cast("an expansion", users=users, seats=seats, baseline=["seats-upsell"])
        stage.script.work(company, range(users), past(DAYS))


def _seats_bleed(stage: Stage) -> None:
    """People stop one after the other; the champion and others work on as ever."""
    found = ["seats-declining", "seat-utilization-low", "login-decline"]
    company = stage.cast("seats bleed", users=18, seats=24, baseline=found)
    for user in range(18):
        stage.script.work(company, [user], past(DAYS, 66 - 2 * user if user >= 12 else 1))
    found += ["seat-utilization-critical", "login-fade"]
    company = stage.cast(
        "seats bleed out before the renewal", users=18, seats=25, renewal=101, baseline=found
    )
    for user in range(18):
        stage.script.work(company, [user], past(DAYS, 74 - 2 * user if user >= 6 else 1))


def _too_many_seats(stage: Stage) -> None:
    found = ["seat-utilization-low", "seat-utilization-critical"]
    company = stage.cast("seats that nobody ever filled", users=10, seats=36, baseline=found)
    stage.script.work(company, range(10), past(DAYS))


def _cliff(stage: Stage) -> None:
    """From one day on, people come less often."""
    for since, share, found in (
        (19, 0.55, ["login-decline"]),
        (17, 0.50, ["login-decline"]),
        (23, 0.20, ["login-decline", "login-fade"]),
    ):
        company = stage.cast("a cliff in logins", users=14, baseline=found)

        def comes(user: int, ago: int, since: int = since, share: float = share) -> bool:
            # Whole weeks are thinned out alike, so that chance cannot move the sum over the line.
            thinned = ago <= since and (user * 7 + ago * 3) % 20 >= share * 20
            return stage.script.weekly(user, ago) and not thinned

        stage.script.work(company, range(14), past(DAYS), comes)


def _fade(stage: Stage) -> None:
    """Fewer logins every week for half a year, and never a fifth less than the month before."""
    for pace in (0.0052, 0.0057):
        company = stage.cast("a slow fade", users=16, since=FADE_DAYS, baseline=["login-fade"])

        def comes(user: int, ago: int, pace: float = pace) -> bool:
            left = math.exp(pace * (ago - FADE_DAYS))
            return (user * 5 + ago * 7) % 32 < left * 32 and stage.script.weekly(user, ago)

        stage.script.work(company, range(16), past(FADE_DAYS), comes)


def _gone_dark(stage: Stage) -> None:
    found = ["gone-dark", "login-decline", "login-fade"]
    for silent in (17, 21):
        company = stage.cast("gone dark", users=11, renewal=130, baseline=found)
        stage.script.work(company, range(11), past(DAYS, silent))


def _review_missing(stage: Stage) -> None:
    for renewal in (38, 71):
        company = stage.cast("a renewal without a business review", renewal=renewal, baseline=["qbr-missing"])
        stage.script.work(company, range(12), past(DAYS))


def _renewal_overdue(stage: Stage) -> None:
    for renewal in (-5, -19):
        company = stage.cast("a renewal date that passed", renewal=renewal, baseline=["renewal-overdue"])
        stage.script.work(company, range(12), past(DAYS))


def _champion_silent(stage: Stage) -> None:
    for silent in (36, 44):
        company = stage.cast("the champion has gone silent", baseline=["champion-silent"])
        stage.script.work(company, [0], past(DAYS, silent))
        stage.script.work(company, range(1, 12), past(DAYS))


def _champion_replaced(stage: Stage) -> None:
    company = stage.cast("the champion was replaced", baseline=["champion-changed"])
    stage.script.work(company, range(12), past(DAYS))
    stage.script.say(
        company,
        "champion.changed",
        11,
        kind="role_change",
        previous_user_id=company.user(0),
        user_id=company.user(3),
    )


def _rare_visitors(stage: Stage) -> None:
    """The same habit twice: a warning, unless the product is meant to be used weekly."""

    def comes(user: int, ago: int) -> bool:
        return ago % 14 == user % 14

    company = stage.cast("people look in twice a month", users=16, baseline=["stickiness-low"])
    stage.script.work(company, range(16), past(DAYS), comes)
    company = stage.cast("looking in twice a month is how it is used", users=16, usage_cadence="monthly")
    stage.script.work(company, range(16), past(DAYS), comes)


def _sponsor_absent(stage: Stage) -> None:
    """Whoever pays has not been in for two months; everybody else works on as ever."""
    company = stage.cast("the executive sponsor stays away", baseline=["sponsor-absent"])
    for user in range(12):
        stage.script.work(company, [user], past(DAYS, 64 if user == 1 else 1))


def _little_adopted(stage: Stage) -> None:
    company = stage.cast("one feature of five", core_features=list(FEATURES), baseline=["adoption-narrow"])
    stage.script.work(company, range(12), past(DAYS), features=FEATURES[:1])


def _feature_given_up(stage: Stage) -> None:
    core = FEATURES[:3]
    company = stage.cast("a feature is given up", core_features=list(core), baseline=["feature-abandoned"])
    stage.script.work(company, range(12), past(DAYS, 36), features=core)
    stage.script.work(company, range(12), past(35), features=core[:2])


def _first_value_late(stage: Stage) -> None:
    """They began a quarter ago, with a kickoff on the first day; what came after is not what was promised."""
    start = stage.script.day(DAYS).isoformat()
    found = ["first-value-late"]
    company = stage.cast("still without a first value", contract_start=start, renewal=275, baseline=found)
    stage.script.work(company, range(12), past(DAYS))
    stage.script.say(company, "milestone.reached", DAYS, milestone="kickoff")
    stage.script.say(company, "milestone.reached", DAYS - 25, milestone="data_imported")


def _integrations(stage: Stage) -> None:
    """Both lose one; one of them has it back the next day."""
    for title, back, found in (
        ("an integration is disconnected", False, ["integration-lost"]),
        ("an integration is connected again", True, []),
    ):
        company = stage.cast(title, baseline=found)
        stage.script.work(company, range(12), past(DAYS))
        stage.script.say(company, "integration.connected", 82, integration="crm")
        for ago in range(81, 12, -4):
            stage.script.say(company, "integration.synced", ago, integration="crm")
        stage.script.say(company, "integration.disconnected", 12, integration="crm")
        if back:
            stage.script.say(company, "integration.connected", 11, integration="crm")
            stage.script.say(company, "integration.synced", 2, integration="crm")


def _escalations(stage: Stage) -> None:
    """Both escalate before the renewal; for one of them it is solved."""
    for title, solved, found in (
        ("an escalation before the renewal", False, ["escalation-before-renewal"]),
        ("an escalation that was solved", True, []),
    ):
        company = stage.cast(title, renewal=58, baseline=found)
        stage.script.work(company, range(12), past(DAYS))
        stage.book(company, ahead=20)
        stage.script.say(company, "escalation.opened", 9, escalation_id="outage", severity="high")
        if solved:
            stage.script.say(company, "escalation.resolved", 6, escalation_id="outage")


def _ratings(stage: Stage) -> None:
    for title, ratings, found in (
        ("the CSM's rating is red", ((31, "yellow"), (3, "red")), ["sentiment-red"]),
        ("a rating that nobody renewed", ((24, "green"),), ["sentiment-overdue"]),
    ):
        company = stage.cast(title, baseline=found)
        stage.script.work(company, range(12), past(DAYS))
        for ago, rating in ratings:
            stage.script.say(company, "sentiment.rated", ago, rating=rating, by=company.owner)


def _renewal_at_risk(stage: Stage) -> None:
    """Nothing is wrong by itself; all of it together is yellow, and the renewal is near."""
    company = stage.cast(
        "little use before the renewal",
        users=14,
        renewal=66,
        champion=False,
        baseline=["renewal-at-risk"],
    )
    stage.script.work(company, range(14), past(DAYS), lambda user, ago: ago % 7 == user % 7)
    stage.book(company, ahead=25)


def _all_at_once(stage: Stage) -> None:
    """Escalations, a cliff in logins, a red rating, idle seats: red."""
    company = stage.cast(
        "everything goes wrong at once",
        users=14,
        seats=40,
        renewal=47,
        baseline=[
            "health-red",
            "renewal-at-risk",
            "escalation-before-renewal",
            "sentiment-red",
            "login-decline",
            "login-fade",
            "seat-utilization-low",
            "seat-utilization-critical",
        ],
    )
    stage.script.work(
        company,
        range(14),
        past(DAYS),
        lambda user, ago: (
            stage.script.weekly(user, ago) and not (ago <= 26 and (user * 7 + ago * 3) % 20 >= 6)
        ),
    )
    stage.book(company, ahead=18)
    for number in range(2):
        stage.script.say(company, "escalation.opened", 15 - number, escalation_id=f"case-{number}")
    stage.script.say(company, "sentiment.rated", 30, rating="yellow", by=company.owner)
    stage.script.say(company, "sentiment.rated", 5, rating="red", by=company.owner)


def _false_alarms(stage: Stage) -> None:
    """What looks like trouble and is none."""
    company = stage.cast("a team that works on weekends", users=9)
    stage.script.work(company, range(9), past(DAYS), lambda _user, ago: stage.script.day(ago).weekday() >= 5)
    for since in (12, 6, 3):
        company = stage.cast("a new customer with little history", since=since, seats=40, renewal=365 - since)
        stage.script.work(company, range(4), past(since))
    company = stage.cast("a small account that nobody reviews in person", renewal=44, touch="tech")
    stage.script.work(company, range(12), past(DAYS))
    company = stage.cast("a monthly contract", renewal=12, term_months=1)
    stage.script.work(company, range(12), past(DAYS))
    company = stage.cast("two people, too few for a trend", users=2, seats=3)
    stage.script.work(company, range(2), past(DAYS), lambda user, ago: ago % (9 if ago < 29 else 5) == user)
    company = stage.cast("a customer who has already left", renewal=None)
    stage.script.work(company, range(12), past(DAYS, 25))
    stage.script.say(company, "subscription.changed", 24, mrr="0", currency="USD")
    stage.script.say(company, "account.updated", 24, lifecycle="churned")
    company = stage.cast("an old number of seats that arrives last")
    stage.script.work(company, range(12), past(DAYS))
    stage.script.say(company, "seats.changed", DAYS + 1, purchased=90)


_STORIES: Sequence[Callable[[Stage], None]] = (
    _champion_leaves,
    _review_called_off,
    _team_let_go,
    _room_bought,
    _hostile_name,
    _review_booked,
    _rating_crashes,
    _all_at_once,
    _seats_bleed,
    _cliff,
    _fade,
    _gone_dark,
    _too_many_seats,
    _review_missing,
    _renewal_overdue,
    _champion_silent,
    _champion_replaced,
    _rare_visitors,
    _expansion,
    _sponsor_absent,
    _little_adopted,
    _feature_given_up,
    _first_value_late,
    _integrations,
    _escalations,
    _ratings,
    _renewal_at_risk,
    _false_alarms,
)
