"""Callers of a shared server: none joins, sees or pays for what is another's, whatever it asks for."""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from seedance_mcp.config.settings import Settings
from seedance_mcp.core.callers import CallerCaps
from seedance_mcp.core.errors import (
    BudgetExceededError,
    InsufficientBalanceError,
    JobNotFoundError,
    PaymentOutcomeUnknownError,
    PossiblyBoughtError,
    PurchaseUnderwayError,
    SpendingFrozenError,
)
from seedance_mcp.core.limits import Limits
from seedance_mcp.generation.request import VideoRequest
from tests.app.teams import Team, add_caller, add_callers, open_team
from tests.payments.test_hostile_studios import animate, between
from tests.payments.test_living_credentials import LOOK_SECONDS, hold_back
from tests.payments.test_purchase import services_on, settings_for, soon
from tests.payments.test_refused_payments import CLIP, UPLOAD, break_with, paid
from tests.postgres import require_postgres
from tests.servers import NO_TLS

if TYPE_CHECKING:
    from seedance_mcp.app.services import Services
    from seedance_mcp.sandbox import Sandbox

Make = Callable[..., "Sandbox"]


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@pytest.fixture
def sandbox(make_sandbox: Make) -> "Sandbox":
    return make_sandbox()


@pytest.fixture
def settings(sandbox: "Sandbox", funded_key: str, tmp_path: Path, url: str) -> Settings:
    return settings_for(sandbox, funded_key, tmp_path / "data", SEEDANCE_DATABASE_URL=url)


@pytest.fixture
def request_(make_picture: Callable[..., Path]) -> VideoRequest:
    return VideoRequest(image=str(make_picture()), prompt="x")


async def buy(services: "Services", request: VideoRequest) -> str:
    """Buy a video and wait for its end; returns its job's id."""
    generated = await services.generation.generate(request, deadline=soon())
    assert generated.job is not None
    return generated.job.job_id


async def fail_to_get(services: "Services", job_id: str) -> str:
    """Return the error of a job that a caller may not see, without the id itself."""
    with pytest.raises(JobNotFoundError) as failed:
        await services.jobs.get(job_id, deadline=soon())
    return str(failed.value).replace(job_id, "ID")


async def count_requests(sandbox: "Sandbox") -> dict[str, int]:
    """Return how often each route of the studio was asked."""
    async with httpx.AsyncClient(verify=NO_TLS) as http:
        return (await http.get(f"{sandbox.url}/_sandbox/state")).json()["requests"]


async def test_two_callers_never_share_a_purchase(
    settings: Settings, sandbox: "Sandbox", url: str, request_: VideoRequest
) -> None:
    """The same request at the same time: two videos, and one upload, which is the wallet's."""
    ada, bob = await add_callers(url, "ada", "bob")
    jobs: dict[str, str] = {}
    async with open_team(settings) as team:

        async def order(name: str, services: "Services") -> None:
            jobs[name] = await buy(services, request_)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(order, "ada", team.of(ada))
            tasks.start_soon(order, "bob", team.of(bob))
        again = await buy(team.of(ada), request_)

        assert again == jobs["ada"] != jobs["bob"]
        assert paid(sandbox) == [UPLOAD, CLIP, CLIP]
        spent = [(await team.ledger.for_caller(one.id).find_usage(0)).spend.total_micro_usdc for one in (ada, bob)]
        assert sorted(spent) == [CLIP, CLIP + UPLOAD]
        assert await team.ledger.find_wrong_totals() == []


async def test_a_lost_answer_is_never_replaced_by_the_job_of_another_caller(
    settings: Settings, sandbox: "Sandbox", url: str, request_: VideoRequest
) -> None:
    """The studio's list has the jobs of both, for the same body."""
    ada, bob = await add_callers(url, "ada", "bob")
    async with open_team(settings) as team:
        foreign = await buy(team.of(ada), request_)
        break_with(sandbox, "drop_after_settle:1")
        with contextlib.suppress(PaymentOutcomeUnknownError):
            await animate(team.of(bob), request_)
        own = await buy(team.of(bob), request_)

        assert own != foreign
        assert paid(sandbox) == [UPLOAD, CLIP, CLIP]


async def test_another_callers_job_is_like_an_unknown_one(
    settings: Settings, sandbox: "Sandbox", url: str, request_: VideoRequest
) -> None:
    ada, bob = await add_callers(url, "ada", "bob")
    async with open_team(settings) as team:
        foreign, own = await buy(team.of(ada), request_), await buy(team.of(bob), replace_prompt(request_, "y"))
        before = await count_requests(sandbox)
        services = team.of(bob)

        assert await fail_to_get(services, foreign) == await fail_to_get(services, "unknown")
        assert await services.jobs.find(foreign) is None
        assert [job.job_id for job in (await services.jobs.list_recent(20)).jobs] == [own]
        assert await count_requests(sandbox) == before, "the studio is not asked for the job of another"


