"""A server that is killed at any point of a purchase never pays twice, never overspends, and loses nothing paid.

Every case: the server with the crash point is killed in an upload or a generation; a plain server on the same folder
takes over. In one half of the cases the agent repeats its call; in the other it does not, and the server has to clean
up by itself. All of it happens on both rails. The sandbox's chains say what was paid.

The server that is killed is a process of its own; the one that takes over runs in the process of the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from seedance_mcp.sandbox import EXAMPLE_IMAGE, Sandbox
from tests.crash.crash_points import GENERATION_POINTS, POINTS, PURCHASE_POINTS, PUSH_POINTS, UPLOAD_POINTS
from tests.crash.scenario import Answer, Audit, Stage, call

pytestmark = pytest.mark.chaos

CASE_SECONDS = 120
CALLS_MAX = 6
"""How often an agent repeats a call before it gives up."""
PATIENCE_SECONDS = 2
"""How long the first repeated call may take, while the dead server's lease still stands."""
PAUSE_SECONDS = 5
"""How long an agent waits after an error before it calls again; `CALLS_MAX` such pauses outlive a Tempo credential."""
RAILS = ("x402", "mpp")
PURPOSES = ("upload", "generation")

ANSWER_IS_LOST = ("during_post", "after_settlement_before_answer", "after_answer_before_ledger")
"""Points after which a paid upload's ticket is nowhere: the money moved, and the studio never says it again."""
NOTHING_IS_SIGNED = ("before_reserve", "after_reserve", "after_sign")
"""Points before a credential was written down, so that none was sent either."""
RESUMED_POINTS = (
    "after_reserve",
    "after_record",
    "during_post",
    "after_settlement_before_answer",
    "after_answer_before_ledger",
    "after_conclude_before_result",
    "during_polling",
    "during_download",
)


@dataclass(frozen=True, slots=True)
class Case:
    """Where the server is killed, in the purchase of what, on which rail, and whether the agent calls again."""

    point: str
    purpose: str
    repeated: bool
    rail: str

    def __str__(self) -> str:
        return f"{self.point}-{self.purpose}-{'repeated' if self.repeated else 'resumed'}-{self.rail}"

    @property
    def fatal_call(self) -> tuple[str, dict[str, Any]]:
        """The call during which the server is killed."""
        if self.purpose == "upload":
            return "upload_image", {"image": str(EXAMPLE_IMAGE)}
        return "animate_image", {"image": str(EXAMPLE_IMAGE), "prompt": "The boat sails on"}


@dataclass(slots=True)
class Verdict:
    """What became of a case: the ledger after the recovery, what the repeated calls said, and the jobs by `get_job`."""

    audit: Audit
    answers: list[Answer] = field(default_factory=list[Answer])
    jobs: list[Answer] = field(default_factory=list[Answer])

    @property
    def notes(self) -> str:
        """Everything that the agent was told in addition."""
        return " ".join(note for answer in self.answers for note in answer.fields.get("notes", []))


CASES = [
    Case(point, purpose, repeated, rail)
    for rail in RAILS
    for purpose, repeated, points in (
        ("upload", True, PURCHASE_POINTS | UPLOAD_POINTS),
        ("generation", True, PURCHASE_POINTS | GENERATION_POINTS),
        ("upload", False, ("after_reserve", "after_record", "after_settlement_before_answer")),
        ("generation", False, RESUMED_POINTS),
    )
    for point in points
] + [
    Case(point, purpose, repeated, "mpp") for point in PUSH_POINTS for purpose in PURPOSES for repeated in (True, False)
]


@pytest.fixture
async def verdict(
    case: Case,
    tmp_path: Path,
    prompt_studio: Sandbox,
    slow_to_settle: Sandbox,
    slow_to_answer: Sandbox,
    taking_pushed: Sandbox,
) -> Verdict:
    """The case of the test, played to its end."""
    studios = {"during_post": slow_to_settle, "after_settlement_before_answer": slow_to_answer}
    studios |= dict.fromkeys(PUSH_POINTS, taking_pushed)
    with anyio.fail_after(CASE_SECONDS):
        return await play(case, studios.get(case.point, prompt_studio), tmp_path / "stage")


async def play(case: Case, sandbox: Sandbox, folder: Path) -> Verdict:
    """Die once, take over, and look at the ledger."""
    stage = await Stage.set(sandbox, folder, case.rail)
    tool, arguments = case.fatal_call
    async with stage.server(case.point, case.purpose) as client:
        if case.purpose == "generation":
            hosted = await _call(client, "upload_image", {"image": str(EXAMPLE_IMAGE)})
            assert not hosted.is_error, hosted.text
        answer = await call(client, tool, **arguments)
        for _ in range(CALLS_MAX):  # a busy machine may take longer to get there than one call waits
            if answer is None or answer.is_error:
                break
            answer = await call(client, tool, **arguments)
        assert answer is None, f"the crash point held: {answer}"
    before = await stage.audit()
    assert before.generations <= 1
    if case.repeated:
        return await _repeat(stage, tool, arguments)
    return await _resume(stage)


