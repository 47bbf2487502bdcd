"""Webhooks: a caller is told once that a job is over, and no receiver keeps others from being told."""

import base64
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher
from seedance_mcp.app.webhooks import WebhookSecrets, post_to, set_webhook
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.webhooks import PAUSES_SECONDS, Outcome, build_headers, write_secret
from seedance_mcp.jobs.webhooks import SENDS_PER_CALLER_MAX, Post, WebhookSender
from tests.adapters.ledger.rows import STUDIO, reserve, settle, sign
from tests.app.teams import add_caller
from tests.docs.programs import read_blocks
from tests.jobs.replicas import open_machine
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres
from tests.webhooks import Receiver, open_receiver

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.sandbox import Sandbox

KEYS = (b"k" * 32,)
SECONDS = 10


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@dataclass
class Deployment:
    """A database with callers, and the senders of its replicas."""

    url: str
    ledger: "PostgresLedger"
    database: PostgresStore
    keys: tuple[bytes, ...] = KEYS

    async def add(self, name: str, receiver: Receiver | None = None, *, url: str = "") -> str:
        """Add a caller with a webhook; returns its id."""
        caller = await add_caller(self.url, name)
        target = url if receiver is None else receiver.url
        secret = await set_webhook(self.ledger, self.keys, name, target, loopback_allowed=True)
        if receiver is not None:
            receiver.secret = secret
        return caller.id

    async def end_job(self, caller: str, job_id: str, *, fails: bool = False) -> None:
        """Write a job of a caller that is over."""
        ledger, now = self.ledger.for_caller(caller), time.time()
        payment = await settle(ledger, await sign(ledger, await reserve(ledger, now=now), now=now))
        status = "failed" if fails else "complete"
        await ledger.add_job(payment, job_id, studio=STUDIO, status=status, now=now)
        if fails:
            self.database.execute(f"UPDATE jobs SET error = 'not a picture' WHERE job_id = '{job_id}'")  # noqa: S608 - our own id
        else:
            await ledger.finish_job(job_id, video_key=f"videos/{job_id}.mp4", thumbnail_key=None, note=None)

    def sender(self, *, post: Post | None = None, loopback_allowed: bool = True) -> WebhookSender:
        """Make the sender of another replica."""
        fetcher = PublicUrlFetcher()
        really = partial(post_to, fetcher, loopback_allowed=loopback_allowed)
        return WebhookSender(self.ledger, WebhookSecrets(lambda: self.keys), post or really, time.time)

    @asynccontextmanager
    async def sending(self, sender: WebhookSender | None = None) -> AsyncGenerator[WebhookSender]:
        """Run a sender; it ends in the middle of whatever it does."""
        sender = sender or self.sender()
        with anyio.fail_after(SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sender.run)
                yield sender
                tasks.cancel_scope.cancel()

    def let_time_pass(self) -> None:
        """Let all pauses and claims end."""
        self.database.execute("UPDATE webhook_messages SET due_at = 0, claim_until = 0")

    def messages(self) -> list[tuple[str, int, str | None]]:
        return self.database.fetch("SELECT job_id, attempts, outcome FROM webhook_messages ORDER BY job_id")


async def wait_for(outcomes: list[Outcome], number: int) -> list[Outcome]:
    with anyio.fail_after(SECONDS):
        while len(outcomes) < number:
            await anyio.sleep(0.02)
    return outcomes


@pytest.fixture
async def deployment(url: str) -> AsyncGenerator[Deployment]:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    ledger = await PostgresLedger.open(url)
    yield Deployment(url, ledger, PostgresStore(url))
    await ledger.close()


async def test_job_bought_through_replicas_is_told_once(
    make_sandbox: Callable[..., "Sandbox"],
    funded_key: str,
    tmp_path: Path,
    make_picture: Callable[..., Path],
    deployment: Deployment,
) -> None:
    sandbox, picture = make_sandbox(job_seconds=1), make_picture("cat.png")
    environ = {
        "SEEDANCE_PROFILE": "sandbox",
        "SEEDANCE_STUDIO_URL": sandbox.url,
        "SEEDANCE_WALLET_KEY": funded_key,
        "SEEDANCE_DATABASE_URL": deployment.url,
    }

    def start(name: str, caller: str = ""):
        return open_machine(
            {**environ, "SEEDANCE_DATA_DIR": str(tmp_path / name)}, find_keys=lambda: KEYS, caller=caller
        )

    async with open_receiver() as receiver:
        ada = await deployment.add("ada", receiver)
        async with start("a", ada) as first, start("b"), start("c") as owners:
            job = await first.buy(picture)
            await owners.buy(picture, take=2)
            (told,) = await receiver.wait_for(1)

    assert told.body["type"] == "job.completed"
    assert told.body["data"] == {"job_id": job.job_id, "status": "complete", "price_usd": "0.32"}
    assert told.id.startswith("msg_")
    assert deployment.messages() == [(job.job_id, 1, "delivered")]
    assert len(receiver.received) == 1


