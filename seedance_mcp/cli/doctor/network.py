"""Checks of the studio and of the chains. They sign nothing and spend nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.config.settings import Settings
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ConfigError, StudioRejectedError
from seedance_mcp.core.installation import describe_install, list_missing_libraries
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.texts import quote_text

if TYPE_CHECKING:
    from seedance_mcp.adapters.chain.rpc import ChainRpc
    from seedance_mcp.adapters.studio.client import Studio
    from seedance_mcp.config.profiles import Profile
    from seedance_mcp.core.wire.offers import Rail
    from seedance_mcp.payments.balances import Balance
from seedance_mcp.app.opening import open_studio
from seedance_mcp.cli.doctor.finding import Finding, build_problem
from seedance_mcp.cli.doctor.local import PRICE_MICRO_USDC_TYPICAL
from seedance_mcp.cli.words import name_command

NETWORK_SECONDS = 30
"""How long all checks of the studio and the chains may take."""
BALANCES_SECONDS = 10
"""How long the chains may take to tell the wallet's balances."""
SKEW_SECONDS_MAX = 30


async def check_network(settings: Settings, address: str | None) -> list[Finding]:
    """Check the studio and the chains; within `NETWORK_SECONDS`."""
    if settings.embedded:
        missing = list_missing_libraries()
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
                findings += await _check_studio(studio, settings)
                findings += await _check_chains(studio, settings, address)
        except ConfigError as exc:
            findings.append(build_problem("network", exc))
    if scope.cancelled_caught:
        text = f"The rest was not answered within {NETWORK_SECONDS} s."
        findings.append(
            Finding(topic="network", health="wrong", text=text, advice="Try again in a minute.", remote=True)
        )
    return findings


@asynccontextmanager
async def _open_studio(settings: Settings) -> AsyncGenerator[Studio, None]:
    async def refuse(_: object) -> tuple[str, str]:
        raise ConfigError("The doctor signs nothing.")

    async with open_studio(settings, refuse) as studio:
        yield studio


async def _check_studio(studio: Studio, settings: Settings) -> list[Finding]:
    """Reachable, which dialect, and whether our request would be understood: asked unpaid, so it costs nothing."""
    from seedance_mcp.core.wire.generation import NormalisedRequest
    from seedance_mcp.core.wire.routes import Route
    from seedance_mcp.generation.pricing import PLACEHOLDER_URL, Pricing

    pricing = Pricing(studio=studio, wallet="0x" + "0" * 40, now=time.time)
    try:
        contract = await pricing.route_contract(Route("seedance-fast"))
    except SeedanceError as exc:
        return [build_problem("studio", exc)]
    if pricing.unreadable is not None:
        return [build_problem("studio", pricing.unreadable)]
    findings = [
        Finding(topic="studio", health="ok", text=f"{studio.origin} answers, and speaks the {contract.dialect} dialect")
    ]
    findings += await _check_upload(studio)
    request = NormalisedRequest(
        model="seedance-fast", prompt="A test of the request; it is not paid.", image="0" * 64, last_image=None,
        duration_seconds=4, resolution="480p", aspect_ratio="16:9", camera_fixed=None, generate_audio=None, seed=None,
        take=1,
    )  # fmt: skip
    try:
        priced = await pricing.request_price(request, [PLACEHOLDER_URL])
    except StudioRejectedError as exc:
        if exc.status != 400:
            return [*findings, build_problem("request", exc)]
        if PLACEHOLDER_URL in exc.what:
            text = (
                "not tried: the studio names a price only for pictures that it hosts, and the doctor uploads none; "
                "each purchase asks it first, unpaid"
            )
            return [*findings, Finding(topic="request", health="unknown", text=text)]
        text = (
            f"Only a picture of yours can show whether the studio understands the request: {quote_text(exc.what, 160)}"
        )
        return [*findings, Finding(topic="request", health="unknown", text=text)]
    except SeedanceError as exc:
        return [*findings, build_problem("request", exc)]
    price = (
        "no price that we can read" if priced.price_micro_usdc is None else f"${format_usdc(priced.price_micro_usdc)}"
    )
    return [*findings, Finding(topic="request", health="ok", text=f"understood; the default video costs {price}")]


