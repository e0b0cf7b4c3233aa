"""Logs: a canary secret is put wherever one could turn up, and looked for in what was written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.logs import Redaction, configure

CANARY = "canary-7d20"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_known_secret_is_masked_in_words_values_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    configure(secrets=[CANARY], as_json=True)
    log = structlog.get_logger("test")
    log.info(f"sending to https://host/{CANARY}", deep={"list": [f"x{CANARY}y"]}, error=ValueError(CANARY))
    logging.getLogger("library").warning("no luck with %s", CANARY)
    try:
        raise RuntimeError(CANARY)
    except RuntimeError:
        log.exception("failed")
    written = capsys.readouterr().err
    assert CANARY not in written
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert "RuntimeError" in lines[2]["exception"]


@pytest.mark.parametrize(
    "text",
    [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "https://hooks.slack.com/services/T000/B000/XXXX",
        "postgresql://user:hunter22@host/name",
        "Authorization: Bearer abcdefgh12345678",
    ],
)
def test_what_has_the_shape_of_a_secret_is_masked_although_nobody_named_it(text: str) -> None:
    masked = Redaction().text(text)
    assert masked != text
    for secret in ("MfKQ9r8", "T000", "hunter22", "abcdefgh"):
        assert secret not in masked


def test_values_under_secret_names_are_masked_and_others_stay() -> None:
    event = Redaction()(
        None, "info", {"event": "x", "api_key": "abc", "account_id": "acme", "headers": {"Cookie": "c"}}
    )
    assert event == {
        "event": "x",
        "api_key": "********",
        "account_id": "acme",
        "headers": {"Cookie": "********"},
    }


def test_a_terminal_gets_readable_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure(as_json=False)
    structlog.get_logger("test").info("started", port=8000)
    written = capsys.readouterr().err
    assert "started" in written
    assert "port=8000" in written
