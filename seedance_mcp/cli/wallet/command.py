"""The group of `wallet` commands."""

from collections.abc import Mapping
from typing import ClassVar

import typer

from seedance_mcp.cli.lazy_commands import Entry, LazyGroup


class WalletCommands(LazyGroup):
    """The commands of the group."""

    entries: ClassVar[Mapping[str, Entry]] = {
        "create": Entry("wallet.keys:create", "Create a new key in a file that only you can read."),
        "import": Entry("wallet.keys:import_key", "Copy an existing key into the wallet file."),
        "show": Entry("wallet.keys:show", "Show the wallet that pays, but never the key."),
        "export": Entry("wallet.keys:export", "Write the key into an encrypted keystore."),
        "limits": Entry("wallet.limits:app", "Show or set your limits, and what is left."),
        "payments": Entry("wallet.payments:payments", "List payments whose outcome is not certain yet."),
        "write-off": Entry("wallet.payments:write_off", "State that a payment never moved, at a terminal."),
        "fund": Entry("wallet.funding:fund", "Show where to send money, with a QR code."),
    }


app = typer.Typer(cls=WalletCommands, no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback()
def wallet() -> None:
    """Make, show, fill and move the wallet that pays."""
