"""When each partition's leader last answered: a cluster may be there while one of its brokers is not.

What the library knows of a partition's end is of the last answer, however old that is; and an answer leaves out what
has not changed since the one before, so that what the library keeps does not tell silence from nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import TopicPartition

_NEVER = float("-inf")


class Answers:
    """Listens to a fetcher of the library's. Its methods with an underscore run on the library's thread."""

    def __init__(self, fetcher: Any, clock: Callable[[], float]) -> None:
        """``clock`` counts seconds and never goes back."""
        self._clock = clock
        self._subscriptions = fetcher._subscriptions
        self._sessions: Mapping[int, Any] = fetcher._session_handlers
        self._came_at: dict[TopicPartition, float] = {}  # an answer that nobody has looked into yet
        self._told_at: dict[TopicPartition, float] = {}  # the one that what is known of the end comes from
        self._asked_at: dict[TopicPartition, float] = {}  # the first question since the last answer
        self._fetchable = fetcher._fetchable_partitions
        self._respond = fetcher._handle_fetch_response
        self._parse = fetcher._parse_fetched_data
        fetcher._fetchable_partitions = self._asked
        fetcher._handle_fetch_response = self._came
        fetcher._parse_fetched_data = self._looked_into

    def age_s(self, which: TopicPartition) -> float:
        """Seconds since the answer that what is known of its end comes from; infinite if there was none."""
        return self._clock() - self._told_at.get(which, _NEVER)

    def silent_s(self) -> Mapping[TopicPartition, float]:
        """Of those that are being asked about, for how many seconds without any answer."""
        now = self._clock()
        return {which: now - since for which, since in list(self._asked_at.items())}

    def _asked(self) -> Sequence[TopicPartition]:
        """What is to be fetched now, what is under way included. It is waited for, and so is what cannot be fetched
        before its leader has said that its log is still the one that was read; what is paused is not.
        """
        found: Sequence[TopicPartition] = self._fetchable()
        assigned = list(self._subscriptions.assignment.items())
        held_up = [which for which, state in assigned if not (state.paused or state.is_fetchable())]
        now = self._clock()
        self._asked_at = {which: self._asked_at.get(which, now) for which in (*found, *held_up)}
        return found

    def _came(self, node: int, fetched: Mapping[TopicPartition, int], sent_at: float, response: Any) -> None:
        """An answer to a request for the partitions ``fetched``."""
        now = self._clock()
        errors = {
            TopicPartition(topic.topic, each.partition_index): each.error_code
            for topic in response.responses
            for each in topic.partitions
        }
        sound = [which for which, error in errors.items() if not error]
        self._came_at.update(dict.fromkeys(sound, now))
        session = self._sessions.get(node)
        # One that is throttled is empty, whatever there is.
        if session and not (
            session.next_metadata.is_full or response.error_code or response.throttle_time_ms
        ):
            unchanged = [which for which in fetched if which not in errors]
            self._told_at.update(dict.fromkeys(unchanged, now))
            sound += unchanged
        for which in sound:
            self._asked_at.pop(which, None)
        self._respond(node, fetched, sent_at, response)

    def _looked_into(self, completed: Any) -> Any:
        """What the library makes of one partition's part of an answer, on the thread that polls."""
        records = self._parse(completed)
        if records is not None:
            which = completed.topic_partition
            self._told_at[which] = self._came_at.get(which, _NEVER)
        return records
