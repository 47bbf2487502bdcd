"""Studios that lie, break or dawdle around a payment: nothing is bought twice, and no budget is forgotten."""

import json
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.app.services import Services
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    BudgetExceededError,
    ChainError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    PriceTooHighError,
    StudioError,
    StudioRejectedError,
)
from seedance_mcp.core.wire.offers import Credential
from seedance_mcp.core.wire.responses import PaidRequest, Response
from seedance_mcp.generation import upload_lookup
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.sandbox import Sandbox
from tests.ledgers import connect
from tests.payments.test_purchase import CLIP, UPLOAD, services_on, settings_for, soon
from tests.payments.test_refused_payments import Clock, break_with, let_expire, paid

Make = Callable[..., Sandbox]
Draw = Callable[..., Path]
SendPaid = Callable[[PaidRequest, Credential], Awaitable[Response]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def animate(services: Services, request: VideoRequest) -> Any:
    return await services.generation.generate(request, deadline=soon())


def between(services: Services, change: Callable[[SendPaid], SendPaid]) -> None:
    """Put something between us and the studio's answers to payments."""
    studio: Any = services.studio  # a seam for what no fault of the sandbox does
    studio.send_paid = change(studio.send_paid)


async def ledger_of(settings: Settings) -> SQLiteLedger:
    return await SQLiteLedger.open(settings.ledger_file)


def on_chains(settings: Settings, *urls: str) -> Settings:
    return replace(settings, profile=replace(settings.profile, rpc_urls=urls, tempo_rpc_urls=urls))


async def resume(services: Services, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await services.generation.resume()


async def test_a_price_that_comes_late_is_not_signed_for_over_a_payment_that_was_refused_meanwhile(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings) as slow, services_on(settings) as quick:
        await slow.generation.upload(request.image or "")
        studio: Any = slow.studio
        ask, priced, may_go_on = studio.send, anyio.Event(), anyio.Event()

        async def dawdle(request: PaidRequest) -> Response:
            answer = await ask(request)
            priced.set()
            await may_go_on.wait()
            return answer

        studio.send = dawdle
        animations: list[Any] = []

        async def animate_slowly() -> None:
            animations.append(await animate(slow, request))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(animate_slowly)
            await priced.wait()
            break_with(sandbox, "settle_then_402:1")
            with pytest.raises(PaymentRefusedError):
                await animate(quick, request)
            transaction: Any = quick.ledger
            connect(transaction).execute(
                "UPDATE payments SET hold_until = 0 WHERE state = 'refused'"
            )  # three minutes go by
            may_go_on.set()

    assert animations[0].job.status == "complete"
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_budget_does_not_forget_what_a_studio_refused_while_the_chain_is_silent(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, clock: Clock
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data", SEEDANCE_MAX_PER_DAY="0.60")
    settings = on_chains(settings, f"{sandbox.url}/no-one-answers-here")
    image = str(make_picture())
    async with services_on(settings, now=clock) as services:
        await services.generation.upload(image)
        break_with(sandbox, "settle_then_402:1")
        with pytest.raises(PaymentRefusedError):
            await animate(services, VideoRequest(image=image, prompt="one"))
        for clock.ahead in (0, 300, 3_000, 80_000):
            with pytest.raises(BudgetExceededError):
                await animate(services, VideoRequest(image=image, prompt="two"))

    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_two_payments_never_share_a_job_and_one_without_does_not_stop_the_others(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    image = str(make_picture())
    async with services_on(settings) as services:
        first = (await animate(services, VideoRequest(image=image, prompt="one"))).job

        def name_the_first(send: SendPaid) -> SendPaid:
            async def lie(request: PaidRequest, credential: Credential) -> Response:
                answer = await send(request, credential)
                return replace(answer, body=json.dumps({**json.loads(answer.body), "jobId": first.job_id}).encode())

            return lie

        between(services, name_the_first)
        second = (await animate(services, VideoRequest(image=image, prompt="two"))).job

    assert second.job_id != first.job_id, "found in the studio's list, by what was ordered"
    assert paid(sandbox) == [UPLOAD, CLIP, CLIP]


async def test_a_payment_whose_answer_is_lost_does_not_take_another_ones_job(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    one = VideoRequest(image=str(make_picture()), prompt="x")
    two = replace(one, take=2)  # the very same body
    jobs: list[Any] = []
    async with services_on(settings) as services:
        await services.generation.upload(one.image or "")
        break_with(sandbox, "error_for_payment")
        with pytest.raises(PaymentOutcomeUnknownError):
            await animate(services, one)
        break_with(sandbox, "slow_answer=3:1")
        async with anyio.create_task_group() as tasks:

            async def buy_the_other() -> None:
                jobs.append((await animate(services, two)).job)

            tasks.start_soon(buy_the_other)
            while CLIP not in paid(sandbox):
                await anyio.sleep(0.05)
            transaction = await ledger_of(settings)
            [lost] = [one for one in await transaction.unfinished_payments(time.time()) if one.lease_until == 0]
            reconciler: Any = services.reconciler
            assert await reconciler.find_job(lost) is None
            await transaction.close()
        jobs.append((await animate(services, one)).job)

    assert len({job.job_id for job in jobs}) == 2
    assert paid(sandbox) == [UPLOAD, CLIP, CLIP]


async def test_a_page_of_json_instead_of_a_paid_answer_is_not_taken_for_a_purchase(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings_for(sandbox, funded_key, tmp_path / "data")) as services:
        await services.generation.upload(request.image or "")
        portals = [1, 1]

        def log_in_first(send: SendPaid) -> SendPaid:
            async def answer(request: PaidRequest, credential: Credential) -> Response:
                if portals:
                    portals.pop()
                    return Response(status=200, headers=[], body=b'{"error": "please log in"}')
                return await send(request, credential)

            return answer

        between(services, log_in_first)
        with pytest.raises(PaymentOutcomeUnknownError):
            await animate(services, request)
        job = (await animate(services, request)).job

    assert job.status == "complete"
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_picture_that_cannot_be_stored_is_paid_for_twice_at_most_and_says_so(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    settings = replace(settings, profile=replace(settings.profile, blob_url=f"{sandbox.url}/no-one-stores-here"))
    image = str(make_picture())
    told: list[StudioRejectedError] = []
    async with services_on(settings) as services:
        for _ in range(4):
            with pytest.raises(StudioRejectedError) as raised:
                await animate(services, VideoRequest(image=image, prompt="x"))
            told.append(raised.value)

    assert paid(sandbox) == [UPLOAD, UPLOAD]
    assert [one.payment_state for one in told] == ["settled"] * 4
    assert "$0.01 was paid" in str(told[0])
    assert all("is not bought again for a day" in str(one) for one in told[1:])
    assert not any("kept and used again" in str(one) for one in told)


async def test_a_fault_of_our_own_after_the_sending_does_not_say_that_nothing_was_paid(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    request = VideoRequest(image=str(make_picture()), prompt="x")

    def break_after(send_paid: SendPaid) -> SendPaid:
        async def broken(request: Any, credential: Any) -> Any:
            await send_paid(request, credential)
            raise TypeError("a fault of our own")

        return broken

    told: list[SeedanceError] = []
    with suppress(ExceptionGroup):  # the background task's own end; a face writes it to its log
        async with services_on(settings) as services:
            await services.generation.upload(request.image or "")
            between(services, break_after)
            try:
                await animate(services, request)
            except SeedanceError as exc:
                told.append(exc)
    assert [error.payment_state for error in told] == ["held"]
    assert "What was paid, if anything, is in the ledger." in str(told[0])
    assert paid(sandbox) == [UPLOAD, CLIP]
    async with services_on(settings) as services:
        assert (await animate(services, request)).job is not None
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_store_that_calls_every_picture_gone_sells_one_no_more_than_twice_a_day(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    picture = str(make_picture())

    async def is_gone(_url: str) -> bool:
        return False

    async with services_on(settings_for(sandbox, funded_key, tmp_path / "data")) as services:
        studio: Any = services.studio
        studio.is_hosted = is_gone
        hosted = [await services.generation.upload(picture) for _ in range(5)]
    assert paid(sandbox) == [UPLOAD, UPLOAD]
    assert hosted[-1].upload == hosted[1].upload


async def test_hosted_picture_is_not_asked_for_again_within_seconds(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = make_sandbox()
    picture = str(make_picture())
    async with services_on(settings_for(sandbox, funded_key, tmp_path / "data")) as services:
        first = await services.generation.upload(picture)
        assert (await services.generation.upload(picture)).upload == first.upload
        break_with(sandbox, "gone_upload")
        assert (await services.generation.upload(picture)).upload == first.upload
        assert paid(sandbox) == [UPLOAD]
        monkeypatch.setattr(upload_lookup, "SEEN_SECONDS", 0)
        assert (await services.generation.upload(picture)).upload != first.upload
    assert paid(sandbox) == [UPLOAD, UPLOAD]


async def test_without_a_chain_to_ask_a_refused_request_is_not_bought_again_by_itself(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, clock: Clock
) -> None:
    sandbox = make_sandbox()
    settings = on_chains(settings_for(sandbox, funded_key, tmp_path / "data"))
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings, now=clock) as services:
        await services.generation.upload(request.image or "")
        break_with(sandbox, "settle_then_402:1")
        with pytest.raises(PaymentRefusedError):
            await animate(services, request)
        let_expire(sandbox, clock)
        with pytest.raises(PaymentOutcomeUnknownError, match="no chain says whether it moved"):
            await animate(services, request)

    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_with_a_clock_that_is_ahead_a_refused_charge_is_held_until_the_chain_calls_it_over(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, clock: Clock
) -> None:
    clock.ahead = 50
    sandbox = make_sandbox(rails=("mpp",))
    settings = on_chains(settings_for(sandbox, funded_key, tmp_path / "data"))
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings, now=clock) as services:
        await services.generation.upload(request.image or "")
        break_with(sandbox, "settle_then_402:1")
        for _ in range(2):
            with pytest.raises(PaymentRefusedError):
                await animate(services, request)

    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_job_whose_settlement_failed_does_not_make_its_payment_settled(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, clock: Clock
) -> None:
    sandbox = make_sandbox(rails=("mpp",))
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings, now=clock) as services:
        await services.generation.upload(request.image or "")
        break_with(sandbox, "fail_settlement")
        with suppress(SeedanceError):
            await animate(services, request)
        reconciler: Any = services.reconciler
        states: list[str] = []
        for passed in (30, 30):  # over, but too short ago to be sure; and then for certain
            clock.ahead += passed
            sandbox.tempo.let_pass(passed)
            payment = await reconciler.reconcile(await reconciler.ledger.find_payment(2))
            states.append(payment.state)

    assert states == ["signed", "refused"]
    assert payment.chain_checked
    assert paid(sandbox) == [UPLOAD]


async def test_a_yes_is_good_for_its_own_price_however_long_it_took_and_whatever_was_asked_since(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, clock: Clock
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data", SEEDANCE_ASK_ABOVE="0.10")
    request = VideoRequest(image=str(make_picture()), prompt="x")
    refused: list[str] = []
    async with services_on(settings, now=clock) as services:
        asked = await services.generation.find_proposal(request)
        for agreed in (0, UPLOAD + CLIP - 1):
            with pytest.raises(PriceTooHighError) as raised:
                await services.generation.generate(request, agreed_micro_usdc=agreed, deadline=soon())
            refused.append(str(raised.value))
        clock.ahead = 50  # a person takes time; much more, and the studio's clock would be in the way
        animation = await services.generation.generate(request, agreed_micro_usdc=UPLOAD + CLIP, deadline=soon())

    assert asked is not None
    assert asked.cost.total_micro_usdc == UPLOAD + CLIP
    assert all("a person was asked about" in text for text in refused)
    assert animation.job is not None
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_payment_of_a_wallet_that_was_changed_since_is_brought_to_its_end(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path, clock: Clock
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings, now=clock) as services:
        await services.generation.upload(request.image or "")
        break_with(sandbox, "error_for_payment")
        with pytest.raises(PaymentOutcomeUnknownError):
            await animate(services, request)
    let_expire(sandbox, clock)
    async with services_on(replace(settings, wallet_key="0x" + "5" * 64), now=clock) as services:
        await resume(services, 2)

    transaction = await ledger_of(settings)
    assert [one.state for one in await transaction.recent_payments(2)] == ["refused", "settled"]
    assert (await transaction.spend(clock())).total_micro_usdc == UPLOAD
    await transaction.close()


async def test_a_chains_address_is_in_no_error(make_sandbox: Make, funded_key: str, tmp_path: Path) -> None:
    settings = on_chains(settings_for(make_sandbox(), funded_key, tmp_path / "data"), "http://127.0.0.1:9/v2/HUSH")
    async with services_on(settings) as services:
        rpc = services.reconciler.settlement_checker.rpc
        with pytest.raises(ChainError) as raised:
            await rpc.call("eth_chainId", [])
    assert "HUSH" not in "".join(traceback.format_exception(raised.value))


async def test_an_upload_that_was_reconciled_and_cannot_be_stored_says_what_it_cost(
    make_sandbox: Make, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox(faults=("error_for_payment:1",))
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    settings = replace(settings, profile=replace(settings.profile, blob_url="http://127.0.0.1:9/"))
    async with services_on(settings) as services:
        with pytest.raises(StudioError) as raised:
            await services.generation.upload(str(make_picture()))

    assert "The image upload before it cost $0.01" in str(raised.value)
    assert "Nothing was paid" not in str(raised.value)
    assert paid(sandbox) == [UPLOAD]
