"""Sign-in: which proofs the studio accepts."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from eth_account import Account

from seedance_mcp.sandbox import Sandbox

from .client import SandboxClient, read_challenge


async def test_sign_in_challenge_is_in_header_and_body(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    sandbox = open_sandbox()
    client = open_client(sandbox)

    answer = await client.http.get("/api/jobs", params={"limit": 5})

    challenge = read_challenge(answer)
    extension = challenge["extensions"]["sign-in-with-x"]
    info = extension["info"]
    assert answer.status_code == 402
    assert answer.content == base64.b64decode(answer.headers["payment-required"])
    assert challenge["accepts"] == []
    assert challenge["error"] == "SIWX authentication required"
    assert info["domain"] == "127.0.0.1"
    assert info["uri"] == f"{sandbox.url}/api/jobs?limit=5"
    assert info["chainId"] == "eip155:402402"
    assert len(info["nonce"]) == 32
    lifetime = datetime.fromisoformat(info["expirationTime"]) - datetime.fromisoformat(info["issuedAt"])
    assert lifetime == timedelta(minutes=5)
    assert extension["supportedChains"] == [{"chainId": "eip155:402402", "type": "eip191"}]
    assert extension["schema"]["sign-in-with-x"]["schema"]["required"]


async def test_every_challenge_has_its_own_nonce(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    answers = [await client.http.get("/api/jobs") for _ in range(5)]

    nonces = {read_challenge(one)["extensions"]["sign-in-with-x"]["info"]["nonce"] for one in answers}

    assert len(nonces) == 5


async def test_proof_works_once(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    proof = {"SIGN-IN-WITH-X": client.sign_in(await client.http.get("/api/jobs"))}

    first = await client.http.get("/api/jobs", headers=proof)
    second = await client.http.get("/api/jobs", headers=proof)

    assert first.json() == {"items": [], "nextCursor": None}
    assert second.status_code == 402
    assert second.json() == {
        "error": "siwx_nonce_used",
        "message": "Nonce already used — request a new challenge",
    }
    assert "payment-required" not in second.headers


async def test_nonce_of_another_issuer_is_accepted_once(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    proof = {"SIGN-IN-WITH-X": client.sign_in(None)}

    answers = [await client.http.get("/api/jobs", headers=proof) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 402]


def ago(**span: float) -> str:
    moment = datetime.now(UTC) - timedelta(**span)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"domain": "127.0.0.1:8402"}, "siwx_malformed"),
        ({"domain": "stablestudio.dev"}, "siwx_malformed"),
        ({"uri": "https://stablestudio.dev/api/jobs"}, "siwx_malformed"),
        ({"chainId": "eip155:8453"}, "siwx_malformed"),
        ({"issuedAt": "yesterday"}, "siwx_malformed"),
        ({"nonce": "short"}, "siwx_malformed"),
        ({"issuedAt": ago(hours=-3)}, "siwx_malformed"),
        ({"issuedAt": ago(hours=6)}, "siwx_expired"),
        ({"expirationTime": ago(seconds=1)}, "siwx_expired"),
        ({"address": Account.create().address}, "siwx_invalid_signature"),
    ],
)
async def test_invalid_proof_is_refused_without_a_new_challenge(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient], changes: dict[str, Any], code: str
) -> None:
    client = open_client(open_sandbox())
    proof = client.sign_in(await client.http.get("/api/jobs"), **changes)

    answer = await client.http.get("/api/jobs", headers={"SIGN-IN-WITH-X": proof})

    assert answer.status_code == 402
    assert answer.json()["error"] == code
    assert set(answer.json()) == {"error", "message"}
    assert "payment-required" not in answer.headers


async def test_lower_case_address_is_an_invalid_signature(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    proof = client.sign_in(await client.http.get("/api/jobs"), address=client.address.lower())

    answer = await client.http.get("/api/jobs", headers={"SIGN-IN-WITH-X": proof})

    assert answer.json()["error"] == "siwx_invalid_signature"


async def test_changed_text_is_an_invalid_signature(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    document = json.loads(base64.b64decode(client.sign_in(await client.http.get("/api/jobs"))))
    document["statement"] = "Transfer everything"
    proof = base64.b64encode(json.dumps(document).encode()).decode()

    answer = await client.http.get("/api/jobs", headers={"SIGN-IN-WITH-X": proof})

    assert answer.json()["error"] == "siwx_invalid_signature"


@pytest.mark.parametrize("proof", ["", "%%%", "e30=", "bm90IGpzb24=", "/w==", "W10="])
async def test_unstructured_proof_is_malformed(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient], proof: str
) -> None:
    client = open_client(open_sandbox())

    answer = await client.http.get("/api/jobs", headers={"SIGN-IN-WITH-X": proof})

    assert (answer.status_code, answer.json()["error"]) == (402, "siwx_malformed")
