"""Wallet limits: show them with what is left of them, and set one at a terminal."""

import os
import time
from typing import Annotated

import anyio
import typer

from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.cli.command_types import Command, Group
from seedance_mcp.cli.console import AsJson, Sandbox, ask_yes_no, is_person_there, read_environ, say, words
from seedance_mcp.cli.settings_file import write_settings
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.limits import Limits, Spend
from seedance_mcp.core.money import format_usdc, parse_usdc

AMOUNTS = ("max_price_per_video", "max_per_day", "max_per_week", "max_per_month", "max_total", "ask_above")
"""Limits that are amounts in US dollars."""

app = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False)


@app.callback(invoke_without_command=True)
def limits(ctx: typer.Context, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Show your limits and what is left of them; needs neither a network nor a key."""
    if ctx.invoked_subcommand is not None:
        return
    settings = read_settings(read_environ(sandbox))
    spend, freeze = anyio.run(_read_spend, settings)
    chosen = settings.limits
    rows = {
        "max_price_per_video_micro_usdc": chosen.max_price_per_video_micro_usdc,
        "max_per_day_micro_usdc": chosen.max_per_day_micro_usdc,
        "spent_last_day_micro_usdc": spend.last_day_micro_usdc,
        "max_per_week_micro_usdc": chosen.max_per_week_micro_usdc,
        "spent_last_week_micro_usdc": spend.last_week_micro_usdc,
        "max_per_month_micro_usdc": chosen.max_per_month_micro_usdc,
        "spent_last_month_micro_usdc": spend.last_month_micro_usdc,
        "max_total_micro_usdc": chosen.max_total_micro_usdc,
        "spent_total_micro_usdc": spend.total_micro_usdc,
        "ask_above_micro_usdc": chosen.ask_above_micro_usdc,
    }
    lists = {"rails": list(chosen.rails), "recipients": list(chosen.recipients), "models": list(chosen.models)}
    if as_json:
        say({
            **rows, **lists, "push_allowed": chosen.push_allowed, "unlimited": list(chosen.unlimited),
            "frozen_since": None if freeze is None else freeze.since,
        })  # fmt: skip
        return
    for name, amount in rows.items():
        label = name.removesuffix("_micro_usdc").replace("_", " ")
        unset = "never" if name.startswith("ask_above") else "no limit"
        typer.echo(f"{label:22} {unset if amount is None else '$' + format_usdc(amount)}")
    for name, allowed in lists.items():
        typer.echo(f"{name:22} {', '.join(allowed) or 'any'}")
    if "mpp" in chosen.rails:
        typer.echo(f"{'push on Tempo':22} {'allowed' if chosen.push_allowed else 'not allowed'}")
    if freeze is not None:
        words.print(f"{freeze.describe()} To end it, run: {settings.profile.name_command('unfreeze')}")
    words.print("To change one: seedance-mcp wallet limits set max_per_day 3.00")


@app.command(cls=Command, name="set")
def set_limit(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(AMOUNTS)}.")],
    amount: Annotated[str, typer.Argument(metavar="USD", help="US dollars, such as 3.00.")],
) -> None:
    """Set a limit in your settings file; for a person at a terminal.

    It holds for every command and host that uses this data folder, at its next start.
    """
    name = name.lower().replace("-", "_").removeprefix("seedance_")
    if name not in AMOUNTS:
        raise ConfigError(f"{name[:60]} is not a limit that this command sets.", f"Name one of: {', '.join(AMOUNTS)}.")
    if not is_person_there():
        raise ConfigError("Only a person at a terminal can set a limit.", "Nothing was changed.")
    if f"SEEDANCE_{name.upper()}" in os.environ:
        what = f"SEEDANCE_{name.upper()} is set in the environment, which comes before the settings file."
        raise ConfigError(what, "Remove it there first. Nothing was changed.")
    after = _parse(amount)
    settings = read_settings(read_environ(sandbox=False))
    before = _find_amount(settings.limits, name)
    shown = "none" if before is None else f"${format_usdc(before)}"
    words.print(f"{name}: {shown} becomes ${format_usdc(after)}, in {settings.file}")
    if not ask_yes_no("Set it?"):
        raise ConfigError("The limit was not set.", "Nothing was changed.")
    write_settings(settings.file, {name: format_usdc(after)})
    words.print("It is set. A server that is running has the limits of its start: restart it.")


def _parse(text: str) -> int:
    try:
        return parse_usdc(text.removeprefix("$"))
    except ValueError as exc:
        raise ConfigError(f"{exc}.", "Write US dollars, such as 3.00. Nothing was changed.") from exc


def _find_amount(limits: Limits, name: str) -> int | None:
    amount: int | None = getattr(limits, f"{name}_micro_usdc")
    return amount


async def _read_spend(settings: Settings) -> tuple[Spend, Freeze | None]:
    async with open_existing_ledger(settings) as ledger:
        if ledger is None:
            return Spend(), None
        return await ledger.spend(time.time()), await ledger.find_freeze()
