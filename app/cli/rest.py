"""What REST answers, without a server: the same routes, asked within this process, by the person at the terminal.

So a list, a filter or an error on the terminal cannot differ from the one that a program gets.
"""

from __future__ import annotations

import getpass
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.cli.opened import Opened
from consumers.errors import BellwetherError, ConfigurationError, StorageError

if TYPE_CHECKING:
    import httpx

Parameters = Mapping[str, str | int | Sequence[str] | None]

_SEE = {  # where the right one stands, for an id that is not
    "account_not_found": "bellwether accounts",
    "alert_not_found": "bellwether alerts list",
    "rule_not_found": "bellwether rules list",
}


def ask(house: Opened, path: str, parameters: Parameters | None = None) -> Any:
    """GET ``path``; parameters that are None or empty are left out. Raises BellwetherError with what REST says."""
    return _send(house, "GET", path, parameters, None).json()


def ask_csv(house: Opened, path: str, parameters: Parameters | None = None) -> bytes:
    """GET ``path`` as CSV, which has all of it. Raises BellwetherError with what REST says."""
    return _send(house, "GET", path, {**(parameters or {}), "format": "csv"}, None).content


def tell(house: Opened, path: str, body: Mapping[str, Any]) -> Any:
    """POST ``body`` to ``path``; fields that are None are left out. Raises BellwetherError."""
    given = {name: value for name, value in body.items() if value is not None}
    return _send(house, "POST", path, None, given).json()


def person() -> str:
    """Who sits at this terminal, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def _send(
    house: Opened, method: str, path: str, parameters: Parameters | None, body: Mapping[str, Any] | None
) -> httpx.Response:
    import asyncio

    answer = asyncio.run(_over_the_routes(house, method, path, parameters or {}, body))
    if answer.is_success:
        return answer
    problem = answer.json()
    said = problem.get("detail") or problem.get("title") or problem.get("code")
    if answer.status_code >= 500:
        raise StorageError(str(said))
    kind = ConfigurationError if answer.status_code == 422 else BellwetherError
    see = _SEE.get(problem.get("code"))
    raise kind(f"{said}\nsee: {see}" if see else str(said))


async def _over_the_routes(
    house: Opened, method: str, path: str, parameters: Parameters, body: Mapping[str, Any] | None
) -> httpx.Response:
    import httpx

    from app.bootstrap import services
    from app.database.keys import KeyRing
    from app.http.application import create_app

    # Whoever may open the database needs no key; one that lives as long as this question passes the gate.
    own_key = secrets.token_urlsafe(32)
    behind = replace(services(house), keys=KeyRing(house.database, own_key), loopback=True)
    transport = httpx.ASGITransport(create_app(behind), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(
            method,
            path,
            params={name: value for name, value in parameters.items() if value not in (None, "", [], ())},
            json=body,
            headers={"Authorization": f"Bearer {own_key}"},
        )
