"""The sandbox's second rail, used by an independent client: the official Tempo client over a local port."""

from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hypothesis import given
from hypothesis import strategies as st
from mpp import Challenge, Receipt
from mpp.methods.tempo import TempoAccount
from mpp.methods.tempo import client as official
from mpp.runtime import CredentialParams
from pytempo import Call, TempoTransaction  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so

from seedance_mcp.sandbox import Sandbox, SandboxSettings
from seedance_mcp.sandbox.chains.local_chain import RevertError
from seedance_mcp.sandbox.chains.tempo import CHAIN_ID, TOKEN_ADDRESS, TempoChain, build_logs, read_transaction
from seedance_mcp.sandbox.chains.tempo_rpc import answer_tempo

from .bodies import UPLOAD
from .client import FUNDS_MICRO_USDC, SandboxClient

FEE = 5_576
Open = Callable[..., Sandbox]
OpenClient = Callable[..., SandboxClient]


@pytest.fixture(autouse=True)
def _short_lives(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    """Shorten the official Python client's 60 s of validity: the newest chain accepts 30 s, which mppx uses."""
    monkeypatch.setattr(official, "EXPIRING_NONCE_VALID_BEFORE_SECS", 25)


async def sign(client: SandboxClient, answer: httpx.Response) -> str:
    """Return the official client's credential for a 402."""
    account = TempoAccount.from_key(key_of(client.account))
    rpc_url = str(client.http.base_url.copy_with(path="/tempo/rpc"))
    method = official.charge(account=account, chain_id=CHAIN_ID, rpc_url=rpc_url)
    challenge = Challenge.from_www_authenticate(answer.headers["www-authenticate"])
    return await method.create_credential(CredentialParams(challenge=challenge, context=None))


async def send(client: SandboxClient, credential: str, body: Any = UPLOAD) -> httpx.Response:
    return await client.http.post("/api/upload", json=body, headers={"authorization": credential})


async def test_official_client_pays_for_an_upload(open_sandbox: Open, open_client: OpenClient) -> None:
    sandbox = open_sandbox(rails=("mpp",))
    client = open_client(sandbox)
    challenge = await client.http.post("/api/upload", json=UPLOAD)
    assert (challenge.status_code, challenge.content) == (402, b"")
    assert "payment-required" not in challenge.headers

    paid = await send(client, await sign(client, challenge))

    assert paid.status_code == 200
    receipt = Receipt.from_payment_receipt(paid.headers["payment-receipt"])
    [settlement] = sandbox.tempo.settlements()
    assert receipt.reference == settlement.transaction
    assert (settlement.payer, settlement.amount_micro_usdc, settlement.fee_micro_usdc) == (client.address, 10_000, FEE)
    assert sandbox.tempo.balance_of(client.address) == FUNDS_MICRO_USDC - 10_000 - FEE
    shown = (await client.http.get(f"/_sandbox/tx/{receipt.reference}")).json()
    assert (shown["rail"], shown["receipt"]["status"]) == ("mpp", "0x1")


async def test_credential_works_once(open_sandbox: Open, open_client: OpenClient) -> None:
    client = open_client(open_sandbox(rails=("mpp",)))
    credential = await sign(client, await client.http.post("/api/upload", json=UPLOAD))
    await send(client, credential)

    again = await send(client, credential)

    assert again.status_code == 500
    assert again.json()["error"].endswith("Transaction hash has already been used.")


async def test_poor_wallet_gets_a_challenge_without_an_error(open_sandbox: Open, open_client: OpenClient) -> None:
    sandbox = open_sandbox(rails=("mpp",))
    poor = open_client(sandbox, Account.create())
    sandbox.tempo.mint(poor.address, 10_000)  # the price, and nothing for the fee
    challenge = await poor.http.post("/api/upload", json=UPLOAD)

    answer = await send(poor, await sign(poor, challenge))

    assert (answer.status_code, answer.content) == (402, b"")
    assert answer.headers["www-authenticate"] != challenge.headers["www-authenticate"]
    assert sandbox.tempo.settlements() == ()


async def test_invalid_payment_is_refused(open_sandbox: Open, open_client: OpenClient) -> None:
    sandbox = open_sandbox(rails=("mpp",))
    client = open_client(sandbox)
    credential = await sign(client, await client.http.post("/api/upload", json=UPLOAD))
    for header in ("Payment", "Payment x", credential[:-9], credential[:900], "Payment " + "A" * 60_000):
        assert (await send(client, header)).status_code in (402, 431)
    assert sandbox.tempo.settlements() == ()


async def test_both_rails_are_offered_together(open_sandbox: Open, open_client: OpenClient) -> None:
    sandbox = open_sandbox(rails=("x402", "mpp"))
    client = open_client(sandbox)
    challenge = await client.http.post("/api/upload", json=UPLOAD)
    assert {"payment-required", "www-authenticate"} <= set(challenge.headers)

    await send(client, await sign(client, challenge))
    await client.buy("/api/upload", UPLOAD)

    assert [one["rail"] for one in (await client.state())["settlements"]] == ["mpp", "x402"]
    protocols = (await client.http.get("/openapi.json")).json()["paths"]["/api/upload"]["post"]["x-payment-info"]
    assert [next(iter(one)) for one in protocols["protocols"]] == ["x402", "mpp"]


async def test_sign_in_carries_a_zero_amount_charge(open_sandbox: Open, open_client: OpenClient) -> None:
    client = open_client(open_sandbox(rails=("mpp",)))
    challenge = await client.http.get("/api/jobs")
    charge = Challenge.from_www_authenticate(challenge.headers["www-authenticate"])
    assert charge.request["amount"] == "0"
    assert charge.realm == f"{client.http.base_url.host}:{client.http.base_url.port}"
    assert (await client.ask("GET", "/api/jobs")).status_code == 200
    assert "www-authenticate" not in (await open_client(open_sandbox()).http.get("/api/jobs")).headers


@pytest.mark.parametrize(("funded_on", "base", "tempo"), [(("mpp",), 0, 5), (("x402",), 5, 0), (("x402", "mpp"), 5, 5)])
def test_funding_can_be_limited_to_one_chain(funded_on: tuple[str, ...], base: int, tempo: int) -> None:
    address = Account.create().address
    sandbox = Sandbox(SandboxSettings(funded={address: 5}, funded_on=funded_on))
    assert (sandbox.chain.balance_of(address), sandbox.tempo.balance_of(address)) == (base, tempo)


async def test_funding_names_its_chain(open_sandbox: Open, open_client: OpenClient) -> None:
    sandbox = open_sandbox(rails=("mpp",))
    poor = open_client(sandbox, Account.create())
    body = {"address": poor.address, "amount_micro_usdc": 7, "rail": "mpp"}
    answer = await poor.http.post("/_sandbox/fund", json=body)
    assert answer.json() == {"address": poor.address, "balance_micro_usdc": 7}
    assert (await poor.http.post("/_sandbox/fund", json={**body, "rail": "card"})).status_code == 400
    call = {"to": TOKEN_ADDRESS, "data": "0x70a08231" + poor.address[2:].lower().rjust(64, "0")}
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}
    assert int((await poor.http.post("/tempo/rpc", json=request)).json()["result"], 16) == 7


