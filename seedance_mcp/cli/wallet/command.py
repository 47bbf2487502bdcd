"""The group of `wallet` commands."""

import typer

from seedance_mcp.cli.wallet import funding, keys, payments

app = typer.Typer(help="Make, show, fill and move the wallet that pays.", no_args_is_help=True, rich_markup_mode=None)
app.command()(keys.create)
app.command(name="import")(keys.import_key)
app.command()(keys.show)
app.command()(keys.export)
app.command()(payments.limits)
app.command()(payments.payments)
app.command()(payments.write_off)
app.command()(funding.fund)
