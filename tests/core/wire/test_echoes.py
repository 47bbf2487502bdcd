"""Secrets that were sent are removed from an answer, in any JSON spelling; nothing else is changed."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.wire.echoes import SentSecrets, clean, clean_bytes, list_secrets
from seedance_mcp.core.wire.jobs import read_upload_ticket
from seedance_mcp.core.wire.json import encode_base64_json
from seedance_mcp.core.wire.tickets import read_ticket_end, scrub_ticket

SIGNATURE = "0x" + "1b2f3c4d5e6f7a89" * 8 + "1c"
VALUE = encode_base64_json({"payload": {"signature": SIGNATURE, "note": "~~~???>>>"}})
SECRETS = list_secrets(VALUE)
TOKEN = "vercel_blob_client_sToRe1_" + "Abc123/+" * 12
TICKET = {"uploadId": "u1", "clientToken": TOKEN, "pathname": "uploads/a.png", "curlExample": f"curl -H '{TOKEN}'"}


@pytest.mark.parametrize(
    "spoken",
    [
        VALUE, VALUE.rstrip("="), VALUE.replace("/", "\\/"), VALUE.replace("+", "-").replace("/", "_"),
        quote(VALUE, safe=""), VALUE.replace("/", "\\u002f").replace("+", "\\u002B"), SIGNATURE, SIGNATURE[2:].upper(),
        SIGNATURE[2:66], SIGNATURE[66:130],
    ],
)  # fmt: skip
def test_secret_is_found_in_every_spelling(spoken: str) -> None:
    cleaned = clean(f'{{"error": "you sent {spoken} to us"}}', SECRETS)
    assert cleaned.startswith('{"error": "you sent ')
    assert "[redacted]" in cleaned
    assert SIGNATURE[10:40].lower() not in cleaned.lower()
    assert VALUE[20:50] not in cleaned


@given(st.binary(max_size=2000))
def test_bytes_without_a_secret_are_unchanged(data: bytes) -> None:
    assert clean_bytes(data, SECRETS) is data


def test_sign_ins_do_not_displace_credentials() -> None:
    sent = SentSecrets(kept_max=2)
    sent.add("PAYMENT-SIGNATURE", VALUE)
    for number in range(9):
        sent.add("SIGN-IN-WITH-X", f"{number}" * 40)
    sent.add("x-content-type", "image/png image/png")
    assert clean(VALUE.rstrip("="), sent.list()) == "[redacted]"
    assert sent.find_in(f"an answer\n{VALUE}") != ()
    assert sent.find_in("an answer") == ()
    assert clean("0" * 40 + " 8" + "8" * 39, sent.list()) == "0" * 40 + " [redacted]"


def test_scrubbed_ticket_still_names_pathname_and_store() -> None:
    ticket = read_upload_ticket(scrub_ticket(json.dumps(TICKET).encode()))
    assert (ticket.upload_id, ticket.pathname) == ("u1", "uploads/a.png")
    assert ticket.client_token == "vercel_blob_client_sToRe1_[redacted]"
    assert ticket.is_scrubbed
    assert not read_upload_ticket(json.dumps(TICKET).encode()).is_scrubbed


@given(st.binary(max_size=300) | st.dictionaries(st.text(), st.text()).map(lambda fields: json.dumps(fields).encode()))
def test_any_stored_answer_can_be_scrubbed(answer: bytes) -> None:
    assert TOKEN.encode() not in scrub_ticket(answer)
    assert TOKEN.encode() not in scrub_ticket(json.dumps({**TICKET, "again": [TOKEN], TOKEN: 1}).encode())


@pytest.mark.parametrize(
    ("said", "end"),
    [({}, 1900.0), ({"expiresAt": "soon"}, 1900.0), ({"expiresAt": "1970-01-01T00:20:00Z"}, 1500.0),
     ({"expiresAt": "2999-01-01T00:00:00Z"}, 87400.0)],
)  # fmt: skip
def test_ticket_expiry_is_bounded_to_a_day(said: dict[str, str], end: float) -> None:
    assert read_ticket_end(json.dumps({**TICKET, **said}).encode(), 1000) == end
