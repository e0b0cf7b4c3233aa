"""The whole file: destinations and their secrets, routes, internal users, and refusals that give no secret away."""

from __future__ import annotations

import pickle
import traceback
from fnmatch import fnmatchcase
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import Severity
from alerts.configuration import Match, Route, load_configuration, problems_in, read_configuration
from alerts.destination import DestinationType, Secret
from alerts.internal import InternalUsers
from alerts.metrics.catalogue import CATALOGUE
from alerts.routing import Subject, recipients
from consumers.errors import ConfigurationError

KEY = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
OTHER_KEY = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4"
CANARY = "canary-8c1f"

WHOLE = f"""
    extends: defaults
    destinations:
      - name: cs-slack
        type: slack
        url_env: CS_SLACK_URL
      - name: crm
        type: webhook
        url: https://crm.example/hooks
        secret: {KEY}
      - {{name: lake, type: webhook, url_file: /run/url, secret_file: /run/key}}
    routes:
      - match: {{severity: [critical, high], rule: gone-dark, owner: [ana], labels: {{team: cs}}}}
        to: [cs-slack, crm]
        continue: true
      - to: lake
    internal_users: ["*@ourcompany.example", "svc-*", bot]
"""
ENVIRON = {"CS_SLACK_URL": " https://hooks.example/services/T/B/x\n"}
FILES = {"/run/url": "http://127.0.0.1:9000/in\n", "/run/key": f"{OTHER_KEY}\n{KEY}\n"}


def read(text):
    return read_configuration(dedent(text), "conf.yaml", CATALOGUE)


def read_file(path):
    try:
        return FILES[path]
    except KeyError:
        raise FileNotFoundError(2, "No such file or directory") from None


def refusal(text):
    with pytest.raises(ConfigurationError) as refused:
        read(text)
    return str(refused.value)


def test_destinations_routes_and_internal_users_are_read():
    configuration = read(WHOLE)
    assert [(each.name, each.type) for each in configuration.destinations] == [
        ("cs-slack", DestinationType.SLACK),
        ("crm", DestinationType.WEBHOOK),
        ("lake", DestinationType.WEBHOOK),
    ]
    assert configuration.routes == (
        Route(
            Match(
                frozenset({Severity.CRITICAL, Severity.HIGH}),
                frozenset({"gone-dark"}),
                frozenset({"ana"}),
                {"team": "cs"},
            ),
            ("cs-slack", "crm"),
            continue_=True,
        ),
        Route(Match(), ("lake",)),
    )
    assert configuration.is_internal("ana@ourcompany.example")
    assert not configuration.is_internal("ana@customer.example")
    assert configuration.rule("gone-dark") in configuration.rules
    assert configuration.rule("nobody") is None


def test_routes_that_are_read_route():
    routes = read(WHOLE).routes
    subject = Subject("gone-dark", "critical", "ana", {"team": "cs"})
    assert recipients(routes, ("cs-slack", "crm", "lake"), subject) == ("cs-slack", "crm", "lake")
    assert recipients(routes, ("cs-slack", "crm", "lake"), Subject("gone-dark", "low", "ana")) == ("lake",)


def test_the_shipped_configuration_has_no_destination_and_nobody_internal():
    configuration = load_configuration(None, CATALOGUE)
    assert configuration.destinations == configuration.routes == ()
    assert not configuration.internal_users
    assert not configuration.is_internal("")


def test_secrets_are_read_from_the_file_the_environment_and_files_of_their_own():
    slack, crm, lake = read(WHOLE).targets(ENVIRON, read_file)
    assert slack.url.reveal() == "https://hooks.example/services/T/B/x"
    assert slack.secrets == ()
    assert [key.reveal() for key in crm.secrets] == [KEY]
    assert lake.url.reveal() == "http://127.0.0.1:9000/in"
    assert [key.reveal() for key in lake.secrets] == [OTHER_KEY, KEY]


def test_two_keys_sign_while_one_is_changed_for_the_other():
    text = (
        f"destinations: [{{name: w, type: webhook, url: 'https://x.example', secret: [{KEY}, {OTHER_KEY}]}}]"
    )
    (target,) = read(text).targets({}, read_file)
    assert [key.reveal() for key in target.secrets] == [KEY, OTHER_KEY]


