"""A signer in another process: it buys like a key of our own, also one whose signatures are different each time."""

import json
import secrets
import socket
import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from seedance_mcp.adapters.wallet import Wallet
from seedance_mcp.core.errors import ConfigError, PaymentOutcomeUnknownError
from seedance_mcp.core.wire.mpp import Charge
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.sandbox import Sandbox
from tests.forks import build_command
from tests.payments.test_hostile_studios import animate, between
from tests.payments.test_living_credentials import hold_back
from tests.payments.test_purchase import CLIP, UPLOAD, services_on, settings_for, signed
from tests.payments.test_refused_payments import Clock, break_with, let_expire, paid

MESSAGE_BYTES_MAX = 64 * 1024
START_SECONDS = 60


class RemoteSigner:
    """The `Signer` protocol over a Unix socket: one JSON line asks, one answers. It has no key.

    Attributes:
        address: Of the key in the other process.
        asked: Number of signatures.
    """

    def __init__(self, place: Path, address: str) -> None:
        self._place = place
        self.address = address
        self.asked = 0

    async def sign_typed_data(self, typed_data: Mapping[str, object]) -> str:
        return await self._ask({"typed_data": dict(typed_data)})

    async def sign_text(self, message: str) -> str:
        return await self._ask({"text": message})

    async def sign_transaction(self, charge: Charge) -> tuple[str, str | None]:
        raise ConfigError("This signer does not pay on Tempo.", "Set SEEDANCE_RAILS to x402.")

    async def _ask(self, question: dict[str, object]) -> str:
        self.asked += 1
        return await anyio.to_thread.run_sync(self._ask_now, json.dumps(question))

    def _ask_now(self, line: str) -> str:
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(START_SECONDS)
            connection.connect(str(self._place))
            connection.sendall(line.encode() + b"\n")
            return connection.makefile().readline(MESSAGE_BYTES_MAX).strip()


@pytest.fixture
def start_signer(funded_key: str, funded_address: str, tmp_path: Path) -> Generator[Callable[[str], RemoteSigner]]:
    """Start the process that has the key."""
    started: list[subprocess.Popen[str]] = []

    def start(kind: str) -> RemoteSigner:
        place = Path(f"/tmp/signer-{secrets.token_hex(4)}")  # noqa: S108 - a socket's path is bounded
        command = build_command("tests.payments.signing", str(place), kind)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{funded_key}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        return RemoteSigner(place, funded_address)

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["deterministic", "random"])
async def test_a_signer_in_another_process_buys_a_video(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path,
    start_signer: Callable[[str], RemoteSigner], kind: str,
) -> None:  # fmt: skip
    sandbox, signer = make_sandbox(), start_signer(kind)
    settings = settings_for(sandbox, funded_key, tmp_path / "data", SEEDANCE_RAILS="x402")
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings, wallet=Wallet(signer)) as services:
        bought = [await animate(services, request) for _ in range(2)]

    assert bought[0].job.job_id == bought[1].job.job_id
    assert paid(sandbox) == [UPLOAD, CLIP]
    assert signer.asked >= 3, "two payments and a sign-in"


async def test_a_signature_that_cannot_be_made_again_is_never_a_second_payment(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path,
    start_signer: Callable[[str], RemoteSigner],
) -> None:  # fmt: skip
    """Nothing is sent in place of an unsent credential; once it is void, it holds no budget any more."""
    sandbox, signer, clock = make_sandbox(), start_signer("random"), Clock()
    settings = settings_for(sandbox, funded_key, tmp_path / "data", SEEDANCE_RAILS="x402")
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings, now=clock, wallet=Wallet(signer)) as services:
        await services.generation.upload(request.image or "")
        studio: Any = services.studio
        send_paid = studio.send_paid
        between(services, hold_back)
        with pytest.raises(PaymentOutcomeUnknownError):
            await animate(services, request)
        studio.send_paid = send_paid
        with pytest.raises(PaymentOutcomeUnknownError):
            await animate(services, request)
        assert len(await signed(sandbox)) == 1, "the studio has seen the upload's credential, and no other one"

        let_expire(sandbox, clock)
        [payment] = await services.ledger.unfinished_payments(clock())
        ended = await services.reconciler.reconcile(payment)
        assert (ended.state, ended.chain_checked) == ("refused", True), "the chain says that it never moved"
        assert (await services.ledger.spend(clock())).total_micro_usdc == UPLOAD
    assert paid(sandbox) == [UPLOAD]


async def test_a_lost_answer_to_a_random_signature_is_found_and_not_paid_again(
    make_sandbox: Callable[..., Sandbox], make_picture: Callable[..., Path], funded_key: str, tmp_path: Path,
    start_signer: Callable[[str], RemoteSigner],
) -> None:  # fmt: skip
    sandbox, signer = make_sandbox(), start_signer("random")
    settings = settings_for(sandbox, funded_key, tmp_path / "data", SEEDANCE_RAILS="x402")
    request = VideoRequest(image=str(make_picture()), prompt="x")
    async with services_on(settings, wallet=Wallet(signer)) as services:
        await services.generation.upload(request.image or "")
        break_with(sandbox, "drop_after_settle:1")
        found = await animate(services, request)
    assert found.job is not None
    assert paid(sandbox) == [UPLOAD, CLIP]
