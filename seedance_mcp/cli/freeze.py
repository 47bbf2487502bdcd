"""The `freeze` and `unfreeze` commands: stop all spending of every process on a ledger, and end the stop."""

import time
from typing import Annotated

import typer

from seedance_mcp.app.opening import open_existing_ledger, open_ledger
from seedance_mcp.cli.console import AsJson, Sandbox, is_person_there, read_environ, say, words
from seedance_mcp.config.settings import read_settings
from seedance_mcp.core.errors import ConfigError

Reason = Annotated[str | None, typer.Argument(help="Why, for whoever finds it frozen.", show_default=False)]


def freeze(reason: Reason = None, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Stop all spending at once, in every process on your ledger. What was paid is still finished and saved."""
    from seedance_mcp.core.freezes import FREEZE_REASON_CHARACTERS_MAX

    settings = read_settings(read_environ(sandbox), blocking=True)  # a stop must not fail
    with open_ledger(settings) as ledger:
        # A long reason is cut, not refused: a stop must not fail.
        stop = ledger.freeze(" ".join((reason or "").split())[:FREEZE_REASON_CHARACTERS_MAX], now=time.time())
    if as_json:
        say({"frozen": True, "frozen_since": stop.since, "reason": stop.reason})
        return
    words.print(f"{stop.describe()} Nothing new is signed on {settings.ledger_file}.", markup=False)
    words.print("What was paid is still finished and saved; a batch stops before its next clip.")
    words.print(f"To end it, run: {settings.profile.name_command('unfreeze')}")


def unfreeze(sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """End the stop of `freeze`. With real money, for a person at a terminal."""
    settings = read_settings(read_environ(sandbox))
    if settings.profile.name != "sandbox" and not is_person_there():
        raise ConfigError("Only a person at a terminal can end a freeze of real money.", "Nothing changed.")
    with open_existing_ledger(settings) as ledger:
        stood = ledger is not None and ledger.unfreeze()
    if as_json:
        say({"frozen": False, "was_frozen": stood})
        return
    words.print("Spending is allowed again, within your limits." if stood else "Spending was not frozen.")