async def _check_upload(studio: Studio) -> list[Finding]:
    """Ask the price of an upload, unpaid: the rails on which it could be paid, and the studio's clock."""
    from seedance_mcp.core.wire.json import encode_json
    from seedance_mcp.core.wire.mpp import is_pushed
    from seedance_mcp.core.wire.offers import read_offers
    from seedance_mcp.core.wire.responses import PaidRequest

    body = encode_json({"filename": "doctor.png", "contentType": "image/png", "size": 1000})
    try:
        url = f"{studio.origin}/api/upload"
        answer = await studio.send(PaidRequest(purpose="upload", idempotency_key="doctor", url=url, body=body))
        offers = read_offers(answer.status, answer.headers, answer.body, url=url)
    except SeedanceError as exc:
        return [build_problem("upload", exc)]
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


async def _check_chains(studio: Studio, settings: Settings, address: str | None) -> list[Finding]:
    from seedance_mcp.adapters.chain.rpc import ChainRpc
    from seedance_mcp.payments.balances import BalanceReader

    profile, rails, findings = settings.profile, settings.limits.rails, list[Finding]()
    rpc = ChainRpc(studio.http, {"x402": profile.rpc_urls, "mpp": profile.tempo_rpc_urls})
    networks: dict[Rail, str | None] = {
        "x402": None if profile.token is None else profile.token.network,
        "mpp": None if profile.charges is None else profile.charges.network,
    }
    balance_reader = BalanceReader(rpc=rpc, pins=profile.pins, wallet=address)
    balances = () if address is None else await balance_reader.list_balances(timeout_seconds=BALANCES_SECONDS)
    for rail, network in networks.items():
        if network is None or rail not in rails:
            continue
        finding = await _check_nodes(rpc, rail, network)
        held = [one for one in balances if one.rail == rail] if finding.health == "ok" else []
        findings += _describe_balances(finding, held, profile)
    amounts = [one.amount_micro_usdc for one in balances if one.rail in rails and one.amount_micro_usdc is not None]
    if amounts and max(amounts) < PRICE_MICRO_USDC_TYPICAL:
        most = f"{'at most ' if len(amounts) > 1 else ''}${format_usdc(max(amounts))}"
        text = f"The wallet holds {most} of a token; the default video with its upload costs $0.33."
        findings.append(
            Finding(topic="balance", health="note", text=text, advice=f"Run: {name_command('wallet fund')}")
        )
    return findings


def _describe_balances(finding: Finding, balances: Sequence[Balance], profile: Profile) -> list[Finding]:
    """Return a chain's finding with what the wallet holds there, and one for what the chain did not tell."""
    known = [
        f"${format_usdc(one.amount_micro_usdc)} {profile.name_token(one.token)}"
        for one in balances
        if one.amount_micro_usdc is not None
    ]
    unknown = [profile.name_token(one.token) for one in balances if one.amount_micro_usdc is None]
    findings = [replace(finding, text=f"{finding.text}; {', '.join(known)} in the wallet") if known else finding]
    if unknown:
        text = f"The chain did not tell what the wallet holds of {', '.join(unknown)}."
        findings.append(Finding(topic=finding.topic, health="wrong", text=text, advice="Try again.", remote=True))
    return findings


async def _check_nodes(rpc: ChainRpc, rail: Rail, network: str) -> Finding:
    """Whether every RPC address of a rail answers, and is of the right chain; the first that is not."""
    from seedance_mcp.core.wire.x402 import read_word

    topic, setting = f"chain {rail}", "SEEDANCE_RPC_URL" if rail == "x402" else "SEEDANCE_TEMPO_RPC_URL"
    nodes = rpc.count_nodes(rail)
    if nodes == 0:
        text = "no RPC address: only the studio can show the outcome of an unclear payment"
        return Finding(topic=topic, health="note", text=text, advice=f"Set {setting}.")
    for node in range(nodes):
        which = "The RPC address" if nodes == 1 else f"RPC address {node + 1} of {nodes}"
        try:
            chain_id = read_word(await rpc.call("eth_chainId", [], rail=rail, node=node))
        except SeedanceError as exc:
            finding = build_problem(topic, exc)
            return finding if nodes == 1 else replace(finding, text=f"{which}: {finding.text}")
        if f"eip155:{chain_id}" != network:
            text = f"{which} is of eip155:{chain_id}, not of {network}."
            return Finding(topic=topic, health="wrong", text=text, advice=f"Correct {setting}.")
    return Finding(
        topic=topic, health="ok", text=f"{network} answers" + (f" at {nodes} addresses" if nodes > 1 else "")
    )
