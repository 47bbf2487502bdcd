"""The outcome of a paid request, from its answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.wire.responses import (
    PaidRequest,
    Receipt,
    Refused,
    Response,
    Settled,
    Spent,
    Unclear,
    describe_answer,
    quote_url,
    read_outcome,
)
from tests.challenges import CAPTURES, encode_header

from .hostile import BODIES, mangled

RECEIPTS = st.text() | mangled(CAPTURES["upload_settlement"]).map(encode_header)


def answer(status: int, document: object = None, settlement: object = None) -> Response:
    headers = () if settlement is None else (("payment-response", encode_header(settlement)),)
    return Response(status=status, headers=headers, body=b"" if document is None else json.dumps(document).encode())


@pytest.mark.parametrize("name", ["upload", "generate"])
def test_recorded_settled_answer_is_settled_with_its_receipt(name: str) -> None:
    response = answer(200, CAPTURES[f"{name}_answer"], CAPTURES[f"{name}_settlement"])
    transaction = CAPTURES[f"{name}_settlement"]["transaction"]
    assert read_outcome(response, "x402") == Settled(
        receipt=Receipt(rail="x402", network="eip155:8453", transaction=transaction), answer=response.body
    )


@pytest.mark.parametrize("header", ["", "!", "e30=", "W10="])
def test_success_with_an_unreadable_receipt_is_settled_without_one(header: str) -> None:
    response = Response(status=200, headers=(("payment-response", header),), body=b"{}")
    assert read_outcome(response, "x402") == Settled(receipt=None, answer=b"{}")


def test_success_with_a_failed_settlement_counts_as_paid() -> None:
    failed = {**CAPTURES["upload_settlement"], "success": False}
    assert read_outcome(answer(200, {}, failed), "x402") == Settled(receipt=None, answer=b"{}")


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "rejected_400"),
        (403, "rejected_403"),
        (402, "refusal_no_balance"),
        (402, "refusal_mismatch"),
        (402, "refusal_malformed"),
    ],
)
def test_recorded_refusal_settled_nothing_and_keeps_its_text(status: int, name: str) -> None:
    outcome = read_outcome(answer(status, CAPTURES[name]), "x402")
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(f"status {status}, «{CAPTURES[name]['error'][:20]}")
    assert len(outcome.reason) < 340


def test_spent_nonce_means_an_earlier_request_settled() -> None:
    assert isinstance(read_outcome(answer(402, CAPTURES["refusal_nonce_used"]), "x402"), Spent)


def test_spent_nonce_is_recognised_only_as_reason_of_a_402() -> None:
    assert isinstance(read_outcome(answer(400, CAPTURES["refusal_nonce_used"]), "x402"), Refused)
    assert isinstance(read_outcome(answer(402, {"error": "invalid_exact_evm_nonce_already_used"}), "x402"), Refused)


def test_settlement_failed_is_unclear() -> None:
    assert isinstance(read_outcome(answer(500, CAPTURES["settlement_failed_500"]), "x402"), Unclear)


@pytest.mark.parametrize("status", [100, 301, 302, 307, 408, 425, 429, 499, 500, 502, 503, 504, 520])
def test_other_statuses_are_unclear(status: int) -> None:
    assert isinstance(read_outcome(answer(status, {"error": "x", "reason": "y"}), "x402"), Unclear)


@given(
    status=st.integers(min_value=100, max_value=599),
    headers=st.lists(st.tuples(st.just("payment-response"), RECEIPTS), max_size=2),
    body=BODIES,
)
def test_every_answer_is_one_of_four_outcomes_and_only_2xx_is_settled(
    status: int, headers: list[tuple[str, str]], body: bytes
) -> None:
    outcome = read_outcome(Response(status=status, headers=headers, body=body), "x402")
    assert isinstance(outcome, Settled) == (200 <= status < 300)
    if isinstance(outcome, Settled):
        assert outcome.answer == body
    else:
        assert outcome.reason.isprintable()
        assert len(outcome.reason) < 340


def test_answer_is_described_briefly() -> None:
    assert describe_answer(answer(503)) == "status 503"
    assert describe_answer(answer(400, {"error": "No"})) == "status 400, «No»"


def test_url_is_quoted_without_its_query() -> None:
    assert quote_url("https://a.example/b.mp4?token=secret") == "«https://a.example/b.mp4»"


def test_neither_an_answer_nor_a_settlement_shows_its_body() -> None:
    assert "hunter2" not in repr(Response(status=200, headers=(), body=b"hunter2"))
    assert "hunter2" not in repr(Settled(receipt=None, answer=b"hunter2"))
    request = PaidRequest(purpose="upload", idempotency_key="f", url="u", body=b"{}")
    assert request.arguments == {}
