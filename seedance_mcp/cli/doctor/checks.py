"""The doctor: looks at everything that a working installation needs, and says of each thing how it is and what to do.

Spends nothing, signs nothing and changes nothing; works without a key and without a network. Every finding stands for
itself: one that cannot be made never hides the others.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.to_thread

from seedance_mcp import __version__
from seedance_mcp.adapters.wallet import list_sources, open_wallet
from seedance_mcp.adapters.wallet.key_files import is_locked
from seedance_mcp.cli.install.hosts import HOSTS, has_entry
from seedance_mcp.config.settings import Settings, find_sources, list_unread_files, read_settings
from seedance_mcp.config.sources import PREFIX
from seedance_mcp.core.errors import (
    ConfigError,
    SeedanceError,
    StudioRejectedError,
    StudioUnreachableError,
    format_clock,
    quote_text,
)
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.installation import describe_install
from seedance_mcp.core.limits import Limits, Spend
from seedance_mcp.core.money import format_usdc
from seedance_mcp.payments.policy import find_room

if TYPE_CHECKING:
    from seedance_mcp.adapters.studio.client import Studio
    from seedance_mcp.core.ledger import Ledger
    from seedance_mcp.core.records import Payment
    from seedance_mcp.core.wire.offers import Rail

NETWORK_SECONDS = 30
"""For so long the studio and the chains are waited for, all together."""
SKEW_SECONDS_MAX = 30
DISK_BYTES_MIN = 500 * 1024 * 1024
PRICE_MICRO_USDC_TYPICAL = 330_000
"""The default clip and its upload: a limit or a balance below this buys nothing."""

Health = Literal["ok", "note", "wrong", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about one thing.

    Attributes:
        topic: The thing.
        health: `ok`; `note`, which works but should be known; `wrong`; `unknown`, which could not be looked at.
        text: What is so.
        advice: What to do, or empty.
        remote: Whether the fault, if it is one, is elsewhere.
    """

    topic: str
    health: Health
    text: str
    advice: str = ""
    remote: bool = False


async def examine(environ: Mapping[str, str], *, given: Mapping[str, str] | None = None) -> list[Finding]:
    """Look at everything.

    Args:
        environ: The environment to look at.
        given: What it was before a command changed it; what the command changed is named as nobody's setting.
    """
    findings = [
        Finding(topic="program", health="ok", text=f"seedance-mcp {__version__}, Python {platform.python_version()}")
    ]
    try:
        sources = await anyio.to_thread.run_sync(find_sources, environ)
        settings = await anyio.to_thread.run_sync(lambda: read_settings(environ, blocking=True))
    except ConfigError as exc:
        findings.append(Finding(topic="settings", health="wrong", text=exc.what, advice=exc.hint))
        return findings + await anyio.to_thread.run_sync(_look_at_hosts)
    findings += await anyio.to_thread.run_sync(_look_at_settings_files, settings, environ)
    if settings.limits.problem is not None:
        findings.append(_problem("settings", settings.limits.problem))
    changed = {name for name in sources if given is not None and environ.get(PREFIX + name) != given.get(PREFIX + name)}
    findings += _look_at_settings(settings, {name: sources[name] for name in sources if name not in changed})
    address, found = await _look_at_wallet(settings)
    findings += found
    findings += await anyio.to_thread.run_sync(_look_at_disk, settings)
    findings += await anyio.to_thread.run_sync(_look_at_ledger, settings, address)
    findings += await _look_at_network(settings, address)
    return findings + await anyio.to_thread.run_sync(_look_at_hosts)


def _problem(topic: str, exc: SeedanceError) -> Finding:
    remote = isinstance(exc, StudioUnreachableError | StudioRejectedError)
    return Finding(topic=topic, health="wrong", text=exc.what, advice=exc.hint, remote=remote)