async def test_failed_job_is_told_with_its_error(deployment: Deployment) -> None:
    async with open_receiver() as receiver:
        await deployment.end_job(await deployment.add("ada", receiver), "job1", fails=True)
        async with deployment.sending():
            (told,) = await receiver.wait_for(1)

    assert told.body["type"] == "job.failed"
    assert told.body["data"] == {"job_id": "job1", "status": "failed", "price_usd": "0.04", "error": "not a picture"}


async def test_message_of_a_dead_replica_is_sent_again_under_its_id(deployment: Deployment) -> None:
    sent = anyio.Event()
    really = deployment.sender().post

    async def die(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        await really(url, body, headers)
        sent.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with open_receiver() as receiver:
        await deployment.end_job(await deployment.add("ada", receiver), "job1")
        async with deployment.sending(deployment.sender(post=die)):
            await sent.wait()
        assert deployment.messages() == [("job1", 1, None)]
        assert await deployment.ledger.claim_message("another") is None
        deployment.let_time_pass()
        async with deployment.sending() as sender:
            outcomes: list[Outcome] = []
            sender.watch = outcomes.append
            first, second = await receiver.wait_for(2)
            await wait_for(outcomes, 1)

    assert first == second
    assert deployment.messages() == [("job1", 2, "delivered")]


async def test_receiver_that_was_down_is_told_later(deployment: Deployment) -> None:
    async with open_receiver() as receiver:
        port = int(receiver.url.split(":")[2].split("/")[0])
        await deployment.end_job(await deployment.add("ada", receiver), "job1")
        secret = receiver.secret
    outcomes: list[Outcome] = []
    async with deployment.sending() as sender:
        sender.watch = outcomes.append
        await wait_for(outcomes, 1)
        async with open_receiver(port) as receiver:
            receiver.secret = secret
            deployment.let_time_pass()
            sender.hear()
            await receiver.wait_for(1)
            assert await wait_for(outcomes, 2) == ["failed", "delivered"]


@pytest.mark.parametrize("status", [500, 302, 404])
async def test_other_statuses_than_2xx_are_tried_again(deployment: Deployment, status: int) -> None:
    outcomes: list[Outcome] = []
    async with open_receiver() as receiver:
        receiver.statuses = [status]
        await deployment.end_job(await deployment.add("ada", receiver), "job1")
        async with deployment.sending() as sender:
            sender.watch = outcomes.append
            await wait_for(outcomes, 1)
            ((due,),) = deployment.database.fetch(
                "SELECT due_at - extract(epoch FROM now()) FROM webhook_messages WHERE ended_at IS NULL"
            )
            assert 1 < due <= PAUSES_SECONDS[0] * 1.2
            deployment.let_time_pass()
            sender.hear()
            assert await wait_for(outcomes, 2) == ["failed", "delivered"]

    first, second = receiver.received  # a redirect was not followed
    assert first.id == second.id


async def test_410_ends_the_webhook(deployment: Deployment) -> None:
    outcomes: list[Outcome] = []
    async with open_receiver() as receiver:
        receiver.statuses = [410]
        ada = await deployment.add("ada", receiver)
        await deployment.end_job(ada, "job1")
        async with deployment.sending() as sender:
            sender.watch = outcomes.append
            assert await wait_for(outcomes, 1) == ["given_up"]

    assert deployment.messages() == [("job1", 1, "given_up")]
    await deployment.end_job(ada, "job2")
    assert len(deployment.messages()) == 1


async def test_message_is_given_up_after_the_last_pause(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Outcome] = []
    async with open_receiver() as receiver:
        receiver.statuses = [503]
        await deployment.end_job(await deployment.add("ada", receiver), "job1")
        deployment.database.execute(f"UPDATE webhook_messages SET attempts = {len(PAUSES_SECONDS)}")  # noqa: S608 - ours
        async with deployment.sending() as sender:
            sender.watch = outcomes.append
            assert await wait_for(outcomes, 1) == ["given_up"]

    assert "job job1 is given up: its receiver answered 503" in caplog.text


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:9/hook", "https://127.0.0.1/hook", "https://10.0.0.1/", "https://169.254.169.254/"]
)
async def test_nothing_is_sent_to_a_private_address(deployment: Deployment, target: str) -> None:
    await add_caller(deployment.url, "ada")
    with pytest.raises(ConfigError, match="--url"):
        await set_webhook(deployment.ledger, KEYS, "ada", target, loopback_allowed=False)


