"""Running the house: the schema, the configuration, and whether all is well."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import DONE, NO, output
from app.cli.opened import opened
from app.cli.opened import settings as read_settings
from app.cli.output import Output, OutputOption
from app.version import VERSION
from consumers.errors import BellwetherError

if TYPE_CHECKING:
    from app.settings import Settings

db = typer.Typer(help="The database: its schema, and its windows made anew.", no_args_is_help=True)
config = typer.Typer(help="Settings, rules, destinations and routes.", no_args_is_help=True)
health_group = typer.Typer(invoke_without_command=True)  # `bellwether health` alone asks
_HEALTH_TIMEOUT_S = 4.0  # a container's health check gives up after five


@db.command()
def upgrade() -> None:
    """Bring the schema to this version's, all of it or nothing; then make windows of an older layout anew.

    Windows are made anew some accounts at a time; if it is killed there, the next run goes on where this one was.
    """
    from app.database import migrate

    with opened(any_schema=True) as house:
        before = migrate.current(house.database)
        migrate.upgrade(house.database)
        after = migrate.current(house.database)
        was = "it was already" if before == after else f"it was {before}" if before else "it was empty"
        output.line(f"{house.database.label}: schema {after} ({was})")


@db.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go back to; base: no tables at all.")],
    yes: Annotated[bool, typer.Option("--yes", help="What newer tables and columns hold is lost.")] = False,
) -> None:
    """Take the schema back, with all that only newer tables hold; for a release that the schema does not serve."""
    from app.database import migrate

    if not yes:
        raise BellwetherError(
            "going back drops what newer tables and columns hold\nmake a backup, then say --yes"
        )
    with opened(any_schema=True) as house:
        migrate.downgrade(house.database, revision)
        output.line(f"{house.database.label}: schema {migrate.current(house.database) or 'none'}")


@db.command("check")
def check_schema() -> int:
    """Compare the schema, table by table, with what this version works on; exit 1 if it differs."""
    from app.database import migrate

    with opened(any_schema=True) as house:
        migrate.check(house.database)
        found = migrate.differences(house.database)
        for each in found:
            output.line(each)
        if not found:
            output.line(f"{house.database.label}: schema {migrate.current(house.database)}, no difference")
        return NO if found else DONE


@db.command()
def current() -> int:
    """The schema's version; exit 1 if this version does not run on it."""
    from app.database import migrate

    with opened(any_schema=True) as house:
        found, wanted = migrate.current(house.database), migrate.head()
        if found == wanted:
            output.line(f"{found} (head)")
            return DONE
        output.line(f"{found or 'none'}, this version works on {wanted}")
        try:
            migrate.check(house.database)
        except BellwetherError:
            return NO
        output.line(f"a newer version made it, and it serves {wanted} too")
        return DONE


@config.command()
def show(out: OutputOption = Output.TABLE) -> None:
    """Every setting in force, secrets masked."""
    shown = read_settings().shown()
    if out is Output.JSON:
        output.document(shown)
        return
    for name, value in shown.items():
        output.line(f"{name}={value}")


@config.command()
def check() -> None:
    """Check settings and the configuration file, secrets and addresses too; say what is wrong, or what was read."""
    from app.book import Book

    read = read_settings()
    page = Book(read).page
    rules, destinations = len(page.configuration.rules), len(page.channels)
    output.line(f"{read.config or 'the shipped defaults'}: {rules} rules, {destinations} destinations")


