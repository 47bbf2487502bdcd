"""Commands: the table of all commands, in sections, with an example of each."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import typer

from seedance_mcp.cli.asked import may_pay
from seedance_mcp.cli.command_types import Context
from seedance_mcp.cli.exit_codes import EPILOG
from seedance_mcp.cli.failures import fail_usage
from seedance_mcp.cli.lazy_commands import Entry, LazyGroup

HELP_COLUMNS_MIN = 52
"""Typer writes help for a terminal of this width, also for a narrower one, which then breaks words."""
NO_WRAP = "\b\n"
"""Typer's mark of a paragraph that keeps its lines."""
UsageError: Any = typer.BadParameter.__base__


SECTIONS: dict[str, dict[str, Entry]] = {
    "Videos": {
        "animate": Entry("video_commands:animate", "Buy a video of each picture, and wait for it."),
        "film": Entry("film:film", "Make one film of many shots, at one price."),
        "quote": Entry("video_commands:quote", "Show what `animate` would cost. Free."),
        "upload": Entry("video_commands:upload", "Host a picture at the studio ($0.01); `animate` does it too."),
        "get": Entry("video_commands:get", "Read a job, wait for it, and save its video."),
        "jobs": Entry("job_list:jobs", "List your latest jobs."),
        "export": Entry("animation:export", "Write a saved video as a GIF or WebP animation."),
        "gallery": Entry("gallery.command:gallery", "Show videos, spending and payments on a local page."),
        "prune": Entry("prune:prune", "Delete saved videos and pictures that are old."),
    },
    "Wallet and limits": {
        "balance": Entry("wallet.balance:balance", "Show what the wallet holds, and what may be spent."),
        "spending": Entry("expenses:spending", "Show what was spent per day, month or model."),
        "wallet": Entry("wallet.command:app", "Make, show, fill and move the wallet that pays."),
        "freeze": Entry("freeze:freeze", "Stop all spending at once."),
        "unfreeze": Entry("freeze:unfreeze", "End the stop of `freeze`."),
    },
    "Set-up": {
        "setup": Entry("setup.command:setup", "Set everything up, step by step; start here."),
        "doctor": Entry("doctor.command:doctor", "Check everything, and say what to do."),
        "install": Entry("install.command:install", "Add this server to an MCP host."),
        "uninstall": Entry("install.command:uninstall", "Remove this server from an MCP host."),
    },
    "Without money": {
        "demo": Entry("sandbox_commands:demo", "Run a whole job in the sandbox."),
        "sandbox": Entry("sandbox_commands:sandbox", "Run a sandbox studio for your own MCP host."),
    },
    "Several machines": {
        "serve": Entry("serve:serve", "Serve MCP over HTTP to callers with a token."),
        "migrate": Entry("migrate:migrate", "Make or update the ledger in a PostgreSQL database."),
        "ledger": Entry("ledger:app", "Close a shared ledger after a restore, and open it."),
        "callers": Entry("callers:app", "Add, list, limit and end the callers of a shared server."),
        "budget": Entry("spending:budget", "Show what the callers spend, and what is left."),
        "payments": Entry("spending:payments", "List the latest payments, with the caller of each."),
    },
}
"""All commands, as the list shows them."""
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
EXAMPLES = {
    "animate": 'animate photo.jpg -p "The fog lifts" -o fog.mp4',
    "film": "film story.yaml -o film.mp4",
    "quote": 'quote photo.jpg -p "The fog lifts" -d 10',
    "upload": "upload photo.jpg",
    "get": "get cmw2x8f3k0001 -o fog.mp4",
    "jobs": "jobs --status failed --since 7d",
    "export": "export fog.mp4 --gif -o fog.gif",
    "gallery": "gallery",
    "prune": "prune --older-than 90",
    "balance": "balance",
    "spending": "spending --by month --csv",
    "wallet": "wallet create",
    "freeze": 'freeze "The laptop is lost"',
    "unfreeze": "unfreeze",
    "setup": "setup --sandbox",
    "doctor": "doctor",
    "install": "install cursor",
    "uninstall": "uninstall cursor",
    "demo": "demo",
    "sandbox": "sandbox --port 4020",
    "serve": "serve",
    "migrate": "migrate",
    "ledger": "ledger open",
    "callers": "callers add ann --max-per-day 5",
    "budget": "budget --caller ann",
    "payments": "payments --csv --since 2026-11-01",
}
"""How each command is typed, without the program's name. Only double quotes mean the same in every shell."""
PAYING = frozenset({"animate", "demo", "film", "upload"})
"""Commands that can spend money: their failures say what was paid."""


def _write_example(name: str) -> str:
    return f"Example: seedance-mcp {EXAMPLES[name]}"


@contextmanager
def _reporting_usage() -> Generator[None]:
    try:
        yield
    except UsageError as exc:
        if type(exc).__name__ == "NoArgsIsHelpError":  # a group without a command shows its list
            raise
        fail_usage(exc)


class CommandTree(LazyGroup):
    """The program's commands in sections, each with an example, and our own usage errors."""

    entries = COMMANDS

    def make_context(self, *positional: Any, **named: Any) -> Any:
        """Read the options before the command; help fits the terminal's width."""
        columns = shutil.get_terminal_size().columns
        if columns < HELP_COLUMNS_MIN:
            named.setdefault("terminal_width", columns - 1)
        with _reporting_usage():
            return super().make_context(*positional, **named)

    def invoke(self, ctx: Context) -> Any:
        """Find the command, read its options and run it; Ctrl-C at a question ends it with the code that means it."""
        try:
            with _reporting_usage():
                return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):
            from seedance_mcp.cli.console import interrupt

            raise interrupt("Run the same command again to go on.") from None

    def get_command(self, ctx: Context, cmd_name: str) -> Any:
        """Return a command with an example of how it is typed, or None."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            may_pay.set(cmd_name in PAYING)
            command.epilog = f"{NO_WRAP}{_write_example(cmd_name)}\n\n{EPILOG}"
        return command

    def format_commands(self, ctx: Context, formatter: Any) -> None:
        """Write the sections of the list of commands, with an example of each section's first command."""
        width = max(map(len, COMMANDS))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in entries.items()])
                formatter.write_text(NO_WRAP + _write_example(next(iter(entries))))
