"""Replicas are replaced by those of the next version, and back, while callers buy videos.

The earlier version is the first one with replicas: `version-1.tar.xz` is `git archive 147e60a seedance_mcp` without the
sandbox. It runs with this environment's libraries. The ledger that both versions share has had all scripts of the
present one, and in each table columns of a version that neither knows.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGTERM

import anyio
import anyio.to_thread
import pytest

from tests.hosted.audit import LOG_LEASES, Order, audit
from tests.hosted.clients import ERAS, Caller, draw_picture
from tests.hosted.deployment import READY_SECONDS, ROOT, Deployment, Plan, Replica, run_deployment, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

EARLIER = Path(__file__).parent / "version-1.tar.xz"
CALLERS = ("ada", "ben")
"""The second one's cap is used up while the replicas are replaced."""
CAP_ORDERS = 10
DRAINED_SECONDS = 40
"""A replica has ended by then after SIGTERM."""
ORDER_SECONDS = 120
ORDERS_EACH_PHASE = 3
PAUSE_SECONDS = 0.3
"""Before a client's next call."""
PICTURES = 3
PRICE_MICRO_USDC = 320_000
SLACK_MICRO_USDC = 310_000
"""What a cap allows in addition to the orders, for uploads: less than one more order."""
FUNDS_MICRO_USDC = 500_000_000
CAPS = {
    "": FUNDS_MICRO_USDC, "ada": FUNDS_MICRO_USDC, "ben": CAP_ORDERS * PRICE_MICRO_USDC + SLACK_MICRO_USDC,
}  # fmt: skip
LATER_COLUMNS = """
    DO $$ DECLARE one TEXT; BEGIN
        FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER TABLE %I ADD COLUMN later TEXT, ADD COLUMN count INT NOT NULL DEFAULT 0', one);
            COMMIT;  -- a lock of all tables at once would wait for replicas that wait for it
        END LOOP;
    END $$"""


