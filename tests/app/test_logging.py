"""Logs: one JSON object a line where a program reads them, text where a person does, and no secret in either."""

import json
import logging
import os
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.app.logging import FIELDS, LineFormatter, RedactingFormatter
from tests.forks import build_command

KEY = "0x" + "5e" * 32
CREDENTIAL = "eyJ" + "QWxhZGRpbjpvcGVuIHNlc2FtZQ" * 8
TOKEN = "vercel_blob_client_Store_1234abcd"
SECRETS = [KEY, KEY[2:], KEY + KEY[2:], CREDENTIAL, TOKEN]
PLACE = {"time", "level", "logger", "message"}

texts = st.one_of(st.text(), st.sampled_from(SECRETS), st.sampled_from(['"', "\\", "\\u00", "\n", "\u2028", "\x1b"]))
pieces = st.lists(texts, max_size=6).map("".join)


def make_record(message: str, *args: object, error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("seedance_mcp", logging.INFO, __file__, 1, message, args, info)
    record.__dict__.update(extra)
    return record


def write_line(record: logging.LogRecord) -> dict[str, Any]:
    line = LineFormatter().format(record)
    assert "\n" not in line
    return json.loads(line)


def test_a_line_has_its_time_in_utc_its_place_its_message_and_the_facts_of_its_call_site() -> None:
    record = make_record("job %s is %s", "cm1", "complete", job_id="cm1", rail="x402", payment_id=7, code=None, odd=1)
    record.created = 1_764_000_000.25
    assert write_line(record) == {
        "time": "2025-11-24T16:00:00.250Z", "level": "INFO", "logger": "seedance_mcp", "message": "job cm1 is complete",
        "job_id": "cm1", "rail": "x402", "payment_id": 7,
    }  # fmt: skip


def test_a_traceback_is_one_field_without_the_secret_in_it() -> None:
    try:
        raise ValueError(f"bad key {KEY}\nand more")
    except ValueError as exc:
        told = write_line(make_record("broke", error=exc))
    assert told["traceback"].splitlines()[0] == "Traceback (most recent call last):"
    assert "bad key [redacted]\nand more" in told["traceback"]
    assert KEY[2:] not in json.dumps(told)


@given(message=pieces, facts=st.dictionaries(st.sampled_from(FIELDS), st.one_of(pieces, st.integers(), st.none())))
def test_whatever_is_logged_is_one_line_of_json_without_a_secret(message: str, facts: dict[str, object]) -> None:
    record = make_record("%s", message)
    record.__dict__.update(facts)
    line = LineFormatter().format(record)
    told = json.loads(line)
    assert PLACE <= told.keys() <= PLACE | set(FIELDS)
    assert "\n" not in line
    assert not [secret for secret in SECRETS if secret in line]


def test_a_number_that_looks_like_a_key_takes_its_whole_line_with_it() -> None:
    told = write_line(make_record("paid", amount_micro_usdc=int("7" * 64)))
    assert told.keys() == PLACE
    assert told["message"] == "[redacted]"


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_taken_out_of_the_text_for_people(secret: str) -> None:
    text = RedactingFormatter("%(message)s").format(make_record("a %s b", secret))
    assert text == "a [redacted] b"


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_at_a_terminal_the_server_logs_text_and_elsewhere_lines_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDANCE_LOG_LEVEL", "DEBUG")
    command = build_command("seedance_mcp")
    piped = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stderr
    terminal, other = os.openpty()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=other) as process:
        os.close(other)
        shown = b""
        with suppress(OSError):  # the other end was closed
            while more := os.read(terminal, 10_000):
                shown += more
        assert process.wait(60) == 0
    os.close(terminal)
    told = [json.loads(line) for line in piped.splitlines()]
    assert told[0]["level"] == "DEBUG"
    assert f" DEBUG {told[0]['logger']}: {told[0]['message']}" in shown.decode()
    assert b"{" not in shown
