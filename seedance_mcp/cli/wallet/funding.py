"""Wallet funding: show where to send money, and wait until it arrives."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from seedance_mcp.adapters.wallet import can_charge
from seedance_mcp.cli.console import AsJson, Sandbox, read_environ, run, say, unlock_wallet, words
from seedance_mcp.cli.exit_codes import UNFINISHED
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.installation import describe_install
from seedance_mcp.core.money import format_usdc, parse_usdc
from seedance_mcp.core.wire.payment_uri import build_payment_uri

if TYPE_CHECKING:
    from seedance_mcp.app.runtime import Runtime
    from seedance_mcp.config.settings import Settings

FUND_SECONDS_DEFAULT = 900


FUND_SECONDS_MAX = 24 * 3600


FUND_POLL_SECONDS = 3
QR_BORDER = 2
"""Modules around a QR code; with it, the code of a payment fits a terminal of 80 columns."""

Amount = Annotated[
    str | None,
    typer.Option(metavar="USD", help="Show a code with which a wallet app opens this payment, such as 5.00."),
]


def fund(
    wait: Annotated[bool, typer.Option("--wait", help="Wait until money arrives.")] = False,
    wait_seconds: Annotated[int, typer.Option(min=1, max=FUND_SECONDS_MAX, help="How long.")] = FUND_SECONDS_DEFAULT,
    amount: Amount = None,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Show where to send money: address, networks, tokens, and a QR code of the address."""
    environ = read_environ(sandbox)
    amount_micro_usdc = None if amount is None else parse_amount(amount)

    async def work(runtime: Runtime) -> dict[str, Any]:
        services, settings = await runtime.services(), await runtime.settings()
        deposits = await read_deposits(services, settings)
        if not as_json:
            show_deposits(services.wallet.address, deposits, amount_micro_usdc)
            if "mpp" in settings.limits.rails and not can_charge():
                words.print(f"To pay on Tempo, too, install its library. {describe_install('tempo')}")
        arrived = None
        if wait:
            words.print("Waiting for money to arrive; Ctrl-C only ends the waiting.")
            after = await await_deposit(services, settings, deposits, wait_seconds)
            arrived = after is not None
            deposits = after or deposits
            words.print("It arrived." if arrived else "Nothing arrived yet.")
            if arrived and not as_json:
                show_balances(deposits)
        found: dict[str, Any] = {"address": services.wallet.address, "deposits": deposits}
        if amount_micro_usdc is not None:
            found["payment_uri"] = _build_uri(services.wallet.address, deposits[0], amount_micro_usdc)
        return found if arrived is None else {**found, "arrived": arrived}

    result = run(environ, work)
    if as_json:
        say(result)
    if not result.get("arrived", True):
        raise typer.Exit(UNFINISHED)


async def read_deposits(services: Any, settings: Settings) -> list[dict[str, Any]]:
    """Return the tokens to send: pinned, on a rail that the owner allows and this copy can pay on, preferred first.

    Raises:
        ConfigError: There is none.
    """
    rails = [rail for rail in settings.limits.rails if rail != "mpp" or can_charge()]
    balances = [one for one in (await services.wallet_status.read()).balances if one.rail in rails]
    if not balances:
        hint = "Allow x402 in SEEDANCE_RAILS." if can_charge() else describe_install("tempo")
        raise ConfigError("No token can be used: no allowed rail can pay here.", hint)
    return [
        {
            "rail": one.rail,
            "network": one.network,
            "token": settings.profile.name_token(one.token),
            "token_address": one.token,
            "balance_micro_usdc": one.amount_micro_usdc,
        }
        for one in sorted(balances, key=lambda one: rails.index(one.rail))
    ]


async def await_deposit(
    services: Any, settings: Settings, before: list[dict[str, Any]], wait_seconds: int
) -> list[dict[str, Any]] | None:
    """Return the new balances, or None if nothing arrived in time.

    The first balance that a chain reports is the initial one; a chain that does not answer gives no balance.
    """
    held = _known(before)
    with anyio.move_on_after(wait_seconds):
        while True:
            now = await read_deposits(services, settings)
            known = _known(now)
            held = {**known, **held}
            if any(amount > held[token] for token, amount in known.items()):
                return now
            await anyio.sleep(FUND_POLL_SECONDS)
    return None


def _known(deposits: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """Return the balances that are known, by network and token."""
    told = [one for one in deposits if one["balance_micro_usdc"] is not None]
    return {(one["network"], one["token_address"]): one["balance_micro_usdc"] for one in told}


def unlock_offline(settings: Settings) -> Settings:
    """Return the settings with the key of a locked wallet, after asking for its password; start no sandbox."""
    return settings if settings.embedded else unlock_wallet(settings)


def parse_amount(text: str) -> int:
    """Return an amount that a person typed, in micro-USDC.

    Raises:
        ConfigError: It is none, or is zero.
    """
    try:
        amount = parse_usdc(text.removeprefix("$"))
    except ValueError as exc:
        raise ConfigError(f"{exc}.", "Write US dollars, such as 5.00.") from exc
    if amount == 0:
        raise ConfigError("The amount is zero.", "Write US dollars, such as 5.00.")
    return amount


def show_deposits(address: str, deposits: list[dict[str, Any]], amount_micro_usdc: int | None = None) -> None:
    """Show where to send money; at a terminal with a QR code: of the address, or of a payment of this amount."""
    if sys.stderr.isatty():
        first = deposits[0]
        _draw_code(address if amount_micro_usdc is None else _build_uri(address, first, amount_micro_usdc))
        if amount_micro_usdc is not None:
            words.print(
                f"The code asks for ${format_usdc(amount_micro_usdc)} of {first['token']} on "
                f"{_network_name(first['network'])}.\n"
                "If your app shows another recipient than the address below, it cannot read\n"
                "such a code: type the address."
            )
    words.print("Send only tokens of this list, each on its own network, to this address:")
    typer.echo(address)
    show_balances(deposits)


def _build_uri(address: str, deposit: dict[str, Any], amount_micro_usdc: int) -> str:
    return build_payment_uri(deposit["network"], deposit["token_address"], address, amount_micro_usdc)


def _draw_code(text: str) -> None:
    import segno  # loads only if a code is shown

    segno.make(text, error="l", micro=False).terminal(out=sys.stderr, border=QR_BORDER, compact=True)


def show_balances(deposits: list[dict[str, Any]]) -> None:
    """Print a line for each token that can be sent, with its balance."""
    for one in deposits:
        network, amount = _network_name(one["network"]), one["balance_micro_usdc"]
        there = "balance unknown, the chain does not answer" if amount is None else f"balance ${format_usdc(amount)}"
        words.print(f"  {one['token']} on {network}: {there}")
        words.print(f"    token contract {one['token_address']}")


def _network_name(network: str) -> str:
    names = {"eip155:8453": "Base", "eip155:4217": "Tempo"}
    return f"{names[network]} ({network})" if network in names else network