def key_of(account: LocalAccount) -> str:
    return "0x" + bytes(account.key).hex()


def transact(account: LocalAccount, now: int, **changes: Any) -> bytes:
    """Return a signed transfer of 1 cent; `changes` make it invalid."""
    return build_transaction(now, **changes).sign(key_of(account)).encode()


def build_transaction(now: int, **changes: Any) -> TempoTransaction:
    memo = "11" * 32
    data = f"0x95777d59{'22' * 20:0>64}{10_000:064x}{memo}"
    fields: dict[str, Any] = {
        "chain_id": CHAIN_ID, "gas_limit": 1_000_000, "max_fee_per_gas": 20_000_000_000,
        "max_priority_fee_per_gas": 0, "nonce": 0, "nonce_key": 2**256 - 1, "valid_before": now + 25,
        "fee_token": TOKEN_ADDRESS, "calls": (Call.create(to=TOKEN_ADDRESS, data=data),),
    }  # fmt: skip
    return TempoTransaction.create(**{**fields, **changes})


def open_chain(account: LocalAccount, funds: int = 1_000_000) -> TempoChain:
    return TempoChain({account.address: funds}, clock=lambda: 1_000_000.0)


def test_transaction_is_included_once_with_its_fee(account: LocalAccount) -> None:
    chain = open_chain(account)
    raw = transact(account, 1_000_000)
    settlement = chain.include(raw)
    assert settlement.payer == account.address
    assert (settlement.amount_micro_usdc, settlement.fee_micro_usdc, settlement.memo) == (10_000, FEE, "0x" + "11" * 32)
    with pytest.raises(RevertError, match="already known"):
        chain.include(raw)
    assert chain.balance_of(account.address) == 1_000_000 - 10_000 - FEE


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"chain_id": 4217}, "chain id"),
        ({"fee_token": "0x" + "1" * 40}, "unknown token"),
        ({"nonce_key": 0}, "expiring nonces"),
        ({"nonce": 1}, "expiring nonces"),
        ({"valid_before": None}, "expiring nonces"),
        ({"valid_before": 1_000_000}, "not valid now"),
        ({"valid_before": 1_000_031}, "more than 30 seconds"),
        ({"valid_after": 1_000_001}, "not valid now"),
        ({"gas_limit": 21_000}, "too low"),
        ({"max_fee_per_gas": 1}, "too low"),
        ({"max_fee_per_gas": 10**12}, "InsufficientBalance"),
        ({"calls": ()}, "."),
    ],
)
def test_invalid_transaction_moves_nothing(account: LocalAccount, changes: dict[str, Any], says: str) -> None:
    chain = open_chain(account)
    with pytest.raises((RevertError, ValueError), match=says):
        chain.include(transact(account, 1_000_000, **changes))
    assert chain.settlements() == ()


