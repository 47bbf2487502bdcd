"""Checks of this machine: settings, wallet, disk, ledger and MCP clients. They need no network."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from seedance_mcp.adapters.wallet import list_sources
from seedance_mcp.adapters.wallet.key_files import is_locked
from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.greeting import has_answers
from seedance_mcp.cli.install.hosts import has_entry
from seedance_mcp.config.settings import Settings, list_unread_files
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.limits import Limits, Spend
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.records import WrongTotal
from seedance_mcp.core.texts import format_clock, write_count
from seedance_mcp.payments.policy import find_remaining_budget

if TYPE_CHECKING:
    from seedance_mcp.core.ledger import Ledger
    from seedance_mcp.core.records import Payment
from seedance_mcp.app.opening import open_ledger, open_owners_wallet
from seedance_mcp.cli.doctor.finding import Finding, Health, build_problem
from seedance_mcp.cli.words import name_command

DISK_BYTES_MIN = 500 * 1024 * 1024


PRICE_MICRO_USDC_TYPICAL = 330_000
"""The default video and its upload: a limit or a balance below this buys nothing."""


def check_settings_files(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Report the settings file that is read, and those that are not."""
    text = (
        f"{settings.file} is read"
        if settings.file.exists()
        else f"{settings.file} does not exist yet; it is read once it does"
    )
    findings = [Finding(topic="settings file", health="ok", text=text)]
    findings += [
        Finding(
            topic="settings file",
            health="wrong",
            text=f"{file} is not read: none of its settings holds.",
            advice=f"Move what it says to {settings.file}, and remove it.",
        )
        for file in list_unread_files(environ)
    ]
    return findings


def check_settings(settings: Settings, sources: Mapping[str, str]) -> list[Finding]:
    """Report the profile, and settings that are problems."""
    profile, limits = settings.profile, settings.limits
    where = "; ".join(sources.values()) or "all else by default"
    studio = "a sandbox of its own" if settings.embedded else profile.studio_url
    day, video = limits.max_per_day_micro_usdc, limits.max_price_per_video_micro_usdc
    text = f"${format_usdc(video)} a video, ${format_usdc(day)} a day"
    others = (
        (limits.max_per_week_micro_usdc, "a week"),
        (limits.max_per_month_micro_usdc, "a month"),
        (limits.max_total_micro_usdc, "in all"),
    )
    text += "".join(f", ${format_usdc(most)} {span}" for most, span in others if most is not None)
    if limits.unlimited:
        text += f"; not limited: {', '.join(limits.unlimited)}"
    small = min(day, video, *(most for most, _ in others if most is not None)) < PRICE_MICRO_USDC_TYPICAL
    return [
        Finding(topic="settings", health="ok", text=f"profile {profile.name} at {studio}; {where}"),
        Finding(
            topic="limits",
            health="note" if small else "ok",
            text=text,
            advice="The default video with its upload costs $0.33: these limits do not allow it." if small else "",
        ),
    ]


async def check_wallet(settings: Settings) -> tuple[str | None, list[Finding]]:
    """Return the paying address, if it can be read without a password."""
    sources = await anyio.to_thread.run_sync(list_sources, *settings.key_places)
    used = next((source for source in sources if source.used), None)
    if used is None:
        flag = " --sandbox" if settings.profile.name == "sandbox" else ""
        advice = f"Run: seedance-mcp wallet create{flag}, or wallet import FILE{flag}."
        health: Health = "ok" if settings.embedded else "note"
        text = (
            "is made with the first purchase"
            if settings.embedded
            else "No wallet is set: prices can be asked, no more."
        )
        return None, [
            Finding(topic="wallet", health=health, text=text, advice="" if settings.embedded else advice),
        ]
    if used.problem is not None:
        return None, [build_problem("wallet", used.problem)]
    file = settings.wallet_file
    if used.is_file and settings.wallet_password_file is None and await anyio.to_thread.run_sync(is_locked, file):
        return None, [
            Finding(
                topic="wallet",
                health="note",
                text=f"{file} is locked with a password; a host cannot ask for it.",
                advice="Set SEEDANCE_WALLET_PASSWORD_FILE to a file (mode 0600) that holds it.",
            )
        ]
    try:
        address = (await open_owners_wallet(settings)).address
    except ConfigError as exc:
        return None, [build_problem("wallet", exc)]
    return address, [Finding(topic="wallet", health="ok", text=f"{address}, from {used.name}")]


