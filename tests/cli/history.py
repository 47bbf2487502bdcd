"""A history in the sandbox, made as its owner makes one: real purchases, real videos, and what went wrong."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx

from seedance_mcp.app.runtime import Runtime
from seedance_mcp.app.services import Services
from seedance_mcp.cli.console import run
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.generation.request import VideoRequest

DAY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVideo:
    """A video that is asked for, and what goes wrong at the studio meanwhile.

    Attributes:
        wait_seconds: How long it is waited for.
        days_ago: When it was, once `date_back` has been told.
    """

    request: VideoRequest
    faults: tuple[str, ...] = ()
    wait_seconds: float = 30
    days_ago: int = 0


def make_history(environ: Mapping[str, str], plan: Sequence[PlannedVideo]) -> None:
    """Buy everything, one after the other, and wait for all of it together."""
    studio = environ["SEEDANCE_STUDIO_URL"]

    async def buy(services: Services, planned: PlannedVideo, bought: anyio.Event) -> None:
        async def report(*_: object) -> None:
            bought.set()

        deadline = anyio.current_time() + planned.wait_seconds
        with suppress(SeedanceError):
            await services.generation.generate(planned.request, deadline=deadline, report=report)
        bought.set()

    async def work(runtime: Runtime) -> None:
        services = await runtime.services()
        async with httpx.AsyncClient() as http, anyio.create_task_group() as tasks:
            for planned in plan:
                await http.post(f"{studio}/_sandbox/faults", json={"faults": planned.faults})
                bought = anyio.Event()
                tasks.start_soon(buy, services, planned, bought)
                with anyio.fail_after(planned.wait_seconds):
                    await bought.wait()  # the next request's faults are not for this one
            await http.post(f"{studio}/_sandbox/faults", json={"faults": []})

    run(environ, work)


def date_back(ledger_file: Path, plan: Sequence[PlannedVideo]) -> None:
    """Let what was bought just now have been bought on the days that the arguments name."""
    with sqlite3.connect(ledger_file) as db:
        for planned in plan:
            seconds = planned.days_ago * DAY_SECONDS
            found = db.execute(
                "SELECT id FROM payments WHERE json_extract(arguments, '$.prompt') = ?", (planned.request.prompt,)
            ).fetchall()
            for (payment_id,) in found:
                db.execute("UPDATE payments SET created_at = created_at - ? WHERE id = ?", (seconds, payment_id))
                db.execute("UPDATE jobs SET created_at = created_at - ? WHERE payment_id = ?", (seconds, payment_id))
    db.close()
