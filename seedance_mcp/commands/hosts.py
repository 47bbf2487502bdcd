"""`install` and `uninstall`: our entry in a host's own file, shown before it is written, never with a key."""

import os
from pathlib import Path
from typing import Annotated

import typer

from seedance_mcp.commands.console import words
from seedance_mcp.config import read_settings
from seedance_mcp.errors import ConfigError
from seedance_mcp.hosts import HOSTS, Change, Host, add_entry, build_entry, remove_entry, write_change

HostName = Annotated[str, typer.Argument(help=f"One of: {', '.join(HOSTS)}.", metavar="HOST")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the change and write nothing.")]
File = Annotated[Path | None, typer.Option(help="The host's file, where it is not at its usual place.")]


def install(
    host: HostName,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Start in the sandbox, with play money.")] = False,
    dry_run: DryRun = False,
    file: File = None,
) -> None:
    """Write our entry into a host's own file: shows the difference and keeps a copy of what was there. Never a key."""
    chosen = _find_host(host)
    if not sandbox:
        read_settings(os.environ)  # what is carried along must be right
    entry = build_entry(chosen.form, sandbox=sandbox, environ=os.environ)
    change = add_entry(chosen, file or chosen.find_file(), entry)
    if change.after == change.before:
        words.print(f"{chosen.title} has this entry already: {change.file}", markup=False)
        return
    _apply(chosen, change, dry_run=dry_run)
    if not sandbox and "SEEDANCE_WALLET_KEY" in os.environ:
        words.print(
            "SEEDANCE_WALLET_KEY is not written: put the key into the wallet file (seedance-mcp wallet import)."
        )


def uninstall(host: HostName, dry_run: DryRun = False, file: File = None) -> None:
    """Take our entry out of a host's file; the rest of it stays as it is."""
    chosen = _find_host(host)
    change = remove_entry(chosen, file or chosen.find_file())
    if change.before is None or change.after == change.before:
        words.print(f"{chosen.title} has no entry of ours: {change.file}", markup=False)
        return
    _apply(chosen, change, dry_run=dry_run)


def _find_host(name: str) -> Host:
    host = HOSTS.get(name.lower())
    if host is None:
        raise ConfigError(f"{name[:60]!r} is not a host that is known.", f"Known are: {', '.join(HOSTS)}.")
    return host


def _apply(host: Host, change: Change, *, dry_run: bool) -> None:
    typer.echo(change.diff)
    if dry_run:
        words.print("Nothing was written (--dry-run).")
        return
    backup = write_change(change)
    if backup is not None:
        words.print(f"What was there is kept in {backup}", markup=False)
    words.print(f"Written: {change.file}. {host.reload}", markup=False)