@health_group.callback()
def health(
    context: typer.Context,
    url: Annotated[
        str, typer.Option("--url", help="Of the service; by default where the settings put it.")
    ] = "",
    live: Annotated[bool, typer.Option("--live", help="Only whether it answers at all.")] = False,
) -> int:
    """Ask a running service whether it is ready; exit 1 if it is not. Or, with a command, fit the health score."""
    if context.invoked_subcommand is not None:
        return DONE
    # urllib, and the variables themselves: a health check every ten seconds should cost little.
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, build_opener

    base = url.rstrip("/") or _own_address(read_settings())
    probe = f"{base}/{'livez' if live else 'readyz'}"
    if not probe.startswith(("http://", "https://")):
        raise BellwetherError(f"{probe} is not an address\nwrite http://HOST:PORT")
    try:
        with build_opener(ProxyHandler({})).open(probe, timeout=_HEALTH_TIMEOUT_S) as answer:
            output.line(f"{probe}: {answer.status}")
            return DONE
    except HTTPError as error:
        output.line(f"{probe}: {error.code} {error.read(2_000).decode('utf-8', 'replace')}")
    except (OSError, HTTPException) as error:
        output.line(f"{probe}: {getattr(error, 'reason', None) or error}")
        if not url:
            output.line(
                "  is the process up? the role api answers on BELLWETHER_PORT, any role on its BELLWETHER_PROBE_PORT"
            )
    return NO


def _own_address(settings: Settings) -> str:
    """Where this machine reaches the service: a wildcard bind answers on loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    port = settings.port if settings.probe_port is None else settings.probe_port
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def doctor(out: OutputOption = Output.TABLE) -> int:
    """Look at everything a start needs, and say what to do; exit 1 if something would fail."""
    findings: list[dict[str, Any]] = []
    _examine(findings)
    if out is Output.JSON:
        output.document({"ok": all(found["ok"] for found in findings), "checks": findings})
    else:
        for found in findings:
            output.line(f"{'ok   ' if found['ok'] else 'WRONG'}  {found['check']}: {found['detail']}")
    return DONE if all(found["ok"] for found in findings) else NO


def _examine(findings: list[dict[str, Any]]) -> None:
    def look(check: str, work: Callable[[], str]) -> bool:
        try:
            findings.append({"check": check, "ok": True, "detail": work()})
        except (BellwetherError, OSError, ModuleNotFoundError) as error:
            findings.append({"check": check, "ok": False, "detail": " — ".join(str(error).splitlines())})
        return bool(findings[-1]["ok"])

    look("version", lambda: f"bellwether {VERSION}, Python {_python()}")
    if not look("settings", lambda: f"delivery {read_settings().delivery}, zone {read_settings().timezone}"):
        return
    settings = read_settings()
    look("configuration", lambda: _configuration(settings))
    look("bind", lambda: _bind(settings))

    look("database", lambda: _database(settings))
    if settings.kafka:
        from app.cli.kafka_checks import examine

        examine(settings, look)


def _python() -> str:
    import platform

    return f"{platform.python_version()} on {platform.system()}"


def _configuration(settings: Settings) -> str:
    from app.book import Book

    page = Book(settings).page
    return f"{len(page.configuration.rules)} rules, {len(page.channels)} destinations"


def _bind(settings: Settings) -> str:
    settings.check_bind(keys_exist=not settings.loopback and _keys_exist(settings))
    reach = "this machine only" if settings.loopback else "the network, with keys"
    return f"{settings.host}:{settings.port}, {reach}"


def _keys_exist(settings: Settings) -> bool:
    """Whether there is any API key; none where the database cannot be asked, which has a check of its own."""
    from app.database import migrate
    from app.database.engine import Database
    from app.database.keys import KeyRing

    admin = settings.admin_key
    database = Database(settings.database_url)
    try:
        migrate.check(database)
        return KeyRing(database, admin.get_secret_value() if admin else None).needed()
    except BellwetherError:
        return False
    finally:
        database.close()


def _database(settings: Settings) -> str:
    from app.bootstrap import organisation_calendar
    from app.database import migrate
    from app.database.engine import Database

    database = Database(settings.database_url)
    try:
        migrate.check(database)
        organisation_calendar(settings, database, fix=False)
        return f"{database.label.removeprefix('database ')}, schema {migrate.head()}"
    finally:
        database.close()


def version() -> None:
    """Which version this is."""
    output.line(f"bellwether {VERSION}")
