"""The `migrate` command: make or update the ledger in a PostgreSQL database, and move a SQLite ledger into it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import anyio
import typer

from seedance_mcp.app.opening import migrate_database, move_ledger
from seedance_mcp.cli.console import AsJson, read_environ, say, words
from seedance_mcp.config.settings import read_settings
from seedance_mcp.core.money import format_usdc

From = Annotated[
    Path | None,
    typer.Option("--from", help="A ledger.sqlite3 whose payments and jobs move into the empty database; it is frozen."),
]


def migrate(from_file: From = None, as_json: AsJson = False) -> None:
    """Make or update the ledger in the database of SEEDANCE_DATABASE_URL. No server does that by itself."""
    settings = read_settings(read_environ(sandbox=False), blocking=True)
    if from_file is None:
        migrated = anyio.run(migrate_database, settings)
        if as_json:
            say({"version": migrated.after, "version_before": migrated.before})
            return
        words.print(
            f"{settings.ledger_place} has version {migrated.after} of the ledger"
            + (", as before." if migrated.after == migrated.before else f"; it had {migrated.before or 'none'}.")
        )
        return
    moved = anyio.run(move_ledger, settings, from_file.expanduser().absolute())
    if as_json:
        say(
            {
                "version": moved.version,
                "moved": {
                    "payments": moved.payments,
                    "jobs": moved.jobs,
                    "spent_usd": format_usdc(moved.spent_micro_usdc),
                },
            }
        )
        return
    words.print(
        f"{moved.payments} payments and {moved.jobs} jobs are in {settings.ledger_place}; "
        f"${format_usdc(moved.spent_micro_usdc)} is counted as spent, as before."
    )
    words.print(f"{from_file} is frozen, so that nothing is paid from it any more.")
