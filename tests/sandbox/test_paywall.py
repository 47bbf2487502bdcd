"""The answers of a paid route, and when money moves."""

import base64
import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from eth_account import Account
from x402.http.utils import decode_payment_required_header, encode_payment_signature_header
from x402.schemas import PaymentRequired

from seedance_mcp.sandbox import PAY_TO, Sandbox

from .bodies import SEEDANCE, SEEDANCE_FAST, UPLOAD, write_classic, write_current
from .client import FUNDS_MICRO_USDC, SandboxClient, draw_image, read_amount, read_challenge


async def test_unpaid_request_gets_one_offer_and_an_empty_body(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    sandbox = open_sandbox()
    client = open_client(sandbox)

    answer = await client.http.post("/api/upload", json=UPLOAD)

    challenge = read_challenge(answer)
    assert answer.status_code == 402
    assert answer.content == b""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-agent-identity"]
    assert answer.headers["x-request-id"]
    assert challenge["x402Version"] == 2
    assert challenge["resource"]["url"] == f"{sandbox.url}/api/upload"
    assert challenge["resource"]["method"] == "POST"
    assert challenge["accepts"] == [
        {
            "scheme": "exact",
            "network": "eip155:402402",
            "asset": "0x5A4dB0c500000000000000000000000000000402",
            "amount": "10000",
            "payTo": PAY_TO.lower(),
            "maxTimeoutSeconds": 300,
            "extra": {"name": "Sandbox USDC", "version": "1"},
        }
    ]
    assert "bazaar" in challenge["extensions"]


async def test_unpaid_upload_is_quoted_without_reading_its_body(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())

    answer = await client.http.post("/api/upload", content=b"{")

    assert (answer.status_code, read_amount(answer)) == (402, 10_000)


@pytest.mark.parametrize(
    ("contract", "path", "changes", "price_micro_usdc"),
    [
        ("classic", SEEDANCE, {"duration": "12", "resolution": "1080p"}, 990_000),
        ("classic", SEEDANCE_FAST, {"duration": "4", "resolution": "1080p"}, 40_000),
        ("current", SEEDANCE, {"duration": "4"}, 360_000),
        ("current", SEEDANCE, {"duration": "8", "outputResolution": "720p"}, 1_920_000),
        ("current", SEEDANCE, {"duration": "15", "outputResolution": "720p"}, 3_600_000),
        ("current", SEEDANCE, {"duration": "12", "outputResolution": "1080p"}, 6_480_000),
        ("current", SEEDANCE_FAST, {"duration": "5", "outputResolution": "720p"}, 840_000),
        ("current", SEEDANCE_FAST, {"duration": "12"}, 960_000),
    ],
)
async def test_valid_body_is_quoted_its_own_price(
    open_sandbox: Callable[..., Sandbox],
    open_client: Callable[..., SandboxClient],
    contract: str,
    path: str,
    changes: dict[str, Any],
    price_micro_usdc: int,
) -> None:
    client = open_client(open_sandbox(contract=contract))
    url = await client.upload(draw_image())
    write = write_classic if contract == "classic" else write_current

    answer = await client.http.post(path, json=write(url, **changes))

    assert (answer.status_code, read_amount(answer)) == (402, price_micro_usdc)


SPOILED: list[tuple[str, str, Any, int]] = [
    ("classic", SEEDANCE, write_classic("http://a/b.png", duration=5), 990_000),
    ("classic", SEEDANCE, write_current("http://a/b.png"), 990_000),
    ("classic", SEEDANCE_FAST, write_classic("http://a/b.png", colour="red"), 120_000),
    ("current", SEEDANCE, write_classic("http://a/b.png"), 20_000_000),
    ("current", SEEDANCE, write_current("http://a/b.png", seed=1), 20_000_000),
    ("current", SEEDANCE, write_current("http://a/b.png", duration="16"), 20_000_000),
    ("current", SEEDANCE, write_current("not a url"), 20_000_000),
    ("current", SEEDANCE, write_current("http://a/b.png", urlMediaTypes=["image", "image"]), 20_000_000),
    ("current", SEEDANCE, write_current("http://a/b.png", aspectRatio="auto"), 20_000_000),
    ("current", SEEDANCE_FAST, write_current("http://a/b.png", outputResolution="1080p"), 20_000_000),
    ("current", SEEDANCE, [], 20_000_000),
]


@pytest.mark.parametrize(("contract", "path", "body", "ceiling_micro_usdc"), SPOILED)
async def test_invalid_body_is_quoted_the_ceiling_and_refused_when_paid(
    open_sandbox: Callable[..., Sandbox],
    open_client: Callable[..., SandboxClient],
    contract: str,
    path: str,
    body: Any,
    ceiling_micro_usdc: int,
) -> None:
    sandbox = open_sandbox(contract=contract)
    client = open_client(sandbox)

    probe = await client.http.post(path, json=body)
    paid = await client.send_paid(path, body, client.sign_payment(probe))

    assert (probe.status_code, read_amount(probe)) == (402, ceiling_micro_usdc)
    assert paid.status_code == 400
    assert paid.json()["success"] is False
    assert paid.json()["error"] == "Validation failed"
    assert paid.json()["issues"]
    assert sandbox.chain.balance_of(client.address) == FUNDS_MICRO_USDC


async def test_issues_of_a_refused_body_name_every_field(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    body = {"prompt": "", "duration": "99", "image": "x", "resolution": "720p"}

    probe = await client.http.post(SEEDANCE, json=body)
    paid = await client.send_paid(SEEDANCE, body, client.sign_payment(probe))

    issues = {(issue["code"], *issue["path"]): issue for issue in paid.json()["issues"]}
    assert set(issues) == {
        ("too_small", "prompt"),
        ("invalid_type", "urls"),
        ("invalid_value", "duration"),
        ("invalid_value", "resolution"),
        ("unrecognized_keys",),
    }
    assert issues["invalid_type", "urls"]["message"] == "Invalid input: expected array, received undefined"
    assert issues[("unrecognized_keys",)]["message"] == 'Unrecognized key: "image"'


async def test_paid_malformed_json_is_refused(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    probe = await client.http.post("/api/upload", json=UPLOAD)
    headers = {"payment-signature": client.sign_payment(probe)}

    answer = await client.http.post("/api/upload", content=b"{", headers=headers)

    assert (answer.status_code, answer.json()) == (400, {"success": False, "error": "Invalid JSON", "issues": []})


@pytest.mark.parametrize("url", ["{origin}/uploads/nothing/here.png", "http://127.0.0.1:9/a.png", "{origin}/llms.txt"])
async def test_non_picture_is_refused_before_settlement(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient], url: str
) -> None:
    sandbox = open_sandbox()
    client = open_client(sandbox)

    answer = await client.http.post(SEEDANCE, json=write_current(url.format(origin=sandbox.url)))

    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert "payment-required" not in answer.headers


async def test_spent_authorization_gets_a_fresh_challenge(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    sandbox = open_sandbox()
    client = open_client(sandbox)
    signature = client.sign_payment(await client.http.post("/api/upload", json=UPLOAD))
    first = await client.send_paid("/api/upload", UPLOAD, signature)

    second = await client.send_paid("/api/upload", UPLOAD, signature)

    assert (first.status_code, second.status_code) == (200, 402)
    assert second.json()["reason"] == "invalid_exact_evm_nonce_already_used"
    assert second.json()["error"].startswith("Payment rejected (invalid_exact_evm_nonce_already_used): ")
    assert read_amount(second) == 10_000
    assert sandbox.chain.balance_of(client.address) == FUNDS_MICRO_USDC - 10_000


async def test_poor_wallet_is_rejected(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    poor = open_client(open_sandbox(), Account.create())

    answer = await poor.buy("/api/upload", UPLOAD)

    assert (answer.status_code, answer.json()["reason"]) == (402, "invalid_exact_evm_insufficient_balance")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amount": "9999"}, "requirements_mismatch"),
        ({"pay_to": "0x" + "11" * 20}, "requirements_mismatch"),
        ({"max_timeout_seconds": 301}, "requirements_mismatch"),
        ({"network": "eip155:8453"}, "requirements_mismatch"),
        ({"extra": {"name": "USD Coin", "version": "2"}}, "requirements_mismatch"),
    ],
)
async def test_changed_terms_do_not_match(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient], change: dict[str, Any], reason: str
) -> None:
    sandbox = open_sandbox()
    client = open_client(sandbox)
    challenge = await client.http.post("/api/upload", json=UPLOAD)
    required = decode_payment_required_header(challenge.headers["payment-required"])
    assert isinstance(required, PaymentRequired)
    required.accepts = [required.accepts[0].model_copy(update=change)]
    signature = encode_payment_signature_header(client.sdk.create_payment_payload(required))

    answer = await client.send_paid("/api/upload", UPLOAD, signature)

    assert (answer.status_code, answer.json()["reason"]) == (402, reason)
    assert sandbox.chain.settlements() == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [("value", "1"), ("validBefore", "1"), ("nonce", "0x" + "00" * 32), ("validAfter", "99999999999")],
)
async def test_changed_authorization_does_not_verify(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient], field: str, value: str
) -> None:
    sandbox = open_sandbox()
    client = open_client(sandbox)
    signature = client.sign_payment(await client.http.post("/api/upload", json=UPLOAD))
    document = json.loads(base64.b64decode(signature))
    document["payload"]["authorization"][field] = value
    changed = base64.b64encode(json.dumps(document).encode()).decode()

    answer = await client.send_paid("/api/upload", UPLOAD, changed)

    assert answer.status_code == 402
    assert answer.json()["reason"].startswith("invalid_exact_evm")
    assert sandbox.chain.settlements() == ()


