"""The `freeze` and `unfreeze` commands: stop all spending of every process on a ledger, and end the stop."""

import time
from typing import Annotated

import anyio
import typer

from seedance_mcp.app.opening import open_existing_ledger, open_ledger, open_shared_ledger
from seedance_mcp.cli.console import AsJson, Sandbox, is_person_there, read_environ, say, words
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.freezes import FREEZE_REASON_CHARACTERS_MAX, Freeze

Reason = Annotated[str | None, typer.Argument(help="Why, for anyone who finds it frozen.", show_default=False)]


OneCaller = Annotated[
    str | None, typer.Option("--caller", help="One caller of a shared server, by its name; everyone if left out.")
]


def freeze(reason: Reason = None, caller: OneCaller = None, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Stop all spending at once, in every process on your ledger. What was paid is still finished and saved."""
    settings = read_settings(read_environ(sandbox), blocking=True)  # a stop must not fail
    # A long reason is cut, not refused: a stop must not fail.
    stop = anyio.run(_freeze, settings, " ".join((reason or "").split())[:FREEZE_REASON_CHARACTERS_MAX], caller)
    if as_json:
        say({"frozen": True, "frozen_since": stop.since, "reason": stop.reason, "caller": caller})
        return
    whose = "" if caller is None else f" for {caller}"
    words.print(f"{stop.describe()} Nothing new is signed{whose} on {settings.ledger_place}.")
    words.print("What was paid is still finished and saved; a batch stops before its next video.")
    ending = "unfreeze" if caller is None else f"unfreeze --caller {caller}"
    words.print(f"To end it, run: {settings.profile.name_command(ending)}")


def unfreeze(caller: OneCaller = None, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """End the stop of `freeze`. With real money, for a person at a terminal."""
    settings = read_settings(read_environ(sandbox))
    if settings.profile.name != "sandbox" and not is_person_there():
        raise ConfigError("Only a person at a terminal can end a freeze of real money.", "Nothing changed.")
    stood = anyio.run(_unfreeze, settings, caller)
    if as_json:
        say({"frozen": False, "was_frozen": stood, "caller": caller})
        return
    words.print("Spending is allowed again, within your limits." if stood else "Spending was not frozen.")


async def _freeze(settings: Settings, reason: str, caller: str | None) -> Freeze:
    if caller is not None:
        async with open_shared_ledger(settings) as shared:
            found = await shared.find_entry(caller)
            return await shared.for_caller(found.caller.id).freeze(reason, now=time.time())
    async with open_ledger(settings) as ledger:
        return await ledger.freeze(reason, now=time.time())


async def _unfreeze(settings: Settings, caller: str | None) -> bool:
    if caller is not None:
        async with open_shared_ledger(settings) as shared:
            found = await shared.find_entry(caller)
            return await shared.for_caller(found.caller.id).unfreeze()
    async with open_existing_ledger(settings) as ledger:
        return ledger is not None and await ledger.unfreeze()
