"""A studio that refuses and takes the money: the chain is asked before the same request is bought again."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from seedance_mcp.core.errors import PaymentOutcomeUnknownError, PaymentRefusedError, PolicyError
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.sandbox import Sandbox
from tests.payments.test_purchase import CLIP, UPLOAD, services_on, settings_for, signed, soon
from tests.servers import NO_TLS

EXPIRED_SECONDS = 300
"""Longer than any credential lives."""
Make = Callable[..., Sandbox]
Draw = Callable[..., Path]


class Clock:
    """A clock that can be put forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


def break_with(sandbox: Sandbox, *faults: str) -> None:
    httpx.post(f"{sandbox.url}/_sandbox/faults", json={"faults": list(faults)}, verify=NO_TLS).raise_for_status()


def let_expire(sandbox: Sandbox, clock: Clock) -> None:
    clock.ahead = EXPIRED_SECONDS
    sandbox.chain.let_pass(EXPIRED_SECONDS)
    sandbox.tempo.let_pass(EXPIRED_SECONDS)


def paid(sandbox: Sandbox) -> list[int]:
    settlements = [*sandbox.chain.settlements(), *sandbox.tempo.settlements()]
    return sorted(one.amount_micro_usdc for one in settlements)


@pytest.mark.parametrize(("rail", "sponsored"), [("x402", False), ("mpp", False), ("mpp", True)])
async def test_a_refusal_that_took_the_money_is_found_out_and_its_video_delivered(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, clock: Clock, rail: str, sponsored: bool
) -> None:
    sandbox = make_sandbox(rails=(rail,), sponsors_fees=sponsored)
    request = VideoRequest(image=str(make_picture()), prompt="x")
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    async with services_on(settings, now=clock) as services:
        await services.generation.upload(request.image or "")
        break_with(sandbox, "settle_then_402:1")
        with pytest.raises(PaymentRefusedError) as raised:
            await services.generation.generate(request, deadline=soon())
        let_expire(sandbox, clock)
        animation = await services.generation.generate(request, deadline=soon())

    assert raised.value.payment_state == "held"
    assert animation.job is not None
    assert animation.job.status == "complete"
    assert paid(sandbox) == [UPLOAD, CLIP]
    assert len(await signed(sandbox)) == 2


async def test_a_refused_repetition_says_nothing_about_the_first_sending(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings_for(sandbox, funded_key, tmp_path / "data")) as services:
        await services.generation.upload(request.image or "")
        break_with(sandbox, "error_for_payment:1", "second_402:1")
        with pytest.raises(PaymentOutcomeUnknownError) as raised:
            await services.generation.generate(request, deadline=soon())
        animation = await services.generation.generate(request, deadline=soon())

    assert raised.value.payment_state == "held"
    assert animation.job is not None
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_without_the_chains_word_a_refused_request_is_not_bought_again(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, clock: Clock
) -> None:
    sandbox = make_sandbox()
    request = VideoRequest(image=str(make_picture()), prompt="x")
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    settings = replace(settings, profile=replace(settings.profile, rpc_urls=(f"{sandbox.url}/no-one-answers-here",)))
    async with services_on(settings, now=clock) as services:
        await services.generation.upload(request.image or "")
        break_with(sandbox, "settle_then_402:1")
        with pytest.raises(PaymentRefusedError):
            await services.generation.generate(request, deadline=soon())
        let_expire(sandbox, clock)
        with pytest.raises(PaymentOutcomeUnknownError, match="no chain says whether it moved"):
            await services.generation.generate(request, deadline=soon())

    assert paid(sandbox) == [UPLOAD, CLIP]
    assert len(await signed(sandbox)) == 2


async def test_a_refusal_that_took_nothing_is_over_once_the_chain_says_so(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, clock: Clock
) -> None:
    sandbox = make_sandbox()
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings_for(sandbox, funded_key, tmp_path / "data"), now=clock) as services:
        await services.generation.upload(request.image or "")
        break_with(sandbox, "second_402:1")
        with pytest.raises(PaymentRefusedError):
            await services.generation.generate(request, deadline=soon())
        let_expire(sandbox, clock)
        # A new purchase is begun, and only the studio's clock, which did not jump, is in its way.
        with pytest.raises(PolicyError, match="clock"):
            await services.generation.generate(request, deadline=soon())

    assert paid(sandbox) == [UPLOAD]
