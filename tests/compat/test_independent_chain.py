"""Our Tempo charge on an independent chain: `anvil --network tempo`, TIP-20 dollars, 0x76 transactions.

They need npm, which downloads the package once; without it, or without a network, they are skipped with the reason.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mpp import Credential

from seedance_mcp.adapters.wallet import Wallet, open_wallet
from seedance_mcp.core.money import MicroUSDC
from seedance_mcp.core.wire.mpp import (
    PinnedChargeTerms,
    build_balance_call,
    build_charge,
    build_log_query,
    read_charge,
    read_inclusion,
    read_log_transaction,
)
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.x402 import read_word
from tests.compat.conftest import install

pytestmark = pytest.mark.compat

PACKAGE = "@foundry-rs/anvil@1.7.1"
START_SECONDS = 20
KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
"""anvil's second development key, public, and funded by anvil itself."""
SPONSOR_KEYS = (
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
)
"""The third and fourth."""
PATH_USD = "0x20c0000000000000000000000000000000000000"
PAY_TO = "0xa8049bb68181799124f98e467dd749e120abfa64"
PINS = PinnedChargeTerms(chain_id=4217, currencies=(PATH_USD,))


@pytest.fixture(scope="module")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("anvil")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
    install(command)
    return folder / "node_modules" / ".bin" / "anvil"


@pytest.fixture
def chain(anvil: Path) -> Generator[str]:
    """Yield the URL of a new chain."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(anvil), "--network", "tempo", "--chain-id", "4217", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


async def call(chain: str, method: str, *parameters: Any) -> Any:
    """Make one JSON-RPC call; wait for the chain to start."""
    with anyio.fail_after(START_SECONDS):
        while True:
            try:
                async with httpx.AsyncClient(trust_env=False) as http:
                    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
                    answer = (await http.post(chain, json=body)).json()
                return answer.get("result", answer.get("error"))
            except httpx.ConnectError:
                await anyio.sleep(0.1)


async def balance(chain: str, owner: str) -> int:
    return read_word(await call(chain, "eth_call", *build_balance_call(PATH_USD, owner)))


async def sign(wallet: Wallet, gas_price: int, *, seconds: int = 25) -> tuple[str, str]:
    """Return a signed charge of one cent, and its hash."""
    raw, transaction = await wallet_signs(wallet, build_unsigned_charge(wallet, gas_price, seconds=seconds))
    assert transaction is not None
    return raw, transaction


async def wallet_signs(wallet: Wallet, document: dict[str, object]) -> tuple[str, str | None]:
    credential, transaction = await wallet.sign_charge(document, PINS)
    return Credential.from_authorization(credential.value).payload["signature"], transaction


def build_unsigned_charge(
    wallet: Wallet, gas_price: int, *, seconds: int = 25, sponsored: bool = False, pushed: bool = False
) -> dict[str, object]:
    """Build an unsigned charge of one cent."""
    terms = {
        "id": "a", "realm": "studio.test", "method": "tempo", "intent": "charge", "request": "e30",
        "expires": "2999-01-01T00:00:00Z",
    }  # fmt: skip
    offer = Offer(
        rail="mpp", scheme="charge", network=PINS.network, asset=PATH_USD, pay_to=PAY_TO,
        amount_micro_usdc=MicroUSDC(10_000), lifetime_seconds=0, terms=terms,
        extra={"methodDetails": {"feePayer": sponsored, "supportedModes": ["push" if pushed else "pull"]}},
    )  # fmt: skip
    return build_charge(
        offer,
        payer=wallet.address,
        valid_before=int(time.time()) + seconds,
        gas_price=gas_price,
        client_id=str(time.monotonic_ns()),
    )


def sponsor(raw: str, key: str) -> str:
    """Return the envelope as its sponsor sends it, built by the official server's code."""
    from mpp.methods.tempo import TempoAccount
    from mpp.methods.tempo.intents import ChargeIntent

    intent = ChargeIntent(fee_payer=TempoAccount.from_key(key))
    return intent._cosign_as_fee_payer(raw, PATH_USD)[0]  # pyright: ignore[reportPrivateUsage]  # no public door


