"""The wallet from the command line: make it, see it, fill it, move it. No command prints a key."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from seedance_mcp.adapters.wallet import KeySource, find_key, list_sources, open_wallet
from seedance_mcp.adapters.wallet.key_files import (
    create_key_file,
    is_locked,
    lock,
    make_key,
    read_key,
    read_key_file,
    read_password,
    unlock,
)
from seedance_mcp.adapters.wallet.keychain import describe_keychain, store_in_keychain
from seedance_mcp.app.runtime import Engine
from seedance_mcp.cli.console import (
    AsJson,
    Sandbox,
    is_person_there,
    open_ledger,
    read_environ,
    run,
    say,
    settle,
    show_error,
    words,
)
from seedance_mcp.cli.exit_codes import UNFINISHED, YOURS
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.errors import ConfigError, format_clock
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.mpp import find_transaction
from seedance_mcp.core.wire.x402 import find_nonce

FUND_SECONDS_DEFAULT, FUND_SECONDS_MAX = 900, 24 * 3600
FUND_POLL_SECONDS = 3
PASSWORD_CHARACTERS_MIN = 8

app = typer.Typer(help="Make, show, fill and move the wallet that pays.", no_args_is_help=True, rich_markup_mode=None)

PasswordFile = Annotated[
    Path | None, typer.Option(help="File (mode 0600) with the password; without it you are asked for one.")
]
Encrypt = Annotated[bool, typer.Option("--encrypt", help="Lock the file with a password (keystore, version 3).")]
Keychain = Annotated[bool, typer.Option("--keychain", help="Keep it in the operating system's keychain instead.")]


@app.command()
def create(
    encrypt: Encrypt = False,
    password_file: PasswordFile = None,
    keychain: Keychain = False,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Make a new key in a file that only you can read. Never overwrites one."""
    settings = read_settings(read_environ(sandbox))
    if keychain:
        _keep_in_keychain(settings, make_key(), "made", as_json=as_json)
        return
    if settings.wallet_file.exists():  # before anybody is asked for a password
        raise ConfigError(f"There is a wallet at {settings.wallet_file} already.", f"Run: {_name(settings, 'show')}")
    content = lock(make_key(), _new_password(settings, password_file)) if encrypt or password_file else None
    create_key_file(settings.wallet_file, content)
    _show_new(settings, "made", password_file, as_json=as_json)


@app.command(name="import")
def import_key(
    source: Annotated[
        Path, typer.Argument(help="A key file, a keystore, an AgentCash wallet.json; - to type or pipe the key.")
    ],
    encrypt: Encrypt = False,
    password_file: PasswordFile = None,
    source_password_file: Annotated[
        Path | None, typer.Option(help="File (mode 0600) with the password of a locked SOURCE.")
    ] = None,
    keychain: Keychain = False,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Copy a key that you have into the wallet file. Never overwrites one; SOURCE stays as it is."""
    settings = read_settings(read_environ(sandbox))
    if keychain:
        _keep_in_keychain(settings, read_key(_read_source(source, source_password_file)), "imported", as_json=as_json)
        return
    if settings.wallet_file.exists():
        raise ConfigError(f"There is a wallet at {settings.wallet_file} already.", "Move it away, or leave it.")
    key = read_key(_read_source(source, source_password_file))
    content = lock(key, _new_password(settings, password_file)) if encrypt or password_file else None
    create_key_file(settings.wallet_file, content or f'{{"private_key": "{key}"}}')
    _show_new(settings, "imported", password_file, as_json=as_json)


@app.command()
def show(sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Say which wallet pays, and where its key comes from; never the key."""
    settings = read_settings(read_environ(sandbox))
    sources = list_sources(*settings.key_places)
    used = next((source for source in sources if source.used), None)
    address = None
    if used is not None and not _must_ask(settings, used):
        address = asyncio.run(open_wallet(*settings.key_places)).address
    missing = ConfigError("No wallet is set.", f"Run: {_name(settings, 'create')}") if used is None else None
    if as_json:
        say({
            "address": address,
            "sources": [{"name": source.name, "state": source.state, "used": source.used} for source in sources],
            **({} if missing is None else {"error": show_error(missing)}),
        })  # fmt: skip
        if missing is not None:
            raise typer.Exit(YOURS)
        return
    for number, source in enumerate(sources, start=1):
        mark = "→" if source.used else " "
        words.print(f"{mark} {number}. {source.name}: {source.state}", markup=False)
    if missing is not None:
        raise missing
    if address is None:
        words.print("Its address is known once it is unlocked; set SEEDANCE_WALLET_PASSWORD_FILE.")
    else:
        typer.echo(address)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write an encrypted keystore; must not be there yet.")],
    password_file: PasswordFile = None,
    sandbox: Sandbox = False,
) -> None:
    """Write the key into an encrypted keystore (version 3), which other wallets can read. Never prints it."""
    file = file.expanduser().absolute()
    if os.path.lexists(file):  # before anybody is asked for a password
        raise ConfigError(f"There is a file at {file} already.", "It is left as it was; name another.")
    settings = settle_offline(read_settings(read_environ(sandbox)))
    key = find_key(*settings.key_places, sandbox=settings.profile.name == "sandbox")
    create_key_file(file, lock(key, _new_password(settings, password_file)))
    words.print(f"The key is in {file}, locked with that password.", markup=False)


