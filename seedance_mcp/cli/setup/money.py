"""Fourth step of the set-up: how money gets into the wallet and out again, and waiting for it.

In the sandbox, the command itself sends the play money that a person would buy.
"""

from collections.abc import Mapping
from typing import Any

import typer

from seedance_mcp.app.local_sandbox import prepare_wallet, send_play_money, start_sandbox
from seedance_mcp.app.runtime import Runtime
from seedance_mcp.cli.console import ask_yes_no, run, words
from seedance_mcp.cli.exit_codes import OK, UNFINISHED
from seedance_mcp.cli.wallet.funding import (
    FUND_SECONDS_DEFAULT,
    await_deposit,
    parse_amount,
    read_deposits,
    show_balances,
    show_deposits,
)
from seedance_mcp.cli.words import name_command
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.money import format_usdc

AMOUNT_DEFAULT = "5.00"
_GUIDE = """\
How to fund it:
  1. Buy USDC, at an exchange or in a wallet app that can send it on Base.
  2. Send it to the address above, and choose the network Base. Send a few
     dollars first. On another network, it does not reach this program.
  3. It takes about a minute. An exchange may hold a first withdrawal for
     hours or days.
The wallet needs no other coin: the studio's side pays the network fee.
How to take it back out: seedance-mcp wallet export FILE, open that file in a
wallet app, and send the rest from there; only then you need a few cents of
ETH on Base for the network fee."""


class SetupStudio:
    """A sandbox studio for one set-up; its wallet is empty at first, as a real one is.

    Args:
        settings: Of the sandbox.

    Raises:
        ConfigError: The sandbox is not installed, or the wallet cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        address = prepare_wallet(settings.wallet_key, settings.wallet_file, settings.wallet_password_file)
        self._sandbox = start_sandbox(wallet=address, funded_micro_usdc=0)
        self.url = self._sandbox.url

    def stop(self) -> None:
        """End it."""
        self._sandbox.stop()


def fund(environ: Mapping[str, str], wait_seconds: int | None, *, asks: bool) -> int:
    """Show where to send money, and wait for it if that is wanted.

    Args:
        environ: The environment of the command.
        wait_seconds: How long to wait; None to ask.
        asks: True if a person is at the terminal.

    Returns:
        An exit code: that of an unfinished command if no money arrived in time.

    Raises:
        SeedanceError: There is no wallet, or it cannot be read.
    """
    is_sandbox = read_settings(environ).profile.name == "sandbox"

    async def look(runtime: Runtime) -> tuple[str, list[dict[str, Any]]]:
        services, settings = await runtime.services(), await runtime.settings()
        return services.wallet.address, await read_deposits(services, settings)

    address, deposits = run(environ, look)
    held = sum(one["balance_micro_usdc"] or 0 for one in deposits)
    if held:
        words.print(f"The wallet holds ${format_usdc(held)}.")
        if not (asks and ask_yes_no("Add more?")):
            return OK
    amount = AMOUNT_DEFAULT
    if asks:
        question = "How much will you send, in dollars"
        amount = typer.prompt(question, default=AMOUNT_DEFAULT, value_proc=_check_amount, err=True)
    amount_micro_usdc = parse_amount(amount)
    show_deposits(address, deposits, amount_micro_usdc)
    words.print(_GUIDE)
    if is_sandbox:
        words.print("Play money: instead of you, this command sends it now.")
    elif wait_seconds is None and not (asks and ask_yes_no("Wait for the money now?", default=True)):
        words.print(f"To wait for it later: {name_command('wallet fund --wait')}")
        return OK
    return _wait(environ, deposits, wait_seconds or FUND_SECONDS_DEFAULT, amount_micro_usdc if is_sandbox else 0)


def _check_amount(text: str) -> str:
    """Return an amount that a person typed, or ask again."""
    try:
        parse_amount(text)
    except ConfigError as exc:
        raise typer.BadParameter(exc.what) from exc
    return text


def _wait(environ: Mapping[str, str], before: list[dict[str, Any]], seconds: int, play_micro_usdc: int) -> int:
    """Wait until a balance rises; in the sandbox, raise it."""

    async def work(runtime: Runtime) -> list[dict[str, Any]] | None:
        services, settings = await runtime.services(), await runtime.settings()
        if play_micro_usdc:
            send_play_money(settings.profile.studio_url, services.wallet.address, play_micro_usdc)
        return await await_deposit(services, settings, before, seconds)

    words.print("Waiting for the money. Ctrl-C ends it; the same command continues.")
    after = run(environ, work)
    if after is None:
        words.print("Nothing arrived yet. The same command waits for it again.")
        return UNFINISHED
    words.print("It arrived.")
    show_balances(after)
    return OK