@pytest.mark.slow
async def test_independent_chain_accepts_our_charge_once(chain: str) -> None:
    wallet = await open_wallet(KEY, Path("unused"))
    gas_price = read_word(await call(chain, "eth_gasPrice"))
    before = await balance(chain, wallet.address)
    raw, transaction = await sign(wallet, gas_price)

    await call(chain, "eth_sendRawTransactionSync", raw)
    inclusion = read_inclusion(await call(chain, "eth_getTransactionReceipt", transaction), transaction)
    await call(chain, "eth_sendRawTransactionSync", raw)

    assert inclusion is not None
    assert inclusion.succeeded
    assert await balance(chain, PAY_TO) == 10_000
    assert before - await balance(chain, wallet.address) == 10_000 + inclusion.fee_micro_usdc


@pytest.mark.slow
async def test_independent_chain_refuses_an_expired_charge(chain: str) -> None:
    wallet = await open_wallet(KEY, Path("unused"))
    gas_price = read_word(await call(chain, "eth_gasPrice"))
    before = await balance(chain, wallet.address)
    raw, transaction = await sign(wallet, gas_price, seconds=-60)

    refusal = await call(chain, "eth_sendRawTransactionSync", raw)

    assert "message" in refusal
    assert read_inclusion(await call(chain, "eth_getTransactionReceipt", transaction), transaction) is None
    assert await balance(chain, wallet.address) == before


@pytest.mark.slow
async def test_independent_chain_accepts_a_sponsored_charge_once(chain: str) -> None:
    wallet = await open_wallet(KEY, Path("unused"))
    gas_price = read_word(await call(chain, "eth_gasPrice"))
    before, paid_before = await balance(chain, wallet.address), await balance(chain, PAY_TO)
    document = build_unsigned_charge(wallet, gas_price, sponsored=True)
    envelope, transaction = await wallet_signs(wallet, document)
    first, second = (sponsor(envelope, key) for key in SPONSOR_KEYS)

    sent = [await call(chain, "eth_sendRawTransaction", raw) for raw in (first, second)]
    await call(chain, "evm_mine")
    latest = read_word(await call(chain, "eth_blockNumber"))
    logs = await call(chain, "eth_getLogs", *build_log_query(read_charge(document), 0, latest))

    assert transaction is None
    assert first != second
    assert len(logs) == 1
    assert read_log_transaction(logs) == sent[0]
    assert read_inclusion(await call(chain, "eth_getTransactionReceipt", sent[1]), sent[1]) is None
    assert await balance(chain, PAY_TO) - paid_before == 10_000
    assert before - await balance(chain, wallet.address) == 10_000


@pytest.mark.slow
async def test_official_server_accepts_the_hash_of_our_charge_once(chain: str) -> None:
    from mpp.errors import CredentialReplayedError
    from mpp.methods.tempo.intents import ChargeIntent

    wallet = await open_wallet(KEY, Path("unused"))
    gas_price = read_word(await call(chain, "eth_gasPrice"))
    signed, transaction = await wallet.sign_charge(build_unsigned_charge(wallet, gas_price, pushed=True), PINS)
    credential = Credential.from_authorization(signed.value)
    request = {"amount": "10000", "currency": PATH_USD, "recipient": PAY_TO, "methodDetails": {"chainId": 4217}}

    sent = await call(chain, "eth_sendRawTransaction", signed.raw_transaction)
    again = await call(chain, "eth_sendRawTransaction", signed.raw_transaction)
    async with ChargeIntent(chain_id=4217, rpc_url=chain) as server:
        receipt = await server.broadcast(credential, request)
        with pytest.raises(CredentialReplayedError):
            await server.broadcast(credential, request)

    assert credential.payload == {"type": "hash", "hash": transaction}
    assert sent == transaction == receipt.reference
    assert again == transaction or "message" in again
    assert await balance(chain, PAY_TO) == 10_000