def _look_at_settings_files(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """The one file that is read, and those that lie where none is read."""
    text = f"{settings.file} is read" if settings.file.exists() else f"{settings.file} is read, and is not there"
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


def _look_at_settings(settings: Settings, sources: Mapping[str, str]) -> list[Finding]:
    profile, limits = settings.profile, settings.limits
    where = "; ".join(sources.values()) or "all else by default"
    studio = "a sandbox of its own" if settings.embedded else profile.studio_url
    day, video = limits.max_per_day_micro_usdc, limits.max_price_per_video_micro_usdc
    text = f"${format_usdc(video)} a video, ${format_usdc(day)} a day"
    if limits.max_total_micro_usdc is not None:
        text += f", ${format_usdc(limits.max_total_micro_usdc)} in all"
    if limits.unlimited:
        text += f"; not limited: {', '.join(limits.unlimited)}"
    small = min(day, video) < PRICE_MICRO_USDC_TYPICAL
    return [
        Finding(topic="settings", health="ok", text=f"profile {profile.name} at {studio}; {where}"),
        Finding(
            topic="limits",
            health="note" if small else "ok",
            text=text,
            advice="The default clip with its upload costs $0.33: these limits do not let it pass." if small else "",
        ),
    ]


async def _look_at_wallet(settings: Settings) -> tuple[str | None, list[Finding]]:
    """The paying address, where it can be had without asking anybody."""
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
        return None, [_problem("wallet", used.problem)]
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
        address = (await open_wallet(*settings.key_places)).address
    except ConfigError as exc:
        return None, [_problem("wallet", exc)]
    return address, [Finding(topic="wallet", health="ok", text=f"{address}, from {used.name}")]


def _look_at_disk(settings: Settings) -> list[Finding]:
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
                advice="Make room: a paid clip that cannot be saved is lost after 20 minutes.",
            )
        ]
    return [Finding(topic="data folder", health="ok", text=f"{folder}, {free // 1024**3} GB free")]


def _look_at_ledger(settings: Settings, address: str | None) -> list[Finding]:
    from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger  # with its database, only where it is read

    if not settings.ledger_file.exists():
        return [Finding(topic="ledger", health="ok", text="none yet; it is made with the first purchase")]
    now = time.time()
    try:
        ledger = SQLiteLedger(settings.ledger_file)
        try:
            spend = ledger.spend(now)
            jobs = ledger.unfinished_jobs(settings.profile.studio_url)
            held = ledger.held_payments(now)
            lost = ledger.settled_without_result(address) if address else []
            freeze = ledger.find_freeze()
            reading = [] if settings.embedded or address is None else _describe_reading(ledger, settings, address)
        finally:
            ledger.close()
    except SeedanceError as exc:
        return [_problem("ledger", exc)]
    findings = [] if freeze is None else [_describe_freeze(freeze, settings)]
    findings += [_judge_budget(settings.limits, spend), *reading]
    findings += [_describe_held(payment, now) for payment in held]
    findings += [
        Finding(
            topic="payment",
            health="note",
            text=f"Payment {payment.id} of ${format_usdc(payment.amount_micro_usdc)} was paid; its job is not found.",
            advice="Run the same command again; if it stays so, give the receipt to the studio's support. If you "
            f"looked it up and it never moved, run: seedance-mcp wallet write-off {payment.id}",
        )
        for payment in lost
    ]
    if jobs:
        findings.append(
            Finding(
                topic="jobs",
                health="note",
                text=f"{len(jobs)} not finished or not saved: {', '.join(job.job_id for job in jobs[:5])}",
                advice=f"Run: seedance-mcp get {jobs[0].job_id}",
            )
        )
    return findings


def _describe_freeze(freeze: Freeze, settings: Settings) -> Finding:
    """The stop that the owner has set: nothing is broken, and nothing is bought."""
    advice = f"To buy again, run: {settings.profile.name_command('unfreeze')}"
    return Finding(topic="freeze", health="note", text=freeze.describe(), advice=advice)