@dataclass
class Load:
    """Callers that buy one video after another, and repeat a call that failed.

    Attributes:
        deployment: Where they buy.
        orders: What they ordered.
        is_over: True once no more is ordered.
    """

    deployment: Deployment
    orders: list[Order] = field(default_factory=list[Order])
    is_over: bool = False

    @property
    def finished(self) -> int:
        """How many orders have their video."""
        return sum(order.job_id is not None for order in self.orders)

    def count_accepted(self, caller: str) -> int:
        return sum(order.caller == caller and order.job_id is not None for order in self.orders)

    async def wait_for_more(self, orders: int = ORDERS_EACH_PHASE) -> None:
        expected = self.finished + orders
        with anyio.fail_after(ORDER_SECONDS):
            await wait_for(lambda: self.finished >= expected)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Buy while the block runs, by clients of both protocol eras; what was begun is finished."""
        async with anyio.create_task_group() as tasks:
            for name in CALLERS:
                for era in ERAS:
                    client = Caller(self.deployment.url, self.deployment.tokens[name], era)
                    tasks.start_soon(self._buy, name, client)
            yield
            self.is_over = True

    async def _buy(self, name: str, client: Caller) -> None:
        while not self.is_over:
            number = len(self.orders)
            order = Order(caller=name, picture=number % PICTURES, prompt=f"{name} order {number}")
            self.orders.append(order)
            await self.perform(client, order)
            if order.refused:
                return
            await anyio.sleep(PAUSE_SECONDS)

    async def perform(self, client: Caller, order: Order) -> None:
        """Repeat a call until its video is finished, or the cap refuses it."""
        with anyio.fail_after(ORDER_SECONDS):
            while order.job_id is None and order.refused is None:
                answer = await client.call(
                    "animate_image", image=draw_picture(order.picture), prompt=order.prompt, wait_seconds=8
                )
                order.history.append(answer.code or str(answer.fields.get("status")))
                if answer.fields.get("status") == "complete":
                    order.job_id = str(answer.fields["job_id"])
                elif answer.code == "budget_exceeded":
                    order.refused = answer.code
                elif answer.code is not None:
                    order.failures[answer.code] += 1
                    await anyio.sleep(PAUSE_SECONDS)


class Versions:
    """Starts replicas and commands of the earlier and of the present version.

    Args:
        folder: Where the earlier one is unpacked.
    """

    def __init__(self, folder: Path) -> None:
        with tarfile.open(EARLIER) as archive:
            archive.extractall(folder, filter="data")
        self._path = {"PYTHONPATH": str(folder)}

    def use_earlier(self, replica: Replica) -> None:
        replica.command = [sys.executable, "-P", "-m", "seedance_mcp", "serve"]
        replica.environ |= self._path

    def use_present(self, replica: Replica) -> None:
        replica.command = [sys.executable, "-m", "seedance_mcp", "serve"]
        replica.environ.pop("PYTHONPATH")

    async def run_earlier(self, deployment: Deployment, *arguments: str) -> str:
        """Run a command of the earlier version; returns its stdout."""
        command = [sys.executable, "-P", "-m", "seedance_mcp", *arguments]
        environ = deployment.environ | self._path
        run = partial(subprocess.run, command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
        done = await anyio.to_thread.run_sync(run)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
async def deployment() -> AsyncGenerator[Deployment]:
    """A deployment whose database is still empty."""
    settings = {"DRAIN_SECONDS": "20", "CALLER_CALLS_PER_MINUTE": "10000"}
    plan = Plan(replicas=2, skewed=False, max_total_micro_usdc=FUNDS_MICRO_USDC, settings=settings)
    async with run_deployment(plan) as deployment:
        deployment.database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        yield deployment


async def begin_with_earlier(deployment: Deployment, versions: Versions) -> None:
    """Make the earlier version's ledger, callers and replicas."""
    await versions.run_earlier(deployment, "migrate")
    assert deployment.database.execute("SELECT to_regclass('ledger_scripts') IS NULL") == [(True,)]
    deployment.database.execute(LOG_LEASES)
    for name in CALLERS:
        cap = str(CAPS[name] / 1_000_000)
        deployment.tokens[name] = await versions.run_earlier(deployment, "callers", "add", name, "--max-total", cap)
    for replica in deployment.replicas:
        versions.use_earlier(replica)
    await deployment.start_replicas()


async def replace(replica: Replica) -> None:
    """Drain a replica and start it again."""
    replica.send(SIGTERM)
    assert await replica.wait_until_ended(DRAINED_SECONDS) == 0, replica.tail()
    replica.start()
    await replica.wait_until_ready(READY_SECONDS)


async def test_replicas_are_replaced_by_the_next_version_while_callers_buy(
    deployment: Deployment, tmp_path: Path
) -> None:
    versions = Versions(tmp_path / "earlier")
    await begin_with_earlier(deployment, versions)
    load = Load(deployment)
    async with load.running():
        await load.wait_for_more()

        await deployment.run_command("migrate")
        deployment.database.execute(LATER_COLUMNS)
        await load.wait_for_more()  # the earlier version goes on with the migrated ledger
        assert [(await replica.ask_ready())[0] for replica in deployment.replicas] == [200, 200]
        await versions.run_earlier(deployment, "migrate")  # which changes nothing in it

        for replica in deployment.replicas:
            versions.use_present(replica)
            await replace(replica)
            await load.wait_for_more()

        back = deployment.replicas[0]
        versions.use_earlier(back)
        await replace(back)
        await load.wait_for_more()

    await check_end(deployment, load)


async def check_end(deployment: Deployment, load: Load) -> None:
    """All orders but those above the cap have one video each, paid once."""
    last = Order(caller="ben", picture=0, prompt="ben one more")
    await load.perform(Caller(deployment.url, deployment.tokens["ben"], ERAS[0]), last)
    assert last.refused == "budget_exceeded"
    assert load.count_accepted("ben") == CAP_ORDERS
    assert all(order.job_id or order.refused for order in load.orders)
    found = await audit(deployment, load.orders, CAPS)
    assert found.problems == [], [dict(order.failures) for order in load.orders]
