"""The group of `wallet` commands."""

import typer

from seedance_mcp.cli.wallet import funding, keys, limits, payments

app = typer.Typer(
    help="Make, show, fill and move the wallet that pays.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
app.command(short_help="Create a new key in a file that only you can read.")(keys.create)
app.command(name="import", short_help="Copy an existing key into the wallet file.")(keys.import_key)
app.command(short_help="Show the wallet that pays, but never the key.")(keys.show)
app.command(short_help="Write the key into an encrypted keystore.")(keys.export)
app.add_typer(limits.app, name="limits", short_help="Show or set your limits, and what is left.")
app.command(short_help="List payments whose outcome is not certain yet.")(payments.payments)
app.command(short_help="State that a payment never moved, at a terminal.")(payments.write_off)
app.command(short_help="Show where to send money, with a QR code.")(funding.fund)
