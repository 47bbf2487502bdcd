"""Buying in process: clocks that jump, ledger that cannot be written, and two servers with one wallet.

Real SQLite, real signatures, the sandbox on a real port; the clock is handed in.
"""

import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.adapters.studio.client import Address, Studio
from seedance_mcp.adapters.wallet import Wallet, open_wallet
from seedance_mcp.app.services import Parts, Services, build_services
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.errors import LedgerError, PolicyError, PriceTooHighError
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.sandbox import Sandbox
from tests.ledgers import connect
from tests.servers import NO_TLS

WAIT_SECONDS = 20
UPLOAD, CLIP = 10_000, 320_000


def settings_for(sandbox: Sandbox, key: str, folder: Path, **more: str) -> Settings:
    return read_settings(
        {
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": sandbox.url,
            "SEEDANCE_WALLET_KEY": key,
            "SEEDANCE_DATA_DIR": str(folder),
            **more,
        }
    )


def soon() -> float:
    """The deadline of a call that may wait for `WAIT_SECONDS`."""
    return anyio.current_time() + WAIT_SECONDS


@asynccontextmanager
async def services_on(
    settings: Settings, *, now: Callable[[], float] = time.time, wallet: Wallet | None = None
) -> AsyncGenerator[Services]:
    """An services of its own: its own connection to the ledger, its own HTTP client, its own background tasks."""
    wallet = wallet or await open_wallet(settings.wallet_key, settings.wallet_file)

    async def sign_in(build: Callable[[str], str]) -> tuple[str, str]:
        return wallet.address, await wallet.sign_in(build(wallet.address))

    profile = settings.profile
    address = Address(
        studio_url=profile.studio_url,
        blob_url=profile.blob_url,
        chain_id=profile.sign_in_chain,
        allow_loopback_http=profile.allow_loopback_http,
    )
    ledger = await SQLiteLedger.open(settings.ledger_file)
    tasks: TaskGroup
    async with anyio.create_task_group() as tasks, Studio(address, sign_in) as studio:

        def start(work: Callable[[], Awaitable[None]]) -> None:
            async def run() -> None:
                await work()

            tasks.start_soon(run)

        yield build_services(Parts(settings=settings, ledger=ledger, studio=studio, start=start, now=now), wallet)
        tasks.cancel_scope.cancel()
    await ledger.close()


def paid(sandbox: Sandbox) -> list[int]:
    return [settlement.amount_micro_usdc for settlement in sandbox.chain.settlements()]


async def signed(sandbox: Sandbox) -> list[str]:
    """Paths of every credential that the studio was ever shown."""
    async with httpx.AsyncClient(verify=NO_TLS) as http:
        state = (await http.get(f"{sandbox.url}/_sandbox/state")).json()
    return [payment["path"] for payment in state["payments_seen"]]


@pytest.mark.parametrize("jump_seconds", [-300, 3600])
async def test_a_clock_that_jumped_is_told_so_before_anything_is_signed(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path,
    jump_seconds: int,
) -> None:  # fmt: skip
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    async with services_on(settings, now=lambda: time.time() + jump_seconds) as services:
        with pytest.raises(PolicyError, match="clock") as raised:
            await services.generation.upload(str(make_picture()))

    assert raised.value.payment_state == "none"
    assert await signed(sandbox) == []


