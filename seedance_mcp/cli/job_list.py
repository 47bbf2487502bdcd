"""Job list: the `jobs` command, which finds jobs in the ledger and adds up what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import typer

from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.cli.console import AsJson, Sandbox, read_environ, run, say, words
from seedance_mcp.cli.export import parse_moment
from seedance_mcp.cli.tables import cut_text, file_name, print_table
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.texts import write_count

if TYPE_CHECKING:
    from seedance_mcp.app.runtime import Runtime
    from seedance_mcp.core.records import Job

LIMIT_DEFAULT, LIMIT_MAX = 20, 100
SEARCHED_MAX = 10_000
"""How many of the latest jobs are searched."""
STATUSES: dict[str, tuple[str, ...]] = {
    "running": ("pending", "loading"),
    "complete": ("complete",),
    "failed": ("failed",),
}

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=LIMIT_MAX, help="How many are shown, newest first.")]
Status = Annotated[
    Literal["running", "complete", "failed"] | None,
    typer.Option("--status", "-s", help="Only these.", show_default=False),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Only from this date on, in UTC, or the last 12h, 7d.", show_default=False),
]
Search = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only with this in prompt, file name or id.", show_default=False)
]
Studio = Annotated[bool, typer.Option("--studio", help="Ask the studio for its own list, too.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are listed.

    Attributes:
        statuses: Empty for all.
        since: Unix seconds.
        text: In lower case.
    """

    statuses: tuple[str, ...] = ()
    since: float | None = None
    text: str = ""

    def matches(self, job: Job) -> bool:
        """Return True if a job is listed."""
        found = (str(job.arguments.get("prompt") or ""), job.job_id, file_name({"file": job.file}))
        return (
            (not self.statuses or job.status in self.statuses)
            and (self.since is None or job.created_at >= self.since)
            and any(self.text in one.casefold() for one in found)
        )


def jobs(
    limit: Limit = LIMIT_DEFAULT,
    status: Status = None,
    since: Since = None,
    search: Search = None,
    studio: Studio = False,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """List your latest jobs, with totals: from the ledger, which needs neither a network nor a key. Free."""
    from seedance_mcp.app.rendering import show_job
    from seedance_mcp.cli.words import dump_result

    environ = read_environ(sandbox)
    settings = read_settings(environ)
    wanted = JobFilter(
        statuses=() if status is None else STATUSES[status],
        since=parse_moment("--since", since),
        text=(search or "").casefold(),
    )

    async def work(runtime: Runtime) -> list[Job]:
        recent = await (await runtime.services()).jobs.list_recent(LIMIT_MAX)
        for note in recent.notes:
            words.print(note)
        return list(recent.jobs)

    latest = run(environ, work) if studio else anyio.run(_read_jobs, settings)
    found = [job for job in latest if wanted.matches(job)]
    results: list[dict[str, Any]] = [
        {
            **dump_result(show_job(job, settings.profile)),
            "created_at": job.created_at,
            "prompt": job.arguments.get("prompt"),
        }
        for job in found[:limit]
    ]
    totals = _add_up(found)
    if as_json:
        say({"results": results, "totals": totals})
        return
    if not found:
        words.print("No jobs yet." if not latest else "No job matches.")
        return
    _print(results)
    words.print(_describe(totals, shown=len(results)))
    words.print(f"The files are in {settings.videos_dir}")


async def _read_jobs(settings: Settings) -> list[Job]:
    from seedance_mcp.app.local_sandbox import end_orphans

    await end_orphans(settings)
    async with open_existing_ledger(settings) as ledger:
        return [] if ledger is None else await ledger.recent_jobs(SEARCHED_MAX)


def _add_up(found: Sequence[Job]) -> dict[str, Any]:
    """Return how many jobs there are of each status, and what was paid for all of them, without uploads."""

    def count(matches: Callable[[Job], bool]) -> int:
        return sum(map(matches, found))

    paid = sum(job.known_price_micro_usdc or 0 for job in found)
    return {
        "jobs": len(found),
        **{name: count(lambda job, few=statuses: job.status in few) for name, statuses in STATUSES.items()},
        "price_usd": format_usdc(paid),
        "price_micro_usdc": paid,
    }


def _describe(totals: dict[str, Any], *, shown: int) -> str:
    parts = [f"{totals[name]} {name}" for name in STATUSES if totals[name]]
    more = f" The latest {shown} are shown; -n shows more." if shown < totals["jobs"] else ""
    return f"{write_count(totals['jobs'], 'job')}: {', '.join(parts)}; ${totals['price_usd']} for the videos.{more}"


def _print(results: Sequence[dict[str, Any]]) -> None:
    rows: list[tuple[str, ...]] = []
    for result in results:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(result["created_at"]))
        prompt = cut_text(str(result["prompt"] or ""))
        price = f"${result['price_usd'] or '?'}"
        rows.append((result["job_id"], when, result["status"], price, prompt, file_name(result)))
    print_table(("job", "when", "status", "price", "prompt", "file"), rows, below=2)
