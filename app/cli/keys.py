"""`bellwether keys`: who may talk to the service."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import output
from app.cli.opened import opened
from app.cli.output import Output, OutputOption
from consumers.errors import ConfigurationError

app = typer.Typer(help="API keys and what each may do.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, as a person will look for it.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="ingest, read, write or admin; repeat for several.")
    ] = None,
    out: OutputOption = Output.TABLE,
) -> None:
    """Make a key. Its secret is shown once."""
    from app.database import keys

    words = [word for given in scope or ["read"] for word in given.replace(",", " ").split()]
    wrong = [word for word in words if word not in set(keys.Scope)]
    if wrong:
        raise ConfigurationError(f"{wrong[0]!r} is not a scope\nuse {', '.join(keys.Scope)}")
    with opened() as house, house.database.write() as connection:
        scopes = frozenset(keys.Scope(word) for word in words)
        key, secret = keys.create(connection, name=name, scopes=scopes, created_at=house.clock.real_us())
    if out is Output.JSON:
        output.document({"id": key.id, "name": key.name, "scopes": sorted(key.scopes), "key": secret})
        return
    output.line(secret)
    output.note(f"{key.id}: {', '.join(sorted(key.scopes))}. It will not be shown again.")


@app.command("list")
def list_keys(out: OutputOption = Output.TABLE) -> None:
    """Every key, without its secret."""
    from app.database import keys
    from app.http.instants import instant, instant_or_none

    with opened() as house, house.database.read() as connection:
        known = keys.listing(connection)
    rows: list[dict[str, Any]] = [
        {
            "id": key.id,
            "name": key.name,
            "scopes": sorted(key.scopes),
            "created_at": instant(key.created_at),
            "revoked_at": instant_or_none(key.revoked_at),
        }
        for key in known
    ]
    if out is Output.JSON:
        output.document({"data": rows})
        return
    output.table(
        ["id", "name", "scopes", "created", "revoked"],
        (
            [row["id"], row["name"], " ".join(row["scopes"]), row["created_at"], row["revoked_at"]]
            for row in rows
        ),
        empty="no keys yet: bellwether keys create NAME --scope admin",
    )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `bellwether keys list` shows it.")],
) -> None:
    """Take a key away; within a second it opens nothing."""
    from app.database import keys

    with opened() as house, house.database.write() as connection:
        if not keys.revoke(connection, key_id, revoked_at=house.clock.real_us()):
            raise ConfigurationError(f"{key_id} is no key in use\nsee: bellwether keys list")
    output.line(f"{key_id} revoked")