async def test_a_clock_that_jumps_after_a_purchase_loses_nothing(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    request = VideoRequest(image=str(make_picture()), prompt="x")
    jump = 0.0

    def now() -> float:
        return time.time() + jump

    async with services_on(settings, now=now) as services:
        first = await services.generation.generate(request, deadline=soon())
        for seconds in (-600.0, 3600.0):
            jump = seconds
            again = await services.generation.generate(request, deadline=soon())
            assert first.job is not None
            assert again.job is not None
            assert again.job.job_id == first.job.job_id
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_damaged_ledger_refuses_before_anything_is_signed(
    make_sandbox: Callable[..., Sandbox], funded_key: str, tmp_path: Path
) -> None:
    settings = settings_for(make_sandbox(), funded_key, tmp_path / "data")
    settings.ledger_file.parent.mkdir(parents=True)
    settings.ledger_file.write_bytes(b"SQLite format 3\0" + os.urandom(8192))
    with pytest.raises(LedgerError, match="Nothing is signed without it"):
        await SQLiteLedger.open(settings.ledger_file)


async def test_a_full_disk_refuses_before_anything_is_signed(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    async with services_on(settings) as services:
        ledger: SQLiteLedger = services.ledger  # type: ignore[assignment]  # the disk of this ledger is full from here on
        pages = connect(ledger).execute("PRAGMA page_count").fetchone()[0]
        connect(ledger).execute(f"PRAGMA max_page_count = {pages}")

        async def fill() -> None:
            for number in range(50):
                await services.generation.upload(str(make_picture(f"{number}.png", size=(64, 64 + number))))

        with pytest.raises(LedgerError, match="full"):
            await fill()

    shown = await signed(sandbox)
    recorded = sqlite3.connect(settings.ledger_file)
    rows = recorded.execute("SELECT count(*) FROM payments WHERE state IN ('signed', 'settled')").fetchone()[0]
    recorded.close()
    assert len(shown) == rows, "a credential was sent that the ledger does not know"


async def test_two_servers_with_one_wallet_and_one_request_buy_it_once(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox(faults=("slow_answer=0.5",))
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    request = VideoRequest(image=str(make_picture()), prompt="x")
    jobs: list[str | None] = []

    async def ask(services: Services) -> None:
        done = await services.generation.generate(request, deadline=soon())
        jobs.append(done.job and done.job.job_id)

    async with services_on(settings) as one, services_on(settings) as two, anyio.create_task_group() as calls:
        for services in (one, two, one, two):
            calls.start_soon(ask, services)

    assert len(set(jobs)) == 1
    assert None not in jobs
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_many_calls_at_once_in_one_server_are_one_purchase(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    request = VideoRequest(image=str(make_picture()), prompt="x")
    jobs: set[str | None] = set()

    async with services_on(settings_for(sandbox, funded_key, tmp_path / "data")) as services:

        async def ask() -> None:
            done = await services.generation.generate(request, deadline=soon())
            jobs.add(done.job and done.job.job_id)

        async with anyio.create_task_group() as calls:
            for _ in range(20):
                calls.start_soon(ask)

    assert len(jobs) == 1
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_caller_who_leaves_in_the_middle_of_a_payment_stops_nothing(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox(faults=("slow_answer=1",))
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings_for(sandbox, funded_key, tmp_path / "data")) as services:
        async with anyio.create_task_group() as caller:

            async def ask() -> None:
                await services.generation.generate(request, deadline=soon())

            caller.start_soon(ask)
            with anyio.fail_after(WAIT_SECONDS):
                while len(paid(sandbox)) < 2:  # the video's money has moved, its answer has not come
                    await anyio.sleep(0.02)
            caller.cancel_scope.cancel()
        again = await services.generation.generate(request, deadline=soon())

    assert again.job is not None
    assert again.job.finished
    assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_price_that_rose_since_the_quote_is_refused_with_both_figures(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    request = VideoRequest(image=str(make_picture()), prompt="x", max_price_usd="90")
    settings = settings_for(sandbox, funded_key, tmp_path / "data", SEEDANCE_MAX_PRICE_PER_VIDEO="100")
    async with services_on(
        replace(settings, limits=replace(settings.limits, max_per_day_micro_usdc=10**9))
    ) as services:
        await services.generation.upload(request.image or "")
        quote = await services.generation.quote(request)
        async with httpx.AsyncClient(verify=NO_TLS) as http:
            await http.post(f"{sandbox.url}/_sandbox/faults", json={"faults": ["tampered_offer=price_x100"]})
        with pytest.raises(PriceTooHighError) as raised:
            await services.generation.generate(request, deadline=soon())

    assert quote.exact
    assert "$32.00" in str(raised.value)
    assert "$0.32" in str(raised.value)
    assert "quoted" in str(raised.value)
    assert await signed(sandbox) == ["/api/upload"]


async def test_ledger_that_cannot_be_written_after_the_sending_never_say_that_nothing_was_paid(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox(faults=("slow_answer=1",))
    settings = settings_for(sandbox, funded_key, tmp_path / "data")
    errors: list[LedgerError] = []
    async with services_on(settings) as services:
        ledger: SQLiteLedger = services.ledger  # type: ignore[assignment]  # its file cannot be written for a while

        async def lock_the_ledger() -> None:
            while not paid(sandbox):
                await anyio.sleep(0.05)
            connect(ledger).execute("PRAGMA query_only = ON")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lock_the_ledger)
            try:
                await services.generation.upload(str(make_picture()))
            except LedgerError as exc:
                errors.append(exc)
        payment = await ledger.find_payment(1)

    assert [error.payment_state for error in errors] == ["settled"]
    assert "$0.01 was paid" in str(errors[0])
    assert "Nothing was paid" not in str(errors[0])
    assert payment is not None
    assert payment.state == "signed", "it is looked into as soon as the ledger can be written"
    assert paid(sandbox) == [UPLOAD]
