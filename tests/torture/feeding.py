"""Events that keep coming while faults are brought about: a producer on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.torture.site import Site
from tests.torture.stream import Record


class Feeder:
    """Produces ``records`` at a pace; :attr:`going` until all are durable."""

    def __init__(self, site: Site, records: Sequence[Record], per_s: float | None) -> None:
        self._site = site
        self._records = records
        self._per_s = per_s
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._site.phase(self._records, self._per_s)
        except BaseException as error:  # told by finish()
            self._error = error

    @property
    def going(self) -> bool:
        """Whether there is more to come."""
        return self._thread.is_alive()

    def finish(self, timeout_s: float = 600.0) -> None:
        """Wait for the last one. Raises what the producer raised."""
        self._thread.join(timeout_s)
        assert not self.going, f"the producer is not done within {timeout_s:g} s"
        if self._error is not None:
            raise self._error


@contextmanager
def feeding(site: Site, records: Sequence[Record], per_s: float | None = None) -> Iterator[Feeder]:
    """Records on their way during a block; all are durable at its end."""
    feeder = Feeder(site, records, per_s)
    yield feeder
    feeder.finish()