@pytest.mark.parametrize(
    "header", ["garbage", "e30=", base64.b64encode(b"[]").decode(), base64.b64encode(b'"').decode()]
)
async def test_unreadable_payment_header_is_malformed(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient], header: str
) -> None:
    client = open_client(open_sandbox())

    answer = await client.send_paid("/api/upload", UPLOAD, header)

    assert (answer.status_code, answer.json()["reason"]) == (402, "malformed_payment_header")
    assert read_amount(answer) == 10_000


@pytest.mark.parametrize("payload", [{}, {"authorization": 1}, {"authorization": {"from": 1}}, {"signature": 7}])
async def test_payment_without_authorization_is_rejected(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient], payload: dict[str, Any]
) -> None:
    client = open_client(open_sandbox())
    signature = client.sign_payment(await client.http.post("/api/upload", json=UPLOAD))
    document = {**json.loads(base64.b64decode(signature)), "payload": payload}

    answer = await client.send_paid("/api/upload", UPLOAD, base64.b64encode(json.dumps(document).encode()).decode())

    assert answer.status_code == 402
    assert answer.json()["reason"]


async def test_payment_is_bound_to_price_not_body(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox(faults=("stuck_job",)))
    url = await client.upload(draw_image())
    probe = await client.http.post(SEEDANCE, json=write_current(url))
    signature = client.sign_payment(probe)

    dearer = await client.send_paid(SEEDANCE, write_current(url, duration="5"), signature)
    same_price = await client.send_paid(SEEDANCE, write_current(url, prompt="another"), signature)

    assert dearer.json()["reason"] == "requirements_mismatch"
    assert same_price.status_code == 200


async def test_concurrent_sends_of_one_authorization_pay_once(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    sandbox = open_sandbox()
    client = open_client(sandbox)
    signature = client.sign_payment(await client.http.post("/api/upload", json=UPLOAD))
    statuses: list[int] = []

    async def send() -> None:
        statuses.append((await client.send_paid("/api/upload", UPLOAD, signature)).status_code)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(send)

    assert statuses.count(200) == 1
    assert len(sandbox.chain.settlements()) == 1


async def test_state_shows_authorizations_without_signatures(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    signature = client.sign_payment(await client.http.post("/api/upload", json=UPLOAD))
    await client.send_paid("/api/upload", UPLOAD, signature)

    state = await client.http.get("/_sandbox/state")

    signed = json.loads(base64.b64decode(signature))["payload"]
    assert state.json()["payments_seen"][0]["authorization"] == signed["authorization"]
    assert signed["signature"][2:] not in state.text