@app.command()
def limits(sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Show your limits and what is left of them; needs neither a network nor a key."""
    from seedance_mcp.payments import policy  # the rooms behind it load only here

    settings = read_settings(read_environ(sandbox))
    with open_ledger(settings) as ledger:
        spend = policy.Spend() if ledger is None else ledger.spend(time.time())
        freeze = None if ledger is None else ledger.find_freeze()
    chosen = settings.limits
    rows = {
        "max_price_per_video_micro_usdc": chosen.max_price_per_video_micro_usdc,
        "max_per_day_micro_usdc": chosen.max_per_day_micro_usdc,
        "spent_last_day_micro_usdc": spend.last_day_micro_usdc,
        "max_total_micro_usdc": chosen.max_total_micro_usdc,
        "spent_total_micro_usdc": spend.total_micro_usdc,
        "ask_above_micro_usdc": chosen.ask_above_micro_usdc,
    }
    lists = {"rails": list(chosen.rails), "recipients": list(chosen.recipients), "models": list(chosen.models)}
    if as_json:
        say({
            **rows, **lists, "push_allowed": chosen.push_allowed, "unlimited": list(chosen.unlimited),
            "frozen_since": None if freeze is None else freeze.since,
        })  # fmt: skip
        return
    for name, amount in rows.items():
        label = name.removesuffix("_micro_usdc").replace("_", " ")
        unset = "never" if name.startswith("ask_above") else "no limit"
        typer.echo(f"{label:22} {unset if amount is None else '$' + format_usdc(amount)}")
    for name, allowed in lists.items():
        typer.echo(f"{name:22} {', '.join(allowed) or 'any'}")
    if "mpp" in chosen.rails:
        typer.echo(f"{'push on Tempo':22} {'allowed' if chosen.push_allowed else 'not allowed'}")
    if freeze is not None:
        words.print(f"{freeze.describe()} To end it, run: {settings.profile.name_command('unfreeze')}", markup=False)
    words.print("Settings are the only way to change them: SEEDANCE_MAX_PER_DAY and so on, see README.")


@app.command()
def payments(sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """List the payments that are not over: they count against your limits until somebody knows what became of them."""
    settings = read_settings(read_environ(sandbox))
    with open_ledger(settings) as ledger:
        found = [] if ledger is None else ledger.held_payments(time.time())
    if as_json:
        say([
            {
                "payment_id": one.id, "purpose": one.purpose, "state": one.state, "rail": one.rail,
                "network": one.network, "pay_to": one.pay_to, "wallet": one.wallet,
                "amount_micro_usdc": one.cost_micro_usdc, "hold_until": one.hold_until,
                "transaction": find_transaction(one.document or {}), "nonce": find_nonce(one.document or {}) or None,
            }
            for one in found
        ])  # fmt: skip
        return
    for one in found:
        typer.echo(_describe(one))
    words.print("They are asked about in the background." if found else "Every payment is over.")


@app.command()
def write_off(
    payment_id: Annotated[int, typer.Argument(help="Its number, as `wallet payments` names it.")],
    sandbox: Sandbox = False,
) -> None:
    """Say of a payment that you looked it up and it never moved; it then counts no more. For a person at a terminal."""
    environ = read_environ(sandbox)
    payment = _find_unfinished(read_settings(environ), payment_id)
    if not is_person_there():
        raise ConfigError("Only a person at a terminal can write off a payment.", "Nothing changed.")
    words.print(f"{_describe(payment)}.", markup=False)
    if not typer.confirm("Did you look it up there, and it never moved?", err=True):
        raise ConfigError("Nothing was written off.", "It counts until it is known what became of it.")

    async def work(engine: Engine) -> Payment:
        return await (await engine.window_shopper()).write_off(payment)

    if run(environ, work).state == "settled":
        raise ConfigError(f"The chain says that payment {payment_id} did move.", "It is booked as paid.")
    words.print(f"Payment {payment_id} counts no more. If it did move, your limits do not know of it.")


def _find_unfinished(settings: Settings, payment_id: int) -> Payment:
    now = time.time()
    with open_ledger(settings) as ledger:
        payment = None if ledger is None else ledger.find_payment(payment_id)
        if ledger is None or payment is None:
            raise ConfigError(f"There is no payment {payment_id} in this ledger.", "Run: seedance-mcp wallet payments")
        is_held = payment.state != "reserved" and payment.id in {one.id for one in ledger.held_payments(now)}
        is_unverified = payment.state == "settled" and payment.document is not None and not payment.chain_checked
        if not is_held and not is_unverified:
            raise ConfigError(f"Payment {payment_id} is over, or was not signed.", "There is nothing to write off.")
    if payment.hold_until > now:
        raise ConfigError(
            f"The credential of payment {payment_id} can still be used.", "Wait until it is over; it takes minutes."
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


@app.command()
def fund(
    wait: Annotated[bool, typer.Option("--wait", help="Wait until money arrives.")] = False,
    wait_seconds: Annotated[int, typer.Option(min=1, max=FUND_SECONDS_MAX, help="How long.")] = FUND_SECONDS_DEFAULT,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Show where to send money: address, networks, tokens, and a QR code of the address."""
    environ = read_environ(sandbox)

    async def work(engine: Engine) -> dict[str, Any]:
        animator, settings = await engine.animator(), await engine.settings()
        deposits = await _read_deposits(animator, settings)
        if not deposits:
            raise ConfigError("This profile has no token to pay in on an allowed rail.")
        if not as_json:
            _show_deposits(animator.wallet.address, deposits)
        arrived = None
        if wait:
            words.print("Waiting for money to arrive; Ctrl-C ends the waiting and nothing else.")
            after = await _await_deposit(animator, settings, deposits, wait_seconds)
            arrived = after is not None
            deposits = after or deposits
            words.print("It arrived." if arrived else "Nothing arrived yet.")
            if arrived and not as_json:
                _show_balances(deposits)
        found: dict[str, Any] = {"address": animator.wallet.address, "deposits": deposits}
        return found if arrived is None else {**found, "arrived": arrived}

    result = run(environ, work)
    if as_json:
        say(result)
    if not result.get("arrived", True):
        raise typer.Exit(UNFINISHED)


async def _read_deposits(animator: Any, settings: Settings) -> list[dict[str, Any]]:
    """Every token that may be sent: pinned by the profile, on a rail that the owner allows, preferred first."""
    rails = settings.limits.rails
    balances = [one for one in (await animator.wallet_status()).balances if one.rail in rails]
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


async def _await_deposit(
    animator: Any, settings: Settings, before: list[dict[str, Any]], wait_seconds: int
) -> list[dict[str, Any]] | None:
    """The new balances, or None where nothing came in time.

    What is first known of a token's balance is what it had: a chain that does not answer says nothing of money.
    """
    held = _known(before)
    with anyio.move_on_after(wait_seconds):
        while True:
            now = await _read_deposits(animator, settings)
            known = _known(now)
            held = {**known, **held}
            if any(amount > held[token] for token, amount in known.items()):
                return now
            await anyio.sleep(FUND_POLL_SECONDS)
    return None


def _known(deposits: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """The balances that a chain has told, by network and token."""
    told = [one for one in deposits if one["balance_micro_usdc"] is not None]
    return {(one["network"], one["token_address"]): one["balance_micro_usdc"] for one in told}


def settle_offline(settings: Settings) -> Settings:
    """The same settings with the key of a locked wallet, asked for at the terminal; brings up no sandbox."""
    return settings if settings.embedded else settle(settings)


def _must_ask(settings: Settings, used: KeySource) -> bool:
    return used.is_file and settings.wallet_password_file is None and is_locked(settings.wallet_file)


def _name(settings: Settings, verb: str) -> str:
    """A wallet command as one types it for this profile."""
    return settings.profile.name_command(f"wallet {verb}")


def _new_password(settings: Settings, password_file: Path | None) -> str:
    file = password_file or settings.wallet_password_file
    if file is not None:
        password = read_password(file.expanduser())
    elif sys.stdin.isatty():
        password = typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise ConfigError("There is no terminal to ask for a password at.", "Name a --password-file (mode 0600).")
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise ConfigError(f"The password is shorter than {PASSWORD_CHARACTERS_MIN} characters.", "Choose a longer one.")
    return password


def _read_source(source: Path, password_file: Path | None) -> str:
    if str(source) == "-":
        return typer.prompt("Private key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    source = source.expanduser().absolute()
    if not is_locked(source):
        return read_key_file(source)
    if password_file is not None:
        hint = f"The file {password_file} holds another password: name the right one with --source-password-file."
        return unlock(source, read_password(password_file.expanduser()), hint=hint)
    if not sys.stdin.isatty():
        raise ConfigError(f"{source} is locked.", "Name a --source-password-file (mode 0600).")
    return unlock(source, typer.prompt(f"Password of {source}", hide_input=True, err=True))


def _keep_in_keychain(settings: Settings, key: str, verb: str, *, as_json: bool) -> None:
    account = settings.profile.name
    if account == "sandbox":
        raise ConfigError("The sandbox's play money needs no keychain.", "Leave out --keychain or --sandbox.")
    store_in_keychain(account, key)
    address = asyncio.run(open_wallet(key, settings.wallet_file)).address
    if as_json:
        say({"address": address, "keychain": account})
        return
    words.print(f"The wallet was {verb}: {describe_keychain(account)}.", markup=False)
    if settings.wallet_keychain is None:
        words.print("To pay from it, set SEEDANCE_WALLET_KEYCHAIN=on for your commands and hosts.")
    words.print("Keep a copy outside, too (seedance-mcp wallet export): without the key the money is lost.")
    typer.echo(address)


def _show_new(settings: Settings, verb: str, password_file: Path | None, *, as_json: bool) -> None:
    locked = is_locked(settings.wallet_file)
    password_file = password_file or settings.wallet_password_file
    address = None
    if not locked or password_file is not None:
        address = asyncio.run(open_wallet(None, settings.wallet_file, password_file)).address
    if as_json:
        say({"address": address, "file": str(settings.wallet_file), "locked": locked})
        return
    words.print(f"The wallet was {verb}: {settings.wallet_file}{' (locked)' if locked else ''}", markup=False)
    if locked:
        words.print("A host cannot ask for a password: name its file in SEEDANCE_WALLET_PASSWORD_FILE.")
    words.print("Keep a copy of that file: who has it has the money, and without it the money is lost.")
    words.print(f"Next: {_name(settings, 'fund')}")
    if address is not None:
        typer.echo(address)


def _show_deposits(address: str, deposits: list[dict[str, Any]]) -> None:
    import segno  # draws the QR code; loads only where one is shown

    if sys.stderr.isatty():
        segno.make(address, micro=False).terminal(out=sys.stderr, compact=True)
    words.print("Send one of these to this address, on that very network, and nothing else:")
    typer.echo(address)
    _show_balances(deposits)


def _show_balances(deposits: list[dict[str, Any]]) -> None:
    for one in deposits:
        network, amount = _network_name(one["network"]), one["balance_micro_usdc"]
        there = "the chain does not say what is there" if amount is None else f"${format_usdc(amount)} there"
        words.print(f"  {one['token']} on {network}, token contract {one['token_address']}: {there}", markup=False)


def _network_name(network: str) -> str:
    names = {"eip155:8453": "Base", "eip155:4217": "Tempo"}
    return f"{names[network]} ({network})" if network in names else network
