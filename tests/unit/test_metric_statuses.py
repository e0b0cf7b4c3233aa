"""Which statuses each metric can have: every one is reached, and of every other one the reason why not is here."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.metrics.catalogue import CATALOGUE
from alerts.metrics.health import close_health
from alerts.model import HealthModel, HealthTerms, Model
from tests.recount import ACTIVITY, LOW, NONE, OK, SHORT, STALE, UNKNOWN
from tests.unit.metric_streams import TODAY, Stream, readings_of, streams, told
from tests.unit.test_metric_framework import streams as framework_streams

ALL = {OK, SHORT, LOW, STALE, NONE, UNKNOWN}
PEOPLE = ("u1", "u2", "u3", "u4")
MODEL = Model(core_features=("f", "reports"))
ONLY_BREADTH = Model(health=HealthModel(HealthTerms(engagement=(0, 1_000, 0, 0))))  # and no core features
NO_WINDOW = "it looks at no span of days that would have to be seen whole"
NO_FLOOR = "it is no ratio that small counts would make noise of"
NOT_BY_SILENCE = "no silence makes it worse: it is state, or counts what did happen"
A_NUMBER = "nothing is one of its values, so there always is one"
OF_ITSELF = "the account or the configuration says it, and no family of events has to be received"
ONE_DOUBT = "of a score it is only said that it cannot be told"

# Metrics, the statuses that they reach, and of each other status why they never have it.
TABLE = (
    (
        "logins.change_28d logins.change_28d_adjusted logins.drawdown_180d activity.user_days_change_28d",
        {OK, SHORT, LOW, STALE, UNKNOWN},
        {NONE: "no logins before are too few, not something that does not exist"},
    ),
    (
        "logins.current_28d logins.previous_28d logins.users_56d activity.dormant_days",
        {OK, SHORT, STALE, UNKNOWN},
        {LOW: NO_FLOOR, NONE: A_NUMBER},
    ),
    ("logins.per_user_current logins.per_user_previous", {OK, SHORT, STALE, NONE, UNKNOWN}, {LOW: NO_FLOOR}),
    ("logins.per_active_user_change_28d engagement.dau_mau", ALL, {}),
    (
        "activity.users_before",
        {OK, UNKNOWN},
        {
            SHORT: "ok after any activity",
            LOW: NO_FLOOR,
            STALE: "the window hangs on the last activity",
            NONE: A_NUMBER,
        },
    ),
    (
        "seats.utilization seats.active seats.unused seats.utilization_change_28d"
        " features.breadth features.active_count features.abandoned_count integrations.active",
        {OK, SHORT, STALE, NONE, UNKNOWN},
        {LOW: NO_FLOOR},
    ),
    (
        "seats.purchased seats.days_since_increase champion.days_since_change qbr.missing"
        " escalations.oldest_open_days sentiment.previous integrations.lost",
        {OK, NONE, UNKNOWN},
        {SHORT: NO_WINDOW, LOW: NO_FLOOR, STALE: NOT_BY_SILENCE},
    ),
    (
        "features.core_count renewal.days_to renewal.overdue_days renewal.decision_days_to",
        {OK, NONE},
        {SHORT: NO_WINDOW, LOW: NO_FLOOR, STALE: NOT_BY_SILENCE, UNKNOWN: OF_ITSELF},
    ),
    (
        "sponsor.days_since_login champion.status",
        {OK, STALE, UNKNOWN},
        {SHORT: NO_WINDOW, LOW: NO_FLOOR, NONE: "without anybody to watch it is unknown, or unmapped"},
    ),
    (
        "sponsor.unmapped champion.departed escalations.open",
        {OK, UNKNOWN},
        {SHORT: NO_WINDOW, LOW: NO_FLOOR, STALE: NOT_BY_SILENCE, NONE: A_NUMBER},
    ),
    (
        "sentiment.rating sentiment.age_days sentiment.overdue",
        {OK, UNKNOWN},
        {SHORT: NO_WINDOW, LOW: NO_FLOOR, STALE: NOT_BY_SILENCE, NONE: "without a rating it is unknown"},
    ),
    (
        " ".join(name for name in CATALOGUE if name.startswith("account.")),
        {OK, UNKNOWN},
        {SHORT: NO_WINDOW, LOW: NO_FLOOR, STALE: NOT_BY_SILENCE, NONE: "what nobody said is unknown"},
    ),
    (
        "escalations.opened_90d tickets.opened_28d tickets.median_28d ttfv.days",
        {OK, SHORT, UNKNOWN},
        {LOW: NO_FLOOR, STALE: NOT_BY_SILENCE, NONE: A_NUMBER},
    ),
    (
        "engagement.score engagement.band health.product",
        {OK, SHORT, STALE, NONE, UNKNOWN},
        {LOW: "none of the four parts is ever too small to count"},
    ),
    (
        "health.score health.band health.days_in_band",
        {OK, STALE, UNKNOWN},
        {SHORT: ONE_DOUBT, LOW: ONE_DOUBT, NONE: ONE_DOUBT},
    ),
    (
        "health.coverage",
        {OK, STALE},
        {SHORT: A_NUMBER, LOW: A_NUMBER, NONE: A_NUMBER, UNKNOWN: A_NUMBER},
    ),
    (
        "health.support",
        {OK, SHORT, UNKNOWN},
        {LOW: NO_FLOOR, STALE: NOT_BY_SILENCE, NONE: A_NUMBER},
    ),
    (
        "health.relationship",
        {OK, STALE, UNKNOWN},
        {SHORT: "what was received too short a time is left out", LOW: NO_FLOOR, NONE: A_NUMBER},
    ),
    (
        "health.satisfaction",
        {OK, LOW, UNKNOWN},
        {SHORT: "too few answers say it before", STALE: NOT_BY_SILENCE, NONE: "no answers are too few"},
    ),
)


def text(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def facts_of_all(stream: Stream, account: str, day: int) -> None:
    """Everything that can be told of an account, and that is no activity."""
    stream.add("seats.changed", account, day, purchased=5)
    stream.add("seats.changed", account, day + 1, purchased=9)
    stream.add("subscription.changed", account, day, mrr="120.50", renewal_date=text(TODAY + 60))
    stream.add(
        "account.updated",
        account,
        day,
        size="smb",
        tier="pro",
        channel="partner",
        use_case="billing",
        touch="high",
        lifecycle="active",
        usage_cadence="daily",
        term_months=12,
        owner="ann",
        contract_start=text(day),
    )
    roles = ["champion", "economic_buyer"]
    stream.add("contact.updated", account, day, contact_id="c1", user_id="u1", roles=roles)
    stream.add("champion.changed", account, day + 2, previous_user_id="u1", user_id="u2")
    stream.add("qbr.held", account, day, qbr_id="q")
    stream.add("escalation.opened", account, day, escalation_id="e")
    stream.add("ticket.opened", account, day, ticket_id="t")
    stream.add("sentiment.rated", account, day, rating="green")
    stream.add("sentiment.rated", account, day + 1, rating="red")
    stream.add("milestone.reached", account, day + 5, milestone="first_value")
    stream.add("integration.connected", account, day, integration="crm")
    stream.add("integration.synced", account, day + 1, integration="crm")
    for number in range(3):
        stream.add("survey.answered", account, TODAY - 10 - number, kind="nps", score=9)


def rich() -> Stream:
    """Every family flows: an account well and old, new ones, a tiny and a quiet one, one of facts alone."""
    stream = Stream()
    for kind in ("user.login", "feature.used", "session.ended"):
        stream.active("healthy", PEOPLE, range(TODAY - 150, TODAY + 1), kind=kind)
    stream.active("new", PEOPLE, range(TODAY - 9, TODAY + 1))
    stream.active("tiny", PEOPLE[:1], range(TODAY - 90, TODAY + 1, 10))
    stream.active("quiet", PEOPLE, range(TODAY - 120, TODAY - 100), kind="feature.used")
    stream.active("once", PEOPLE, range(TODAY - 120, TODAY - 90))
    stream.add("account.updated", "named", TODAY - 100, name="Named")
    stream.add("sentiment.rated", "named", TODAY - 50, rating="yellow")
    stream.add("contact.updated", "named", TODAY - 50, contact_id="c", roles=["economic_buyer"])
    stream.add("account.updated", "early", TODAY - 50, contract_start=text(TODAY - 400))
    stream.add("account.updated", "once", TODAY - 50, usage_cadence="weekly")
    for account in ("healthy", "new", "told"):
        facts_of_all(stream, account, TODAY - 200)
    stream.add("escalation.resolved", "told", TODAY - 20, escalation_id="e")
    return stream


def lately() -> Stream:
    """Nothing but activity was received until some days ago."""
    stream = Stream().active("a", PEOPLE, range(TODAY - 150, TODAY + 1), kind="user.login")
    stream.active("a", PEOPLE, range(TODAY - 9, TODAY + 1), kind="feature.used")
    facts_of_all(stream, "a", TODAY - 12)
    return stream


def tickets_alone() -> Stream:
    """Tickets, for a month, and nothing else."""
    return Stream().add("ticket.opened", "a", TODAY - 30, ticket_id="t")


def bare() -> Stream:
    """A portfolio that was only ever told of a renewal."""
    return Stream().add("account.updated", "bare", TODAY - 5, renewal_date=text(TODAY + 20))


def test_of_every_metric_and_every_status_the_table_says_whether_it_can_be_and_else_why_not() -> None:
    named = [name for names, _, _ in TABLE for name in names.split()]
    assert sorted(named) == sorted(CATALOGUE)
    for names, can_be, why_not in TABLE:
        assert can_be.isdisjoint(why_not), names
        assert can_be | why_not.keys() == ALL, names
        assert all(why_not.values()), names


def test_every_metric_reaches_every_status_that_it_can_have_and_no_other() -> None:
    assert reached() == {name: can_be for names, can_be, _ in TABLE for name in names.split()}


@settings(max_examples=60)
@given(
    stream=st.one_of(framework_streams(), streams()),
    live=st.booleans(),
    stale=st.sets(st.sampled_from((*ACTIVITY, "integrations", "contacts", "tickets"))),
    model=st.sampled_from((MODEL, Model(), ONLY_BREADTH)),
)
def test_whatever_happens_no_metric_has_a_status_that_the_table_does_not_know(stream, live, stale, model):
    as_of = TODAY - 1 if live else TODAY
    readings = readings_of(stream.lines, as_of=as_of, today=TODAY, stale=frozenset(stale), model=model)
    close_health(readings.portfolio)
    for names, can_be, _ in TABLE:
        for name in names.split():
            had = {told(readings, name, index)[1] for index in range(readings.size)}
            assert had <= can_be, name


def reached() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in CATALOGUE}
    everything = frozenset((*ACTIVITY, "integrations"))
    for stream, stale, model in (
        (rich(), frozenset[str](), MODEL),
        (rich(), frozenset[str](), Model()),
        (rich(), everything, MODEL),
        (rich(), frozenset[str](), ONLY_BREADTH),
        (lately(), frozenset[str](), MODEL),
        (tickets_alone(), frozenset[str](), MODEL),
        (bare(), frozenset[str](), MODEL),
        (bare(), frozenset[str](), Model()),
    ):
        readings = readings_of(stream.lines, as_of=TODAY, stale=stale, model=model)
        close_health(readings.portfolio)
        for index in range(readings.size):
            for name in CATALOGUE:
                found[name].add(told(readings, name, index)[1])
    return found
