"""A source of one partition gives one chunk or none."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.source import Chunk


def one(chunks: Sequence[Chunk]) -> Chunk | None:
    """The only chunk of a poll, None if there was none."""
    assert len(chunks) < 2, chunks
    return chunks[0] if chunks else None
