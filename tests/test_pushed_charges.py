"""Charges that their payer brings to the chain, for a studio that takes nothing else, where the owner allows that.

The money moves before the studio accepts the work: whatever happens in between, it moves once, and its hash is shown to
the studio for as long as it is good.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from seedance_mcp.errors import PaymentOutcomeUnknownError, PolicyError, UnacceptableOfferError
from seedance_mcp.ledger.sqlite import SQLiteLedger
from seedance_mcp.order import Order
from seedance_mcp.sandbox import Sandbox
from tests.test_purchase import CLIP, UPLOAD, WAIT_SECONDS, animator_on, settings_for

CHALLENGE_SECONDS = 400
"""Longer than a challenge is good."""
FEE = 5_576
Make = Callable[..., Sandbox]
Draw = Callable[..., Path]


class Clock:
    """A clock that can be put forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def break_with(sandbox: Sandbox, *faults: str) -> None:
    httpx.post(f"{sandbox.url}/_sandbox/faults", json={"faults": list(faults)}, trust_env=False).raise_for_status()


def paid(sandbox: Sandbox) -> list[int]:
    return [one.amount_micro_usdc for one in sandbox.tempo.settlements()]


def hashes_shown(sandbox: Sandbox) -> list[str]:
    state = httpx.get(f"{sandbox.url}/_sandbox/state", trust_env=False).json()
    return [str(one["hash"]) for one in state["payments_seen"]]


@pytest.fixture
def studio(make_sandbox: Make) -> Sandbox:
    return make_sandbox(rails=("mpp",), takes_pushed=True)


@pytest.fixture
def order(make_picture: Draw) -> Order:
    return Order(image=str(make_picture()), prompt="x")


async def test_without_the_owners_word_nothing_is_pushed(
    studio: Sandbox, order: Order, funded_key: str, tmp_path: Path
) -> None:
    async with animator_on(settings_for(studio, funded_key, tmp_path / "data")) as animator:
        with pytest.raises(UnacceptableOfferError, match="SEEDANCE_ALLOW_PUSH") as raised:
            await animator.upload_image(order.image)

    assert raised.value.charge == "none"
    assert paid(studio) == []


async def test_without_a_chain_to_bring_it_to_nothing_is_pushed(
    studio: Sandbox, order: Order, funded_key: str, tmp_path: Path
) -> None:
    settings = settings_for(studio, funded_key, tmp_path / "data", SEEDANCE_ALLOW_PUSH="on")
    settings = replace(settings, profile=replace(settings.profile, tempo_rpc_url=None))
    async with animator_on(settings) as animator:
        with pytest.raises(UnacceptableOfferError, match="no Tempo RPC"):
            await animator.upload_image(order.image)

    assert paid(studio) == []


async def test_a_studio_that_takes_nothing_else_is_paid_once_and_its_fee_is_booked(
    studio: Sandbox, order: Order, funded_key: str, tmp_path: Path
) -> None:
    settings = settings_for(studio, funded_key, tmp_path / "data", SEEDANCE_ALLOW_PUSH="on")
    async with animator_on(settings) as animator:
        animation, again = [
            await animator.animate_image(order, max_price_micro_usdc=None, deadline=time.time() + WAIT_SECONDS)
            for _ in range(2)
        ]

    assert animation.job is not None
    assert again.job is not None
    assert animation.job.file is not None
    assert animation.job.job_id == again.job.job_id
    assert paid(studio) == [UPLOAD, CLIP]
    settled = studio.tempo.settlements()
    assert hashes_shown(studio) == [one.transaction for one in settled]
    ledger = SQLiteLedger(settings.ledger_file)
    assert ledger.spend(time.time()).total_micro_usdc == UPLOAD + CLIP + 2 * FEE
    payment = ledger.find_payment(2)
    ledger.close()
    assert payment is not None
    assert payment.receipt is not None
    assert payment.receipt.transaction == settled[1].transaction


