"""Every verb under its heading of `bellwether --help`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import (
    accounts,
    alerts,
    backtest,
    bulk,
    dead_letters,
    deliveries,
    events,
    health_fit,
    keys,
    operations,
    portfolio,
    positions,
    rebuild,
    retention,
    rules,
    service,
    sources,
    topics,
)

RUN = "Run"
EVENTS = "Events"
CUSTOMERS = "Customers and alerts"
RULES = "Rules"
DELIVERY = "Delivery"
OPERATIONS = "Operations"

app = typer.Typer(
    name="bellwether",
    help="Early warning for B2B customer success: events in, leading indicators, alerts with evidence out.",
    epilog="Settings are BELLWETHER_* variables or a .env file: see bellwether config show.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _everywhere(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every verb; ``--debug`` was already taken from the line by :func:`app.cli.run`."""


app.command(rich_help_panel=RUN)(service.demo)
app.command(rich_help_panel=RUN)(service.serve)
operations.db.command()(rebuild.rebuild)
app.command(rich_help_panel=EVENTS)(events.ingest)
app.command(rich_help_panel=EVENTS)(events.replay)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=EVENTS)
app.command(rich_help_panel=CUSTOMERS)(accounts.accounts)
app.command(rich_help_panel=CUSTOMERS)(accounts.risk)
app.command(rich_help_panel=CUSTOMERS)(retention.retention)
app.command("import", rich_help_panel=CUSTOMERS)(bulk.import_files)
app.command("export", rich_help_panel=CUSTOMERS)(bulk.export_rows)
app.command(rich_help_panel=CUSTOMERS)(bulk.rate)
app.add_typer(alerts.app, name="alerts", rich_help_panel=CUSTOMERS)
app.add_typer(portfolio.queue, name="interventions", rich_help_panel=CUSTOMERS)
app.add_typer(portfolio.app, name="portfolio", rich_help_panel=CUSTOMERS)
app.add_typer(rules.app, name="rules", rich_help_panel=RULES)
app.command(rich_help_panel=RULES)(backtest.backtest)
app.add_typer(deliveries.destinations, name="destinations", rich_help_panel=DELIVERY)
app.add_typer(deliveries.app, name="deliveries", rich_help_panel=DELIVERY)
app.add_typer(keys.app, name="keys", rich_help_panel=OPERATIONS)
app.add_typer(operations.config, name="config", rich_help_panel=OPERATIONS)
app.add_typer(positions.app, name="positions", rich_help_panel=OPERATIONS)
app.add_typer(sources.app, name="sources", rich_help_panel=OPERATIONS)
app.add_typer(topics.app, name="topics", rich_help_panel=OPERATIONS)
app.add_typer(operations.db, name="db", rich_help_panel=OPERATIONS)
operations.health_group.command()(health_fit.fit)
app.add_typer(operations.health_group, name="health", rich_help_panel=OPERATIONS)
app.command(rich_help_panel=OPERATIONS)(bulk.doctor)
app.command(rich_help_panel=OPERATIONS)(operations.version)