def _describe_reading(ledger: Ledger, settings: Settings, address: str) -> list[Finding]:
    """Return what is known of jobs that the wallet bought and this ledger has not: it is new, lost or restored."""
    studio = settings.profile.studio_url
    if ledger.find_reading(wallet=address, studio=studio) is None:
        return [
            Finding(
                topic="ledger",
                health="note",
                text="It was never compared with the studio's list of this wallet's jobs.",
                advice="The next purchase does that first, free: what was bought before is found, not paid again.",
            )
        ]
    payments = _describe_untracked_payments(ledger, address)
    jobs = ledger.list_untracked(wallet=address, studio=studio)
    if not jobs:
        return payments
    named = ", ".join(job.job_id for job in jobs[-5:])
    return [
        Finding(
            topic="ledger",
            health="note",
            text=f"It lacks jobs of this wallet at the studio, {len(jobs)} in all: {named}. It was lost or restored, "
            "or another one pays with this wallet. They count against your limits, at estimated prices.",
            advice=f"A repeated request finds its job and pays nothing. Save one: seedance-mcp get {jobs[-1].job_id}",
        ),
        *payments,
    ]


def _describe_untracked_payments(ledger: Ledger, address: str) -> list[Finding]:
    """Return what is known of payments that neither the ledger nor the studio's list explains: a chain has them."""
    payments = ledger.list_untracked_payments(wallet=address)
    if not payments:
        return []
    total = format_usdc(sum(payment.amount_micro_usdc for payment in payments))
    named = ", ".join(payment.transaction for payment in payments[-3:])
    return [
        Finding(
            topic="ledger",
            health="note",
            text=f"It lacks {len(payments)} payments of this wallet to the studio, ${total} in all, that no listed job "
            f"explains: {named}. They count against your limits.",
            advice="Image uploads are among them. For a lost video, send the transaction to the studio's support.",
        )
    ]


def _judge_budget(limits: Limits, spend: Spend) -> Finding:
    """What was spent, and what is left of the tightest budget."""
    left, name = min(find_room(limits, spend))
    total = limits.max_total_micro_usdc
    if left >= PRICE_MICRO_USDC_TYPICAL:
        advice = ""
    elif total is not None and total - spend.total_micro_usdc < PRICE_MICRO_USDC_TYPICAL:
        advice = "The total budget is used up, and does not free by itself: raise SEEDANCE_MAX_TOTAL to buy more."
    else:
        advice = "The day's budget is used up; it frees by itself, or raise SEEDANCE_MAX_PER_DAY."
    return Finding(
        topic="ledger",
        health="note" if advice else "ok",
        text=f"${format_usdc(spend.last_day_micro_usdc)} in the last 24 hours, ${format_usdc(spend.total_micro_usdc)} "
        f"in all; ${format_usdc(left)} left of your {name}",
        advice=advice,
    )


def _describe_held(payment: Payment, now: float) -> Finding:
    """A payment that counts as spent although nobody knows yet what became of it."""
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
        f"seedance-mcp wallet write-off {payment.id}"
    )
    return Finding(topic="payment", health="note", text=text, advice=advice)


# ── the studio and the chains ────────────────────────────────────────────────────────────────────────────────────────


async def _look_at_network(settings: Settings, address: str | None) -> list[Finding]:
    if settings.embedded:
        missing = [name for name in ("av", "siwe", "x402") if importlib.util.find_spec(name) is None]
        if missing:
            return [
                Finding(
                    topic="sandbox",
                    health="wrong",
                    text=f"The sandbox studio is not installed ({', '.join(missing)} missing).",
                    advice=describe_install("sandbox"),
                )
            ]
        return [Finding(topic="sandbox", health="ok", text="installed; every server and command brings its own")]
    findings: list[Finding] = []
    with anyio.move_on_after(NETWORK_SECONDS) as scope:
        try:
            async with _open_studio(settings) as studio:
                findings += await _look_at_studio(studio, settings)
                findings += await _look_at_chains(studio, settings, address)
        except ConfigError as exc:
            findings.append(_problem("network", exc))
    if scope.cancelled_caught:
        text = f"The rest was not answered within {NETWORK_SECONDS} s."
        findings.append(
            Finding(topic="network", health="wrong", text=text, advice="Try again in a minute.", remote=True)
        )
    return findings


@asynccontextmanager
async def _open_studio(settings: Settings) -> AsyncGenerator[Studio, None]:
    from seedance_mcp.adapters.studio.client import (  # the HTTP client, only where the network is looked at
        Address,
        Studio,
    )

    async def refuse(_: object) -> tuple[str, str]:
        raise ConfigError("The doctor signs nothing.")

    profile = settings.profile
    address = Address(
        studio_url=profile.studio_url,
        blob_url=profile.blob_url,
        rpc_urls=profile.rpc_urls,
        tempo_rpc_urls=profile.tempo_rpc_urls,
        chain_id=profile.sign_in_chain,
        allow_loopback_http=profile.allow_loopback_http,
    )
    async with Studio(address, refuse) as studio:
        yield studio


