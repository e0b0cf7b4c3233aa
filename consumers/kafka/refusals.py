"""Why a broker that is there would not have us: the library says it in its log and nowhere else."""

from __future__ import annotations

import logging
import re
import time

_RECENT_S = 15.0  # the library tries again every two seconds
_HUNG_UP = "socket disconnected"
_GAVE_UP = re.compile("TimedOut|Timeout")


class _Overhearing(logging.Handler):
    """Keeps why a connection was lost the last time."""

    last: tuple[float, str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """The library's line is `<connection>: Connection lost: <error>`. A last try that it gave up says nothing."""
        try:
            _, lost, why = record.getMessage().rpartition(": Connection lost: ")
        except Exception:  # on the library's own thread, which has better things to do
            self.handleError(record)
            return
        if lost and not _GAVE_UP.search(why):
            self.last = (time.monotonic(), " ".join(why.removeprefix("KafkaConnectionError: ").split())[:200])


_heard = _Overhearing(logging.ERROR)


def overhear() -> None:
    """Begin to listen; the library's lines go no further. Safe to call again."""
    logger = logging.getLogger("kafka.net.connection")
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    if _heard not in logger.handlers:
        logger.addHandler(_heard)


def refusal(security_protocol: str) -> str | None:
    """If a connection was lost just now to a broker that answers: why, and in a second line where to look.

    To be asked before a broker has ever answered: later, connections are lost because brokers go away.
    """
    if _heard.last is None or time.monotonic() - _heard.last[0] > _RECENT_S:
        return None
    said = _heard.last[1]
    if "SSL" in said:
        return f"{said}\ncheck BELLWETHER_KAFKA_SECURITY_PROTOCOL and BELLWETHER_KAFKA_SSL_*"
    if "Sasl" in said:
        return f"wrong name, password or mechanism: {said}\ncheck BELLWETHER_KAFKA_SASL_*"
    if said != _HUNG_UP:
        return None
    if security_protocol.startswith("SASL"):  # more often than not the library is too late to read the answer
        return "the broker hangs up, as on a wrong name, password or mechanism\ncheck BELLWETHER_KAFKA_SASL_*"
    return f"the broker hangs up: does it speak {security_protocol} there?\ncheck BELLWETHER_KAFKA_SECURITY_PROTOCOL"
