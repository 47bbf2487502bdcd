"""The commands `install` and `uninstall`: our entry in a host's file, shown before it is written, without a key."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from seedance_mcp.cli.console import ask_yes_no, is_person_there, words
from seedance_mcp.cli.install.catalog import HOSTS, Host, Place
from seedance_mcp.cli.install.entry import KEY, SECRETS, build_entry, check_entry, has_key, list_dropped, read_profile
from seedance_mcp.cli.install.greeting import store_answers
from seedance_mcp.cli.install.hosts import Change, add_entry, keep_copy, read_entry, remove_entry, write_change
from seedance_mcp.cli.install.own_commands import OwnCommand, find_own_command
from seedance_mcp.cli.words import for_person
from seedance_mcp.config.settings import read_settings
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.installation import describe_install, list_missing_libraries


def _complete_host(incomplete: str) -> list[str]:
    return [name for name in HOSTS if name.startswith(incomplete.lower())]


_NAMES = f"{', '.join(HOSTS)}."
_KNOWN = f"One of: {_NAMES}"
HostName = Annotated[str, typer.Argument(help=_KNOWN, metavar="HOST", autocompletion=_complete_host)]
AnyHost = Annotated[
    str | None,
    typer.Argument(
        help=f"{_KNOWN} Without it: those that are found here.", metavar="HOST", autocompletion=_complete_host
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the change and write nothing.")]
File = Annotated[Path | None, typer.Option(help="The host's file, if it is not at its usual path.")]


def install(
    host: AnyHost = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Start in the sandbox, with play money.")] = False,
    dry_run: DryRun = False,
    file: File = None,
) -> None:
    """Write our entry into a host's file: shows the difference and keeps a copy of the file. Never writes a key."""
    chosen = None if host is None else _find_host(host)
    if chosen is None and file is not None:
        raise ConfigError("--file needs a host, because each has a format of its own.", _KNOWN)
    check_start(sandbox=sandbox)
    if chosen is None:
        _offer(sandbox=sandbox, dry_run=dry_run)
    else:
        _install(chosen, file or _find_installed(chosen), sandbox=sandbox, dry_run=dry_run, is_named=file is not None)
    if not sandbox:
        _say_what_is_secret()


def check_start(*, sandbox: bool) -> None:
    """Check that the server would start with what an entry gets from here.

    Raises:
        ConfigError: The sandbox is not installed, or a setting that would be copied is invalid.
    """
    if not sandbox:
        read_settings(os.environ)
        return
    missing = list_missing_libraries()
    if missing:
        raise ConfigError(
            f"The sandbox studio is not installed ({', '.join(missing)} missing), and no host could start it. "
            "Nothing was written.",
            describe_install("sandbox"),
        )


def _offer(*, sandbox: bool, dry_run: bool) -> None:
    """Ask a person at a terminal for each host that is found here; otherwise list the commands.

    Raises:
        ConfigError: No host was found, one of them failed, or no person is there to choose.
    """
    places = find_places()
    if not places:
        raise ConfigError("None of the known hosts was found here. Nothing was written.", f"Name one: {_NAMES}")
    if not is_person_there():
        list_commands(places, sandbox=sandbox, dry_run=dry_run)
        raise ConfigError(
            "No host was named, and there is no terminal to ask at. Nothing was written.", "Run a command of the list."
        )
    ask_for_each(places, sandbox=sandbox, dry_run=dry_run)


def find_places() -> dict[str, Place]:
    """Return where each host that is found here has its file, by the host's name."""
    return {name: place for name, host in HOSTS.items() if (place := host.find_place()).is_there}


def list_commands(places: Mapping[str, Place], *, sandbox: bool, dry_run: bool = False) -> None:
    """Print on stdout the command that installs for each host."""
    flags = (" --sandbox" if sandbox else "") + (" --dry-run" if dry_run else "")
    for name, place in places.items():
        typer.echo(f"seedance-mcp install {name}{flags}  # {HOSTS[name].title}: {place.file}")


def ask_for_each(places: Mapping[str, Place], *, sandbox: bool, dry_run: bool = False) -> None:
    """Ask the person at the terminal for each host, and install for those that were chosen.

    Raises:
        ConfigError: One of them failed.
    """
    failed: list[str] = []
    for name, place in places.items():
        try:
            if _is_installed(HOSTS[name], place.file, sandbox=sandbox):
                words.print(f"{HOSTS[name].title} already has this entry: {place.file}")
                continue
            words.print(f"{HOSTS[name].title}: {place.file}")
            if ask_yes_no(f"Install for {HOSTS[name].title}?"):
                _install(HOSTS[name], place.file, sandbox=sandbox, dry_run=dry_run)
        except ConfigError as exc:
            words.print(exc.describe(may_pay=False), style="red")
            words.print(for_person(exc.next_step), style="yellow")
            failed.append(HOSTS[name].title)
    if failed:
        raise ConfigError(f"Not installed for {', '.join(failed)}.", "The messages above have the reasons.")


def _is_installed(host: Host, file: Path, *, sandbox: bool) -> bool:
    """Return True if our entry in a host's file is what it would be now."""
    with suppress(ConfigError):  # the installation reports it
        old = read_entry(host, file)
        if old is not None:
            change = add_entry(host, file, build_entry(sandbox=sandbox, environ=os.environ, old=old, extra=host.extra))
            return change.after == change.before
    return False


