"""Logs: one line per event on standard error, readable on a terminal, JSON elsewhere; secrets never in them.

Times are the real clock's, whatever BELLWETHER_NOW says. Lines of libraries (uvicorn, APScheduler, SQLAlchemy) take
the same way, so that redaction has no back door.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.settings import REDACTED

_SECRET_NAME = re.compile(
    r"(^|_)(authorization|cookie|password|passwd|secret|secrets|signature|token|api_key|admin_key|encryption_key)$"
)
_SHAPES = re.compile(
    r"whsec_[A-Za-z0-9+/=_-]{8,}"  # Standard Webhooks secrets
    r"|(?<=hooks\.slack\.com/)[^\s\"'<>]+"  # whoever has the path may post
    r"|(?<=://)[^\s/@:\"']*:[^\s/@\"']+(?=@)"  # user:password@ in an address
    r"|(?i:(?<=bearer ))[A-Za-z0-9._~+/=-]{8,}"
)


class Redaction:
    """A structlog processor that masks known secrets, values under secret names, and what has a secret's shape."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """``secrets`` are literal values. Those under four characters are left: masking them would eat the text."""
        known = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Mask every value of the event, however deep."""
        return {key: self._value(key, value) for key, value in event.items()}

    def text(self, text: str) -> str:
        """``text`` with every known or secret-shaped part masked."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        return _SHAPES.sub(REDACTED, text)

    def _value(self, name: str, value: Any) -> Any:
        if name.startswith("_"):  # structlog's own: the record, the logger
            return value
        if _SECRET_NAME.search(name.lower()):
            return REDACTED
        if isinstance(value, dict):
            return {key: self._value(str(key), each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._value("", each) for each in value]
        plain = value is None or isinstance(value, bool | int | float)
        return value if plain else self.text(str(value))


def configure(*, level: str = "INFO", secrets: Iterable[str] = (), as_json: bool | None = None) -> None:
    """Set up structlog and the standard library's logging, once per process.

    ``secrets`` are masked wherever they turn up; ``as_json`` defaults to whether standard error is no terminal.
    """
    as_json = not sys.stderr.isatty() if as_json is None else as_json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        Redaction(secrets),  # after the traceback became text: a secret in it is masked too
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("apscheduler", "httpx", "httpcore", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for own_handlers in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own_handlers).handlers.clear()
        logging.getLogger(own_handlers).propagate = True
