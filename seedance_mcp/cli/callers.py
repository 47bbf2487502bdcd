"""The group of `callers` commands: who may use a server that several share. They work on the database alone."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import typer

from seedance_mcp.app.opening import open_objects, open_shared_ledger
from seedance_mcp.cli.command_types import Command, make_group
from seedance_mcp.cli.console import AsJson, ask_yes_no, is_person_there, put, read_environ, say, words
from seedance_mcp.config.hosted import read_issuer, read_state_keys
from seedance_mcp.config.objects import read_objects
from seedance_mcp.config.settings import read_settings
from seedance_mcp.config.sources import Source
from seedance_mcp.core.access_tokens import SUBJECT_CHARACTERS_MAX, Identity, has_identity, identify
from seedance_mcp.core.callers import CallerCaps, CallerEntry, Token, is_name, parse_scopes, write_scopes
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.money import format_usdc, parse_usdc

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.adapters.storage.store import ObjectStore

OVERLAP_MINUTES = 60
"""How long the earlier token stays valid after `rotate`: its user has the time to put the new one in its place."""
OVERLAP_MINUTES_MAX = 7 * 24 * 60
OPEN_MAX = 100_000
NO_CAP = "none"

T = TypeVar("T")

Name = Annotated[str, typer.Argument(help="The caller's name: letters, digits, dots, dashes.", show_default=False)]
PerDay = Annotated[str | None, typer.Option(help="US dollars in any 24 hours.", show_default=False)]
PerWeek = Annotated[str | None, typer.Option(help="US dollars in any 7 days.", show_default=False)]
PerMonth = Annotated[str | None, typer.Option(help="US dollars in any 30 days.", show_default=False)]
Total = Annotated[str | None, typer.Option(help="US dollars in all.", show_default=False)]
Open = Annotated[str | None, typer.Option(help="Running jobs and unfinished purchases.", show_default=False)]

app = make_group("Add, list, limit and end the callers of a shared server.")


@app.command(cls=Command)
def add(
    name: Name,
    max_per_day: PerDay = None,
    max_per_week: PerWeek = None,
    max_per_month: PerMonth = None,
    max_total: Total = None,
    max_open: Open = None,
    scopes: Annotated[str, typer.Option(help="What it may do: read, spend, admin.")] = "read,spend",
    subject: Annotated[
        str | None, typer.Option(help="The `sub` of its OAuth tokens, with SEEDANCE_AUTH=oauth.", show_default=False)
    ] = None,
) -> None:
    """Add a caller and print its token, once. Only the token's hash is stored. With --subject there is no token."""
    if not is_name(name):
        raise ConfigError(
            f"{name[:64]!r} is not a name for a caller.",
            "Use up to 64 letters, digits, dots, dashes and underscores; begin with a letter or a digit.",
        )
    caps = _merge(CallerCaps(), max_per_day, max_per_week, max_per_month, max_total, max_open)
    try:
        allowed = parse_scopes(scopes)
    except ValueError as exc:
        raise ConfigError(f"--scopes: {exc}.", "Write, for example, --scopes read,spend.") from None
    sentence, identity = f"{name} may {' and '.join(write_scopes(allowed).split(','))}.", _find_identity(subject)
    if identity is None:
        _show_token(_work(lambda ledger: ledger.add_caller(name, allowed, caps)), sentence)
        return
    _work(lambda ledger: ledger.admit(identity, name, allowed, caps))
    words.print(f"{sentence} Its tokens come from the authorization server.")


@app.command(cls=Command, name="list")
def list_callers(as_json: AsJson = False) -> None:
    """List the callers with their caps, also those that were revoked. No token is shown."""
    entries = _work(lambda ledger: ledger.list_callers())
    if as_json:
        say({"results": [_describe(entry) for entry in entries]})
        return
    for entry in entries:
        ended = "" if entry.revoked_at is None else f", revoked {_write_time(entry.revoked_at)}"
        scopes = write_scopes(entry.caller.scopes)
        tokens = f"{entry.tokens} valid {'token' if entry.tokens == 1 else 'tokens'}"
        tokens = "OAuth" if has_identity(entry.caller.id) else tokens
        webhook = "" if entry.webhook_host is None else f"; webhook at {entry.webhook_host}"
        typer.echo(f"{entry.caller.name}: {scopes}; {describe_caps(entry.caps)}; {tokens}{webhook}{ended}")
    if not entries:
        words.print("There are no callers. Add one: seedance-mcp callers add NAME")