async def _look_at_studio(studio: Studio, settings: Settings) -> list[Finding]:
    """Reachable, which dialect, and whether our request would be understood: asked unpaid, so it costs nothing."""
    from seedance_mcp.core.wire.generation import GenerationRequest
    from seedance_mcp.generation.pricing import PLACEHOLDER_URL, Pricing

    pricing = Pricing(studio=studio, wallet="0x" + "0" * 40, now=time.time)
    try:
        contract = await pricing.route_contract("seedance-fast")
    except SeedanceError as exc:
        return [_problem("studio", exc)]
    if pricing.unreadable is not None:
        return [_problem("studio", pricing.unreadable)]
    findings = [
        Finding(topic="studio", health="ok", text=f"{studio.origin} answers, and speaks the {contract.dialect} dialect")
    ]
    findings += await _look_at_upload(studio)
    request = GenerationRequest(
        model="seedance-fast", prompt="A test of the request; it is not paid.", image="0" * 64, last_image=None,
        duration_seconds=4, resolution="480p", aspect_ratio="16:9", camera_fixed=None, generate_audio=None, seed=None,
        take=1,
    )  # fmt: skip
    try:
        priced = await pricing.ask(request, [PLACEHOLDER_URL])
    except StudioRejectedError as exc:
        if exc.status != 400:
            return [*findings, _problem("request", exc)]
        if PLACEHOLDER_URL in exc.what:
            text = (
                "not tried: the studio names a price only for pictures that it hosts, and the doctor uploads none; "
                "each purchase asks it first, unpaid"
            )
            return [*findings, Finding(topic="request", health="unknown", text=text)]
        text = f"Whether our request is understood shows only with a picture of yours: {quote_text(exc.what, 160)}"
        return [*findings, Finding(topic="request", health="unknown", text=text)]
    except SeedanceError as exc:
        return [*findings, _problem("request", exc)]
    price = (
        "no price that we can read" if priced.price_micro_usdc is None else f"${format_usdc(priced.price_micro_usdc)}"
    )
    return [*findings, Finding(topic="request", health="ok", text=f"understood; the default clip costs {price}")]


async def _look_at_upload(studio: Studio) -> list[Finding]:
    """The price of an upload, asked unpaid: on which rails it could be paid, and what the studio's clock says."""
    from seedance_mcp.core.wire.json import encode_json
    from seedance_mcp.core.wire.mpp import is_pushed
    from seedance_mcp.core.wire.offers import read_offers
    from seedance_mcp.core.wire.responses import PaidRequest

    body = encode_json({"filename": "doctor.png", "contentType": "image/png", "size": 1000})
    try:
        url = f"{studio.origin}/api/upload"
        answer = await studio.send(PaidRequest(purpose="upload", fingerprint="doctor", url=url, body=body))
        offers = read_offers(answer.status, answer.headers, answer.body, url=url)
    except SeedanceError as exc:
        return [_problem("upload", exc)]
    pushed = " once its money has moved (SEEDANCE_ALLOW_PUSH)"
    rails = ", ".join(sorted({offer.rail + (pushed if is_pushed(offer) else "") for offer in offers.offers}))
    price = min((offer.amount_micro_usdc for offer in offers.offers), default=0)
    findings = [
        Finding(topic="upload", health="ok", text=f"costs ${format_usdc(price)}, payable on {rails}")
        if rails
        else Finding(
            topic="upload",
            health="wrong",
            text=f"The studio offers no way to pay that we know: {quote_text(', '.join(offers.passed_over), 160)}",
            advice="Update seedance-mcp.",
        )
    ]
    if offers.answered_at is not None:
        skew = round(time.time() - offers.answered_at)
        wrong = abs(skew) > SKEW_SECONDS_MAX
        findings.append(
            Finding(
                topic="clock",
                health="wrong" if wrong else "ok",
                text=f"{abs(skew)} s {'ahead of' if skew > 0 else 'behind'} the studio's" if wrong else "right",
                advice="Set this machine's clock: a payment is valid for three minutes." if wrong else "",
            )
        )
    return findings


