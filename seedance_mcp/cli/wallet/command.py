"""The group of `wallet` commands."""

from seedance_mcp.cli.command_types import Command, make_group
from seedance_mcp.cli.wallet import funding, keys, limits, payments

app = make_group("Make, show, fill and move the wallet that pays.")
app.command(cls=Command, short_help="Create a new key in a file that only you can read.")(keys.create)
app.command(cls=Command, name="import", short_help="Copy an existing key into the wallet file.")(keys.import_key)
app.command(cls=Command, short_help="Show the wallet that pays, but never the key.")(keys.show)
app.command(cls=Command, short_help="Write the key into an encrypted keystore.")(keys.export)
app.add_typer(limits.app, name="limits", short_help="Show or set your limits, and what is left.")
app.command(cls=Command, short_help="List payments whose outcome is not certain yet.")(payments.payments)
app.command(cls=Command, short_help="State that a payment never moved, at a terminal.")(payments.write_off)
app.command(cls=Command, short_help="Show where to send money, with a QR code.")(funding.fund)
