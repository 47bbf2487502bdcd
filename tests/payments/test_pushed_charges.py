"""Charges that their payer brings to the chain, for a studio that takes nothing else, where the owner allows that.

The money moves before the studio accepts the work: whatever happens in between, it moves once, and its hash is shown to
the studio for as long as it is good.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Container
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import (
    InsufficientBalanceError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    PolicyError,
    StudioRejectedError,
    UnacceptableOfferError,
)
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.payments import push
from seedance_mcp.sandbox import Sandbox
from tests.payments.test_purchase import CLIP, UPLOAD, services_on, settings_for, soon
from tests.payments.test_refused_payments import Clock, Draw, Make, break_with
from tests.servers import NO_TLS, Asked, RawServer, say, serve_raw

CHALLENGE_SECONDS = 400
"""Longer than a challenge is good."""
FEE = 5_576


def paid(sandbox: Sandbox) -> list[int]:
    return [one.amount_micro_usdc for one in sandbox.tempo.settlements()]


def pushing(sandbox: Sandbox, key: str, folder: Path, **more: str) -> Settings:
    return settings_for(sandbox, key, folder / "data", SEEDANCE_ALLOW_PUSH="on", **more)


def through(settings: Settings, *rpc_urls: str) -> Settings:
    """The same settings with another way to the Tempo chain."""
    return replace(settings, profile=replace(settings.profile, tempo_rpc_urls=rpc_urls))


def let_pass(sandbox: Sandbox, clock: Clock, seconds: float) -> None:
    clock.ahead += seconds
    sandbox.tempo.let_pass(seconds)


async def total(settings: Settings, now: Callable[[], float]) -> int:
    ledger = await SQLiteLedger.open(settings.ledger_file)
    try:
        return (await ledger.spend(now())).total_micro_usdc
    finally:
        await ledger.close()


@asynccontextmanager
async def serve_node(
    settings: Settings, *, deaf_to: Container[str] = (), undoing: bool = False
) -> AsyncGenerator[RawServer]:
    """A node before the chain's own: deaf to some methods, or one that says of each charge that it was undone."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if json.loads(asked.body)["method"] in deaf_to:
            await say(503)(asked, writer)
            return
        async with httpx.AsyncClient(verify=NO_TLS) as http:
            said = (await http.post(settings.profile.tempo_rpc_urls[0], content=asked.body)).json()
        if undoing and isinstance(said["result"], dict) and "status" in said["result"]:
            said["result"] |= {"status": "0x0", "logs": []}
        await say(200, json.dumps(said).encode())(asked, writer)

    async with serve_raw(answer) as node:
        yield node


def hashes_shown(sandbox: Sandbox) -> list[str]:
    state = httpx.get(f"{sandbox.url}/_sandbox/state", verify=NO_TLS).json()
    return [str(one["hash"]) for one in state["payments_seen"]]


@pytest.fixture
def studio(make_sandbox: Make) -> Sandbox:
    return make_sandbox(rails=("mpp",), takes_pushed=True)


@pytest.fixture
def video_request(make_picture: Draw) -> VideoRequest:
    return VideoRequest(image=str(make_picture()), prompt="x")


async def test_without_the_owners_word_nothing_is_pushed(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path
) -> None:
    async with services_on(settings_for(studio, funded_key, tmp_path / "data")) as services:
        with pytest.raises(UnacceptableOfferError, match="SEEDANCE_ALLOW_PUSH") as raised:
            await services.generation.upload(video_request.image or "")

    assert raised.value.payment_state == "none"
    assert paid(studio) == []


@pytest.mark.parametrize("rpc", [None, "/no-one-answers-here"])
async def test_nothing_is_pushed_to_a_chain_that_does_not_answer(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path, rpc: str | None
) -> None:
    settings = pushing(studio, funded_key, tmp_path)
    settings = through(settings, *(() if rpc is None else (studio.url + rpc,)))
    async with services_on(settings) as services:
        with pytest.raises(UnacceptableOfferError, match="does not answer now") as raised:
            await services.generation.upload(video_request.image or "")

    assert raised.value.payment_state == "none"
    assert paid(studio) == []