async def test_jobs_that_the_ledger_lacks_are_shown_to_admins_alone(
    settings: Settings, url: str, tmp_path: Path, request_: VideoRequest
) -> None:
    ada, root = await add_caller(url, "ada"), await add_caller(url, "root", "read", "spend", "admin")
    async with services_on(replace(settings, database_url=None)) as elsewhere:
        job_id = await buy(elsewhere, request_)
    async with open_team(settings) as team:
        await fail_to_get(team.of(ada), job_id)
        assert (await team.of(ada).jobs.list_recent(20)).jobs == ()
        assert [job.job_id for job in (await team.of(root).jobs.list_recent(20)).jobs] == [job_id]
        assert (await team.of(root).jobs.get(job_id, deadline=soon())).job_id == job_id


async def test_what_may_have_been_bought_before_is_not_named_to_a_caller(
    settings: Settings, make_sandbox: Make, funded_key: str, tmp_path: Path, url: str, request_: VideoRequest
) -> None:
    """The guard against paying twice stays; its error tells nothing of the job."""
    settings = settings_for(
        make_sandbox(faults=("hidden_input",)), funded_key, tmp_path / "data", SEEDANCE_DATABASE_URL=url
    )
    ada = await add_caller(url, "ada")
    async with services_on(replace(settings, database_url=None)) as elsewhere:
        job_id = await buy(elsewhere, request_)
    async with open_team(settings) as team:
        with pytest.raises(PossiblyBoughtError) as refused:
            await animate(team.of(ada), request_)
        assert job_id not in str(refused.value)


async def test_a_team_shares_its_purchases_and_sees_them(
    settings: Settings, sandbox: "Sandbox", url: str, request_: VideoRequest
) -> None:
    ada, bob = await add_callers(url, "ada", "bob")
    async with open_team(settings, scope="team") as team:
        first = await buy(team.of(ada), request_)

        assert await buy(team.of(bob), request_) == first
        assert [job.job_id for job in (await team.of(bob).jobs.list_recent(20)).jobs] == [first]
        assert paid(sandbox) == [UPLOAD, CLIP]
        status = await team.of(bob).wallet_status.read()
        assert (status.spend.total_micro_usdc, status.balances, status.address) == (0, (), "")


async def test_a_caller_sees_its_own_sums_and_no_wallet(settings: Settings, url: str, request_: VideoRequest) -> None:
    ada, bob = await add_caller(url, "ada"), await add_caller(url, "bob", max_per_day_micro_usdc=1_000_000, max_open=2)
    root = await add_caller(url, "root", "read", "admin")
    async with open_team(settings) as team:
        await buy(team.of(ada), request_)
        status = await team.of(bob).wallet_status.read()
        quote = await team.of(bob).generation.quote(request_)
        everything = await team.of(root).wallet_status.read()

    assert (status.address, status.balances, status.unfinished) == ("", (), ())
    assert (status.spend.total_micro_usdc, status.day_left_micro_usdc, quote.day_left_micro_usdc) == (
        0,
        1_000_000,
        1_000_000,
    )
    assert [cap.name for cap in status.caps] == ["caller's budget per day", "caller's open purchases"]
    assert {offer.balance_micro_usdc for offer in quote.offers} == {None}
    assert everything.spend.total_micro_usdc == UPLOAD + CLIP
    assert everything.address
    assert everything.balances


async def test_a_callers_cap_is_checked_before_an_upload_is_paid(
    settings: Settings, sandbox: "Sandbox", url: str, request_: VideoRequest
) -> None:
    ada = await add_caller(url, "ada", max_per_day_micro_usdc=UPLOAD + CLIP - 1)
    bob = await add_caller(url, "bob")
    async with open_team(settings, defaults=CallerCaps(max_open=0)) as team:
        with pytest.raises(BudgetExceededError, match="left of the caller's budget per day"):
            await animate(team.of(ada), request_)
        with pytest.raises(BudgetExceededError, match="0 of 0 purchases are open"):
            await animate(team.of(bob), request_)
    assert paid(sandbox) == []


