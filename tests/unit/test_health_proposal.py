"""Fitted weights put into a configuration's text: only they change, and the diff says so."""

from __future__ import annotations

import re

import pytest

from alerts.configuration import read_configuration
from alerts.health.proposal import checked, diff, edited, lines_of
from alerts.metrics.catalogue import CATALOGUE
from tests.applied_diff import applied

WEIGHTS = (500, 300, 0, 200)
REMARK = "proposal 00ff"
RULE = "rules: [{id: r, when: logins.change_28d <= -0.2, title: t}]\n"

FILES = {
    "nothing": "",
    "a comment": "# ours\n",
    "rules only": RULE,
    "no end of line": RULE.rstrip(),
    "all on one line": "{core_features: [a], country: DE}\n",
    "all on one line with health": "{country: DE, health: {bands: {red_below: 30}}}\n",
    "one line": "health: {engagement: {weights: {logins: 1, breadth: 2, depth: 3, seats: 4}}}\n",
    "one line, two weights": "health: {engagement: {weights: {depth: 3, seats: 4}}}\n",
    "one line, empty": "health: {}\ncountry: DE\n",
    "other health": "health:  # ours\n  # the bands\n  bands: {red_below: 30}\n" + RULE,
    "targets in a line": "health:\n  engagement: {targets: {logins: 3}}\n" + RULE,
    "targets in lines": "health:\n    engagement:\n        targets:\n            logins: 3\n" + RULE,
    "weights in a line": "health:\n  engagement:\n    weights: {logins: 1, depth: 1} # us\n    targets: {logins: 3}\n",
    "weights in lines": "health:\n  engagement:\n    weights:\n      # much\n      logins: 4.5  # so\n      seats: 0\n"
    "\n# and more\ncountry: DE\n",
    "lines of Windows": "country: DE\r\nhealth:\r\n  engagement:\r\n    weights:\r\n      logins: 2\r\n",
    "letters": "internal_users: [süd@example.org, '日本']\nhealth:\n  weights: {product: 1}\n# ö\n",
    "indented": "  country: DE\n  core_features: [a]\n",
    "a document": "---\ncountry: DE\n",
    "segments": "health:\n  segments:\n    - match: {size: smb}\n      engagement: {targets: {logins: 2}}\n"
    "    - match: {size: enterprise}\n      engagement: {weights: {logins: 1, breadth: 1, depth: 1, seats: 3}}\n",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_only_the_weights_change_wherever_they_stand(text: str) -> None:
    before = read_configuration(text, "f.yaml", CATALOGUE)
    new = edited(text, WEIGHTS, REMARK)
    assert new is not None
    health = checked(new, before, WEIGHTS, CATALOGUE)
    assert health is not None, new
    assert health.terms.engagement == WEIGHTS
    assert read_configuration(new, "f.yaml", CATALOGUE).model.health == health
    assert new.count(f"# fitted weights: {REMARK}") == 1
    assert ("\r\n" in text) == ("\r\n" in new)
    assert not re.search(r"(?<!\r)\n", new) or "\r\n" not in text
    # Nothing that a person wrote is gone but numbers of weights.
    kept = re.sub(r"[0-9.]+", "", text)
    letters = iter(re.sub(r"[0-9.]+", "", new))
    assert all(letter in letters for letter in kept)
    assert applied(diff(text, new, "f.yaml"), text) == new


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_a_later_proposal_takes_the_place_of_an_earlier_one(text: str) -> None:
    once = edited(text, (250, 250, 250, 250), "proposal 1")
    assert once is not None
    twice = edited(once, WEIGHTS, "proposal 2")
    assert twice is not None
    assert read_configuration(twice, "f.yaml", CATALOGUE).model.health.terms.engagement == WEIGHTS
    assert "proposal 2" in twice
    assert twice.replace("proposal 2", "proposal 1") == edited(text, WEIGHTS, "proposal 1")


def test_a_segment_with_weights_of_its_own_keeps_them() -> None:
    text = FILES["segments"]
    health = checked(
        edited(text, WEIGHTS, REMARK) or "", read_configuration(text, "f.yaml", CATALOGUE), WEIGHTS, CATALOGUE
    )
    assert health is not None
    assert [each.terms.engagement for each in health.segments] == [WEIGHTS, (1_000, 1_000, 1_000, 3_000)]


def test_where_more_would_change_nothing_is_proposed() -> None:
    text = "health:\n  segments: [{match: {size: smb}, engagement: {weights: {logins: 2}}}]\n"
    new = edited(text, WEIGHTS, REMARK)
    assert new is not None
    assert checked(new, read_configuration(text, "f.yaml", CATALOGUE), WEIGHTS, CATALOGUE) is None
    closed = "country: DE\n...\n"
    new = edited(closed, WEIGHTS, REMARK)
    assert new is not None
    assert checked(new, read_configuration(closed, "f.yaml", CATALOGUE), WEIGHTS, CATALOGUE) is None


def test_without_a_file_the_diff_makes_one_that_keeps_the_shipped_rules() -> None:
    new = edited("", WEIGHTS, REMARK)
    assert new == lines_of(WEIGHTS, REMARK)
    found = diff(None, new, "bellwether.yaml")
    assert found.startswith("--- /dev/null\n+++ bellwether.yaml\n@@ -0,0 +1,4 @@\n")
    assert "+    weights: {logins: 0.5, breadth: 0.3, depth: 0, seats: 0.2}\n" in found
    shipped = read_configuration("", "f.yaml", CATALOGUE)
    assert read_configuration(new, "f.yaml", CATALOGUE).rules == shipped.rules


def test_a_file_that_does_not_end_its_last_line_says_so_in_the_diff() -> None:
    assert "\\ No newline at end of file\n" in diff("a: 1", "a: 1\nb: 2\n", "f.yaml")
