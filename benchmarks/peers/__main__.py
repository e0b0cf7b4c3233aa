"""``python -m benchmarks.peers BOOTSTRAP TOPIC FILE [PEER...]``: each peer once, in turn, and what it came to.

``FILE`` holds the topic's events, one JSON object a line: it gives their number and the answer.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.peers import NotRun, measure, peers
from benchmarks.peers.answer import digest, plain


def main() -> None:
    """Print a line a peer. A peer that was not run makes the exit status 1."""
    bootstrap, topic, path, *names = sys.argv[1:]
    values = Path(path).read_bytes().splitlines()
    check = digest(plain(values))
    missing = False
    for peer in peers():
        if names and peer.name not in names:
            continue
        with tempfile.TemporaryDirectory(prefix="bellwether-peer-") as state:
            outcome = measure(peer, bootstrap, topic, len(values), Path(state), check)
        if isinstance(outcome, NotRun):
            missing = True
            print(f"{peer.name:10}{peer.version:>10}  not run: {outcome.reason}", flush=True)
        else:
            rate = outcome.events / outcome.seconds
            print(f"{peer.name:10}{peer.version:>10}{rate:>12,.0f} events/s, answer {check}", flush=True)
    sys.exit(missing)


if __name__ == "__main__":
    main()