async def test_a_studio_that_takes_nothing_else_is_paid_once_and_its_fee_is_booked(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path
) -> None:
    settings = pushing(studio, funded_key, tmp_path)
    async with services_on(settings) as services:
        await services.generation.upload(video_request.image or "")
        quote = await services.generation.quote(video_request)
        animation, again = [await services.generation.generate(video_request, deadline=soon()) for _ in range(2)]

    assert quote.refusal is None
    assert "before it accepts the work" in " ".join(quote.notes)
    assert animation.job is not None
    assert again.job is not None
    assert animation.job.file is not None
    assert animation.job.job_id == again.job.job_id
    assert paid(studio) == [UPLOAD, CLIP]
    settled = studio.tempo.settlements()
    assert hashes_shown(studio) == [one.transaction for one in settled]
    assert await total(settings, time.time) == UPLOAD + CLIP + 2 * FEE
    ledger = await SQLiteLedger.open(settings.ledger_file)
    payment = await ledger.find_payment(2)
    await ledger.close()
    assert payment is not None
    assert payment.receipt is not None
    assert payment.receipt.transaction == settled[1].transaction


@pytest.mark.parametrize("base_micro_usdc", [0, 50_000_000])
async def test_nothing_is_pushed_where_anything_else_is_offered(
    make_sandbox: Make,
    video_request: VideoRequest,
    funded_key: str,
    funded_address: str,
    tmp_path: Path,
    base_micro_usdc: int,
) -> None:
    sandbox = make_sandbox(rails=("x402", "mpp"), takes_pushed=True, funded_on=("mpp",))
    sandbox.chain.mint(funded_address, base_micro_usdc)
    async with services_on(pushing(sandbox, funded_key, tmp_path, SEEDANCE_RAILS="mpp,x402")) as services:
        with nullcontext() if base_micro_usdc else pytest.raises(InsufficientBalanceError):
            await services.generation.upload(video_request.image or "")

    assert paid(sandbox) == []
    assert len(sandbox.chain.settlements()) == (1 if base_micro_usdc else 0)


async def test_what_was_pushed_is_shown_again_and_bought_with_once(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path
) -> None:
    settings = pushing(studio, funded_key, tmp_path)
    async with services_on(settings) as services:
        await services.generation.upload(video_request.image or "")
        for number, fault in enumerate(("drop_after_settle:1", "error_for_payment:1", "settle_then_402:1"), 1):
            break_with(studio, fault)
            animation = await services.generation.generate(replace(video_request, take=number), deadline=soon())

            assert animation.job is not None
            assert animation.job.status == "complete"
            assert paid(studio) == [UPLOAD] + [CLIP] * number, fault
            shown = hashes_shown(studio)
            assert len(shown) == 1 + 2 * number, fault
            assert len(set(shown)) == 1 + number, fault


async def test_a_studio_that_takes_the_money_and_refuses_is_not_paid_again(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path
) -> None:
    clock = Clock()
    settings = pushing(studio, funded_key, tmp_path)
    charges: list[str] = []
    async with services_on(settings, now=clock) as services:
        await services.generation.upload(video_request.image or "")
        break_with(studio, "second_402:1")
        for ahead in (0, 0, CHALLENGE_SECONDS):
            let_pass(studio, clock, ahead)
            with pytest.raises(PaymentOutcomeUnknownError, match=r"Tempo transaction 0x|by transaction 0x") as raised:
                await services.generation.generate(video_request, deadline=soon())
            charges.append(raised.value.payment_state)

    assert charges == ["settled"] * 3
    assert paid(studio) == [UPLOAD, CLIP]
    assert await total(settings, clock) == UPLOAD + CLIP + 2 * FEE


