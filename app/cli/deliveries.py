"""`bellwether deliveries` and `bellwether destinations`: what was told to whom, and telling it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import DONE, NO, output
from app.cli.moments import earlier
from app.cli.opened import opened, settings
from app.cli.output import Limit, Output, OutputOption
from app.cli.rest import ask, tell
from consumers.errors import ConfigurationError

if TYPE_CHECKING:
    from alerts.delivery import Delivery

app = typer.Typer(help="Deliveries: list them, send them again.", no_args_is_help=True)
destinations = typer.Typer(help="Where alerts go.", no_args_is_help=True)


@app.command("list")
def list_deliveries(
    destination: Annotated[str, typer.Option("--destination", help="To this one.")] = "",
    status: Annotated[
        list[str] | None, typer.Option("--status", help="queued, sending, sent, parked, shadow.")
    ] = None,
    alert: Annotated[str, typer.Option("--alert", help="Of one alert.")] = "",
    account: Annotated[str, typer.Option("--account", help="Of one account.")] = "",
    limit: Limit = 50,
    cursor: Annotated[str, typer.Option("--cursor", help="Where the list before ended.")] = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """Deliveries, the newest first."""
    with opened() as house:
        answer = ask(
            house,
            "/v1/deliveries",
            {
                "destination": destination,
                "status": status or [],
                "alert_id": alert,
                "account_id": account,
                "limit": limit,
                "cursor": cursor,
            },
        )
    if out is Output.JSON:
        output.document(answer)
        return
    output.table(
        (">id", "destination", "status", "kind", "account", "alert", ">attempts", "next attempt", "said"),
        map(_row, answer["data"]),
        empty="no such deliveries",
        styles={"parked": "bold red", "sent": "green"},
    )
    output.more(answer["next_cursor"])


def _row(each: dict[str, Any]) -> list[Any]:
    names = (
        "id",
        "destination",
        "status",
        "kind",
        "account_id",
        "alert_id",
        "attempts",
        "next_attempt_at",
        "detail",
    )
    return [each[name] for name in names]


@app.command()
def replay(
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="These; none given: all parked ones.")
    ] = None,
    destination: Annotated[
        str, typer.Option("--destination", help="The parked ones of this destination.")
    ] = "",
    since: Annotated[str, typer.Option("--since", help="Made since an RFC 3339 instant, or 3d ago.")] = "",
    until: Annotated[str, typer.Option("--until", help="Made until then.")] = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """Queue deliveries again under the ids they had, so a receiver knows them; the running service sends them."""
    if ids and (destination or since or until):
        raise ConfigurationError(
            "ids, or --destination, --since and --until, not both\nsee: bellwether deliveries replay --help"
        )
    with opened() as house:
        now = house.clock.real_us()
        answer = tell(
            house,
            "/v1/deliveries/replay",
            {
                "ids": ids or None,
                "destination": destination or None,
                "since": earlier(since, now) if since else None,
                "until": earlier(until, now) if until else None,
            },
        )
    if out is Output.JSON:
        output.document(answer)
    else:
        output.line(f"{answer['replayed']} queued")


@destinations.command("list")
def list_destinations(out: OutputOption = Output.TABLE) -> None:
    """Every configured destination, without its address and secret."""
    with opened() as house:
        answer = ask(house, "/v1/destinations", {"limit": 200})  # more than that nobody has
    if out is Output.JSON:
        output.document(answer)
        return
    output.table(
        ("destination", "type", "status", "deliveries", "why"),
        (
            [
                each["name"],
                each["kind"],
                each["status"],
                ", ".join(f"{count} {status}" for status, count in sorted(each["deliveries"].items())),
                each["reason"],
            ]
            for each in answer["data"]
        ),
        empty="no destinations: name some in the file of BELLWETHER_CONFIG, or set BELLWETHER_SLACK_WEBHOOK_URL",
    )


@destinations.command()
def test(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `destinations list` shows it.")],
) -> int:
    """Send a message that says nothing happened, now and once; exit 1 if it is not taken."""
    import secrets

    from alerts.rules.nearest import unknown
    from app.book import Book
    from app.clock import Clock
    from app.outbound import HttpSender

    read = settings()
    channels = Book(read).page.channels
    channel = channels.get(name)
    if channel is None:
        raise ConfigurationError(
            f"{unknown('destination', name, channels)}\nsee: bellwether destinations list"
        )
    now = Clock().real_us()
    message = channel.compose(
        _nothing_happened(read.public_url, name, f"test_{secrets.token_hex(8)}", now), now
    )
    sender = HttpSender(allow_private=read.allow_private_destinations)
    outcome = channel.read(sender.post(message.url, message.headers, message.body))
    taken = outcome.error is None and outcome.status_code is not None and 200 <= outcome.status_code < 300
    output.line(
        f"{name}: {outcome.word} in {outcome.latency_ms:.0f} ms{'' if taken else f': {outcome.body[:200]}'}"
    )
    return DONE if taken else NO


def _nothing_happened(public_url: str, destination: str, test_id: str, now: int) -> Delivery:
    """A summary of no alerts at all: a shape that every receiver knows, and nothing to act on."""
    from alerts.delivery import Delivery
    from alerts.webhook import dump, summary_payload

    payload = dump(summary_payload(test_id, accounts=0, by_severity={}, by_rule={}, public_url=public_url))
    return Delivery(
        destination, "alert.summary", test_id, "", 0, test_id, payload, created_at=now, next_at=now
    )
