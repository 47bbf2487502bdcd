"""MPP on the wire: challenges in hostile headers, charges, credentials and receipts, compared with recorded ones."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpp import Challenge as OfficialChallenge
from mpp import Credential as OfficialCredential

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ChainError, StudioProtocolError
from seedance_mcp.core.wire.mpp import (
    build_balance_call,
    build_charge,
    credential_header,
    encode_credential,
    find_transaction,
    network_fee,
    read_charge,
    read_inclusion,
    read_log_transaction,
    read_payment_receipt,
)
from seedance_mcp.core.wire.offers import Offer, read_offers
from seedance_mcp.core.wire.responses import Refused, Response, Settled, Spent, Unclear, read_outcome
from seedance_mcp.core.wire.www_authenticate import read_challenges

CHALLENGE = (
    'Payment id="V8SFXa3sW6K2Efa0WHMR8xZvwT-xkfu5ORcogOxBvqg", realm="127.0.0.1:4020", method="tempo", '
    'intent="charge", request="eyJhbW91bnQiOiIxMDAwMCIsImN1cnJlbmN5IjoiMHgyMGMwMDAwMDAwMDAwMDAwMDAwMDAwMDBiOTUzN2QxMWM2'
    "MGU4YjUwIiwibWV0aG9kRGV0YWlscyI6eyJjaGFpbklkIjo0MjE3fSwicmVjaXBpZW50IjoiMHhhODA0OWJiNjgxODE3OTkxMjRmOThlNDY3ZGQ3ND"
    'llMTIwYWJmYTY0In0", expires="2026-11-23T16:33:08.576Z"'
)
"""A 402 of the recording server, `/work` wire captures section 3, and below what its client signed and was given."""
RECEIPT = (
    "eyJtZXRob2QiOiJ0ZW1wbyIsInN0YXR1cyI6InN1Y2Nlc3MiLCJ0aW1lc3RhbXAiOiIyMDI2LTExLTIzVDE2OjI4OjA4Ljc0OVoiLCJyZWZlcmVuY2Ui"
    "OiIweDdhODEwM2ZhOWIyMjczMTljMWNmZjllYjU2OTM1YTBhMTJjODkwOWM5ODliYzFlZjQ0M2ZjYzkyNTBkNzU0ZTIifQ"
)
TRANSACTION = "0x7a8103fa9b227319c1cff9eb56935a0a12c8909c989bc1ef443fcc9250d754e2"
PAYER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
CALL = (
    "0x95777d59000000000000000000000000a8049bb68181799124f98e467dd749e120abfa640000000000000000000000000000000000000000"
    "000000000000000000002710ef1ed71201838afa91a459ef5fb909000000000000000000000e8319f4d7bc18"
)
"""The call in the transaction that the recorded client signed for this challenge."""


def encode(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def read_one(*headers: str) -> Offer:
    offers = read_offers(402, [("www-authenticate", header) for header in headers], b"")
    [offer] = offers.offers
    return offer


def test_recorded_challenge_is_one_offer_with_unchanged_terms() -> None:
    offer = read_one(CHALLENGE)
    assert (offer.rail, offer.scheme, offer.network) == ("mpp", "charge", "eip155:4217")
    assert offer.asset == "0x20c000000000000000000000b9537d11c60e8b50"
    assert offer.pay_to == "0xa8049bb68181799124f98e467dd749e120abfa64"
    assert offer.amount_micro_usdc == 10_000
    assert offer.expires_at == 1_795_451_588.576
    official = OfficialChallenge.from_www_authenticate(CHALLENGE).to_echo()
    assert {name: getattr(official, name) for name in offer.terms} == offer.terms


@pytest.mark.parametrize(
    "headers",
    [
        (CHALLENGE.replace("Payment ", "PAYMENT   "),),
        (CHALLENGE.replace(", ", " ,\t "),),
        ("Basic realm=x, " + CHALLENGE + ', Bearer realm="y"',),
        ("Negotiate YWJj==", CHALLENGE, "Basic"),
        ("Basic, Negotiate abc=, " + CHALLENGE,),
        (CHALLENGE + ', description="two \\"words\\", and, a comma"',),
        (CHALLENGE.replace('method="tempo"', "method=tempo"),),
        (CHALLENGE + ", unknown=1",),
        ("Payment", "Payment id=7", CHALLENGE),
        (CHALLENGE + ", Payment id=1, method=stripe",),
        (CHALLENGE, 'Bearer realm="Payment id=1"'),
    ],
)
def test_good_challenge_is_found_among_all_kinds_of_others(headers: tuple[str, ...]) -> None:
    assert read_one(*headers).amount_micro_usdc == 10_000


def test_several_challenges_in_one_header_are_several_offers() -> None:
    offers = read_offers(402, [("www-authenticate", f"{CHALLENGE}, {CHALLENGE}"), ("www-authenticate", CHALLENGE)], b"")
    assert [offer.rail for offer in offers.offers] == ["mpp", "mpp", "mpp"]
    assert offers.resource_url is None


def test_problem_document_does_not_change_the_price() -> None:
    body = json.dumps({"type": "https://paymentauth.org/problems/payment-required", "status": 402, "detail": "Pay."})
    assert len(read_offers(402, [("www-authenticate", CHALLENGE)], body.encode()).offers) == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('id="V8', 'id2="V8', "without id"),
        ('realm="127.0.0.1:4020"', 'realm=""', "without realm"),
        ('realm="127.0.0.1:4020"', 'realm="a", realm="b"', "given twice"),
        ('realm="127.0.0.1:4020"', 'realm="studio\u200b.dev"', "not plain ASCII"),
        (', expires="2026-11-23T16:33:08.576Z"', "", "is not a time"),
        ("16:33:08.576Z", "16:33:08.576", "is not a time"),
        ('method="tempo"', 'method="stripe"', "not tempo and charge"),
        ('intent="charge"', 'intent="session"', "not tempo and charge"),
        ('request="ey', 'request="!!', "not base64"),
        ('intent="charge"', 'intent="', "cannot be read"),
    ],
)
def test_damaged_challenge_is_skipped_with_the_reason(old: str, new: str, says: str) -> None:
    offers = read_offers(402, [("www-authenticate", CHALLENGE.replace(old, new))], b"")
    assert offers.offers == ()
    assert any(says in line for line in offers.passed_over), offers.passed_over


def test_too_many_challenges_are_refused() -> None:
    challenges, unread = read_challenges([("www-authenticate", ", ".join([CHALLENGE] * 33))])
    assert challenges == []
    assert unread == ["33 MPP challenges, where at most 32 are read"]


def test_zero_amount_with_a_sign_in_is_a_sign_in() -> None:
    document: dict[str, Any] = {"x402Version": 2, "accepts": [], "extensions": {"sign-in-with-x": {}}}
    header = base64.b64encode(json.dumps(document).encode()).decode()
    with pytest.raises(StudioProtocolError, match="sign-in"):
        read_offers(402, [("payment-required", header), ("www-authenticate", CHALLENGE)], b"")


def test_call_equals_the_recorded_clients() -> None:
    document = build_charge(read_one(CHALLENGE), payer=PAYER, valid_before=1_795_451_348, gas_price=18_677_754_167)
    charge = read_charge(document)
    assert charge.call_data == CALL
    assert (charge.gas_limit, charge.gas_price, charge.valid_before) == (1_000_000, 18_677_754_167, 1_795_451_348)
    assert document["source"] == f"did:pkh:eip155:4217:{PAYER}"
    assert json.loads(json.dumps(document)) == document
    assert network_fee(charge.gas_price) == 18_678


def test_credential_is_read_back_by_the_official_types() -> None:
    document = build_charge(read_one(CHALLENGE), payer=PAYER, valid_before=1, gas_price=1)
    value = encode_credential({**document, "hash": TRANSACTION}, {"type": "transaction", "signature": "0x76ab"})
    official = OfficialCredential.from_authorization(value)
    assert official.challenge == OfficialChallenge.from_www_authenticate(CHALLENGE).to_echo()
    assert official.payload == {"type": "transaction", "signature": "0x76ab"}
    assert official.source == document["source"]
    assert credential_header(document) == "Authorization"
    assert find_transaction({**document, "hash": TRANSACTION}) == TRANSACTION
    assert find_transaction(document) is None


@pytest.mark.parametrize(
    "field", ["from", "currency", "to", "amount", "memo", "chainId", "validBefore", "maxFeePerGas"]
)
@pytest.mark.parametrize("value", [None, "", "0x", True, -1, [], {}])
def test_damaged_charge_is_refused(field: str, value: Any) -> None:
    document = build_charge(read_one(CHALLENGE), payer=PAYER, valid_before=1, gas_price=1)
    transaction: Any = document["transaction"]
    with pytest.raises(StudioProtocolError):
        read_charge({**document, "transaction": {**transaction, field: value}})


def test_recorded_receipt_names_its_transaction() -> None:
    assert read_payment_receipt(RECEIPT) == TRANSACTION
    assert read_payment_receipt(encode({"status": "failed", "reference": TRANSACTION})) is None
    assert read_payment_receipt(encode({"status": "success", "reference": "javascript:"})) == ""
    with pytest.raises(StudioProtocolError):
        read_payment_receipt("%%")


def respond(status: int, body: Any = None, **headers: str) -> Response:
    data = b"" if body is None else json.dumps(body).encode()
    return Response(status=status, headers=list(headers.items()), body=data)


def test_answers_have_the_right_outcome() -> None:
    spent = "MPP payment failed: Payment verification failed: Transaction hash has already been used."
    settled = read_outcome(
        Response(status=200, headers=[("payment-receipt", RECEIPT)], body=b"{}"), "mpp", "eip155:4217"
    )
    assert isinstance(settled, Settled)
    assert settled.receipt is not None
    assert (settled.receipt.network, settled.receipt.transaction) == ("eip155:4217", TRANSACTION)
    assert isinstance(read_outcome(respond(500, {"success": False, "error": spent}), "mpp"), Spent)
    assert isinstance(read_outcome(respond(403, {"detail": "Transaction hash already used"}), "mpp"), Spent)
    assert isinstance(read_outcome(respond(500, {"error": spent}), "x402"), Unclear)
    assert isinstance(read_outcome(respond(402), "mpp"), Refused)
    assert isinstance(read_outcome(respond(500, {"error": "Settlement failed"}), "mpp"), Unclear)
    assert isinstance(read_outcome(respond(402, {"reason": "nonce_already_used"}), "mpp"), Refused)


def test_inclusion_is_read_from_a_receipt() -> None:
    receipt = {
        "transactionHash": TRANSACTION.upper().replace("0X", "0x"), "status": "0x1", "gasUsed": hex(298_540),
        "effectiveGasPrice": hex(18_677_754_167),
    }  # fmt: skip
    included, undone = (read_inclusion({**receipt, "status": status}, TRANSACTION) for status in ("0x1", "0x0"))
    assert included is not None
    assert undone is not None
    assert (included.succeeded, included.fee_micro_usdc) == (True, 5_577)
    assert not undone.succeeded
    assert read_inclusion(None, TRANSACTION) is None
    another = {**receipt, "transactionHash": "0x" + "7" * 64, "status": "0x0"}
    nonsenses: list[Any] = [[], "0x", {}, {**receipt, "status": "yes"}, another]
    for nonsense in nonsenses:
        with pytest.raises(ChainError):
            read_inclusion(nonsense, TRANSACTION)


def test_transaction_of_the_first_event_is_read() -> None:
    events = [{"transactionHash": "0x" + two * 32} for two in ("ab", "cd")]
    assert read_log_transaction(events) == "0x" + "ab" * 32
    assert read_log_transaction([]) is None


@pytest.mark.parametrize(
    "logs", [None, {}, "0x", ["0x"], [{}], [{"transactionHash": "0xab"}], [{"transactionHash": 1}]]
)
def test_events_without_a_transaction_are_refused(logs: object) -> None:
    with pytest.raises(ChainError, match="not a list of events"):
        read_log_transaction(logs)


def test_balance_call_follows_erc_20() -> None:
    [call, block] = build_balance_call("0x" + "A" * 40, PAYER)
    assert call == {"to": "0x" + "A" * 40, "data": "0x70a08231" + PAYER[2:].lower().rjust(64, "0")}
    assert block == "latest"


PIECES = st.sampled_from(
    [
        "Payment ",
        "Basic ",
        "id=",
        '"',
        "\\",
        ",",
        " ",
        "=",
        "\t",
        "realm=",
        "request=",
        CHALLENGE,
        CHALLENGE[8:90],
        "\0",
    ]
)


@given(st.lists(PIECES | st.text(max_size=12), max_size=12).map("".join))
def test_any_header_is_read_or_skipped(header: str) -> None:
    challenges, unread = read_challenges([("www-authenticate", header)])
    assert len(challenges) + len(unread) <= 64
    with contextlib.suppress(SeedanceError):
        for offer in read_offers(402, [("www-authenticate", header)], b"").offers:
            assert build_charge(offer, payer=PAYER, valid_before=1, gas_price=1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["amount", "currency", "recipient", "methodDetails", "description"])


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_request_parameter_is_read_or_skipped(changes: dict[str, Any]) -> None:
    good = {
        "amount": "1", "currency": "0x" + "2" * 40, "recipient": "0x" + "3" * 40, "methodDetails": {"chainId": 4217},
    }  # fmt: skip
    terms = 'Payment id=a, realm=b, method=tempo, intent=charge, expires="2026-11-23T16:33:08Z"'
    header = f'{terms}, request="{encode({**good, **changes})}"'
    offers = read_offers(402, [("www-authenticate", header)], b"")
    assert len(offers.offers) + len(offers.passed_over) == 1
