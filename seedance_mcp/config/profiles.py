"""Profiles: the studio, and the tokens and chains of payments. They are pinned, never taken from an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from seedance_mcp.core.limits import PinnedTerms
from seedance_mcp.core.wire.mpp import PinnedChargeTerms
from seedance_mcp.core.wire.offers import Rail
from seedance_mcp.core.wire.x402 import TokenDomain

ProfileName = Literal["live", "sandbox", "custom"]

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")

LIVE_TOKEN = TokenDomain(
    network="eip155:8453", asset="0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", name="USD Coin", version="2"
)
"""USDC on Base. Source: contract section 5, live 402 of 2026-09-21."""

LIVE_RECIPIENT = "0x07f067959297767c887dbfa3c72379c66e82a045"
"""The recipient on Base. Source: contract section 5, live 402 of 2026-09-21. No recipient on Tempo is published."""

SANDBOX_TOKEN = TokenDomain(
    network="eip155:402402", asset="0x5A4dB0c500000000000000000000000000000402", name="Sandbox USDC", version="1"
)
"""A chain and a token that exist only in the sandbox: a signature for them is worthless on Base."""


LIVE_CHARGES = PinnedChargeTerms(
    chain_id=4217,
    currencies=("0x20c000000000000000000000b9537d11c60e8b50", "0x20c0000000000000000000000000000000000000"),
)
"""USDC.e and pathUSD on Tempo. Source: contract section 5; `mpp.methods.tempo` (both can pay the network fee)."""

_TOKEN_NAMES = {
    LIVE_TOKEN.asset.lower(): "USDC",
    LIVE_CHARGES.currencies[0]: "USDC.e",
    LIVE_CHARGES.currencies[1]: "pathUSD",
    "0x20c0000000000000000000000000000004024217": "Sandbox dollar",
}

_NETWORK_NAMES = {LIVE_TOKEN.network: "Base", LIVE_CHARGES.network: "Tempo"}

SANDBOX_CHARGES = PinnedChargeTerms(chain_id=4024217, currencies=("0x20c0000000000000000000000000000004024217",))
"""A Tempo chain and a token that exist only in the sandbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A studio, and the tokens and chains of its payments.

    Attributes:
        name: `live`, `sandbox` or `custom`.
        studio_url: The studio's origin, without a trailing slash.
        blob_url: The URL to which image bytes are PUT.
        allow_loopback_http: True if plain http and loopback addresses may be used.
        token: The x402 token, or None if the profile has no such rail.
        rpc_urls: JSON-RPC URLs of the token's chain, if any; a provider's URL often contains its key.
        explorer_url: URL prefix of a transaction's page in a block explorer, or None.
        charges: The chain and tokens of MPP charges, or None if the profile has no such rail.
        tempo_rpc_urls: As `rpc_urls`, for that chain.
        tempo_explorer_url: As `explorer_url`, for that chain.
        job_seconds: Expected duration of a job until the ledger has measured ones.
        poll_seconds_min: The shortest pause between two polls of a job.
        support: Where people report problems with a paid job, or None if unknown.
        pay_to: Recipients that the profile allows, in lower case; empty allows any.
        published_recipients: The studio's published recipients, in lower case, by network.
    """

    name: ProfileName
    studio_url: str
    blob_url: str
    allow_loopback_http: bool
    token: TokenDomain | None
    rpc_urls: tuple[str, ...] = field(repr=False)
    explorer_url: str | None
    charges: PinnedChargeTerms | None = None
    tempo_rpc_urls: tuple[str, ...] = field(default=(), repr=False)
    tempo_explorer_url: str | None = None
    job_seconds: float = 60
    poll_seconds_min: float = 3
    pay_to: tuple[str, ...] = ()
    support: str | None = None
    published_recipients: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def name_command(self, verb: str) -> str:
        """Return one of our commands, as a person types it for this profile."""
        return f"seedance-mcp {verb}{' --sandbox' if self.name == 'sandbox' else ''}"

    @property
    def sign_in_chain(self) -> str:
        """Return the chain that a sign-in names. Source: contract section 7: sign-ins are on Base."""
        return LIVE_TOKEN.network if self.token is None else self.token.network

    def name_token(self, token: str) -> str:
        """Return the common name of a token; its address if it has none here."""
        if self.token is not None and self.token.asset == token:
            return _TOKEN_NAMES.get(token.lower(), self.token.name)
        return _TOKEN_NAMES.get(token.lower(), token)

    def speaks_to(self, studio: str) -> bool:
        """Return True if a job is of this profile's studio. Most sandboxes of a ledger's jobs do not exist any more."""
        return self.name != "sandbox" or studio == self.studio_url

    def explorer_of(self, rail: Rail | None, studio: str) -> str | None:
        """Return the URL prefix of a transaction's page on a rail's chain; each sandbox has its own chain."""
        if rail is None or not self.speaks_to(studio):
            return None
        return self.explorer_url if rail == "x402" else self.tempo_explorer_url

    @property
    def pins(self) -> PinnedTerms:
        """Return the terms that the policy compares offers with."""
        tokens = [] if self.token is None else [(self.token.network, self.token.asset)]
        if self.charges is not None:
            tokens += [(self.charges.network, token) for token in self.charges.currencies]
        names = {
            (network, token.lower()): f"{self.name_token(token)} on {_NETWORK_NAMES.get(network, network)}"
            for network, token in tokens
        }
        return PinnedTerms(
            studio_origin=self.studio_url,
            x402=self.token,
            mpp=self.charges,
            recipients=self.published_recipients,
            token_names=names,
            play_money=self.name == "sandbox",
        )


LIVE = Profile(
    name="live",
    studio_url="https://stablestudio.dev",
    blob_url="https://vercel.com/api/blob/",
    allow_loopback_http=False,
    token=LIVE_TOKEN,
    rpc_urls=("https://mainnet.base.org",),
    explorer_url="https://basescan.org/tx/",
    charges=LIVE_CHARGES,
    tempo_rpc_urls=("https://rpc.tempo.xyz",),
    tempo_explorer_url="https://explore.tempo.xyz/tx/",
    published_recipients={LIVE_TOKEN.network: (LIVE_RECIPIENT,)},
    support="support@merit.systems",  # Source: contract section 1, the studio's OpenAPI document
)


def sandbox_profile(studio_url: str) -> Profile:
    """Return the profile of a sandbox studio at this URL; a remote one must not use this machine's loopback."""
    return Profile(
        name="sandbox",
        studio_url=studio_url,
        blob_url=f"{studio_url}/api/blob/",
        allow_loopback_http=urlsplit(studio_url).hostname in LOOPBACK_HOSTS,
        token=SANDBOX_TOKEN,
        rpc_urls=(f"{studio_url}/rpc",),
        explorer_url=f"{studio_url}/_sandbox/tx/",
        charges=SANDBOX_CHARGES,
        tempo_rpc_urls=(f"{studio_url}/tempo/rpc",),
        tempo_explorer_url=f"{studio_url}/_sandbox/tx/",
        job_seconds=2,
        poll_seconds_min=0.3,
    )
