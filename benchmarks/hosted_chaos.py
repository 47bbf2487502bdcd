"""Chaos against the hosted mode: does a deployment whose parts keep dying pay twice, lose a video, or pass a cap?

Usage: python benchmarks/hosted_chaos.py [--orders 200 | --short] [--seed 1] [--rail x402] [--auth oauth]
       [--objects folder|s3] [--bucket-away 60] [--json]

Three replicas, one with its clock 60 s ahead, PostgreSQL behind PgBouncer, a sandbox studio and a round-robin proxy run
as processes of their own. Five callers, each with a client of both protocol eras, order videos up to their caps, with
shared and distinct pictures. A client repeats its call with the same arguments after any failure. In the meantime
replicas are killed, frozen and drained, and PostgreSQL crashes. With `--objects s3` the videos are in a bucket
(SeaweedFS), which is killed in the middle and stays away. In the end the sandbox's own record, the database and the
store of videos are compared.

Exits with 1 if a promise is broken, with 2 if the harness itself does not work.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import signal
import statistics
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the deployment is shared with the tests

from benchmarks.figures import RAW, add_json_option, finish, report
from tests.hosted import deployment as hosted
from tests.hosted.audit import LOG_LEASES, Audit, Order, audit
from tests.hosted.clients import ERAS, Answer, Caller, Era, draw_picture
from tests.hosted.database import HarnessError
from tests.hosted.deployment import Deployment, Replica, run_deployment, wait_for
from tests.seaweed import BucketServer

AWAY_STRIKES = 2
"""How many strikes fall while the bucket is away, whether or not orders make progress."""
AHEAD_SHARE = 0.15
"""How far the orders may be ahead of the strikes."""
CALM_SECONDS_MAX = 5.3
"""Median wait of the orders before the first strike, ten at a time, on a machine that has nothing else to do."""
CALLERS: tuple[str, ...] = ("ada", "ben", "cleo", "dev", "eve")
DRAIN_SECONDS = 20
DRAINED_SECONDS = DRAIN_SECONDS + 20
"""A replica has ended by then after SIGTERM."""
EXTRA_SHARE = 0.1
"""How many more orders a caller makes than its cap allows."""
FAULTS = ("slow_settle=0.4", "slow_answer=0.4")
"""Of the studio: a paid request is on its way for long enough that strikes fall into it."""
FREEZE_SECONDS = (1.0, 12.0)
GAP_SECONDS = (0.2, 1.0)
"""Between two strikes."""
LAPSE_SECONDS = 75
"""After which the reservation of a killed replica no longer counts."""
LOOK_CHANCE = 0.2
"""How often a client, once it has its video, looks whether it sees what is another caller's."""
ORDER_SECONDS = 180
"""An order that takes longer counts as stuck."""
PAUSE_SECONDS = 0.3
"""Before a client repeats its call."""
PRICE_MICRO_USDC = 320_000
RESTART_SECONDS = (0.2, 2.0)
SLACK_MICRO_USDC = 310_000
"""What a caller's cap allows in addition to its orders, for uploads: less than one more order."""
TWIN_EVERY = 8
"""Each such order is made by both clients of its caller at once."""
WAIT_SECONDS = 8
"""How long a call waits for the job."""
WAIT_SECONDS_MAX = 25
"""The longest that a client which repeats its call may wait for its video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will happen; made from the arguments alone.

    Attributes:
        orders: How many the callers' caps allow in all.
        kills, freezes, drains: How often a replica is killed, frozen, drained.
        crashes: How often PostgreSQL crashes.
        outages: How often the authorization server of OAuth tokens is away.
        objects: Where videos are: `folder` or `s3`.
        away_seconds: How long the bucket is away in the middle; 0 for never.
    """

    orders: int
    kills: int
    freezes: int
    crashes: int
    drains: int
    seed: int = 1
    rail: str = "x402"
    auth: str = "tokens"
    outages: int = 0
    objects: str = "folder"
    away_seconds: float = 0

    @classmethod
    def for_orders(cls, orders: int, **options: Any) -> Plan:
        """Return a plan with as many strikes as suit the orders."""
        return cls(
            orders=orders,
            kills=max(6, orders // 8),
            freezes=max(2, orders // 25),
            crashes=max(1, orders // 50),
            drains=max(2, orders // 40),
            outages=max(3, orders // 20) if options.get("auth") == "oauth" else 0,
            **options,
        )

    @property
    def strikes(self) -> list[str]:
        """All strikes in the order in which they fall."""
        names = {"kill": self.kills, "freeze": self.freezes, "crash": self.crashes, "drain": self.drains}
        names |= {"outage": self.outages}
        deck = [name for name, times in names.items() for _ in range(times)]
        random.Random(f"{self.seed}/strikes").shuffle(deck)  # noqa: S311 - chaos, not a secret
        if self.away_seconds:
            deck.insert(len(deck) // 2, "bucket")
        return deck

    @property
    def orders_each(self) -> int:
        """How many orders each caller's cap allows."""
        return self.orders // len(CALLERS)

    def list_orders(self) -> list[Order]:
        """Return the orders, caller by caller; the last ones of each have pictures that all share."""
        each = self.orders_each
        shared = max(2, each // 4)
        wanted = each + max(1, round(each * EXTRA_SHARE))
        orders: list[Order] = []
        for index, caller in enumerate(CALLERS):
            for number in range(wanted):
                is_own = number % 3 == 2 and number < each - 4
                picture = shared + index * wanted + number if is_own else number % shared
                orders.append(Order(caller=caller, picture=picture, prompt=f"{caller} order {number}"))
        return orders


class Strikes:
    """Kills, freezes, drains and crashes, one after the other, as the orders make progress."""

    def __init__(self, deployment: Deployment, plan: Plan) -> None:
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        self._deployment = deployment
        self._plan = plan
        self._chance = random.Random(f"{plan.seed}/times")  # noqa: S311 - chaos, not a secret
        self._states = {replica.name: "ready" for replica in deployment.replicas}
        self._has_database = True
        self._has_bucket = True
        self._struck_away = 0

    async def strike_all(self, share_done: Callable[[], float]) -> None:
        """Strike until the plan is over, and until all is back; the next strike waits for its share of the orders."""
        async with anyio.create_task_group() as self._tasks:
            await self._strike(share_done)
            with anyio.fail_after(DRAINED_SECONDS + hosted.READY_SECONDS + self._plan.away_seconds):
                await wait_for(self._is_whole)

    def _is_whole(self) -> bool:
        return self._has_database and self._has_bucket and {*self._states.values()} == {"ready"}

    def share_struck(self) -> float:
        """Return the share of the strikes that have fallen."""
        return sum(self.done.values()) / max(1, len(self._plan.strikes))

    async def _strike(self, share_done: Callable[[], float]) -> None:
        deck = self._plan.strikes
        strikes = {
            "kill": self._kill, "freeze": self._freeze, "crash": self._crash, "drain": self._drain,
            "bucket": self._lose_bucket, "outage": self._interrupt_issuer,
        }  # fmt: skip
        for number, name in enumerate(deck):
            await wait_for(partial(self._is_due, number, share_done))
            await strikes[name]()
            self.done[name] += 1
            self._struck_away += not self._has_bucket
            await anyio.sleep(self._draw(GAP_SECONDS))

    def _is_due(self, number: int, share_done: Callable[[], float]) -> bool:
        if not self._has_bucket and self._struck_away <= AWAY_STRIKES:
            return True
        return share_done() >= number / (len(self._plan.strikes) + 1)

    async def _kill(self) -> None:
        replica = await self._choose("ready", "frozen")
        self._states[replica.name] = "dead"
        replica.kill()
        self._tasks.start_soon(self._restart, replica)

    async def _freeze(self) -> None:
        replica = await self._choose("ready")
        self._states[replica.name] = "frozen"
        replica.send(signal.SIGSTOP)
        self._tasks.start_soon(self._thaw, replica, replica.pid)

    async def _thaw(self, replica: Replica, pid: int) -> None:
        await anyio.sleep(self._draw(FREEZE_SECONDS))
        if replica.is_running and replica.pid == pid and self._states[replica.name] == "frozen":
            replica.send(signal.SIGCONT)
            await self._wait_until_ready(replica)

    async def _drain(self) -> None:
        await wait_for(lambda: self._has_database)  # a clean end needs it
        replica = await self._choose("ready")
        self._states[replica.name] = "draining"
        replica.send(signal.SIGTERM)
        self._tasks.start_soon(self._watch_drain, replica, self.done["crash"])

    async def _watch_drain(self, replica: Replica, crashes: int) -> None:
        code = await replica.wait_until_ended(DRAINED_SECONDS)
        if code is None or (code and crashes == self.done["crash"] and self._has_database):
            self.problems.append(f"{replica.name} was drained and ended with {code}: {replica.tail()}")
            replica.kill()
        await self._restart(replica)

    async def _crash(self) -> None:
        self._has_database = False
        await anyio.to_thread.run_sync(self._deployment.database.crash)
        self._tasks.start_soon(self._start_database)

    async def _lose_bucket(self) -> None:
        bucket = self._deployment.bucket
        if bucket is not None:
            self._has_bucket = False
            bucket.kill()
            self._tasks.start_soon(self._bring_bucket_back, bucket)

    async def _bring_bucket_back(self, bucket: BucketServer) -> None:
        await anyio.sleep(self._plan.away_seconds)
        bucket.start()
        await anyio.to_thread.run_sync(bucket.wait_until_ready)
        self._has_bucket = True

    async def _start_database(self) -> None:
        await anyio.sleep(self._draw(RESTART_SECONDS))
        self._deployment.database.start()
        await anyio.to_thread.run_sync(self._deployment.database.wait_until_ready)
        self._has_database = True

    async def _interrupt_issuer(self) -> None:
        """Take the authorization server away, and then kill a replica, which has to fetch its keys again."""
        issuer = self._deployment.issuer
        if issuer is None:
            raise HarnessError("there is no authorization server")
        await anyio.to_thread.run_sync(issuer.stop)
        await self._kill()
        await anyio.sleep(self._draw(RESTART_SECONDS))
        issuer.start()

    async def _restart(self, replica: Replica) -> None:
        self._states[replica.name] = "dead"
        await anyio.sleep(self._draw(RESTART_SECONDS))
        await wait_for(lambda: self._has_database)  # none starts without it
        self._states[replica.name] = "starting"
        replica.start()
        await self._wait_until_ready(replica)

    async def _wait_until_ready(self, replica: Replica) -> None:
        pid = replica.pid
        crashes = self.done["crash"]
        give_up = time.monotonic() + hosted.READY_SECONDS
        while replica.pid == pid and self._states[replica.name] in ("starting", "frozen"):
            if not replica.is_running and self._states[replica.name] == "starting":
                if crashes == self.done["crash"]:
                    raise HarnessError(f"{replica.name} ended: {replica.tail()}")
                return await self._restart(replica)  # the database crashed while it started
            if self._is_usable(await replica.ask_ready()):
                self._states[replica.name] = "ready"
            elif time.monotonic() > give_up:
                raise HarnessError(f"{replica.name} is not ready: {await replica.ask_ready()} {replica.tail()}")
            await anyio.sleep(hosted.LOOK_SECONDS)
        return None

    def _is_usable(self, answer: tuple[int, str]) -> bool:
        """Return True for a replica that lacks nothing but the bucket that is away."""
        status, text = answer
        if status != 503 or self._has_bucket:
            return status == 200
        problems = json.loads(text)["problems"]
        return bool(problems) and all("bucket" in problem for problem in problems)

    async def _choose(self, *states: str) -> Replica:
        """Choose a replica in one of these states; another one stays ready."""
        await wait_for(lambda: bool(self._list_targets(states)))
        return self._chance.choice(self._list_targets(states))

    def _list_targets(self, states: tuple[str, ...]) -> list[Replica]:
        ready = {name for name, state in self._states.items() if state == "ready"}
        return [
            replica
            for replica in self._deployment.replicas
            if self._states[replica.name] in states and ready - {replica.name}
        ]

    def _draw(self, bounds: tuple[float, float]) -> float:
        return self._chance.uniform(*bounds)


class Shop:
    """The callers' clients and their orders."""

    def __init__(self, deployment: Deployment, plan: Plan) -> None:
        self.orders = plan.list_orders()
        self.answers: Counter[str] = Counter()
        self.calm_seconds = 0.0
        self._plan = plan
        self._chance = random.Random(f"{plan.seed}/clients")  # noqa: S311 - chaos, not a secret
        self._clients: dict[tuple[str, Era], Caller] = {
            (name, era): Caller(deployment.url, partial(deployment.find_token, name), era)
            for name in CALLERS
            for era in ERAS
        }
        self._queues: dict[tuple[str, Era], deque[Order]] = {lane: deque() for lane in self._clients}
        for number, order in enumerate(self.orders):
            eras = ERAS if number % TWIN_EVERY == 0 else (ERAS[number % len(ERAS)],)
            for era in eras:
                self._queues[order.caller, era].append(order)
        self._total = sum(map(len, self._queues.values()))
        self._may_go_on: Callable[[], bool] = lambda: True
        self._refused: dict[str, list[Order]] = {name: [] for name in CALLERS}

    def share_done(self) -> float:
        """Return the share of the orders that are over."""
        return 1 - sum(map(len, self._queues.values())) / self._total

    async def begin_calmly(self) -> None:
        """Make the first order of each lane before anything is struck: it shows how fast this machine is."""
        async with anyio.create_task_group() as tasks:
            for lane in self._clients:
                tasks.start_soon(self._make_next, lane)
        self.calm_seconds = statistics.median(order.wait_seconds for order in self.orders if order.job_id is not None)

    async def work_all(self, share_struck: Callable[[], float]) -> None:
        """Make every order, in lanes side by side.

        The orders do not run ahead of the strikes, so that each strike falls into work.
        """
        self._may_go_on = lambda: self.share_done() < share_struck() + AHEAD_SHARE
        async with anyio.create_task_group() as tasks:
            for lane in self._clients:
                tasks.start_soon(self._work, lane)

    async def fill_all(self) -> None:
        """Look whether the caps leave no more than they must."""
        async with anyio.create_task_group() as tasks:
            for caller in CALLERS:
                tasks.start_soon(self._fill, caller)

    async def _work(self, lane: tuple[str, Era]) -> None:
        while self._queues[lane]:
            await wait_for(self._may_go_on)
            await self._make_next(lane)

    async def _make_next(self, lane: tuple[str, Era]) -> None:
        order = self._queues[lane][0]
        if not await self._perform(self._clients[lane], order) and order not in self._refused[order.caller]:
            self._refused[order.caller].append(order)
        self._queues[lane].popleft()
        if self._chance.random() < LOOK_CHANCE:
            await self._look_at_others(self._clients[lane], order)

    async def _fill(self, caller: str) -> None:
        """Repeat the orders that a cap refused: a killed reservation may have held what was left."""
        give_up = time.monotonic() + LAPSE_SECONDS
        for order in self._refused[caller]:
            while order.job_id is None and not await self._perform(self._clients[caller, "auto"], order):
                if self._count_accepted(caller) >= self._plan.orders_each or time.monotonic() > give_up:
                    break
                await anyio.sleep(1)

    def _count_accepted(self, caller: str) -> int:
        return sum(order.job_id is not None for order in self.orders if order.caller == caller)

    async def _perform(self, client: Caller, order: Order) -> bool:
        """Repeat an order's call until its video is finished; returns False if the cap refuses it."""
        began = time.monotonic()
        arguments = {"image": draw_picture(order.picture), "prompt": order.prompt, "wait_seconds": WAIT_SECONDS}
        while time.monotonic() - began < ORDER_SECONDS:
            called = time.monotonic()
            answer = await client.call("animate_image", **arguments)
            order.history.append(f"{time.monotonic() - called:.1f} s {answer.code or answer.fields.get('status')}")
            self.answers[answer.code or str(answer.fields.get("status"))] += 1
            if answer.code == "budget_exceeded":
                order.refused = answer.code
                return False
            if answer.fields.get("status") == "complete":
                self._take(order, answer, time.monotonic() - began)
                return True
            if answer.code is not None:
                order.failures[f"{answer.code}: {answer.text}"[:300]] += 1
                await anyio.sleep(PAUSE_SECONDS)
        order.problems.append(f"stuck: {order.prompt!r} after {ORDER_SECONDS} s: {dict(order.failures)}")
        return True

    def _take(self, order: Order, answer: Answer, seconds: float) -> None:
        job_id = str(answer.fields["job_id"])
        if order.job_id not in (None, job_id):
            order.problems.append(f"{order.prompt!r} was told the jobs {order.job_id} and {job_id}")
        order.job_id, order.refused = job_id, None
        order.wait_seconds = max(order.wait_seconds, seconds)

    async def _look_at_others(self, client: Caller, order: Order) -> None:
        """Ask for another caller's job and for the list: neither may name what is another's."""
        others = [one.job_id for one in self.orders if one.caller != order.caller and one.job_id is not None]
        if others:
            answer = await client.call("get_job", job_id=self._chance.choice(others), wait_seconds=0)
            if answer.code is None:
                order.problems.append(f"{order.caller} reads another caller's job {answer.fields.get('job_id')}")
        listed = await client.call("list_jobs", limit=50)
        for line in listed.fields.get("jobs", []):
            if f"{order.caller} order " not in str(line["prompt"]):
                order.problems.append(f"{order.caller} lists another caller's job {line['job_id']}")


async def play(plan: Plan) -> dict[str, Any]:
    """Play a plan to its end; returns everything that the table shows."""
    began = time.monotonic()
    cap = plan.orders_each * PRICE_MICRO_USDC + SLACK_MICRO_USDC
    caps = dict.fromkeys(CALLERS, cap)
    caps[""] = cap * len(CALLERS)
    settings = {"DRAIN_SECONDS": str(DRAIN_SECONDS), "CALLER_CALLS_PER_MINUTE": "10000", "MAX_PER_DAY": "1000"}
    parts = hosted.Plan(
        rail=plan.rail,
        objects=plan.objects,
        faults=FAULTS,
        max_total_micro_usdc=caps[""],
        settings=settings,
        auth=plan.auth,
    )
    async with run_deployment(parts) as deployment:
        await anyio.to_thread.run_sync(deployment.database.execute, LOG_LEASES)
        for name in CALLERS:
            await deployment.add_caller(name, max_total_micro_usdc=caps[name])
        await deployment.start_replicas()
        shop = Shop(deployment, plan)
        await shop.begin_calmly()
        strikes = Strikes(deployment, plan)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(strikes.strike_all, shop.share_done)
            await shop.work_all(strikes.share_struck)
        await shop.fill_all()
        found = await audit(deployment, shop.orders, caps)
        found.problems += strikes.problems
        _check_orders(found, plan, shop)
        return _show(plan, deployment, shop, strikes, found, seconds=time.monotonic() - began)


def _check_orders(found: Audit, plan: Plan, shop: Shop) -> None:
    """Each caller has exactly as many videos as its cap allows."""
    for caller in CALLERS:
        accepted = sum(order.job_id is not None for order in shop.orders if order.caller == caller)
        if accepted != plan.orders_each:
            found.problems.append(f"{caller} has {accepted} videos; its cap allows {plan.orders_each}")


def _list_late(shop: Shop, away_seconds: float) -> list[str]:
    """Return the orders that waited for too long, in words."""
    return [
        f"waited for {order.wait_seconds:.1f} s: {order.prompt!r} ({', '.join(order.history)}; {dict(order.failures)})"
        for order in shop.orders
        if order.wait_seconds > allowed_seconds(shop.calm_seconds, away_seconds)
    ]


def allowed_seconds(calm_seconds: float, away_seconds: float = 0) -> float:
    """Return the longest wait that this machine is allowed: one that is starved by others is slower in everything.

    A video is tried again after a pause that doubles, so that it may come as late again as the bucket was away.
    """
    return WAIT_SECONDS_MAX * max(1, calm_seconds / CALM_SECONDS_MAX) + 2 * away_seconds


def _show(
    plan: Plan, deployment: Deployment, shop: Shop, strikes: Strikes, found: Audit, *, seconds: float
) -> dict[str, Any]:
    waits = sorted(order.wait_seconds for order in shop.orders if order.job_id is not None)
    failures: Counter[str] = Counter()
    for order in shop.orders:
        failures.update(order.failures)
    return {
        "seed": plan.seed,
        "orders": plan.orders,
        "refused by a cap": sum(order.refused is not None for order in shop.orders),
        "strikes": dict(strikes.done),
        "calls": dict(shop.answers),
        "requests": {replica.name: deployment.proxy.requests[replica.port] for replica in deployment.replicas},
        "figures": found.figures,
        "median wait in seconds": round(statistics.median(waits), 2) if waits else None,
        "calm wait in seconds": round(shop.calm_seconds, 2),
        "allowed wait in seconds": round(allowed_seconds(shop.calm_seconds, plan.away_seconds), 2),
        "longest wait in seconds": round(waits[-1], 2) if waits else None,
        "seconds": round(seconds, 1),
        "failures": dict(failures.most_common(40)),
        "problems": found.problems,
        "late": _list_late(shop, plan.away_seconds),
    }


def print_table(shown: dict[str, Any]) -> None:
    """Print the figures for people."""
    waits = [f"{name} wait in seconds" for name in ("calm", "median", "longest", "allowed")]
    for name in ("orders", "refused by a cap", *waits):
        print(f"{name:<28}{shown[name]!s:>10}")
    for name in ("figures", "strikes", "calls", "requests"):
        for what, figure in sorted(shown[name].items()):
            print(f"{(name[:-1] + ' ' if name in ('strikes', 'calls') else '') + what:<28}{figure:>10}")
    for failure, times in shown["failures"].items():
        print(f"{times:>5} times {failure}")
    broken = shown["problems"] + shown["late"]
    for problem in broken:
        print(f"BROKEN PROMISE: {problem}")
    print(f"\nseed {shown['seed']}, {shown['seconds']} s, broken promises: {len(broken)}")


def main() -> int:
    """Read the arguments, play, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--short", action="store_true", help="40 orders, 6 kills, 1 crash of PostgreSQL: as in CI")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rail", choices=("x402", "mpp"), default="x402")
    parser.add_argument("--auth", choices=("tokens", "oauth"), default="tokens", help="what the callers' tokens are")
    parser.add_argument("--objects", choices=("folder", "s3"), default="folder", help="where videos are stored")
    parser.add_argument("--bucket-away", type=float, default=60, help="seconds that the bucket is away; 0 for never")
    add_json_option(parser)
    arguments = parser.parse_args()
    logging.getLogger("mcp").setLevel(logging.CRITICAL)  # the clients' failures are in the table
    plan = Plan.for_orders(
        40 if arguments.short else arguments.orders,
        seed=arguments.seed,
        rail=arguments.rail,
        auth=arguments.auth,
        objects=arguments.objects,
        away_seconds=arguments.bucket_away if arguments.objects == "s3" else 0,
    )
    try:
        shown = anyio.run(play, plan)
    except Exception:  # nothing of the product runs in this process
        traceback.print_exc()
        print("The harness does not work; this says nothing about the product.", file=sys.stderr)
        return 2
    if arguments.json == RAW:
        print(json.dumps(shown, indent=2))
    else:
        print_table(shown)
    told = f"{shown['orders']} orders, {sum(shown['strikes'].values())} strikes"
    broken = len(shown["problems"]) + len(shown["late"])
    return finish((report("hosted_chaos.broken", broken, told),), arguments.json)


if __name__ == "__main__":
    sys.exit(main())
