"""A bit that flips on the broker's disk: found by its bytes in the segment, changed behind the broker's back."""

from __future__ import annotations

from pathlib import Path


def flip_a_byte(data: Path, partition: str, body: bytes) -> None:
    """Change one byte of an uncompressed record in ``topic/number``, so that its batch fails the checksum.

    The broker must have been stopped in order: after a crash it would check its newest segment and cut it off.
    """
    topic, _, number = partition.rpartition("/")
    for segment in sorted((data / f"{topic}-{number}").glob("*.log")):
        content = bytearray(segment.read_bytes())
        place = content.find(body)
        if place >= 0:
            content[place + len(body) // 2] ^= 0x01
            segment.write_bytes(content)
            return
    raise AssertionError(f"the record is in no segment of {partition}")
