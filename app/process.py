"""A service as a process: what signals ask of it, its web server and probes, and the code with which it ends."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable

import structlog

from app.probes import ProbeServer
from app.service import CUT_S, ROLES, Service
from app.settings import Settings
from app.web import WebServer
from consumers.errors import BellwetherError

log = structlog.get_logger(__name__)


def serve(settings: Settings, role: str) -> None:
    """Run until SIGINT or SIGTERM; SIGHUP reads the configuration again."""
    service = Service(settings, role)
    probes = (
        None
        if settings.probe_port is None
        else ProbeServer(settings.host, settings.probe_port, service.ready)
    )
    # A signal's handler may interrupt anything, also one who holds the lock that it would need; a SimpleQueue has none.
    orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    ended = threading.Event()

    def end() -> None:
        limit = threading.Timer(CUT_S, _cut_off, (role,))
        limit.daemon = True
        limit.start()
        service.end()
        ended.set()
        if web is not None:
            web.end()

    def obey() -> None:
        while True:
            orders.get()()

    def reload() -> None:  # an end must not wait for it
        threading.Thread(target=_reload, args=(service,), daemon=True).start()

    web = (
        WebServer(service.app, settings.host, settings.port, lambda: orders.put(end))
        if "api" in ROLES[role]
        else None
    )
    threading.Thread(target=obey, name="signals", daemon=True).start()
    # uvicorn has handlers of its own while it runs, and afterwards raises what it caught once more: without these, that
    # would end the process before the loops have.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: orders.put(end))
    signal.signal(signal.SIGINT, lambda _signal, _frame: orders.put(end))
    signal.signal(signal.SIGHUP, lambda _signal, _frame: orders.put(reload))
    try:
        service.start()
        if web is not None:
            keyless = "" if service.house.keys.needed() else "no API key: only this machine may ask"
            log.info("serving", url=web.url, role=role, note=keyless)
            web.run()
        else:
            log.info("running", role=role)
            ended.wait()
    finally:
        over = service.stop()
        if probes is not None:
            probes.close()
    if not over or service.app.state.cut_short:
        _cut_off(role)
    log.info("stopped", role=role)


def _cut_off(role: str) -> None:
    """For what cannot be interrupted, as a request that waits for a database that stands still."""
    log.error("ended in the middle of its work; nothing acknowledged is lost", role=role)
    os._exit(1)


def _reload(service: Service) -> None:
    try:
        service.reload()
    except BellwetherError as error:
        log.error("configuration not reloaded, the old one stays", error=str(error))