async def test_the_wallets_limits_are_named_to_a_caller_without_what_is_left(
    settings: Settings, url: str, request_: VideoRequest
) -> None:
    ada, bob = await add_callers(url, "ada", "bob")
    tight = replace(settings, limits=replace(settings.limits, max_total_micro_usdc=UPLOAD + CLIP + 7))
    async with open_team(tight) as team:
        await buy(team.of(ada), request_)
        with pytest.raises(BudgetExceededError) as refused:
            await animate(team.of(bob), request_)
    assert refused.value.what == "$0.32 is more than is left of the total budget (SEEDANCE_MAX_TOTAL)."


async def test_no_balance_is_named_to_a_caller(
    make_sandbox: Make, funded_key: str, funded_address: str, tmp_path: Path, url: str, request_: VideoRequest
) -> None:
    poor = make_sandbox(funded={funded_address: 123_456})
    ada = await add_caller(url, "ada")
    settings = settings_for(poor, funded_key, tmp_path / "data", SEEDANCE_DATABASE_URL=url)
    async with open_team(settings) as team:
        with pytest.raises(InsufficientBalanceError) as refused:
            await animate(team.of(ada), request_)
        quote = await team.of(ada).generation.quote(request_)
    assert "0.12" not in str(refused.value) + str(quote.refusal)
    assert funded_address.lower() not in str(refused.value).lower()


async def leave_unsent(team: Team, services: "Services", request: VideoRequest) -> None:
    """Sign a payment of a caller and never send it."""
    await services.generation.upload(request.image or "")
    studio: Any = services.studio
    send_paid = studio.send_paid
    between(services, hold_back)
    with pytest.raises(PaymentOutcomeUnknownError):
        await animate(services, request)
    studio.send_paid = send_paid


async def test_the_unfinished_upload_of_another_is_no_payment_of_the_caller(
    settings: Settings, url: str, request_: VideoRequest
) -> None:
    ada, bob = await add_callers(url, "ada", "bob")
    async with open_team(settings) as team:
        between(team.base, hold_back)
        with pytest.raises(PaymentOutcomeUnknownError):
            await team.of(ada).generation.upload(request_.image or "")
        with pytest.raises(PurchaseUnderwayError, match="for another caller") as refused:
            await team.of(bob).generation.upload(request_.image or "")

    assert (refused.value.payment_id, refused.value.payment_state, refused.value.amount_micro_usdc) == (None, "none", 0)


@pytest.mark.parametrize("stop", ["freeze", "caps", "nothing"])
async def test_what_a_caller_may_no_longer_spend_is_not_sent_after_all(
    settings: Settings, sandbox: "Sandbox", url: str, request_: VideoRequest, stop: str
) -> None:
    """The replica's own reconciler knows no caller, and still keeps to the caps and freezes of the payment's."""
    ada = await add_caller(url, "ada")
    async with open_team(settings) as team:
        await leave_unsent(team, team.of(ada), request_)
        if stop == "freeze":
            await team.ledger.for_caller(ada.id).freeze("stop", now=0)
        if stop == "caps":
            await team.ledger.set_caps("ada", CallerCaps(max_per_day_micro_usdc=UPLOAD + CLIP - 1))
        with anyio.move_on_after(LOOK_SECONDS):
            await team.base.generation.resume()
    assert paid(sandbox) == ([UPLOAD, CLIP] if stop == "nothing" else [UPLOAD])


async def test_a_frozen_caller_buys_nothing_and_others_do(
    settings: Settings, sandbox: "Sandbox", url: str, request_: VideoRequest
) -> None:
    ada, bob = await add_callers(url, "ada", "bob")
    async with open_team(settings) as team:
        await team.ledger.for_caller(ada.id).freeze("token leaked", now=0)
        with pytest.raises(SpendingFrozenError, match="token leaked"):
            await animate(team.of(ada), request_)
        await buy(team.of(bob), request_)
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_quote_binds_its_caller_on_every_replica(
    settings: Settings, sandbox: "Sandbox", url: str, request_: VideoRequest
) -> None:
    ada, bob = await add_callers(url, "ada", "bob")
    ask_settings = replace(settings, limits=Limits(ask_above_micro_usdc=1))
    async with open_team(ask_settings) as one, open_team(ask_settings) as two:
        proposal = await one.of(ada).generation.find_proposal(request_)
        asked = await count_requests(sandbox)

        assert proposal is not None
        assert await two.of(ada).generation.find_proposal(request_) == proposal
        assert await count_requests(sandbox) == asked, "the price is not asked for again"
        await two.of(bob).generation.find_proposal(request_)
        assert await count_requests(sandbox) != asked, "another caller is not held to it"


def replace_prompt(request: VideoRequest, prompt: str) -> VideoRequest:
    return replace(request, prompt=prompt)
