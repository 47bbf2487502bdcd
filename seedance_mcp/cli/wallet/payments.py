"""Wallet payments: what is not certain yet, and writing off what never moved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.cli.console import AsJson, Sandbox, ask_yes_no, is_person_there, read_environ, run, say, words
from seedance_mcp.cli.words import name_command
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.texts import format_clock
from seedance_mcp.core.wire.mpp import find_transaction
from seedance_mcp.core.wire.x402 import find_nonce

if TYPE_CHECKING:
    from seedance_mcp.app.runtime import Runtime
    from seedance_mcp.core.records import Payment


def payments(sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """List pending payments: they count against your limits until their outcome is known."""
    settings = read_settings(read_environ(sandbox))
    found = anyio.run(_list_held, settings)
    if as_json:
        say({"results": [
            {
                "payment_id": one.id, "purpose": one.purpose, "state": one.state, "rail": one.rail,
                "network": one.network, "pay_to": one.pay_to, "wallet": one.wallet,
                "amount_micro_usdc": one.cost_micro_usdc, "hold_until": one.hold_until,
                "transaction": find_transaction(one.document or {}), "nonce": find_nonce(one.document or {}) or None,
            }
            for one in found
        ]})  # fmt: skip
        return
    for one in found:
        typer.echo(_describe(one))
    words.print("The next purchase, or a server that runs, finds out." if found else "No payment is pending.")


def write_off(
    payment_id: Annotated[int, typer.Argument(help="Its number, as `wallet payments` names it.")],
    sandbox: Sandbox = False,
) -> None:
    """State that you looked up a payment and it never moved; it then no longer counts. For a person at a terminal."""
    environ = read_environ(sandbox)
    payment = anyio.run(_find_unfinished, read_settings(environ), payment_id)
    if not is_person_there():
        raise ConfigError("Only a person at a terminal can write off a payment.", "Nothing changed.")
    words.print(f"{_describe(payment)}.")
    if not ask_yes_no("Did you look it up there, and it never moved?"):
        raise ConfigError("Nothing was written off.", "It counts against your limits until its outcome is known.")

    async def work(runtime: Runtime) -> Payment:
        return await (await runtime.quote_services()).verifier.write_off(payment)

    if run(environ, work).state == "settled":
        raise ConfigError(f"The chain shows that payment {payment_id} was made.", "It is recorded as paid.")
    words.print(f"Payment {payment_id} no longer counts. If it did move, your limits leave out what it cost.")


async def _list_held(settings: Settings) -> list[Payment]:
    async with open_existing_ledger(settings) as ledger:
        return [] if ledger is None else await ledger.held_payments(time.time())


async def _find_unfinished(settings: Settings, payment_id: int) -> Payment:
    now = time.time()
    async with open_existing_ledger(settings) as ledger:
        payment = None if ledger is None else await ledger.find_payment(payment_id)
        if ledger is None or payment is None:
            raise ConfigError(
                f"There is no payment {payment_id} in this ledger.", f"Run: {name_command('wallet payments')}"
            )
        is_held = payment.state != "reserved" and payment.id in {one.id for one in await ledger.held_payments(now)}
        is_unverified = payment.state == "settled" and payment.document is not None and not payment.chain_checked
        if not is_held and not is_unverified:
            raise ConfigError(f"Payment {payment_id} is not pending.", "There is nothing to write off.")
    if payment.hold_until > now:
        raise ConfigError(
            f"The credential of payment {payment_id} can still be used.", "Wait some minutes until it expires."
        )
    return payment


def _describe(payment: Payment) -> str:
    transaction, nonce = find_transaction(payment.document or {}), find_nonce(payment.document or {})
    return (
        f"payment {payment.id}: ${format_usdc(payment.cost_micro_usdc)} for {payment.purpose}, {payment.state}, on "
        f"{payment.network} from {payment.wallet} to {payment.pay_to}"
        + (f", held at least until {format_clock(payment.hold_until)}" if payment.hold_until > time.time() else "")
        + (f", transaction {transaction}" if transaction is not None else "")
        + (f", nonce {nonce}" if nonce else "")
    )
