"""Questions that are there at the same time are answered in one go, which costs little more than answering one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from consumers.errors import BellwetherError

T = TypeVar("T")

MOST = 32  # in one go; what else the loop has to do waits for so long


class Together(Generic[T]):
    """Collects what requests of one loop ask until the loop has no more of them at hand: nobody waits for others to
    come, and each is answered by what is known after it came. Used by one thread for each loop."""

    def __init__(self, ask: Callable[[Sequence[str]], Mapping[str, T]]) -> None:
        """``ask`` gives the answers that there are, by question."""
        self._ask = ask
        self._asked: WeakKeyDictionary[
            asyncio.AbstractEventLoop, list[tuple[str, asyncio.Future[T | None]]]
        ] = WeakKeyDictionary()

    async def get(self, question: str) -> T | None:
        """The answer; None if there is none. Raises what ``ask`` raises of this question."""
        loop = asyncio.get_running_loop()
        asked = self._asked.setdefault(loop, [])
        if not asked:
            loop.call_soon(self._turn, loop)
        future: asyncio.Future[T | None] = loop.create_future()
        asked.append((question, future))
        return await future

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        asked = self._asked[loop]
        now = asked[:MOST]
        del asked[:MOST]
        if asked:
            loop.call_soon(self._turn, loop)
        self._answer(loop, now)

    def _answer(
        self,
        loop: asyncio.AbstractEventLoop,
        asked: Sequence[tuple[str, asyncio.Future[T | None]]],
    ) -> None:
        try:
            found = self._ask([question for question, _ in asked])
        except Exception as error:
            if len(asked) == 1 or isinstance(error, BellwetherError):  # the database's doing, no question's
                for _, future in asked:
                    if not future.done():
                        future.set_exception(error)
            else:  # each alone: what is wrong with one is no matter of the others
                for each in asked:
                    loop.call_soon(self._answer, loop, [each])
            return
        for question, future in asked:
            if not future.done():  # its request may have been cancelled
                future.set_result(found.get(question))
