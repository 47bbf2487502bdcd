"""Random kills: how often does a purchase that is killed at a random moment end in double payment or loss?

Usage: python benchmarks/kill_matrix.py --runs 200 [--films] [--seed 1] [--first 0] [--lanes 3] [--json]

Each run is one journey (quote_price, upload_image, animate_image, get_job) of a new wallet with a new picture. The
server is SIGKILLed from outside, at random moments, up to three times; in most runs the studio misbehaves once. After
each death the server is started again and the same call is made again, until the journey is over. Then the client's
ledger is compared with the sandbox's chain. Exits with 1 unless nothing was paid twice, lost or overspent.

With `--films` a journey is one film (quote_price, animate_storyboard, get_job) of five shots, three of which begin with
the last frame of the one before. It ends with one file that has every shot.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import av
import httpx
from mcp import Client, StdioServerParameters
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the stage is shared with the tests

from benchmarks.figures import RAW, add_json_option, finish, report
from seedance_mcp.sandbox import Sandbox, SandboxSettings
from tests.crash.scenario import Answer, Stage, call

JOB_SECONDS = 0.5
SHOT_SECONDS = 4
"""How long each shot of a film is."""
CALLS_MAX = 12
"""How often one call is repeated before its journey counts as stuck."""
KILLS_MAX = 3
WAIT_SECONDS = 10
"""How long a repeated call waits; the first one may be in more of a hurry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of journey.

    Attributes:
        kill_seconds: The calls, in their order. Kills fall into this many seconds after the call is made, where most
            of its steps are.
        weights: How often each call is chosen for a kill.
        late_kill_seconds: The length of the call that buys; a share of its kills falls into this instead.
        kills: How many kills a journey has, drawn from these.
        faults: Misbehaviours of the studio, and the calls before which each is switched on for one request.
        generations, uploads: What the whole journey buys.
        run_seconds: How long it may take. A film waits until a credential that the studio refused has expired.
    """

    kill_seconds: dict[str, float]
    weights: tuple[int, ...]
    late_kill_seconds: float
    kills: tuple[int, ...]
    faults: dict[str, tuple[str, ...]]
    generations: int
    uploads: int
    run_seconds: int = 180

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the journey's calls."""
        return tuple(self.kill_seconds)


def _list_faults(reads: tuple[str, ...], uploads: tuple[str, ...], buys: str) -> dict[str, tuple[str, ...]]:
    """Return the misbehaviours of the studio by the calls that can meet them."""
    pays = (*uploads, buys)
    return {
        "none": (*reads, *pays),
        **dict.fromkeys(("drop_after_settle", "settle_then_500"), pays),
        **({"fail_settlement": pays} if uploads else {}),  # a film whose payment was refused waits for its expiry
        **dict.fromkeys(("slow_answer=1", "slow_settle=1", "second_402"), pays),
        **dict.fromkeys(("truncated_video", "dead_result_url"), (buys,)),
        **dict.fromkeys(("rate_limited", "server_error", "not_json"), (*reads, *pays)),
    }


