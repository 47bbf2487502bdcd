"""A credential that was written down and may never have been sent: who may still send it, and when it is dead."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import PaymentOutcomeUnknownError, StudioUnreachableError
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.sandbox import Sandbox
from tests.payments.test_hostile_studios import SendPaid, animate, between, ledger_of
from tests.payments.test_purchase import services_on, settings_for
from tests.payments.test_refused_payments import CLIP, UPLOAD, paid

EXPIRED_SECONDS = 300
LOOK_SECONDS = 3
Make = Callable[..., Sandbox]
Draw = Callable[..., Path]


def hold_back(_: SendPaid) -> SendPaid:
    """Nothing that is paid for gets out."""

    async def unreachable(request: Any, credential: Any) -> Any:
        raise StudioUnreachableError("The line is cut.", "Try again.")

    return unreachable


@asynccontextmanager
async def left_unsent(settings: Settings, request: VideoRequest) -> AsyncGenerator[Any]:
    """An services whose upload is paid, and whose video's credential was signed and never sent."""
    async with services_on(settings) as services:
        await services.generation.upload(request.image or "")
        between(services, hold_back)
        with pytest.raises(PaymentOutcomeUnknownError):
            await animate(services, request)
        yield services


async def test_what_the_owner_no_longer_allows_is_not_sent_after_all(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    tightened: list[dict[str, Any]] = [
        {"max_price_per_video_micro_usdc": CLIP - 1},
        {"max_per_day_micro_usdc": UPLOAD + CLIP - 1},
        {"max_total_micro_usdc": UPLOAD + CLIP - 1},
        {"recipients": ("0x" + "11" * 20,)},
        {"rails": ("mpp",)},
        {"models": ("seedance",)},
    ]
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    async with left_unsent(settings, VideoRequest(image=str(make_picture()), prompt="x")):
        pass
    for tighter in tightened:
        async with services_on(replace(settings, limits=replace(settings.limits, **tighter))) as services:
            with anyio.move_on_after(LOOK_SECONDS):
                await services.generation.resume()
        assert paid(sandbox) == [UPLOAD], tighter
        ledger = await ledger_of(settings)
        states = [payment.state for payment in await ledger.unfinished_payments(0)]
        await ledger.close()
        assert states == ["signed"], "it stays held, and is looked into"


async def test_what_the_owner_still_allows_is_sent_and_buys_its_video(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    exact = {"max_total_micro_usdc": UPLOAD + CLIP, "max_per_day_micro_usdc": UPLOAD + CLIP}
    settings = replace(settings, limits=replace(settings.limits, **exact, max_price_per_video_micro_usdc=CLIP))
    async with left_unsent(settings, VideoRequest(image=str(make_picture()), prompt="x")):
        pass
    async with services_on(settings) as services:
        with anyio.move_on_after(LOOK_SECONDS):
            await services.generation.resume()
    assert paid(sandbox) == [UPLOAD, CLIP]


@pytest.mark.parametrize("rail", ["x402", "mpp"])
async def test_a_chain_that_runs_ahead_of_our_clock_does_not_make_a_living_credential_dead(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, rail: str
) -> None:
    sandbox = make_sandbox(rails=(rail,))
    request = VideoRequest(image=str(make_picture()), prompt="x")
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    async with left_unsent(settings, request) as services:
        sandbox.chain.let_pass(EXPIRED_SECONDS)
        sandbox.tempo.let_pass(EXPIRED_SECONDS)
        with pytest.raises(PaymentOutcomeUnknownError):
            await animate(services, request)
    ledger = await ledger_of(settings)
    assert [payment.state for payment in await ledger.recent_payments(9)] == ["signed", "settled"], (
        "nothing was signed anew"
    )
    await ledger.close()