@pytest.mark.parametrize(
    ("field", "environ", "message"),
    [
        ("url_env: NOT_SET", {}, "conf.yaml:2: url_env: NOT_SET is not set, or empty"),
        ("url_env: EMPTY", {"EMPTY": "  "}, "conf.yaml:2: url_env: EMPTY is not set, or empty"),
        ("url_file: /nowhere", {}, "conf.yaml:2: url_file: /nowhere cannot be read: No such file"),
        ("url_env: BAD", {"BAD": f"ftp://{CANARY}"}, "conf.yaml:2: url must begin with https://"),
        (
            "url_env: BAD",
            {"BAD": f"https://x.example/{CANARY} y"},
            "conf.yaml:2: url must be at most 2,000 plain",
        ),
    ],
)
def test_a_secret_that_is_not_there_is_refused_with_the_line_that_asks_for_it(field, environ, message):
    configuration = read(f"destinations:\n  - {{name: s, type: slack, {field}}}")
    with pytest.raises(ConfigurationError) as refused:
        configuration.targets(environ, read_file)
    assert str(refused.value).startswith(message)
    assert CANARY not in "".join(traceback.format_exception(refused.value))


def destination(fields):
    return f"destinations:\n  - {{{fields}}}\n"


REFUSED = [
    (destination("type: slack, url: 'https://x.example'"), "2:5: a destination needs a name"),
    (destination("name: 'a b', type: slack, url: 'https://x.example'"), '2:12: "a b" is no name'),
    (destination("name: s, url: 'https://x.example'"), "2:5: a destination needs a type: slack or webhook"),
    (
        destination("name: s, type: slak, url: 'https://x.example'"),
        '2:21: unknown type "slak": did you mean "slack"?',
    ),
    (destination("name: s, type: slack"), "2:5: a destination needs one of url, url_env or url_file"),
    (
        destination("name: s, type: slack, url: 'https://x.example', url_env: X"),
        "needs one of url, url_env or url_file",
    ),
    (destination("name: s, type: slack, url_env: 'not a name'"), "2:37: url_env is the name of a variable"),
    (destination("name: s, type: slack, url: x.example"), "2:33: url must begin with https://"),
    (destination("name: s, type: slack, url: 'https://'"), "2:33: url must begin with https://"),
    (destination("name: s, type: slack, url: 'https://[x'"), "2:33: url is not an address"),
    (destination("name: s, type: slack, url: 'https://x.example:99999'"), "2:33: url is not an address"),
    (destination("name: s, type: slack, url: ['https://x.example']"), "2:33: url must be text"),
    (
        destination(f"name: s, type: slack, url: 'https://u:{CANARY}@x.example'"),
        "must not hold a user name or password",
    ),
    (
        destination(f"name: s, type: slack, url: 'https://x.example', secret: {CANARY}"),
        "a Slack destination has no secret",
    ),
    (
        destination("name: w, type: webhook, url: 'https://x.example'"),
        "a webhook needs one of secret, secret_env or secr",
    ),
    (
        destination(f"name: w, type: webhook, url: 'https://x.example', secret: '{CANARY}!'"),
        "secret must be whsec_ and 16",
    ),
    (
        destination("name: w, type: webhook, url: 'https://x.example', secret: whsec_YWJj"),
        "secret must be whsec_ and 16",
    ),
    (
        destination(f"name: w, type: webhook, url: 'https://x.example', secret: [{', '.join([KEY] * 4)}]"),
        "more than 3 keys",
    ),
    (
        destination("name: w, type: webhook, url: 'https://x.example', secret_env: K, urls: x"),
        'unknown field "urls" in a',
    ),
    (
        "destinations:\n  - {name: s, type: slack, url_env: A}\n  - {name: s, type: slack, url_env: B}\n",
        '3:12: destination "s" is here twice, first in line 2',
    ),
    (
        "routes:\n  - {to: slak}\ndestinations: [{name: slack, type: slack, url_env: A}]\n",
        '2:10: unknown destination "slak"',
    ),
    ("routes:\n  - {to: slack}\n", '2:10: unknown destination "slack"'),
    ("routes:\n  - {match: {severity: high}}\n", "2:5: a route needs `to`"),
    ("routes:\n  - {to: []}\n", "2:10: to is empty"),
    ("routes:\n  - {too: x}\n", '2:6: unknown field "too" in a route: did you mean "to"?'),
    ("routes:\n  - {match: {severity: hgh}, to: x}\n", '2:24: unknown severity "hgh": did you mean "high"?'),
    (
        "routes:\n  - {match: {rule: gone-drak}, to: x}\n",
        '2:20: unknown rule "gone-drak": did you mean "gone-dark"?',
    ),
    ("routes:\n  - {match: {rules: x}, to: x}\n", 'unknown field "rules" in `match`: did you mean "rule"?'),
    ("internal_users: ['*']\n", "1:18: this leaves out everybody"),
    (f"internal_users: [{'x' * 129}]\n", "1:18: a user id has at most 128 characters"),
    ("internal_users: {a: b}\n", "1:17: internal_users must be text"),
    ("internal_users: [7]\n", "1:18: internal_users must be text (put it in quotes)"),
    (f"destinations: [{{name: s, type: slack, url: 'https://{CANARY}]\n", "not YAML"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[each[1][:50] for each in REFUSED])
def test_a_bad_file_is_refused_with_its_line_and_without_its_secrets(text, message):
    told = refusal(text)
    assert message in told
    assert told.startswith("conf.yaml:")
    assert CANARY not in told


def test_no_secret_shows_in_any_text_of_a_configuration():
    text = f"destinations: [{{name: w, type: webhook, url: 'https://x.example/{CANARY}', secret: {KEY}}}]"
    configuration = read(text)
    (target,) = configuration.targets({}, read_file)
    shown = [
        repr(configuration),
        str(configuration),
        repr(target),
        f"{target.url} {target.url!r} {target.url:>9}",
    ]
    for each in shown:
        assert CANARY not in each
        assert KEY not in each


def test_a_secret_is_equal_to_itself_alone_and_survives_a_process_border():
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert pickle.loads(pickle.dumps(Secret("a"))).reveal() == "a"


def test_the_version_changes_with_what_is_written_but_not_with_where_it_stands():
    versions = [
        read(text).version
        for text in (
            WHOLE,
            WHOLE.replace("bot]", "bot2]"),
            WHOLE.replace("continue: true", "continue: false"),
            WHOLE.replace("CS_SLACK_URL", "OTHER_URL"),
            WHOLE.replace("extends: defaults", "rules: [{id: gone-dark, when: qbr.missing}]"),
        )
    ]
    assert len(set(versions)) == len(versions)
    assert read("\n\n# a comment\n" + dedent(WHOLE)).version == versions[0]


def test_a_file_is_loaded_by_its_path_and_all_its_problems_can_be_listed(tmp_path: Path):
    path = tmp_path / "rules.yaml"
    path.write_text("﻿rules: [{id: x, when: qbr.missing}]\n", encoding="utf-8")
    assert [rule.id for rule in load_configuration(path, CATALOGUE).rules] == ["x"]
    assert problems_in(path, CATALOGUE) == []
    path.write_text("ruls: 1\nroutes: [{to: x}]\n", encoding="utf-8")
    assert [str(problem) for problem in problems_in(path, CATALOGUE)] == [
        f'{path}:1:1: unknown field "ruls" in the file: did you mean "rules"?',
        f'{path}:2:15: unknown destination "x"',
    ]


def test_a_file_that_cannot_be_read_is_refused_in_two_lines(tmp_path: Path):
    missing = tmp_path / "missing.yaml"
    with pytest.raises(ConfigurationError, match="cannot be read: No such file") as refused:
        load_configuration(missing, CATALOGUE)
    assert str(refused.value).count("\n") == 1
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"rules: []\n# \xe9\n")
    with pytest.raises(ConfigurationError, match=r"latin\.yaml:2: not UTF-8"):
        load_configuration(latin, CATALOGUE)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigurationError, match=r"large\.yaml:1: larger than 1,024 KiB"):
        load_configuration(large, CATALOGUE)


@given(
    st.lists(st.text("ab*?[]!-@.", min_size=1, max_size=6), max_size=5),
    st.text("ab@.[-*", max_size=8),
)
def test_internal_users_match_as_globs_do(patterns, user_id):
    expected = any(fnmatchcase(user_id, pattern) for pattern in patterns)
    assert InternalUsers(tuple(patterns)).matches(user_id) == expected


def test_a_glob_with_many_stars_takes_no_time():
    hostile = InternalUsers(("*a" * 30 + "!",))
    assert not hostile.matches("a" * 128)
