"""Tempo charges from the inside: the very bytes of the official client, their fees in the ledger, their settlement."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.adapters.wallet import Wallet, open_wallet
from seedance_mcp.config.profiles import LIVE_CHARGES
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.limits import Spend
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.mpp import build_charge
from seedance_mcp.core.wire.offers import Offer, read_offers
from seedance_mcp.core.wire.responses import Refused
from seedance_mcp.payments.reconciler import Reconciler
from seedance_mcp.payments.settlement import Settlement
from seedance_mcp.sandbox import Sandbox
from tests.adapters.ledger.rows import NOW, WALLET, settle, sign, write_offer, write_request
from tests.core.wire.test_mpp import CHALLENGE, TRANSACTION
from tests.payments.test_purchase import services_on, settings_for

KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
"""The public development key of the recording; it has never held money."""
SIGNED = (
    "0x76f9011682107985045947e93785045947e937830f4240f87ef87c9420c000000000000000000000b9537d11c60e8b5080"
    "b86495777d59000000000000000000000000a8049bb68181799124f98e467dd749e120abfa64000000000000000000000000"
    "0000000000000000000000000000000000002710ef1ed71201838afa91a459ef5fb909000000000000000000000e8319f4d7"
    "bc18c0a0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff80846b0469d4809420c000000000"
    "000000000000b9537d11c60e8b5080c0b841008e6a740b9c175ee1302f81802e8dfff32081a152b2f97819be9d675b2b2579"
    "260209114e9986288d9b6bee2c6e24c18ce96be2a3c5e11453128b2475df13701b"
)
"""What the recording's client sent for `CHALLENGE`, and the chain knew as `TRANSACTION`."""
FEE, HELD = 5_576, 20_000
Make = Callable[..., Sandbox]
Draw = Callable[..., Path]


def read_challenge() -> Offer:
    [offer] = read_offers(402, [("www-authenticate", CHALLENGE)], b"").offers
    return offer


async def open_recorded() -> tuple[Wallet, dict[str, object]]:
    wallet = await open_wallet(KEY, Path("unused"))
    document = build_charge(
        read_challenge(), payer=wallet.address, valid_before=1_795_451_348, gas_price=18_677_754_167
    )
    return wallet, document


async def test_a_charge_is_signed_to_the_very_bytes_of_the_official_client() -> None:
    wallet, document = await open_recorded()
    stored = json.loads(json.dumps(document))
    credential, transaction = await wallet.sign_charge(stored, LIVE_CHARGES)
    again, _ = await wallet.sign_charge({**stored, "hash": transaction}, LIVE_CHARGES)

    from mpp import Credential

    assert Credential.from_authorization(credential.value).payload["signature"] == SIGNED
    assert transaction == TRANSACTION
    assert again == credential
    assert SIGNED not in repr(credential)


async def test_two_purchases_of_one_challenge_are_two_transactions() -> None:
    wallet, _ = await open_recorded()
    signed = [
        await wallet.sign_charge(
            build_charge(
                read_challenge(), payer=wallet.address, valid_before=1_795_451_348, gas_price=1, client_id=client_id
            ),
            LIVE_CHARGES,
        )
        for client_id in ("one", "two")
    ]
    assert len({transaction for _, transaction in signed}) == 2


@pytest.mark.parametrize("field", ["chainId", "currency", "from"])
async def test_a_charge_for_another_chain_token_or_wallet_is_not_signed(field: str) -> None:
    wallet, document = await open_recorded()
    transaction: Any = document["transaction"]
    other = {**transaction, field: 42431 if field == "chainId" else "0x" + "1" * 40}
    with pytest.raises(ConfigError, match="another chain, token or wallet"):
        await wallet.sign_charge({**document, "transaction": other}, LIVE_CHARGES)


# ── the ledger ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def ledger(tmp_path: Path) -> SQLiteLedger:
    return await SQLiteLedger.open(tmp_path / "ledger.sqlite3")


async def reserve(ledger: SQLiteLedger) -> Payment:
    async with ledger.lock_budget() as transaction:
        return await transaction.reserve(
            write_request(), write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW, fee_micro_usdc=HELD
        )


async def total(ledger: SQLiteLedger, now: float = NOW) -> int:
    spend = await ledger.spend(now)
    assert isinstance(spend, Spend)
    return spend.total_micro_usdc