async def test_a_rail_that_pays_afterwards_is_preferred_whatever_the_order_of_the_rails(
    make_sandbox: Make, order: Order, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox(rails=("x402", "mpp"), takes_pushed=True)
    more = {"SEEDANCE_ALLOW_PUSH": "on", "SEEDANCE_RAILS": "mpp,x402"}
    async with animator_on(settings_for(sandbox, funded_key, tmp_path / "data", **more)) as animator:
        await animator.upload_image(order.image)

    assert paid(sandbox) == []
    assert [one.amount_micro_usdc for one in sandbox.chain.settlements()] == [UPLOAD]


@pytest.mark.parametrize("fault", ["drop_after_settle:1", "error_for_payment:1", "settle_then_402:1"])
async def test_what_was_pushed_is_shown_again_and_bought_with_once(
    studio: Sandbox, order: Order, funded_key: str, tmp_path: Path, fault: str
) -> None:
    settings = settings_for(studio, funded_key, tmp_path / "data", SEEDANCE_ALLOW_PUSH="on")
    async with animator_on(settings) as animator:
        await animator.upload_image(order.image)
        break_with(studio, fault)
        animation = await animator.animate_image(order, max_price_micro_usdc=None, deadline=time.time() + WAIT_SECONDS)

    assert animation.job is not None
    assert animation.job.status == "complete"
    assert paid(studio) == [UPLOAD, CLIP]
    shown = hashes_shown(studio)
    assert len(shown) == 3
    assert len(set(shown)) == 2


async def test_a_studio_that_takes_the_money_and_refuses_is_not_paid_again(
    studio: Sandbox, order: Order, funded_key: str, tmp_path: Path
) -> None:
    clock = Clock()
    settings = settings_for(studio, funded_key, tmp_path / "data", SEEDANCE_ALLOW_PUSH="on")
    charges: list[str] = []
    async with animator_on(settings, now=clock) as animator:
        await animator.upload_image(order.image)
        break_with(studio, "second_402:1")
        for ahead in (0, 0, CHALLENGE_SECONDS):
            clock.ahead = ahead
            studio.tempo.let_pass(ahead)
            with pytest.raises(PaymentOutcomeUnknownError) as raised:
                await animator.animate_image(order, max_price_micro_usdc=None, deadline=clock() + WAIT_SECONDS)
            charges.append(raised.value.charge)

    assert charges == ["held", "held", "settled"], (
        "once its hash is good for nothing, the money is gone, and said to be"
    )
    assert paid(studio) == [UPLOAD, CLIP]
    ledger = SQLiteLedger(settings.ledger_file)
    assert ledger.spend(clock()).total_micro_usdc == UPLOAD + CLIP + 2 * FEE
    ledger.close()


async def test_a_charge_that_never_came_to_the_chain_is_free_once_the_chain_says_so(
    studio: Sandbox, order: Order, funded_key: str, tmp_path: Path
) -> None:
    clock = Clock()
    settings = settings_for(studio, funded_key, tmp_path / "data", SEEDANCE_ALLOW_PUSH="on")
    silent = replace(settings, profile=replace(settings.profile, tempo_rpc_url=f"{studio.url}/nobody-answers-here"))
    async with animator_on(silent, now=clock) as animator:
        with pytest.raises(PaymentOutcomeUnknownError) as raised:
            await animator.upload_image(order.image)
    clock.ahead = CHALLENGE_SECONDS
    studio.tempo.let_pass(CHALLENGE_SECONDS)
    async with animator_on(settings, now=clock) as animator:
        # A new purchase is begun, and only the studio's clock, which did not jump, is in its way.
        with pytest.raises(PolicyError, match="clock"):
            await animator.upload_image(order.image)

    assert raised.value.charge == "held"
    assert paid(studio) == []
    ledger = SQLiteLedger(settings.ledger_file)
    assert ledger.spend(clock()).total_micro_usdc == 0
    ledger.close()
