"""The `freeze` and `unfreeze` commands: stop all spending of every process on a ledger, and end the stop."""

import time
from typing import Annotated

import anyio
import typer

from seedance_mcp.app.opening import open_existing_ledger, open_ledger
from seedance_mcp.cli.console import AsJson, Sandbox, is_person_there, read_environ, say, words
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.freezes import FREEZE_REASON_CHARACTERS_MAX, Freeze

Reason = Annotated[str | None, typer.Argument(help="Why, for anyone who finds it frozen.", show_default=False)]


def freeze(reason: Reason = None, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Stop all spending at once, in every process on your ledger. What was paid is still finished and saved."""
    settings = read_settings(read_environ(sandbox), blocking=True)  # a stop must not fail
    # A long reason is cut, not refused: a stop must not fail.
    stop = anyio.run(_freeze, settings, " ".join((reason or "").split())[:FREEZE_REASON_CHARACTERS_MAX])
    if as_json:
        say({"frozen": True, "frozen_since": stop.since, "reason": stop.reason})
        return
    words.print(f"{stop.describe()} Nothing new is signed on {settings.ledger_place}.", markup=False)
    words.print("What was paid is still finished and saved; a batch stops before its next video.")
    words.print(f"To end it, run: {settings.profile.name_command('unfreeze')}")


def unfreeze(sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """End the stop of `freeze`. With real money, for a person at a terminal."""
    settings = read_settings(read_environ(sandbox))
    if settings.profile.name != "sandbox" and not is_person_there():
        raise ConfigError("Only a person at a terminal can end a freeze of real money.", "Nothing changed.")
    stood = anyio.run(_unfreeze, settings)
    if as_json:
        say({"frozen": False, "was_frozen": stood})
        return
    words.print("Spending is allowed again, within your limits." if stood else "Spending was not frozen.")


async def _freeze(settings: Settings, reason: str) -> Freeze:
    async with open_ledger(settings) as ledger:
        return await ledger.freeze(reason, now=time.time())


async def _unfreeze(settings: Settings) -> bool:
    async with open_existing_ledger(settings) as ledger:
        return ledger is not None and await ledger.unfreeze()
