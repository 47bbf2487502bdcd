"""Console: the output of commands, the options `--sandbox` and `--json`, and running and interrupting a command.

Messages go to stderr. stdout has only the requested result, so that it can be piped.
Each function imports what it uses when it is called: to show a command's help, none of it is needed.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from seedance_mcp.cli.asked import json_asked, sandbox_asked
from seedance_mcp.cli.exit_codes import INTERRUPTED
from seedance_mcp.cli.messages import Messages
from seedance_mcp.cli.streams import discard, is_reader_gone
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.redaction import redact_data

if TYPE_CHECKING:
    from seedance_mcp.app.runtime import Runtime
    from seedance_mcp.config.settings import Settings

T = TypeVar("T")

log = logging.getLogger("seedance_mcp")

_unlocked_keys: ContextVar[dict[Path, str] | None] = ContextVar("unlocked_keys", default=None)
"""Keys of wallet files that were unlocked, inside of `ask_password_once`."""

words = Messages(stderr=True)
shown = Messages(stderr=False)


def _remember(value: bool) -> bool:
    json_asked.set(value)
    return value


def _remember_sandbox(value: bool) -> bool:
    sandbox_asked.set(value)
    return value


Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox", help="Play money, a sandbox studio, and a wallet of its own.", callback=_remember_sandbox
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", "-j", help="Print JSON and nothing else on stdout.", callback=_remember)
]


def read_environ(sandbox: bool) -> dict[str, str]:
    """Return the environment of a command; with `--sandbox`, without the settings of a real wallet."""
    environ = dict(os.environ)
    if sandbox and environ.get("SEEDANCE_PROFILE") != "sandbox":
        from seedance_mcp.config.settings import read_settings
        from seedance_mcp.config.sources import REAL_SETTINGS

        for name in REAL_SETTINGS:
            environ.pop(f"SEEDANCE_{name}", None)
        environ["SEEDANCE_PROFILE"] = "sandbox"
        environ["SEEDANCE_WALLET_FILE"] = str(read_settings(environ, blocking=True).data_dir / "wallet.json")
    return environ


def is_person_there() -> bool:
    """Return True if a person can answer: standard input is a terminal, regardless of colour settings."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def ask_yes_no(question: str, *, default: bool = False) -> bool:
    """Ask the person at the terminal a question until the answer is yes or no; return True for yes.

    Args:
        question: Without the choices.
        default: The answer that Enter gives.
    """
    choices, enter = ("Y/n", "y") if default else ("y/N", "n")
    text = f"{question} [{choices}]"
    return typer.prompt(text, default=enter, show_default=False, value_proc=_parse_answer, err=True)


def _parse_answer(text: str) -> bool:
    answer = text.strip().lower()
    if answer not in ("y", "yes", "n", "no"):
        raise typer.BadParameter("type y for yes, or n for no.")
    return answer in ("y", "yes")


def warn_of_unread_files() -> None:
    """Warn of each settings file in a folder where it is not read: the owner may rely on a limit in it."""
    from seedance_mcp.config.names import find_unread_files
    from seedance_mcp.config.places import read_base_dir

    with suppress(SeedanceError):  # the command itself reports the problem
        for file in find_unread_files(read_base_dir(os.environ)):
            words.print(f"Warning: {file} is not read; seedance-mcp doctor names the file that is.")


async def resolve_sandbox(settings: Settings) -> Settings:
    """Start an embedded sandbox if the settings ask for one, and ask for the password of a locked wallet."""
    import anyio.to_thread

    from seedance_mcp.app import local_sandbox

    return await anyio.to_thread.run_sync(unlock_wallet, await local_sandbox.resolve_sandbox(settings))


def unlock_wallet(settings: Settings) -> Settings:
    """Ask for the password of a locked wallet at the terminal; returns the settings with its key."""
    from seedance_mcp.adapters.wallet.key_files import is_locked, unlock

    if settings.wallet_password_file is None and is_locked(settings.wallet_file) and _comes_from_file(settings):
        keys = _unlocked_keys.get()
        if keys and settings.wallet_file in keys:
            return replace(settings, wallet_key=keys[settings.wallet_file])
        if not sys.stdin.isatty():
            return settings  # the wallet itself reports what it needs
        password = typer.prompt(f"Password of {settings.wallet_file}", hide_input=True, err=True)
        key = unlock(settings.wallet_file, password)
        if keys is not None:
            keys[settings.wallet_file] = key
        return replace(settings, wallet_key=key)
    return settings


@contextmanager
def ask_password_once() -> Generator[None]:
    """Keep the key of an unlocked wallet until the end: several steps of a command ask for its password once."""
    token = _unlocked_keys.set({})
    try:
        yield
    finally:
        _unlocked_keys.reset(token)


def _comes_from_file(settings: Settings) -> bool:
    from seedance_mcp.adapters.wallet import list_sources

    return any(source.used and source.is_file for source in list_sources(*settings.key_places))


def run(environ: Mapping[str, str], work: Callable[[Runtime], Awaitable[T]]) -> T:
    """Run work with its own engine; a payment in progress is recorded before the process ends.

    Raises:
        SeedanceError: Raised by the work.
        typer.Exit: It was interrupted by Ctrl-C.
    """
    import anyio

    try:
        return anyio.run(_run, environ, work)
    except KeyboardInterrupt:
        if environ.get("SEEDANCE_PROFILE") == "sandbox" and not environ.get("SEEDANCE_STUDIO_URL"):
            said = "This sandbox ends with its command; to continue later, run one: seedance-mcp sandbox"
        else:
            said = "All payments are in the ledger: the same command continues from there."
        raise interrupt(said) from None


def interrupt(said: str) -> typer.Exit:
    """Say that Ctrl-C ended the command, and return what ends the program.

    Ctrl-C may come while Python creates an event loop. Python would then print errors about objects that it frees; they
    do not help a person, and are hidden.
    """
    words.print(f"\nInterrupted. {said}")
    sys.unraisablehook = lambda _: None
    warnings.simplefilter("ignore")
    return typer.Exit(INTERRUPTED)


async def _run(environ: Mapping[str, str], work: Callable[[Runtime], Awaitable[T]]) -> T:
    import anyio

    from seedance_mcp.app.runtime import Runtime

    values: list[T] = []
    errors: list[SeedanceError] = []

    async def guard(task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception:  # a background task's crash must not hide the result; its payments are in the ledger
            log.exception("a background task failed")

    runtime = Runtime(environ, resolve_sandbox=resolve_sandbox, start=lambda task: tasks.start_soon(guard, task))
    try:
        async with anyio.create_task_group() as tasks:
            try:
                values.append(await work(runtime))
            except SeedanceError as exc:  # passed around the task group, which would wrap it
                errors.append(exc)
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):  # only now: a payment in progress still writes to the ledger
            await runtime.close()
    if errors:
        raise errors[0]
    return values[0]


def show_error(exc: SeedanceError) -> dict[str, object]:
    """Return a failure as data."""
    return {
        "code": exc.code,
        "what": exc.what,
        **exc.list_facts(),
        "held_until": exc.held_until,
        "hint": str(exc.next_step),
    }


def say(result: object) -> None:
    """Print a result as JSON on stdout."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    indent = 2 if sys.stdout.isatty() else None
    put(json.dumps(redact_data(result), ensure_ascii=not is_unicode, default=str, indent=indent))


def put(text: str) -> None:
    """Print a text on stdout. If the reader has closed it, the command still ends with its own exit code."""
    try:
        typer.echo(text)
    except OSError as exc:
        if not is_reader_gone(exc):
            raise
        discard(sys.stdout)