async def test_the_most_that_a_fee_can_be_is_held_until_the_chain_names_it(ledger: SQLiteLedger) -> None:
    payment = await sign(ledger, await reserve(ledger))
    assert await total(ledger) == 40_000 + HELD
    payment = await settle(ledger, payment)
    assert (await total(ledger), payment.cost_micro_usdc) == (40_000 + HELD, 40_000 + HELD)
    assert (await ledger.record_fee(payment, FEE)).fee_micro_usdc == FEE
    assert await total(ledger) == 40_000 + FEE
    assert (await ledger.record_fee(payment, 10**9)).fee_micro_usdc == FEE, "a chain cannot raise what was held"


@pytest.mark.parametrize(("fee", "left"), [(0, 0), (FEE, FEE)])
async def test_a_charge_that_never_moved_costs_nothing_and_one_that_was_undone_costs_its_fee(
    ledger: SQLiteLedger, fee: int, left: int
) -> None:
    payment = await ledger.conclude(await sign(ledger, await reserve(ledger)), Refused(reason="no"), now=NOW)
    assert await total(ledger) == 40_000 + HELD
    await ledger.conclude(payment, Refused(reason="no"), now=NOW + 200, chain_checked=True, fee_micro_usdc=fee)
    assert await total(ledger, NOW + 200) == left


# ── the chain's word ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_chain_says_what_became_of_a_charge(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox(rails=("mpp",))
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    async with services_on(settings) as services:
        await services.generation.upload(str(make_picture()))
        reconciler: Reconciler = services.reconciler
        check_settlement, payment = (
            reconciler.settlement_checker.check_settlement,
            await reconciler.ledger.find_payment(1),
        )
        assert payment is not None
        document = dict(payment.document or {})
        transaction: Any = document["transaction"]
        unknown = {**document, "hash": "0x" + "7" * 64}
        expired = {**unknown, "transaction": {**transaction, "validBefore": 1_000_000_000}}
        settlements = [await check_settlement(replace(payment, document=one)) for one in (document, unknown, expired)]
        sandbox.stop()
        silent = await check_settlement(payment)

    assert payment.fee_micro_usdc == FEE
    assert settlements[0] == Settlement(used=True, transaction=str(document["hash"]), fee_micro_usdc=FEE)
    assert settlements[1] is None, "it may still be included"
    assert settlements[2] == Settlement(used=False, fee_micro_usdc=0)
    assert silent is None


async def test_the_chain_finds_a_sponsored_charge_by_its_memo(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox(rails=("mpp",), sponsors_fees=True)
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    async with services_on(settings) as services:
        await services.generation.upload(str(make_picture()))
        reconciler: Reconciler = services.reconciler
        check_settlement, payment = (
            reconciler.settlement_checker.check_settlement,
            await reconciler.ledger.find_payment(1),
        )
        assert payment is not None
        document = dict(payment.document or {})
        transaction: Any = document["transaction"]
        other = {"memo": "0x" + "7" * 64}
        changes: tuple[dict[str, Any], ...] = (
            {},
            {"validBefore": transaction["validBefore"] + 10},
            other,
            other | {"validBefore": 1_000_000_000},
        )
        documents = [{**document, "transaction": {**transaction, **change}} for change in changes]
        settlements = [await check_settlement(replace(payment, document=one)) for one in documents]
        sandbox.stop()
        silent = await check_settlement(payment)

    [settlement] = sandbox.tempo.settlements()
    assert "hash" not in document
    assert (payment.fee_micro_usdc, payment.cost_micro_usdc) == (0, 10_000)
    assert payment.receipt is not None
    assert payment.receipt.transaction == settlement.transaction
    found = Settlement(used=True, transaction=settlement.transaction, fee_micro_usdc=0)
    assert settlements == [found, found, None, Settlement(used=False, fee_micro_usdc=0)]
    assert silent is None


async def test_without_its_libraries_mpp_is_passed_over_or_named(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = str(make_picture())
    both, alone = make_sandbox(rails=("x402", "mpp")), make_sandbox(rails=("mpp",))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pytempo", None)
        settings = settings_for(both, funded_key, tmp_path / "both", SEEDANCE_RAILS="mpp,x402")
        async with services_on(settings) as services:
            await services.generation.upload(picture)
        async with services_on(settings_for(alone, funded_key, tmp_path / "alone")) as services:
            with pytest.raises(ConfigError, match=r"\[tempo\]") as raised:
                await services.generation.upload(picture)

    assert raised.value.payment_state == "none"
    assert [len(both.chain.settlements()), len(both.tempo.settlements())] == [1, 0]
    assert alone.tempo.settlements() == ()