async def test_address_is_checked_again_when_a_message_is_sent(deployment: Deployment) -> None:
    outcomes: list[Outcome] = []
    async with open_receiver() as receiver:
        await deployment.end_job(await deployment.add("ada", receiver), "job1")
        async with deployment.sending(deployment.sender(loopback_allowed=False)) as sender:
            sender.watch = outcomes.append
            assert await wait_for(outcomes, 1) == ["failed"]

    assert receiver.requests == 0


async def test_slow_receiver_does_not_delay_other_callers(deployment: Deployment) -> None:
    async with open_receiver() as slow, open_receiver() as quick:
        slow.holds = True
        ada, bob = await deployment.add("ada", slow), await deployment.add("bob", quick)
        for number in range(SENDS_PER_CALLER_MAX + 2):
            await deployment.end_job(ada, f"slow{number}")
        await deployment.end_job(bob, "quick")
        async with deployment.sending():
            (told,) = await quick.wait_for(1)

    assert told.body["data"]["job_id"] == "quick"
    assert slow.requests <= SENDS_PER_CALLER_MAX


@pytest.mark.parametrize("end", ["revoke_caller", "end_caller", "off", "earlier program"])
async def test_nothing_is_sent_for_a_caller_that_has_ended(deployment: Deployment, end: str) -> None:
    async with open_receiver() as gone, open_receiver() as other:
        ada, bob = await deployment.add("ada", gone), await deployment.add("bob", other)
        await deployment.end_job(ada, "job1")
        if end == "off":
            assert await deployment.ledger.end_webhook(ada)
        elif end == "earlier program":
            deployment.database.execute(f"UPDATE callers SET revoked_at = 1 WHERE id = '{ada}'")  # noqa: S608 - ours
        else:
            await getattr(deployment.ledger, end)("ada")
        await deployment.end_job(ada, "job2")
        await deployment.end_job(bob, "job3")
        async with deployment.sending():
            await other.wait_for(1)

    assert gone.requests == 0


async def test_message_waits_until_a_state_key_opens_the_secret(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_receiver() as receiver:
        await deployment.end_job(await deployment.add("ada", receiver), "job1")
        deployment.keys = (b"n" * 32,)
        async with deployment.sending() as sender:
            while not deployment.database.fetch("SELECT 1 FROM webhook_messages WHERE problem IS NOT NULL"):
                await anyio.sleep(0.02)
            deployment.keys = (b"n" * 32, *KEYS)
            deployment.let_time_pass()
            sender.hear()
            await receiver.wait_for(1)

    assert "no state key opens" in caplog.text
    assert receiver.received[0].body["data"]["job_id"] == "job1"


async def test_secret_is_sealed_with_the_first_key_after_a_rotation(deployment: Deployment) -> None:
    async with open_receiver() as receiver:
        ada = await deployment.add("ada", receiver)
        before = (await deployment.ledger.list_sealed_secrets())[ada]
        deployment.keys = (b"n" * 32, *KEYS)
        async with deployment.sending():
            with anyio.fail_after(SECONDS):
                while (await deployment.ledger.list_sealed_secrets())[ada] == before:
                    await anyio.sleep(0.02)
        deployment.keys = (b"n" * 32,)
        await deployment.end_job(ada, "job1")
        async with deployment.sending():
            await receiver.wait_for(1)  # it checked the signature

    stored = str(deployment.database.fetch("SELECT * FROM webhooks"))
    assert receiver.secret.removeprefix("whsec_") not in stored
    secrets = WebhookSecrets(lambda: deployment.keys)
    assert secrets.open((await deployment.ledger.list_sealed_secrets())[ada], "another caller") is None


def test_signature_is_that_of_the_specification() -> None:
    """Known answer of the specification's own libraries."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = build_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', secret, now=1614265330)

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_example_of_the_page_reads_a_message() -> None:
    (block,) = [one for one in read_blocks("docs/hosted.md") if one.name == "verify.py"]
    program: dict[str, Any] = {"__name__": "verify"}
    exec(block.text, program)  # noqa: S102 - our own page
    secret, body = b"s" * 32, b'{"type":"job.completed"}'
    headers = build_headers("msg_1", body, secret, now=int(time.time()))

    assert program["read_message"](write_secret(secret), headers, body) == {"type": "job.completed"}
    with pytest.raises(ValueError, match="signature"):
        program["read_message"](write_secret(secret), headers, body + b" ")
    with pytest.raises(ValueError, match="too old"):
        program["read_message"](write_secret(secret), headers, body, now=time.time() + 400)
