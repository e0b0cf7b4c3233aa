"""One account's facts told day after day, as a replay has them: what is in effect without reading all of them again."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.days import DAY_US, Calendar
from consumers.facts import PASSING, Fact, State, Story, merge_facts, place
from consumers.windows import KEPT_DAYS

_NO_INSTANT = 2**63  # later than any


class Telling:
    """One account's facts as they come, day after day, and what they say: as :func:`derive` of :func:`merge_facts`.

    Facts that come in their order are folded onto what was folded before. All are folded anew when some come late, or
    when one of what passes has passed: what it leaves behind would otherwise stay.
    """

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._story = Story(calendar)
        self._facts: list[Fact] = []
        self._oldest_passing = _NO_INSTANT

    def tell(self, new: Sequence[Fact]) -> State:
        """What is in effect with these, which may be in any order."""
        coming = sorted(new, key=place)
        follows = not self._facts or place(self._facts[-1]) < place(coming[0])
        passing = [fact.at for fact in coming if fact.kind in PASSING]
        oldest = min([self._oldest_passing, *passing])
        newest = max(coming[-1].at, self._facts[-1].at if self._facts else coming[-1].at)
        if follows and oldest > newest - KEPT_DAYS * DAY_US:
            self._facts += coming
        else:
            self._facts = merge_facts(self._facts, coming)
            oldest = min((fact.at for fact in self._facts if fact.kind in PASSING), default=_NO_INSTANT)
            self._story, coming = Story(self._calendar), self._facts
        self._oldest_passing = oldest
        for fact in coming:
            self._story.fold(fact)
        return self._story.state()