async def _look_at_chains(studio: Studio, settings: Settings, address: str | None) -> list[Finding]:
    from seedance_mcp.core.wire.mpp import build_balance_call
    from seedance_mcp.core.wire.x402 import read_word

    profile, findings = settings.profile, list[Finding]()
    chains: list[tuple[Rail, str, tuple[str, ...]]] = []
    if profile.token is not None and "x402" in settings.limits.rails:
        chains.append(("x402", profile.token.network, (profile.token.asset,)))
    if profile.charges is not None and "mpp" in settings.limits.rails:
        chains.append(("mpp", profile.charges.network, profile.charges.currencies))
    balances: list[int] = []
    for rail, network, tokens in chains:
        finding = await _look_at_nodes(studio, rail, network)
        if address is None or finding.health != "ok":
            findings.append(finding)
            continue
        told, problems = list[str](), list[Finding]()
        for token in tokens:
            try:
                amount = read_word(await studio.call_rpc("eth_call", build_balance_call(token, address), rail=rail))
            except SeedanceError as exc:
                problems.append(_problem(finding.topic, exc))
                continue
            balances.append(amount)
            told.append(f"${format_usdc(amount)} {profile.name_token(token)}")
        text = f"{finding.text}; {', '.join(told)} in the wallet" if told else finding.text
        findings += [replace(finding, text=text), *problems]
    if balances and max(balances) < PRICE_MICRO_USDC_TYPICAL:
        most = f"{'at most ' if len(balances) > 1 else ''}${format_usdc(max(balances))}"
        text = f"The wallet holds {most} of a token; the default clip with its upload costs $0.33."
        findings.append(Finding(topic="balance", health="note", text=text, advice="Run: seedance-mcp wallet fund"))
    return findings


async def _look_at_nodes(studio: Studio, rail: Rail, network: str) -> Finding:
    """Whether every RPC address of a rail answers, and is of the right chain; the first that is not."""
    from seedance_mcp.core.wire.x402 import read_word

    topic, setting = f"chain {rail}", "SEEDANCE_RPC_URL" if rail == "x402" else "SEEDANCE_TEMPO_RPC_URL"
    nodes = studio.count_nodes(rail)
    if nodes == 0:
        text = "no RPC address: what became of an unclear payment is asked only at the studio"
        return Finding(topic=topic, health="note", text=text, advice=f"Set {setting}.")
    for node in range(nodes):
        which = "The RPC address" if nodes == 1 else f"RPC address {node + 1} of {nodes}"
        try:
            chain_id = read_word(await studio.call_rpc("eth_chainId", [], rail=rail, node=node))
        except SeedanceError as exc:
            finding = _problem(topic, exc)
            return finding if nodes == 1 else replace(finding, text=f"{which}: {finding.text}")
        if f"eip155:{chain_id}" != network:
            text = f"{which} is of eip155:{chain_id}, not of {network}."
            return Finding(topic=topic, health="wrong", text=text, advice=f"Correct {setting}.")
    return Finding(
        topic=topic, health="ok", text=f"{network} answers" + (f" at {nodes} addresses" if nodes > 1 else "")
    )


def _look_at_hosts() -> list[Finding]:
    findings: list[Finding] = []
    for host in HOSTS.values():
        file = host.find_file()
        try:
            installed = has_entry(host, file)
        except ConfigError as exc:
            findings.append(_problem(f"host {host.name}", exc))
            continue
        if installed is not None:
            text = f"our entry is in {file}" if installed else f"found, without our entry: {file}"
            advice = "" if installed else f"Run: seedance-mcp install {host.name}"
            findings.append(
                Finding(topic=f"host {host.name}", health="ok" if installed else "note", text=text, advice=advice)
            )
    if not findings:
        text = "No configuration of a known host was found."
        findings.append(Finding(topic="hosts", health="note", text=text, advice="Run: seedance-mcp install HOST"))
    return findings