def check_disk(settings: Settings) -> list[Finding]:
    """Check that the data folder can be written and has room."""
    folder = settings.data_dir
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(existing, os.W_OK) or not existing.is_dir():
        return [
            Finding(
                topic="data folder",
                health="wrong",
                text=f"{existing} cannot be written to.",
                advice="Make it yours, or name another in SEEDANCE_DATA_DIR.",
            )
        ]
    free = shutil.disk_usage(existing).free
    if free < DISK_BYTES_MIN:
        return [
            Finding(
                topic="data folder",
                health="wrong",
                text=f"{folder} has only {free // 1024**2} MB left.",
                advice="Make room: a paid video that cannot be saved is lost after 20 minutes.",
            )
        ]
    return [Finding(topic="data folder", health="ok", text=f"{folder}, {free // 1024**3} GB free")]


async def check_ledger(settings: Settings, address: str | None) -> list[Finding]:
    """Report what was spent, what is unfinished, and what the ledger lacks."""
    if not settings.has_ledger:
        return [Finding(topic="ledger", health="ok", text="none yet; it is made with the first purchase")]
    now = time.time()
    try:
        async with open_ledger(settings) as ledger:
            spend = await ledger.spend(now)
            jobs = await ledger.unfinished_jobs(settings.profile.studio_url)
            held = await ledger.held_payments(now)
            lost = await ledger.settled_without_result(address) if address else []
            freeze = await ledger.find_freeze()
            wrong_totals = await ledger.find_wrong_totals()
            reading = [] if settings.embedded or address is None else await _describe_reading(ledger, settings, address)
    except SeedanceError as exc:
        return [build_problem("ledger", exc)]
    findings = [] if freeze is None else [_describe_freeze(freeze, settings)]
    findings += [_judge_budget(settings.limits, spend), *reading]
    findings += [_describe_wrong_total(one, settings) for one in wrong_totals]
    findings += [_describe_held(payment, now) for payment in held]
    findings += [
        Finding(
            topic="payment",
            health="note",
            text=f"Payment {payment.id} of ${format_usdc(payment.amount_micro_usdc)} was paid; its job is not found.",
            advice="Run the same command again; if it stays so, give the receipt to the studio's support. If you "
            f"looked it up and it never moved, run: {name_command(f'wallet write-off {payment.id}')}",
        )
        for payment in lost
    ]
    if jobs:
        findings.append(
            Finding(
                topic="jobs",
                health="note",
                text=f"{len(jobs)} not finished or not saved: {', '.join(job.job_id for job in jobs[:5])}",
                advice=f"Run: {name_command(f'get {jobs[0].job_id}')}",
            )
        )
    return findings


def _describe_wrong_total(wrong: WrongTotal, settings: Settings) -> Finding:
    """Report a total that is not the sum of its payments: something else wrote to the ledger, or damaged it."""
    whose = f"The total of the caller {wrong.caller}" if wrong.caller else "The total"
    return Finding(
        topic="ledger",
        health="wrong",
        text=f"{whose} in {settings.ledger_place} is ${format_usdc(wrong.recorded_micro_usdc)}, but its payments are "
        f"${format_usdc(wrong.counted_micro_usdc)}.",
        advice=f"Stop spending ({name_command('freeze')}), and restore the ledger from a backup.",
    )


def _describe_freeze(freeze: Freeze, settings: Settings) -> Finding:
    """Report the owner's freeze: nothing is broken, and nothing is bought."""
    advice = f"To buy again, run: {settings.profile.name_command('unfreeze')}"
    return Finding(topic="freeze", health="note", text=freeze.describe(), advice=advice)


async def _describe_reading(ledger: Ledger, settings: Settings, address: str) -> list[Finding]:
    """Return what is known of jobs that the wallet bought and this ledger has not: it is new, lost or restored."""
    studio = settings.profile.studio_url
    if await ledger.find_reading(wallet=address, studio=studio) is None:
        return [
            Finding(
                topic="ledger",
                health="note",
                text="It was never compared with the studio's list of this wallet's jobs.",
                advice="The next purchase does that first, free: what was bought before is found, not paid again.",
            )
        ]
    payments = await _describe_untracked_payments(ledger, address)
    jobs = await ledger.list_untracked(wallet=address, studio=studio)
    if not jobs:
        return payments
    named = ", ".join(job.job_id for job in jobs[-5:])
    return [
        Finding(
            topic="ledger",
            health="note",
            text=f"It lacks jobs of this wallet at the studio, {len(jobs)} in all: {named}. It was lost or restored, "
            "or another one pays with this wallet. They count against your limits, at estimated prices.",
            advice="A repeated request finds its job and pays nothing. "
            f"Save one: {name_command(f'get {jobs[-1].job_id}')}",
        ),
        *payments,
    ]