@app.command(cls=Command)
def limit(
    name: Name,
    max_per_day: PerDay = None,
    max_per_week: PerWeek = None,
    max_per_month: PerMonth = None,
    max_total: Total = None,
    max_open: Open = None,
    as_json: AsJson = False,
) -> None:
    """Change caps of a caller; the others stay. `none` removes a cap, so that the server's default holds."""
    asked = (max_per_day, max_per_week, max_per_month, max_total, max_open)
    if all(one is None for one in asked):
        raise ConfigError("No cap is named.", "Name one, for example --max-per-day 5.00; `none` removes it.")
    _merge(CallerCaps(), *asked)  # before the database is asked

    async def change(ledger: PostgresLedger) -> CallerEntry:
        return await ledger.set_caps(name, _merge((await ledger.find_entry(name)).caps, *asked))

    entry = _work(change)
    if as_json:
        say(_describe(entry))
        return
    words.print(f"{entry.caller.name}: {describe_caps(entry.caps)}.")


@app.command(cls=Command)
def rotate(
    name: Name,
    overlap_minutes: Annotated[
        int, typer.Option(min=0, max=OVERLAP_MINUTES_MAX, help="How long its earlier token stays valid; 0 ends it now.")
    ] = OVERLAP_MINUTES,
) -> None:
    """Make a new token for a caller and print it, once. Use `--overlap-minutes 0` if the earlier one has leaked."""
    token = _work(lambda ledger: ledger.rotate_token(name, overlap_seconds=overlap_minutes * 60))
    ends = f"is valid for {overlap_minutes} more minutes" if overlap_minutes else "has ended"
    _show_token(token, f"The earlier token of {name} {ends}.")


@app.command(cls=Command)
def revoke(name: Name, as_json: AsJson = False) -> None:
    """End a caller and all its tokens. What it paid for is still finished and saved."""
    entry = _work(lambda ledger: ledger.revoke_caller(name))
    if as_json:
        say({"name": entry.caller.name, "id": entry.caller.id, "revoked": True})
        return
    has_ended = "is refused with every token" if has_identity(entry.caller.id) else "has no valid token any more"
    words.print(f"{entry.caller.name} {has_ended}. Its payments and jobs stay.")
    words.print("A running server forgets a token within 15 seconds.")


@app.command(cls=Command)
def webhook(
    name: Name,
    url: Annotated[str | None, typer.Option(help="Where messages go: an https URL.", show_default=False)] = None,
    off: Annotated[bool, typer.Option("--off", help="End the webhook.")] = False,
) -> None:
    """Tell a caller's own server when its jobs are over. Prints the secret that signs the messages, once."""
    if (url is None) != off:
        raise ConfigError(
            "Name either --url or --off.", "Write, for example, --url https://app.example/hooks/seedance."
        )
    if url is None:
        was_set = _work(partial(_end_webhook, name=name))
        words.print(f"The webhook of {name} {'has ended' if was_set else 'was not set'}.")
        return
    from seedance_mcp.app.webhooks import set_webhook

    environ = read_environ(sandbox=False)
    loopback = read_settings(environ, blocking=True).profile.allow_loopback_http
    keys = read_state_keys(Source.open(environ))
    secret = _work(lambda ledger: set_webhook(ledger, keys, name, url, loopback_allowed=loopback))
    words.print(f"Messages for {name} are signed with this secret, shown now and never again:")
    put(secret)


async def _end_webhook(ledger: PostgresLedger, name: str) -> bool:
    return await ledger.end_webhook((await ledger.find_entry(name)).caller.id)