async def _repeat(stage: Stage, tool: str, arguments: dict[str, Any]) -> Verdict:
    """The agent calls again, once too early, and then until it has what it wants."""
    async with stage.server_in_process() as client:
        answers: list[Answer] = []
        with anyio.move_on_after(PATIENCE_SECONDS):  # a host gives up; the server goes on waiting for the dead one
            answers.append(await _call(client, tool, arguments))
        stage.let_leases_lapse()
        for _ in range(CALLS_MAX):
            answers.append(await _call(client, tool, arguments))
            if not answers[-1].is_error and answers[-1].fields.get("status", "complete") == "complete":
                break
            if answers[-1].is_error:  # on a busy machine a credential may expire first; then the chain is asked
                await anyio.sleep(PAUSE_SECONDS)
        await stage.wait_until_over()
        return Verdict(audit=await stage.audit(), answers=answers, jobs=await _get_jobs(client, stage))


async def _call(client: Client, tool: str, arguments: dict[str, Any]) -> Answer:
    answer = await call(client, tool, **arguments)
    assert answer is not None, "the plain server died"
    return answer


async def _resume(stage: Stage) -> Verdict:
    """The agent does not call at all: a server that a host has started cleans up by itself."""
    stage.let_leases_lapse()
    async with stage.server_in_process() as client:
        await stage.wait_until_over()
        return Verdict(audit=await stage.audit(), jobs=await _get_jobs(client, stage))


async def _get_jobs(client: Client, stage: Stage) -> list[Answer]:
    return [await _call(client, "get_job", {"job_id": job.job_id}) for job in await stage.jobs()]


def _pick(*, purpose: str, repeated: bool) -> Callable[[Any], Any]:
    cases = [case for case in CASES if case.purpose == purpose and case.repeated == repeated]
    return pytest.mark.parametrize("case", cases, ids=str)


def test_every_point_is_in_the_matrix() -> None:
    for rail in RAILS:
        points = {*POINTS} - ({*PUSH_POINTS} if rail == "x402" else set[str]())
        assert {case.point for case in CASES if case.repeated and case.rail == rail} == points


@pytest.mark.slow
@_pick(purpose="generation", repeated=True)
async def test_a_repeated_animation_is_bought_once_and_saved(verdict: Verdict, case: Case) -> None:
    assert verdict.audit.problems == []
    assert (verdict.audit.generations, verdict.audit.uploads) == (1, 1)
    assert verdict.audit.held_micro_usdc == 0
    assert {job.fields["rail"] for job in verdict.jobs} == {case.rail}
    assert [job.fields["file"] for job in verdict.jobs] == [verdict.answers[-1].fields["file"]]


@pytest.mark.slow
@_pick(purpose="upload", repeated=True)
async def test_a_repeated_upload_is_bought_once_unless_its_answer_was_lost(verdict: Verdict, case: Case) -> None:
    assert verdict.audit.problems == []
    assert not verdict.answers[-1].is_error, verdict.answers
    assert verdict.audit.generations == 0
    lost = case.point in ANSWER_IS_LOST
    assert verdict.audit.uploads == (2 if lost else 1)
    assert verdict.audit.held_micro_usdc == 0
    assert ("bought once more" in verdict.notes) == lost


@pytest.mark.slow
@_pick(purpose="generation", repeated=False)
async def test_a_server_finds_and_saves_a_paid_video_that_no_one_asks_for_again(verdict: Verdict, case: Case) -> None:
    bought = case.point not in NOTHING_IS_SIGNED
    assert verdict.audit.problems == []
    assert (verdict.audit.generations, verdict.audit.uploads) == (int(bought), 1)
    assert verdict.audit.held_micro_usdc == 0
    assert [job.fields["status"] for job in verdict.jobs] == ["complete"] * int(bought)


@pytest.mark.slow
@_pick(purpose="upload", repeated=False)
async def test_a_server_clears_the_ledger_of_an_upload_that_no_one_asks_for_again(verdict: Verdict, case: Case) -> None:
    assert verdict.audit.problems == []
    assert verdict.audit.generations == 0
    bought = [0] if case.point in NOTHING_IS_SIGNED else [1]
    if (case.point, case.rail) == ("after_record", "mpp"):  # never sent; on a busy machine its 25 s are over by now
        bought = [0, 1]
    assert verdict.audit.uploads in bought
    assert verdict.audit.held_micro_usdc == 0