def _install(host: Host, file: Path, *, sandbox: bool, dry_run: bool, is_named: bool = False) -> None:
    """Write our entry into one host's file: with the host's own command, unless there is an entry or a named file."""
    if not dry_run:
        store_answers()
    old = read_entry(host, file)
    entry = build_entry(sandbox=sandbox, environ=os.environ, old=old, extra=host.extra)
    if old is not None:
        check_entry(entry, file)
    change = add_entry(host, file, entry)
    if change.after == change.before:
        words.print(f"{host.title} already has this entry: {change.file}")
        return
    own = None if old is not None or is_named else find_own_command(host.name, entry)
    backup = _apply(host, change, dry_run=dry_run, own=own)
    if old is not None:
        _say_what_is_lost(old, entry)
        _say_where_the_key_is(old, change.file, backup)


def uninstall(host: HostName, dry_run: DryRun = False, file: File = None) -> None:
    """Remove our entry from a host's file; the rest of the file stays unchanged."""
    chosen = _find_host(host)
    change = remove_entry(chosen, file or chosen.find_file())
    if change.before is None or change.after == change.before:
        words.print(f"{chosen.title} has no entry of ours: {change.file}")
        return
    backup = _apply(chosen, change, dry_run=dry_run)
    _say_where_the_key_is(change.old_entry or {}, change.file, backup)


def _find_host(name: str) -> Host:
    host = HOSTS.get(name.lower())
    if host is None:
        raise ConfigError(f"{name[:60]!r} is not a known host.", f"Known are: {', '.join(HOSTS)}.")
    return host


def _find_installed(host: Host) -> Path:
    """Return the file of a host that is on this machine.

    Raises:
        ConfigError: It is not: no program would read the file.
    """
    place = host.find_place()
    if not place.is_there:
        raise ConfigError(
            f"{host.title} does not seem to be installed: there is no folder {place.folder}. Nothing was written.",
            f"Install and start {host.title} first, or name its file with --file.",
        )
    return place.file


def _apply(host: Host, change: Change, *, dry_run: bool, own: OwnCommand | None = None) -> Path | None:
    """Show a change, make it, and return the path of the copy, if any."""
    typer.echo(change.diff)
    if change.drops_bom:
        words.print(f"{change.file} begins with a byte order mark, which hosts do not accept: it is removed.")
    if change.after is None:
        words.print(f"{change.file} contains nothing else: the file is removed.")
    if dry_run:
        how = "" if own is None else f" It would be added with `{own.name}`."
        words.print(f"Nothing was written (--dry-run).{how}")
        return None
    if own is None:
        backup, done = write_change(change), f"{'Removed' if change.after is None else 'Written'}: {change.file}."
    else:
        backup, done = _add_by_command(host, change, own)
    if backup is not None:
        words.print(f"The earlier file is kept in {backup}")
    words.print(f"{done} {host.reload}")
    return backup


def _add_by_command(host: Host, change: Change, own: OwnCommand) -> tuple[Path | None, str]:
    """Run the host's own command, and write into the file what it leaves out; return the copy and what was done."""
    backup = keep_copy(change)
    own.run()
    file = host.find_file()
    rest = add_entry(host, file, change.new_entry)
    if rest.after == rest.before:
        return backup, f"Added with `{own.name}`: {file}."
    write_change(rest, copy=False)
    added = rest.old_entry
    if added is None:
        return backup, f"`{own.name}` did not add the entry, so the file was edited. Written: {file}."
    missing = [name for name, value in change.new_entry.items() if (added.get(name) or None) != (value or None)]
    return backup, f"Added with `{own.name}`, and completed ({', '.join(missing)}): {file}."


def _say_what_is_lost(old: Mapping[str, object], new: Mapping[str, object]) -> None:
    before, now = read_profile(old), read_profile(new)
    if before != now:
        words.print(f"The entry was for the {before} profile, and is for the {now} profile now.")
    dropped = list_dropped(old, new)
    if dropped:
        words.print(f"No longer in the entry: {', '.join(dropped)}.")


def _say_where_the_key_is(entry: Mapping[str, object], file: Path, backup: Path | None) -> None:
    if not has_key(entry):
        return
    flag = " --sandbox" if read_profile(entry) == "sandbox" else ""
    if backup is None:
        words.print(f"The entry in {file} holds a private key ({KEY}), which would be left out.")
    else:
        words.print(
            f"The entry held a private key ({KEY}). It was left out of {file}, and is only in the copy now: {backup}"
        )
    words.print(
        f"A key is better in the wallet file: type or pipe it to seedance-mcp wallet import -{flag}"
        f"{' and delete the copy.' if backup else '.'}"
    )


def _say_what_is_secret() -> None:
    for name in SECRETS:
        if os.environ.get(name):
            place = (
                "put the key into the wallet file (seedance-mcp wallet import)"
                if name == KEY
                else f"put it into settings.toml as {name.removeprefix('SEEDANCE_').lower()}"
            )
            words.print(f"{name} is not written: {place}.")