async def _describe_untracked_payments(ledger: Ledger, address: str) -> list[Finding]:
    """Return what is known of payments that neither the ledger nor the studio's list explains: a chain has them."""
    payments = await ledger.list_untracked_payments(wallet=address)
    if not payments:
        return []
    total = format_usdc(sum(payment.amount_micro_usdc for payment in payments))
    named = ", ".join(payment.transaction for payment in payments[-3:])
    return [
        Finding(
            topic="ledger",
            health="note",
            text=f"It lacks {write_count(len(payments), 'payment')} of this wallet to the studio, ${total} in all, "
            f"that no listed job explains: {named}. This counts against your limits.",
            advice="Image uploads are among them. For a lost video, send the transaction to the studio's support.",
        )
    ]


def _judge_budget(limits: Limits, spend: Spend) -> Finding:
    """Report what was spent, and what is left of the tightest budget."""
    budgets = find_remaining_budget(limits, spend)
    left, name, _ = min(budgets)
    used_up = [one for one in budgets if one.micro_usdc < PRICE_MICRO_USDC_TYPICAL]
    if not used_up:
        advice = ""
    elif used_up[-1].setting == "MAX_TOTAL":
        advice = "The total budget is used up, and does not free by itself: raise SEEDANCE_MAX_TOTAL to buy more."
    else:
        span = used_up[-1].name.partition(" (")[0]
        advice = f"The {span} is used up; it frees by itself, or raise SEEDANCE_{used_up[-1].setting}."
    return Finding(
        topic="ledger",
        health="note" if advice else "ok",
        text=f"{_describe_spend(limits, spend)}; ${format_usdc(left)} left of your {name}",
        advice=advice,
    )


def _describe_spend(limits: Limits, spend: Spend) -> str:
    """Return what was spent in the last day and in all, and in each other span that is limited."""
    parts = [
        ("in the last 24 hours", spend.last_day_micro_usdc, True),
        ("in 7 days", spend.last_week_micro_usdc, limits.max_per_week_micro_usdc is not None),
        ("in 30 days", spend.last_month_micro_usdc, limits.max_per_month_micro_usdc is not None),
        ("in all", spend.total_micro_usdc, True),
    ]
    return ", ".join(f"${format_usdc(spent)} {span}" for span, spent, is_shown in parts if is_shown)


def _describe_held(payment: Payment, now: float) -> Finding:
    """Report a payment that counts as spent although its outcome is not known yet."""
    amount, until = f"${format_usdc(payment.cost_micro_usdc)}", format_clock(payment.hold_until)
    if payment.state == "reserved":
        text = f"Payment {payment.id} of {amount} is being made, and holds budget until {until} at the latest."
        return Finding(topic="payment", health="note", text=text)
    over = payment.hold_until <= now
    text = (
        f"Payment {payment.id} of {amount} is {payment.state}, and holds budget; its credential "
        f"{'ended' if over else 'ends'} at {until}."
    )
    again = "; or run the same command again" if payment.state == "signed" else " once its credential is over"
    advice = (
        f"A running server asks the studio and the chain by itself{again}. If no chain will tell, look it up and run: "
        f"{name_command(f'wallet write-off {payment.id}')}"
    )
    return Finding(topic="payment", health="note", text=text, advice=advice)


def check_start() -> list[Finding]:
    """Report a server that shows its tools only once it has loaded."""
    if has_answers():
        return []
    text = "A host waits until the server has loaded: no first answers are stored for this Python and these libraries."
    return [Finding(topic="start", health="note", text=text, advice=f"Run: {name_command('install HOST')}")]


def check_clients() -> list[Finding]:
    """Report which MCP clients of this machine start this server."""
    findings: list[Finding] = []
    for host in HOSTS.values():
        file = host.find_file()
        try:
            installed = has_entry(host, file)
        except ConfigError as exc:
            findings.append(build_problem(f"host {host.name}", exc))
            continue
        if installed is not None:
            text = f"our entry is in {file}" if installed else f"found, without our entry: {file}"
            advice = "" if installed else f"Run: {name_command(f'install {host.name}')}"
            findings.append(
                Finding(topic=f"host {host.name}", health="ok" if installed else "note", text=text, advice=advice)
            )
    if not findings:
        text = "No configuration of a known host was found."
        findings.append(Finding(topic="hosts", health="note", text=text, advice=f"Run: {name_command('install HOST')}"))
    return findings
