"""The demo itself: a whole service and an inbox on this machine, history first, then a day as it happens.

History is posted while only the web server runs, so the consumer finds all of it at once, accounts are judged once,
and what is already true is told in one summary. Then today's events come, and each change is told as it happens.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from app import logs
from app.cli import output
from app.cli.progress import progress
from app.database import migrate
from app.database.engine import Database
from app.database.journal import JournalSource
from app.demo import report
from app.demo.feed import Feed, encoded
from app.demo.folder import Folder, folder
from app.demo.inbox import Inbox, create_app
from app.demo.received import Received, To
from app.demo.stage import DAYS, Play
from app.demo.stories import stories
from app.service import Service
from app.settings import Settings
from app.web import WebServer
from consumers.errors import BellwetherError, ConfigurationError

HOST = "127.0.0.1"
USUAL_PORT = 8000
SUMMARIES_S = 120.0  # how long the first judgement may take, on a machine that is busy with other things
TODAY_S = 30.0


class Line(Protocol):
    """Prints one line."""

    def __call__(self, text: str = "") -> None:
        """Print it."""


def run(directory: Path | None, port: int | None, line: Line) -> None:
    """Play the demo and stay up until Ctrl-C or SIGTERM, then leave nothing behind but a named ``directory``."""
    logs.configure(level="WARNING")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # who reads a pipe reads along
    with _signals_end_it():
        ended = "Ended."
        try:
            with folder(directory) as place, ExitStack() as stack:
                stays = f"the data is in {place.path}" if place.kept else f"{place.path} is removed"
                ended = f"Ended; {stays}."
                demo = Demo.open(place, port, line, stack)
                demo.play()
                _wait()
        except KeyboardInterrupt:
            line()
            line(ended)


@dataclass(slots=True)
class Demo:
    """One demo, its parts running."""

    place: Folder
    line: Line
    service: Service
    inbox: Inbox
    url: str
    inbox_url: str
    feed: Feed
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def open(cls, place: Folder, port: int | None, line: Line, stack: ExitStack) -> Demo:
        """Everything up but the loops. Raises ConfigurationError."""
        started = time.monotonic()
        inbox, front = Inbox(), _Front()
        web = _web_server(front, port)
        inbox_web = WebServer(create_app(inbox, web.url), HOST, 0)
        inbox_web.start()
        stack.callback(inbox_web.stop)
        place.write_configuration(inbox_url=inbox_web.url, slack_path=inbox.slack_path, secret=inbox.secret)
        service = _service(place, web.port)
        stack.callback(service.stop)
        front.app = service.app
        web.start()
        stack.callback(web.stop)
        feed = stack.enter_context(Feed(web.url))
        return cls(place, line, service, inbox, web.url, inbox_web.url, feed, started)

    def play(self) -> None:
        """History, its judgement, today, and a report."""
        play = stories(datetime.now(UTC))
        self.line("Bellwether demo: the whole path on this machine, no account, no key, nothing leaves it.")
        self.line()
        if self.place.seeded:
            self.service.start()
            self.line(f"  {self.place.path} has the customers of an earlier demo; nothing was sent again.")
        else:
            self._seed(play)
            self._judge()
            self._live(play)
        self._report(play)

    def _seed(self, play: Play) -> None:
        lines = [*encoded(play.history), *play.refused]
        began = time.monotonic()
        with progress(sum(map(len, lines))) as bar:
            bar.begin("sending")
            self.feed.send(lines, bar.move)
        accounts = len({story.company.account_id for story in play.stories})
        self.line(
            f"  sent      {len(lines):,} events of {accounts} accounts over {DAYS} days to POST /v1/events"
            f" in {time.monotonic() - began:.1f} s"
        )
        self.line(f"            {play.late:,} of them late, all out of order, {play.duplicates} twice")

    def _judge(self) -> None:
        """Yesterday closes on all of history, which is judged once; then the loops start and tell it in one summary.

        With the loops running, accounts could be judged before the close: what only a close decides, their health,
        would then come as a message each.
        """
        began = time.monotonic()
        self._close_yesterday()
        self.service.start()
        if not self.inbox.wait_for(_summaries_came, SUMMARIES_S):
            raise BellwetherError(
                f"the summary has not come within {SUMMARIES_S:.0f} s: this machine is too busy\ntry again later"
            )
        self.place.mark_seeded()
        counters = self.feed.counters()
        rejected = sum(1 for _ in self.feed.walk("/v1/dead-letters"))
        self.line(
            f"  counted   {counters.get('accepted', 0):,} accepted · {counters.get('duplicate', 0):,} duplicate · "
            f"{rejected:,} rejected, kept and listed with their reasons"
        )
        summary = next(each for each in self.inbox.after(0) if each.kind == "alert.summary").body["data"]
        self.line(
            f"  judged    in {time.monotonic() - began:.1f} s: {report.counted(summary['alerts'], 'alert')} of "
            f"{report.counted(summary['accounts'], 'account')} were true from the start, told in one summary"
        )

    def _close_yesterday(self) -> None:
        house = self.service.house
        house.consumer(JournalSource(house.database), heard=lambda _handled: None).drain()
        clock = house.clockwork()
        try:
            clock.tick(house.clock.now_us())
        finally:
            clock.stop()

    def _live(self, play: Play) -> None:
        """Today's events, account by account, and the changes that they make."""
        began = time.monotonic()
        wanted = {(account, what, rule) for account, moves in play.told.items() for what, rule in moves}
        for _, events in itertools.groupby(play.live, key=lambda event: str(event["account_id"])):
            self.feed.say(list(events))
        came = self.inbox.wait_for(lambda kept: wanted <= {each.alert for each in kept}, TODAY_S)
        told = [each.alert for each in self.inbox.after(0) if each.alert in wanted]
        firing = sum(1 for _, what, _ in told if what == "firing")
        late = "" if came else f"; {len(wanted) - len(set(told))} more have not come yet"
        self.line(
            f"  then      {report.counted(len(play.live), 'event')} of today came live: {firing} alerts fired and "
            f"{len(told) - firing} resolved within {time.monotonic() - began:.1f} s, each told at once{late}"
        )

    def _report(self, play: Play) -> None:
        shown, total = report.rows(self.feed, play.now.date())
        output.table(report.COLUMNS, shown, empty="no alerts", styles=output.SEVERITY_STYLES)
        if total > len(shown):
            self.line(f"  and {total - len(shown)} more: {self.url}/v1/alerts?status=firing")
            self.line()
        account = shown and next(
            each["account_id"] for each in self.feed.walk("/v1/accounts", sort="-risk_level")
        )
        self.line(f"  inbox     {self.inbox_url}   what Slack and a CRM were told: cards, signed requests")
        self.line(f"  REST      {self.url}/docs")
        if account:
            self.line(f"  a risk    {self.url}/v1/accounts/{account}/risk")
        self._offer_command(play)
        self.line(f"  Up after {time.monotonic() - self.started:.1f} s. {self._ending()}")

    def _offer_command(self, play: Play) -> None:
        busy = {alert["account_id"] for alert in self.feed.walk("/v1/alerts")}
        company = next((each for each in play.spare if each.account_id not in busy), None)
        if company is None:
            return
        proxied = any(os.environ.get(name) for name in ("http_proxy", "ALL_PROXY", "all_proxy"))
        self.line()
        self.line(
            f"Paste this into another terminal: the champion of {company.name} leaves, and two new alerts"
        )
        self.line(
            "are in the inbox about a second later. (Pasted twice it is the same event, and counts once.)"
        )
        self.line()
        for each in report.command(self.url, company, datetime.now(UTC), proxied=proxied):
            self.line(each)
        self.line()

    def _ending(self) -> str:
        if self.place.kept:
            return f"Ctrl-C ends it; the data stays in {self.place.path}."
        return f"Ctrl-C ends it and removes {self.place.path}."