def test_flipped_bit_changes_or_invalidates_the_payer(account: LocalAccount) -> None:
    raw = transact(account, 1_000_000)
    for position in range(1, len(raw), 7):
        tampered = bytes([*raw[:position], raw[position] ^ 1, *raw[position + 1 :]])
        try:
            assert read_transaction(tampered).payer != account.address
        except RevertError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_are_a_transaction_or_a_revert(data: bytes) -> None:
    with pytest.raises(RevertError):
        read_transaction(b"\x76" + data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
METHODS = st.sampled_from(
    ["eth_call", "eth_getBlockByNumber", "eth_getTransactionReceipt", "eth_sendRawTransactionSync"]
)
CALLS = st.fixed_dictionaries({"jsonrpc": st.just("2.0"), "method": METHODS, "params": JSON})


@given(JSON | CALLS)
def test_rpc_survives_any_request(request: Any) -> None:
    answer = answer_tempo(TempoChain(), request)
    for one in answer if isinstance(answer, list) else [answer]:  # pyright: ignore[reportUnknownVariableType]  # any JSON
        assert ("result" in one) != ("error" in one)


# ── a studio that pays the network fee ───────────────────────────────────────────────────────────────────────────────


async def test_sponsor_pays_the_fee_of_the_official_client(open_sandbox: Open, open_client: OpenClient) -> None:
    sandbox = open_sandbox(rails=("mpp",), sponsors_fees=True)
    client = open_client(sandbox, Account.create())
    sandbox.tempo.mint(client.address, 10_000)  # the price, and nothing for the fee
    challenge = await client.http.post("/api/upload", json=UPLOAD)
    assert Challenge.from_www_authenticate(challenge.headers["www-authenticate"]).request["methodDetails"]["feePayer"]
    credential = await sign(client, challenge)

    paid, again = await send(client, credential), await send(client, credential)

    assert (paid.status_code, again.status_code) == (200, 500)
    [settlement] = sandbox.tempo.settlements()
    assert Receipt.from_payment_receipt(paid.headers["payment-receipt"]).reference == settlement.transaction
    assert (settlement.payer, settlement.fee_micro_usdc) == (client.address, FEE)
    assert settlement.fee_payer != client.address
    assert sandbox.tempo.balance_of(client.address) == 0


def test_payer_signature_is_included_once_for_all_sponsors(account: LocalAccount) -> None:
    sponsors = [Account.create() for _ in range(2)]
    chain = TempoChain({owner.address: 1_000_000 for owner in (account, *sponsors)}, clock=lambda: 1_000_000.0)
    signed = build_transaction(1_000_000, awaiting_fee_payer=True, fee_token=None).sign(key_of(account))
    raws = [
        attrs.evolve(signed, fee_token=TOKEN_ADDRESS).sign(key_of(sponsor), for_fee_payer=True).encode()
        for sponsor in sponsors
    ]

    first = chain.include(raws[0])
    with pytest.raises(RevertError, match="already known"):
        chain.include(raws[1])

    assert raws[0] != raws[1]
    assert (first.payer, first.fee_payer) == (account.address, sponsors[0].address)
    assert [chain.balance_of(owner.address) for owner in (account, *sponsors)] == [990_000, 1_000_000 - FEE, 1_000_000]


def test_events_are_found_by_topics_and_blocks(account: LocalAccount) -> None:
    chain = open_chain(account)
    settlement = chain.include(transact(account, 1_000_000))
    [transfer, memo] = build_logs(settlement)

    def ask(topics: list[Any], **filters: Any) -> Any:
        filters = {"address": TOKEN_ADDRESS, "topics": topics, "fromBlock": "0x0", "toBlock": "0x1", **filters}
        return answer_tempo(chain, {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [filters]})

    assert ask([])["result"] == [transfer, memo]
    assert ask(memo["topics"])["result"] == [memo]
    assert ask([None, None, transfer["topics"][2]])["result"] == [transfer, memo]
    assert ask([*memo["topics"][:3], "0x" + "2" * 64])["result"] == []
    assert ask([], address=account.address)["result"] == []
    assert ask([], fromBlock="0x0", toBlock="0x0")["result"] == []
    assert "beyond the current head" in ask([], toBlock="0x2")["error"]["message"]
    assert "error" in ask([], toBlock="latest")
