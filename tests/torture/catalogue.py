"""Every case, by its number."""

from __future__ import annotations

from tests.torture.cases import clocks, groups, killing, outages, streams, upgrades
from tests.torture.result import Case

CASES = (
    Case(1, "consumer killed at random moments", killing.consumer_killed_anywhere),
    Case(2, "killed at every crash point", killing.killed_at_every_point),
    Case(3, "notifier killed while it sends", killing.notifier_killed),
    Case(4, "SIGTERM under load", killing.ended_in_order),
    Case(5, "broker down in the middle, then a bad line", outages.broker_down),
    Case(6, "broker down at the start", outages.broker_down_at_the_start),
    Case(7, "hours of lag, then catching up", streams.catching_up),
    Case(8, "database down", outages.database_down),
    Case(9, "database down for longer than a poll may take", outages.database_down_for_long),
    Case(10, "disk full", outages.disk_full),
    Case(12, "every kind of poison", streams.poison),
    Case(13, "dead letters cannot be written", streams.dead_letters_unwritable),
    Case(14, "copies", streams.copies),
    Case(15, "the whole log read again", streams.replayed),
    Case(16, "disorder", streams.disorder),
    Case(17, "late by 30, 100 and 500 days", streams.late),
    Case(18, "from the future", streams.early),
    Case(19, "rebalances", groups.rebalances),
    Case(20, "slow database while members come and go", groups.slow_database_while_sharing),
    Case(21, "zombie", groups.zombie),
    Case(33, "wrong clocks", clocks.wrong_clock),
    Case(35, "two replicas", groups.two_replicas),
    Case(50, "upgrade, back, and killed migrations", upgrades.there_and_back),
)
BY_NUMBER = {case.number: case for case in CASES}