class _Front:
    """What an address serves before its application exists, which must know the address first."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def _web_server(front: _Front, port: int | None) -> WebServer:
    if port is not None:
        try:
            return WebServer(front, HOST, port)
        except ConfigurationError as error:
            first = str(error).splitlines()[0]
            raise ConfigurationError(
                f"{first}\nname another with --port, or leave it out to take a free one"
            ) from None
    try:
        return WebServer(front, HOST, USUAL_PORT)
    except ConfigurationError:
        return WebServer(front, HOST, 0)


def _service(place: Folder, port: int) -> Service:
    # Given by name: nothing that the shell has set for a real service may reach this one.
    settings = Settings(
        database_url=place.database_url,
        config=place.configuration,
        host=HOST,
        port=port,
        allow_private_destinations=True,
    )
    database = Database(settings.database_url)
    try:
        migrate.upgrade(database)
    finally:
        database.close()
    return Service(settings)


def _summaries_came(kept: Sequence[Received]) -> bool:
    # The first that Slack gets is the summary too; its cards carry no kind.
    return any(each.kind == "alert.summary" for each in kept) and any(each.to is To.SLACK for each in kept)


@contextlib.contextmanager
def _signals_end_it() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end the demo once; cleaning up is not to be interrupted by a second."""
    ended = False

    def end(_signal: int, _frame: FrameType | None) -> None:
        nonlocal ended
        if not ended:
            ended = True
            raise KeyboardInterrupt

    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _wait() -> None:
    # In short steps: a signal that comes just before a wait is seen at its end.
    for_ever = threading.Event()
    while not for_ever.wait(1.0):
        pass