async def test_an_upload_that_was_taken_and_refused_is_not_bought_again(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path
) -> None:
    clock = Clock()
    async with services_on(pushing(studio, funded_key, tmp_path), now=clock) as services:
        break_with(studio, "second_402")
        with pytest.raises(PaymentOutcomeUnknownError):
            await services.generation.upload(video_request.image or "")
        break_with(studio)
        let_pass(studio, clock, CHALLENGE_SECONDS)
        with pytest.raises(StudioRejectedError, match="not bought again for a day") as raised:
            await services.generation.upload(video_request.image or "")

    assert raised.value.payment_state == "settled"
    assert paid(studio) == [UPLOAD]


async def test_the_hash_is_shown_to_the_studio_whatever_our_own_node_does_not_say(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "PUSH_SECONDS", 1)
    settings = pushing(studio, funded_key, tmp_path)
    async with (
        serve_node(settings, deaf_to={"eth_getTransactionReceipt"}) as node,
        services_on(through(settings, node.url)) as services,
    ):
        hosted = await services.generation.upload(video_request.image or "")

    assert hosted.upload.image_url
    assert paid(studio) == [UPLOAD]
    assert hashes_shown(studio) == [one.transaction for one in studio.tempo.settlements()]


async def test_a_charge_that_the_chain_undoes_costs_one_fee_however_often_it_is_tried(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path
) -> None:
    clock = Clock()
    settings = pushing(studio, funded_key, tmp_path)
    async with (
        serve_node(settings, undoing=True) as node,
        services_on(through(settings, node.url), now=clock) as services,
    ):
        charges: list[str] = []
        for _ in range(3):
            with pytest.raises(PaymentRefusedError, match="undid the payment") as raised:
                await services.generation.upload(video_request.image or "")
            charges.append(raised.value.payment_state)
        let_pass(studio, clock, CHALLENGE_SECONDS)
        with pytest.raises(PolicyError, match="clock"):  # it would be tried again, if our clock had not jumped
            await services.generation.upload(video_request.image or "")

    assert charges == ["held"] * 3
    assert len(paid(studio)) == 1
    assert hashes_shown(studio) == []
    assert await total(settings, clock) == FEE


async def test_what_was_signed_is_not_pushed_any_more_once_the_owner_takes_his_word_back(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "PUSH_SECONDS", 1)
    clock = Clock()
    settings = pushing(studio, funded_key, tmp_path)
    async with (
        serve_node(settings, deaf_to={"eth_sendRawTransaction"}) as node,
        services_on(through(settings, node.url)) as services,
    ):
        with pytest.raises(PaymentOutcomeUnknownError) as raised:
            await services.generation.upload(video_request.image or "")
    async with services_on(settings_for(studio, funded_key, tmp_path / "data"), now=clock) as services:
        with pytest.raises(PaymentOutcomeUnknownError):
            await services.generation.upload(video_request.image or "")
        moved = paid(studio)
        let_pass(studio, clock, CHALLENGE_SECONDS)
        with pytest.raises(PolicyError):
            await services.generation.upload(video_request.image or "")

    assert raised.value.payment_state == "held"
    assert moved == []
    assert await total(settings, clock) == 0, "the chain says that it never came"


async def test_money_that_the_chain_saw_move_cannot_be_written_off(
    studio: Sandbox, video_request: VideoRequest, funded_key: str, tmp_path: Path
) -> None:
    clock = Clock()
    settings = pushing(studio, funded_key, tmp_path)
    async with services_on(settings, now=clock) as services:
        await services.generation.upload(video_request.image or "")
        break_with(studio, "second_402:1")
        with pytest.raises(PaymentOutcomeUnknownError):
            await services.generation.generate(video_request, deadline=soon())
    clock.ahead = CHALLENGE_SECONDS
    ledger = await SQLiteLedger.open(settings.ledger_file)
    [payment] = await ledger.unfinished_payments(clock())
    await ledger.close()
    async with services_on(through(settings, f"{studio.url}/no-one-answers-here"), now=clock) as services:
        payment = await services.verifier.write_off(payment)

    assert (payment.state, payment.fee_micro_usdc) == ("settled", FEE)
    assert await total(settings, clock) == UPLOAD + CLIP + 2 * FEE
