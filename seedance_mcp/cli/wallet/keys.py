"""Wallet keys: create or import one, and show its address. No command prints a key."""

import os
import sys
from pathlib import Path
from typing import Annotated

import anyio
import typer

from seedance_mcp.adapters.wallet import KeySource, find_key, list_sources
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
from seedance_mcp.app.opening import open_owners_wallet, read_address
from seedance_mcp.cli.console import AsJson, Sandbox, read_environ, say, show_error, words
from seedance_mcp.cli.exit_codes import YOURS
from seedance_mcp.cli.wallet.funding import unlock_offline
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.errors import ConfigError

PASSWORD_CHARACTERS_MIN = 8


PasswordFile = Annotated[
    Path | None, typer.Option(help="File (mode 0600) with the password; without it you are asked for one.")
]


Encrypt = Annotated[bool, typer.Option("--encrypt", help="Lock the file with a password (keystore, version 3).")]


Keychain = Annotated[bool, typer.Option("--keychain", help="Store it in the operating system's keychain instead.")]


def create(
    encrypt: Encrypt = False,
    password_file: PasswordFile = None,
    keychain: Keychain = False,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Create a new key in a file that only you can read. Never overwrites one."""
    settings = read_settings(read_environ(sandbox))
    if keychain:
        _keep_in_keychain(settings, make_key(), "made", as_json=as_json)
        return
    if settings.wallet_file.exists():  # before the password is asked
        raise ConfigError(f"There is already a wallet at {settings.wallet_file}.", f"Run: {_name(settings, 'show')}")
    content = lock(make_key(), _new_password(settings, password_file)) if encrypt or password_file else None
    create_key_file(settings.wallet_file, content)
    _show_new(settings, "made", password_file, as_json=as_json)


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
    """Copy an existing key into the wallet file. Never overwrites one; SOURCE stays unchanged."""
    settings = read_settings(read_environ(sandbox))
    if keychain:
        _keep_in_keychain(settings, read_key(read_source(source, source_password_file)), "imported", as_json=as_json)
        return
    if settings.wallet_file.exists():
        raise ConfigError(f"There is already a wallet at {settings.wallet_file}.", "Move it away, or keep it.")
    key = read_key(read_source(source, source_password_file))
    content = lock(key, _new_password(settings, password_file)) if encrypt or password_file else None
    create_key_file(settings.wallet_file, content or f'{{"private_key": "{key}"}}')
    _show_new(settings, "imported", password_file, as_json=as_json)


def show(sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Show the wallet that pays, and the source of its key, but not the key."""
    settings = read_settings(read_environ(sandbox))
    sources = list_sources(*settings.key_places)
    used = next((source for source in sources if source.used), None)
    address = None
    if used is not None and not _must_ask(settings, used):
        address = anyio.run(open_owners_wallet, settings).address
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
        words.print(f"{mark} {number}. {source.name}: {source.state}")
    if missing is not None:
        raise missing
    if address is None:
        words.print("Its address is known once it is unlocked; set SEEDANCE_WALLET_PASSWORD_FILE.")
    else:
        typer.echo(address)


def export(
    file: Annotated[Path, typer.Argument(help="The encrypted keystore to write; must not exist yet.")],
    password_file: PasswordFile = None,
    sandbox: Sandbox = False,
) -> None:
    """Write the key into an encrypted keystore (version 3), which other wallets can read. Never prints it."""
    file = file.expanduser().absolute()
    if os.path.lexists(file):  # before the password is asked
        raise ConfigError(f"There is already a file at {file}.", "It was not changed; name another file.")
    settings = unlock_offline(read_settings(read_environ(sandbox)))
    key = find_key(*settings.key_places, sandbox=settings.profile.name == "sandbox")
    create_key_file(file, lock(key, _new_password(settings, password_file)))
    words.print(f"The key is in {file}, locked with that password.")


def _must_ask(settings: Settings, used: KeySource) -> bool:
    return used.is_file and settings.wallet_password_file is None and is_locked(settings.wallet_file)


def _name(settings: Settings, verb: str) -> str:
    """Return a wallet command, as a person types it for this profile."""
    return settings.profile.name_command(f"wallet {verb}")


def _new_password(settings: Settings, password_file: Path | None) -> str:
    file = password_file or settings.wallet_password_file
    if file is not None:
        password = read_password(file.expanduser())
    elif sys.stdin.isatty():
        password = typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise ConfigError("There is no terminal at which to ask for a password.", "Name a --password-file (mode 0600).")
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise ConfigError(f"The password is shorter than {PASSWORD_CHARACTERS_MIN} characters.", "Choose a longer one.")
    return password


def read_source(source: Path, password_file: Path | None) -> str:
    """Return what an existing key's file holds, unlocked; `-` is typed or piped."""
    if str(source) == "-":
        return typer.prompt("Private key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    source = source.expanduser().absolute()
    if not source.exists():
        raise ConfigError(f"There is no file {source}.", "Name the file that holds the key, or - to type it.")
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
    address = anyio.run(read_address, key, settings.wallet_file)
    if as_json:
        say({"address": address, "keychain": account})
        return
    words.print(f"The wallet was {verb}: {describe_keychain(account)}.")
    if settings.wallet_keychain is None:
        words.print("To pay from it, set SEEDANCE_WALLET_KEYCHAIN=on for your commands and hosts.")
    words.print("Keep a copy outside, too (seedance-mcp wallet export): without the key the money is lost.")
    typer.echo(address)


def _show_new(settings: Settings, verb: str, password_file: Path | None, *, as_json: bool) -> None:
    locked = is_locked(settings.wallet_file)
    password_file = password_file or settings.wallet_password_file
    address = None
    if not locked or password_file is not None:
        address = anyio.run(read_address, None, settings.wallet_file, password_file)
    if as_json:
        say({"address": address, "file": str(settings.wallet_file), "locked": locked})
        return
    words.print(f"The wallet was {verb}: {settings.wallet_file}{' (locked)' if locked else ''}")
    if locked:
        words.print("A host cannot ask for a password: name its file in SEEDANCE_WALLET_PASSWORD_FILE.")
    words.print("Keep a copy of that file: anyone who has it has the money, and without it the money is lost.")
    words.print(f"Next: {_name(settings, 'fund')}")
    if address is not None:
        typer.echo(address)