VIDEO = Kind(
    kill_seconds={"quote_price": 0.6, "upload_image": 0.5, "animate_image": 0.8, "get_job": 0.3},
    weights=(1, 3, 5, 1),
    late_kill_seconds=4.0,
    kills=(1, 1, 1, 2, 2, 3),
    faults=_list_faults(("quote_price", "get_job"), ("upload_image",), "animate_image"),
    generations=1,
    uploads=1,
)
FILM = Kind(
    kill_seconds={"quote_price": 0.6, "animate_storyboard": 3.0, "get_job": 3.0},
    weights=(1, 6, 3),
    late_kill_seconds=12.0,
    kills=(1, 2, 2, 3, 3, 4),
    faults=_list_faults(("quote_price", "get_job"), (), "animate_storyboard"),
    generations=5,
    uploads=5,
    run_seconds=480,
)
FILM_REFUSED = '"error":"The studio refused the payment'
"""In the result of a film: like a refused video, that shot waits until the refused credential has expired."""
LATE_KILLS = 0.3
"""This share of the kills of the call that buys falls into its whole length: polling and download."""
PATIENCE = 0.7
"""In this share of the restarts the agent waits until the dead server's lease has lapsed; else it calls at once."""
EXPIRED = "An earlier payment for this has expired"
"""In an error: the chain is asked once its nodes have surely come so far, and the agent calls again after a pause."""
PAUSE_SECONDS = 5
HURRY_SECONDS = 3
"""An agent that calls at once gives up after this long, and calls again once the lease has lapsed."""
RAILS = ("x402", "mpp")
VERDICTS = ("paid twice", "job lost", "overspent", "stuck")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will happen to one journey; made from the seed and the run's number alone."""

    run: int
    rail: str
    fault: str
    fault_step: str
    kills: list[tuple[str, float]]
    wait_seconds: int
    restarts_patiently: list[bool]

    @classmethod
    def draw(cls, kind: Kind, run: int, seed: int) -> Plan:
        """Draw what befalls a journey; each fault comes up equally often, on both rails in turn."""
        chance = random.Random(f"{seed}/{run}")  # noqa: S311 - a draw, not a secret
        fault = list(kind.faults)[run % len(kind.faults)]
        kills = [_draw_kill(kind, chance) for _ in range(chance.choice(kind.kills))]
        return cls(
            run=run,
            rail=RAILS[run // len(kind.faults) % len(RAILS)],
            fault=fault,
            fault_step=chance.choice(kind.faults[fault]),
            kills=kills,
            wait_seconds=chance.choice((0, 5, 30)),
            restarts_patiently=[chance.random() < PATIENCE for _ in range(KILLS_MAX)],
        )


def _draw_kill(kind: Kind, chance: random.Random) -> tuple[str, float]:
    step = chance.choices(kind.steps, weights=kind.weights)[0]
    late = step.startswith("animate_") and chance.random() < LATE_KILLS
    return step, chance.uniform(0, kind.late_kill_seconds if late else kind.kill_seconds[step])


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one journey."""

    plan: Plan
    seconds: float = 0
    killed_in: list[str] = field(default_factory=list[str])
    calls: int = 0
    generations: int = 0
    uploads: int = 0
    lost_uploads: int = 0
    refused: bool = False
    problems: list[str] = field(default_factory=list[str])
    errors: list[str] = field(default_factory=list[str])


class Journey:
    """One agent on its way from a picture to a video, with a server that keeps dying."""

    def __init__(self, kind: Kind, stage: Stage, plan: Plan, pictures: list[Path]) -> None:
        self.stage = stage
        self.outcome = Outcome(plan=plan)
        self._kind = kind
        self._steps = kind.steps
        self._plan = plan
        self._pictures = [str(picture) for picture in pictures]
        self._kills = list(plan.kills)
        self._step = 0
        self._armed = False
        self._hurried = False
        self._job_id: str | None = None
        self._file: str | None = None
        self._calls_of_step = 0

    async def travel(self) -> Outcome:
        """Go on, over as many servers as it takes, until the journey is over."""
        while not self._is_over():
            async with self._server() as (client, pid):
                while not self._is_over():
                    answer = await self._make_call(client, pid)
                    if answer is None:
                        break
                    self._take(answer)
                    if answer.is_error and EXPIRED in answer.text:
                        await anyio.sleep(PAUSE_SECONDS)
            if self.outcome.killed_in and not self._is_over():
                patient = self._plan.restarts_patiently[(len(self.outcome.killed_in) - 1) % KILLS_MAX]
                self._hurried = not patient
                if patient:
                    self.stage.let_leases_lapse()
        await self._judge()
        return self.outcome

    def _is_over(self) -> bool:
        return self._step >= len(self._steps) or self.outcome.refused or self._calls_of_step > CALLS_MAX

    @asynccontextmanager
    async def _server(self) -> AsyncGenerator[tuple[Client, int]]:
        """`python -m seedance_mcp` as a host starts it, with its process id."""
        pid_file = self.stage.folder / "server.pid"
        parameters = StdioServerParameters(
            command="/bin/sh",
            args=["-c", 'echo $$ > "$0"; exec "$@"', str(pid_file), sys.executable, "-m", "seedance_mcp"],
            env=self.stage.environ,
        )
        async with Client(parameters) as client:
            yield client, int(await anyio.Path(pid_file).read_text())

    async def _make_call(self, client: Client, pid: int) -> Answer | None:
        """Make the step's call, with its fault armed once, and with its kill on the way."""
        step = self._steps[self._step]
        if step == self._plan.fault_step and not self._armed and self._plan.fault != "none":
            self._armed = True
            await self._arm(f"{self._plan.fault}:1")
        self.outcome.calls += 1
        self._calls_of_step += 1
        kill = next((kill for kill in self._kills if kill[0] == step), None)
        answers: list[Answer | None] = []
        async with anyio.create_task_group() as tasks:
            if kill is not None:
                self._kills.remove(kill)
                tasks.start_soon(self._kill, pid, step, kill[1])
            with anyio.move_on_after(HURRY_SECONDS if self._hurried else self._kind.run_seconds):
                answers.append(await call(client, step, **self._arguments(step)))
            tasks.cancel_scope.cancel()
        self._hurried = False
        if not answers:
            self.stage.let_leases_lapse()
            return Answer(is_error=True, text="the agent gave up waiting", fields={})
        return answers[0]

    def _arguments(self, step: str) -> dict[str, Any]:
        if step == "get_job":
            return {"job_id": self._job_id, "wait_seconds": WAIT_SECONDS}
        if step == "upload_image":
            return {"image": self._pictures[0]}
        wanted = self._draw_film() if self._kind is FILM else {"image": self._pictures[0], "prompt": "It moves"}
        if step == "quote_price":
            return wanted
        return {**wanted, "wait_seconds": self._plan.wait_seconds if self._calls_of_step == 1 else WAIT_SECONDS}

    def _draw_film(self) -> dict[str, Any]:
        """Two shots with pictures of their own, three that go on with the one before."""
        pictures = (self._pictures[0], None, None, self._pictures[1], None)
        shots = [{"prompt": f"Shot {number}"} for number, _ in enumerate(pictures, start=1)]
        return {
            "shots": [
                one if image is None else {**one, "image": image} for one, image in zip(shots, pictures, strict=True)
            ]
        }

    async def _arm(self, fault: str) -> None:
        async with httpx.AsyncClient(base_url=self.stage.sandbox.url, trust_env=False) as studio:
            (await studio.post("/_sandbox/faults", json={"faults": [fault]})).raise_for_status()

    async def _kill(self, pid: int, step: str, seconds: float) -> None:
        await anyio.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        self.outcome.killed_in.append(step)

    def _take(self, answer: Answer) -> None:
        """Go on to the next step, or note why not."""
        step = self._steps[self._step]
        if answer.is_error:
            self.outcome.errors.append(answer.text)
            if answer.text.startswith("payment_refused") or FILM_REFUSED in answer.text:
                self.outcome.refused = True
            elif self._kind is FILM and step == "get_job":
                self._step, self._calls_of_step = self._steps.index("animate_storyboard"), 1  # as the result says
            elif self._calls_of_step > CALLS_MAX // 3:
                self.stage.let_leases_lapse()  # the agent waits a minute, as it was told to
            return
        if step.startswith("animate_"):
            self._job_id = answer.fields["job_id"]
            if self._job_id is None:  # still being bought
                return
        if step == "get_job":
            if answer.fields["status"] != "complete":
                self._calls_of_step = 1  # it is being made, or says what it waits for
                return
            self._file = answer.fields["file"]
        self._step += 1
        self._calls_of_step = 0

    async def _judge(self) -> None:
        """Compare the ledger."""
        outcome = self.outcome
        kind = self._kind
        audit = await self.stage.audit(generations_max=kind.generations, uploads_max=kind.uploads)
        outcome.generations, outcome.uploads = audit.generations, audit.uploads
        outcome.lost_uploads = audit.lost_uploads
        outcome.problems += audit.problems
        if outcome.refused:
            last = self._steps[self._step]
            if (last == "animate_image" and audit.generations) or (last == "upload_image" and audit.uploads):
                outcome.problems.append(f"job lost: {last} was refused and settled all the same")
        elif self._step < len(self._steps):
            outcome.problems.append(f"stuck: {self._steps[self._step]} never ended: {outcome.errors[-1:]}")
        elif audit.generations != kind.generations:
            outcome.problems.append(f"job lost: the journey ended with {audit.generations} settled generations")
        elif kind is FILM:
            outcome.problems += await anyio.to_thread.run_sync(_find_film_problems, self._file)


def _find_film_problems(file: str | None) -> list[str]:
    """Decode a whole film; returns what it lacks."""
    if file is None:
        return ["job lost: the film has no file"]
    with av.open(file) as film:
        chapters, times = film.chapters(), [float(frame.time or 0) for frame in film.decode(video=0)]
    problems: list[str] = []
    if len(chapters) != FILM.generations:
        problems.append(f"job lost: the film has {len(chapters)} chapters")
    if times != sorted(set(times)) or abs(times[-1] - FILM.generations * SHOT_SECONDS) > SHOT_SECONDS / 10:
        problems.append(f"job lost: the film's {len(times)} frames end at {times[-1]:.2f} s")
    return problems


async def play(kind: Kind, plan: Plan, sandbox: Sandbox, folder: Path) -> Outcome:
    """Play one run to its end."""
    started = time.monotonic()
    stage = await Stage.set(sandbox, folder, plan.rail)
    pictures = [folder / f"picture{number}.png" for number in range(2 if kind is FILM else 1)]
    for number, picture in enumerate(pictures):
        colour = (plan.run % 256, plan.run // 256 % 256, 128 + 64 * number)
        await anyio.to_thread.run_sync(partial(Image.new("RGB", (640, 360), colour).save, picture))
    journey = Journey(kind, stage, plan, pictures)
    try:
        with anyio.fail_after(kind.run_seconds):
            await journey.travel()
    except TimeoutError:
        journey.outcome.problems.append(f"stuck: not over after {kind.run_seconds} s: {journey.outcome.errors[-1:]}")
    except Exception as exc:  # one broken journey must not end the others
        journey.outcome.problems.append(f"stuck: the journey itself broke: {exc!r}")
    journey.outcome.seconds = time.monotonic() - started
    return journey.outcome


async def play_all(kind: Kind, numbers: range, *, seed: int, lanes: int, folder: Path) -> list[Outcome]:
    """Play every run, in lanes side by side; a lane has its own studio, so that a fault befalls its own journey."""
    outcomes: list[Outcome] = []
    plans = iter([Plan.draw(kind, run, seed) for run in numbers])

    async def play_lane() -> None:
        sandbox = Sandbox(SandboxSettings(rails=RAILS, job_seconds=JOB_SECONDS))
        await anyio.to_thread.run_sync(sandbox.start)
        for plan in plans:
            outcomes.append(await play(kind, plan, sandbox, folder / str(plan.run)))
            if sys.stderr.isatty():
                print(f"\r{len(outcomes)}/{len(numbers)}", end="", file=sys.stderr)
        await anyio.to_thread.run_sync(sandbox.stop)
        _look_again(sandbox, outcomes)

    async with anyio.create_task_group() as tasks:
        for _ in range(lanes):
            tasks.start_soon(play_lane)
    return sorted(outcomes, key=lambda outcome: outcome.plan.run)


def _look_again(sandbox: Sandbox, outcomes: list[Outcome]) -> None:
    """Count nonces that settled twice; a request that a dead server left at the studio may settle late."""
    nonces = Counter((one.payer, one.nonce) for one in sandbox.chain.settlements())
    nonces += Counter((one.payer, one.nonce_hash) for one in sandbox.tempo.settlements())
    for (payer, _), times in nonces.items():
        if times > 1:
            outcomes[-1].problems.append(f"paid twice: {payer} settled one nonce {times} times")


def show(kind: Kind, outcomes: list[Outcome], *, seconds: float, seed: int) -> dict[str, Any]:
    """Everything that the table shows, as data."""
    totals = Counter(problem.partition(":")[0] for outcome in outcomes for problem in outcome.problems)
    by_fault: dict[str, Counter[str]] = {fault: Counter() for fault in kind.faults}
    by_rail: dict[str, Counter[str]] = {rail: Counter() for rail in RAILS}
    by_step: dict[str, Counter[str]] = {step: Counter() for step in kind.steps}
    for outcome in outcomes:
        row = {
            "runs": 1,
            "kills": len(outcome.killed_in),
            "calls": outcome.calls,
            "videos bought": outcome.generations,
            "uploads bought": outcome.uploads,
            "upload answers lost": outcome.lost_uploads,
            "refused": int(outcome.refused),
            "problems": len(outcome.problems),
        }
        by_fault[outcome.plan.fault].update(row)
        by_rail[outcome.plan.rail].update(row)
        for step in outcome.killed_in:
            by_step[step].update({"kills": 1, "problems": len(outcome.problems)})
    return {
        "seed": seed,
        "films": kind is FILM,
        "runs": len(outcomes),
        "seconds": round(seconds, 1),
        "kills": sum(len(outcome.killed_in) for outcome in outcomes),
        "totals": {verdict: totals[verdict] for verdict in VERDICTS},
        "by_fault": {fault: dict(row) for fault, row in by_fault.items()},
        "by_rail": {rail: dict(row) for rail, row in by_rail.items()},
        "by_step": {step: dict(row) for step, row in by_step.items()},
        "anomalies": [asdict(outcome) for outcome in outcomes if outcome.problems],
        "journeys": [asdict(outcome) for outcome in outcomes],
    }


def print_table(shown: dict[str, Any]) -> None:
    """Return the figures for people."""
    columns = (
        "runs",
        "kills",
        "calls",
        "videos bought",
        "uploads bought",
        "upload answers lost",
        "refused",
        "problems",
    )
    print(f"{'fault':<20}" + "".join(f"{column:>{len(column) + 2}}" for column in columns))
    for fault, row in shown["by_fault"].items():
        print(f"{fault:<20}" + "".join(f"{row.get(column, 0):>{len(column) + 2}}" for column in columns))
    print(f"\n{'killed in':<20}{'kills':>7}")
    for step, row in shown["by_step"].items():
        print(f"{step:<20}{row.get('kills', 0):>7}")
    for anomaly in shown["anomalies"]:
        print(f"\nrun {anomaly['plan']['run']}: {'; '.join(anomaly['problems'])}\n  {anomaly}")
    print(f"\n{shown['runs']} journeys, {shown['kills']} kills, seed {shown['seed']}, {shown['seconds']} s")
    print(", ".join(f"{verdict}: {count}" for verdict, count in shown["totals"].items()))


def main() -> int:
    """Read the arguments, play, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--films", action="store_true", help="each journey makes a film of five shots")
    parser.add_argument("--first", type=int, default=0, help="number of the first run: replays one with --runs 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=3, help="journeys side by side")
    add_json_option(parser)
    arguments = parser.parse_args()
    logging.getLogger("x402").setLevel(logging.ERROR)  # the studio's verifier warns of every refused credential
    numbers = range(arguments.first, arguments.first + arguments.runs)
    kind = FILM if arguments.films else VIDEO
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-matrix-") as folder:
        play_runs = partial(play_all, kind, numbers, seed=arguments.seed, lanes=arguments.lanes, folder=Path(folder))
        outcomes = anyio.run(play_runs)
    shown = show(kind, outcomes, seconds=time.monotonic() - started, seed=arguments.seed)
    if arguments.json == RAW:
        print(json.dumps(shown, indent=2))
    else:
        print_table(shown)
    name = "kill_matrix.films" if arguments.films else "kill_matrix.broken"
    told = f"{shown['runs']} journeys, {shown['kills']} kills"
    return finish((report(name, sum(shown["totals"].values()), told),), arguments.json)


if __name__ == "__main__":
    sys.exit(main())