@app.command(cls=Command)
def delete(
    name: Annotated[str, typer.Argument(help="The caller's name, or its id.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """End a caller and delete its pictures, videos, prompts and name. What it paid stays in the ledger."""
    question = f"Delete all pictures, videos and prompts of {name[:64]}? They cannot be brought back."
    if not yes and not (is_person_there() and ask_yes_no(question)):
        raise ConfigError("Nothing was deleted.", "Add --yes to delete without a question.")
    from seedance_mcp.app.deletion import delete_caller

    environ = read_environ(sandbox=False)
    deleted = _work(lambda ledger: delete_caller(ledger, partial(_open_store, environ), name, now=time.time))
    if as_json:
        say({"name": deleted.name, "id": deleted.caller_id, "objects": deleted.objects, "deleted": True})
        return
    words.print(f"{deleted.name} is deleted, with {deleted.objects} objects of the store.")
    words.print(f"Its payments stay, under the id {deleted.caller_id}.")


async def _open_store(environ: Mapping[str, str]) -> ObjectStore:
    """Open the store of pictures and videos that the settings name; none is guessed, because its objects must go."""
    place = read_objects(Source.open(environ))
    if place is None:
        raise ConfigError(
            "The caller has pictures or videos, and SEEDANCE_OBJECTS_URL is not set.",
            "Set it as the servers have it, and run the same command again.",
        )
    return await open_objects(place)


def describe_caps(caps: CallerCaps) -> str:
    """Return the caps of a caller as a person reads them."""
    named = [
        f"${format_usdc(amount)} {name}"
        for name, amount in (
            ("per day", caps.max_per_day_micro_usdc),
            ("per week", caps.max_per_week_micro_usdc),
            ("per month", caps.max_per_month_micro_usdc),
            ("in total", caps.max_total_micro_usdc),
        )
        if amount is not None
    ]
    named += [] if caps.max_open is None else [f"{caps.max_open} open"]
    return ", ".join(named) or "no caps of its own"


def _find_identity(subject: str | None) -> Identity | None:
    """Return whom an OAuth subject means; None where callers have our own tokens.

    Raises:
        ConfigError: The subject and the kind of tokens that the settings name do not fit.
    """
    issuer = read_issuer(Source.open(read_environ(sandbox=False)))
    if issuer is None and subject is not None:
        raise ConfigError(
            "--subject is for OAuth tokens, and SEEDANCE_AUTH is tokens.",
            "Set SEEDANCE_AUTH and SEEDANCE_OAUTH_ISSUER as for the servers, or leave the option out.",
        )
    if issuer is not None and subject is None:
        raise ConfigError(
            "SEEDANCE_AUTH is oauth, so that servers accept no token of this command.",
            "Name the subject of the caller's tokens: --subject SUB",
        )
    if issuer is None or subject is None:
        return None
    if not 0 < len(subject) <= SUBJECT_CHARACTERS_MAX:
        raise ConfigError(f"--subject has no or more than {SUBJECT_CHARACTERS_MAX} characters.", "Correct it.")
    return identify(issuer, "sub", subject)


def _work(work: Callable[[PostgresLedger], Awaitable[T]]) -> T:
    """Work on the database that the settings name."""
    settings = read_settings(read_environ(sandbox=False), blocking=True)

    async def run() -> T:
        async with open_shared_ledger(settings) as ledger:
            return await work(ledger)

    return anyio.run(run)


def _show_token(token: Token, sentence: str) -> None:
    words.print(f"{sentence} Its token is shown now and never again:")
    put(token.text)


def _merge(
    caps: CallerCaps,
    max_per_day: str | None,
    max_per_week: str | None,
    max_per_month: str | None,
    max_total: str | None,
    max_open: str | None,
) -> CallerCaps:
    """Return caps with those that were named in their place.

    Raises:
        ConfigError: One cannot be read.
    """
    amounts = {
        "max_per_day_micro_usdc": max_per_day,
        "max_per_week_micro_usdc": max_per_week,
        "max_per_month_micro_usdc": max_per_month,
        "max_total_micro_usdc": max_total,
    }
    changes = {name: _read_amount(name, text) for name, text in amounts.items() if text is not None}
    if max_open is not None:
        changes["max_open"] = _read_number(max_open)
    return replace(caps, **changes)


def _read_amount(name: str, text: str) -> int | None:
    if text == NO_CAP:
        return None
    try:
        return parse_usdc(text)
    except ValueError as exc:
        option = "--" + name.removesuffix("_micro_usdc").replace("_", "-")
        raise ConfigError(f"{option}: {exc}.", f"Write, for example, {option} 5.00.") from None


def _read_number(text: str) -> int | None:
    if text == NO_CAP:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:7]) <= OPEN_MAX):
        raise ConfigError(f"--max-open: {text[:12]!r} is not a number up to {OPEN_MAX}.", "Write --max-open 3.")
    return int(text)


def _describe(entry: CallerEntry) -> dict[str, object]:
    return {
        "name": entry.caller.name,
        "id": entry.caller.id,
        "scopes": write_scopes(entry.caller.scopes).split(","),
        "auth": "oauth" if has_identity(entry.caller.id) else "tokens",
        **asdict(entry.caps),
        "tokens": entry.tokens,
        "webhook_host": entry.webhook_host,
        "created_at": _write_time(entry.created_at),
        "revoked_at": None if entry.revoked_at is None else _write_time(entry.revoked_at),
    }


def _write_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
