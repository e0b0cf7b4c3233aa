"""Writes that carry an Idempotency-Key: done once, answered the same every time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection

from app.database import idempotency
from app.database.idempotency import Answer, Claim
from app.http.gate import caller_of
from app.http.pages import Using
from app.http.problems import Code, Problem
from app.http.services import Services

GivenKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same key with the same body is done once and answered the same for 24 hours",
    ),
]


@dataclass(frozen=True, slots=True)
class Once:
    """One write as its client identified it; ``key`` is None where the client did not."""

    services: Services
    key: str | None
    body: bytes

    def within(self, work: Callable[[Connection], BaseModel], *, status: int = 200) -> BaseModel | Response:
        """What ``work`` does in one transaction, together with the memory of its answer. Raises Problem."""
        with self.services.database.write() as connection:
            if self.key is None:
                return work(connection)
            known = idempotency.claim(connection, self.key, self.body, now=self.services.wall())
            if known is not Claim.OURS:
                return told_before(known)
            answer = work(connection)
            idempotency.complete(connection, self.key, Answer(status, answer.model_dump_json(by_alias=True)))
            return answer

    def around(self, work: Callable[[], BaseModel]) -> BaseModel | Response:
        """The same for work that has transactions of its own, or none: reserved before, remembered after it."""
        if self.key is None:
            return work()
        with self.services.database.write() as connection:
            known = idempotency.claim(connection, self.key, self.body, now=self.services.wall())
        if known is not Claim.OURS:
            return told_before(known)
        try:
            answer = work()
        except BaseException:
            with self.services.database.write() as connection:
                idempotency.release(connection, self.key)
            raise
        with self.services.database.write() as connection:
            idempotency.complete(connection, self.key, Answer(200, answer.model_dump_json(by_alias=True)))
        return answer


def told_before(known: Answer | Claim) -> Response:
    """The stored answer. Raises Problem where there is none to give."""
    match known:
        case Answer(status, response):
            headers = {"Idempotent-Replayed": "true"}
            return Response(response, status, headers, "application/json")
        case Claim.BUSY:
            raise Problem(Code.IDEMPOTENCY_IN_PROGRESS, "ask again in a moment", headers={"Retry-After": "1"})
        case _:
            raise Problem(Code.IDEMPOTENCY_CONFLICT, "use a new key for a new request")


def request_key(request: Request, key: str | None) -> str | None:
    """What a client's key is stored under."""
    if key is None:
        return None
    return idempotency.request_key(caller_of(request).id, request.method, request.url.path, key)


async def _once(request: Request, services: Using, key: GivenKey = None) -> Once:
    body = await request.body()
    return Once(services, request_key(request, key), _canonical(body))


def _canonical(body: bytes) -> bytes:
    """Clients may spell one JSON body in several ways between tries."""
    try:
        return json.dumps(json.loads(body), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return body


OnceEach = Annotated[Once, Depends(_once)]
