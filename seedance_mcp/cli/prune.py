"""The `prune` command: delete saved videos and pictures that are too old. The ledger keeps its rows."""

import time
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.cli.console import AsJson, Sandbox, put, read_environ, say, words
from seedance_mcp.config.settings import read_settings
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.texts import write_count

if TYPE_CHECKING:
    from seedance_mcp.jobs.retention import PrunedFile

OlderThan = Annotated[
    int | None,
    typer.Option(min=1, max=36_500, help="Days; SEEDANCE_KEEP_DAYS if left out.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Name the files and delete nothing.")]


def prune(
    older_than: OlderThan = None, dry_run: DryRun = False, sandbox: Sandbox = False, as_json: AsJson = False
) -> None:
    """Delete saved videos, thumbnails and pictures that are older than some days. The ledger keeps its rows."""
    from seedance_mcp.adapters.media.received import ReceivedPictures
    from seedance_mcp.jobs.retention import prune as prune_files  # with what it loads, only here
    from seedance_mcp.jobs.retention import prune_received

    settings = read_settings(read_environ(sandbox))
    days = older_than or settings.keep_days
    if days is None:
        raise ConfigError("No age is set.", "Give --older-than DAYS, or set SEEDANCE_KEEP_DAYS.")

    received = ReceivedPictures(settings.pictures_dir, settings.videos_dir)

    async def work() -> "list[PrunedFile]":
        now = time.time()
        pictures = await prune_received(received, older_than_days=days, now=now, dry_run=dry_run)
        async with open_existing_ledger(settings) as ledger:
            return pictures + await prune_files(
                settings.videos_dir, ledger, older_than_days=days, now=now, dry_run=dry_run
            )

    pruned = anyio.run(work)
    size_bytes = sum(one.size_bytes for one in pruned)
    files = [str(one.file) for one in pruned]
    if as_json:
        say({"older_than_days": days, "dry_run": dry_run, "files": files, "size_bytes": size_bytes})
        return
    for file in files:
        put(file)
    done = "Would delete" if dry_run else "Deleted"
    size = f"{size_bytes / 1_000_000:.1f} MB"
    words.print(f"{done} {write_count(len(files), 'file')} ({size}) older than {write_count(days, 'day')}.")
