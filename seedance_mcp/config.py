"""Settings: the owner's word, from the environment first and then from `settings.toml`.

Owns every default and every pin (which token on which chain a profile pays in). Touches no network and opens no
wallet; a wrong value names itself, its source and what is allowed. Values of secrets never appear in an error.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

import platformdirs

from seedance_mcp.errors import ConfigError
from seedance_mcp.money import parse_usdc
from seedance_mcp.policy import Limits, Pins
from seedance_mcp.wire.encoding import is_address
from seedance_mcp.wire.generation import MODELS
from seedance_mcp.wire.offers import Rail
from seedance_mcp.wire.x402 import TokenDomain

ProfileName = Literal["live", "sandbox", "custom"]

PREFIX = "SEEDANCE_"
SETTINGS_FILE = "settings.toml"
SETTINGS_BYTES_MAX = 64 * 1024
SANDBOX_PORT = 8402

SETTINGS: dict[str, str] = {
    "PROFILE": "`live`, `sandbox` or `custom`",
    "PROFILE_FILE": "TOML file of a custom profile",
    "STUDIO_URL": "address of a standing sandbox studio (sandbox profile only)",
    "WALLET_KEY": "private key of the paying wallet",
    "WALLET_FILE": "file with the private key, readable by its owner only",
    "DATA_DIR": "folder for the ledger, videos and wallet",
    "MAX_PRICE_PER_VIDEO": "most that one video may cost, in US dollars",
    "MAX_PER_DAY": "most that may be spent in any 24 hours, in US dollars",
    "MAX_TOTAL": "most that may ever be spent from this ledger, in US dollars",
    "ASK_ABOVE": "ask a person before a video that costs more, in US dollars",
    "RAILS": "allowed payment rails, preferred first",
    "RECIPIENTS": "addresses that may be paid; any if unset",
    "MODELS": "models that may be used; any if unset",
    "IMAGE_DIRS": "folders that local images may come from",
    "RPC_URL": "JSON-RPC address of the chain, to ask what became of a payment",
    "LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR",
}
"""Every setting and what it means: `SEEDANCE_<NAME>` in the environment, `<name>` in `settings.toml`."""

LIVE_TOKEN = TokenDomain(
    network="eip155:8453", asset="0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", name="USD Coin", version="2"
)
"""USDC on Base. Source: contract section 5, live 402 of 2026-09-21."""

SANDBOX_TOKEN = TokenDomain(
    network="eip155:402402", asset="0x5A4dB0c500000000000000000000000000000402", name="Sandbox USDC", version="1"
)
"""A chain and a token that exist nowhere: a signature for them is worthless on Base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Whom we talk to and what we pay in.

    Attributes:
        name: `live`, `sandbox` or `custom`.
        studio_url: The studio's origin, without a trailing slash.
        blob_url: Where image bytes are PUT.
        allow_loopback_http: Whether plain http and loopback addresses may be used at all.
        token: The x402 token, or None where the profile has no such rail.
        rpc_url: JSON-RPC address of the token's chain, or None.
        explorer_url: Prefix of a transaction's page for people, or None.
        job_seconds: How long a job is expected to take before the ledger knows better.
        poll_seconds_min: The shortest pause between two questions about a job.
        pay_to: Recipients that the profile allows; empty allows any.
    """

    name: ProfileName
    studio_url: str
    blob_url: str
    allow_loopback_http: bool
    token: TokenDomain | None
    rpc_url: str | None
    explorer_url: str | None
    job_seconds: float = 60
    poll_seconds_min: float = 3
    pay_to: tuple[str, ...] = ()

    @property
    def sign_in_chain(self) -> str:
        """The chain that a sign-in names. Source: contract section 7: the studio signs people in on Base."""
        return LIVE_TOKEN.network if self.token is None else self.token.network

    @property
    def pins(self) -> Pins:
        """What policy judges offers by."""
        return Pins(studio_origin=self.studio_url, x402=self.token)


LIVE = Profile(
    name="live",
    studio_url="https://stablestudio.dev",
    blob_url="https://vercel.com/api/blob/",
    allow_loopback_http=False,
    token=LIVE_TOKEN,
    rpc_url="https://mainnet.base.org",
    explorer_url="https://basescan.org/tx/",
)


def sandbox_profile(studio_url: str) -> Profile:
    """The profile of a sandbox studio at this address."""
    return Profile(
        name="sandbox",
        studio_url=studio_url,
        blob_url=f"{studio_url}/api/blob/",
        allow_loopback_http=True,
        token=SANDBOX_TOKEN,
        rpc_url=f"{studio_url}/rpc",
        explorer_url=f"{studio_url}/_sandbox/tx/",
        job_seconds=2,
        poll_seconds_min=0.3,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the owner decided.

    Attributes:
        profile: Whom we talk to.
        embedded: Whether this process must bring its own sandbox studio.
        limits: What may be spent.
        data_dir: Folder of this profile: ledger, videos, wallet.
        wallet_key: A private key from the environment, or None.
        wallet_file: A key file that was named, or the profile's own.
        image_dirs: Resolved folders that local images may come from; empty: any but hidden and system folders.
        log_level: Name of a `logging` level.
    """

    profile: Profile
    embedded: bool
    limits: Limits
    data_dir: Path
    wallet_key: str | None = field(repr=False)
    wallet_file: Path
    image_dirs: tuple[Path, ...]
    log_level: str

    @property
    def ledger_file(self) -> Path:
        """Where the books are."""
        return self.data_dir / "ledger.sqlite3"

    @property
    def videos_dir(self) -> Path:
        """Where finished videos are saved."""
        return self.data_dir / "videos"

    def at_studio(self, studio_url: str) -> Settings:
        """The same settings, talking to the sandbox studio that was just started here."""
        return replace(self, profile=sandbox_profile(studio_url), embedded=False)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the owner's settings.

    Args:
        environ: The process environment.

    Raises:
        ConfigError: A value is wrong; the text names it, its source and what is allowed.
    """
    source = _Source.open(environ)
    profile, embedded = _read_profile(source)
    rails = _read_rails(source, profile)
    limits = Limits(
        max_price_per_video_micro_usdc=source.amount("MAX_PRICE_PER_VIDEO", 1_500_000),
        max_per_day_micro_usdc=source.amount("MAX_PER_DAY", 5_000_000),
        max_total_micro_usdc=source.amount_or_none("MAX_TOTAL"),
        ask_above_micro_usdc=source.amount_or_none("ASK_ABOVE"),
        rails=rails,
        recipients=_read_recipients(source) or tuple(address.lower() for address in profile.pay_to),
        models=source.choices("MODELS", MODELS),
    )
    data_dir = source.base_dir / profile.name
    if profile.name == "custom":
        data_dir /= urlsplit(profile.studio_url).netloc.replace(":", "_")
    wallet_file = source.text("WALLET_FILE")
    return Settings(
        profile=profile,
        embedded=embedded,
        limits=limits,
        data_dir=data_dir,
        wallet_key=source.text("WALLET_KEY"),
        wallet_file=Path(wallet_file).expanduser() if wallet_file else data_dir / "wallet.json",
        image_dirs=tuple(
            Path(part).expanduser().resolve() for part in (source.text("IMAGE_DIRS") or "").split(os.pathsep) if part
        ),
        log_level=source.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "WARNING"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where a value may come from, and how to say so when it is wrong."""

    environ: Mapping[str, str]
    document: Mapping[str, object]
    base_dir: Path

    @classmethod
    def open(cls, environ: Mapping[str, str]) -> _Source:
        named = environ.get(f"{PREFIX}DATA_DIR", "")
        if named and not named.startswith("${"):
            base_dir = Path(named).expanduser()
        else:
            base_dir = platformdirs.user_data_path("seedance-mcp", appauthor=False)
        document = _read_toml(base_dir / SETTINGS_FILE) if (base_dir / SETTINGS_FILE).exists() else {}
        unknown = [key for key in document if key.upper() not in SETTINGS]
        if unknown:
            raise ConfigError(
                f"{base_dir / SETTINGS_FILE} has an unknown setting {unknown[0]!r}.",
                f"Known are: {', '.join(name.lower() for name in SETTINGS)}.",
            )
        return cls(environ=environ, document=document, base_dir=base_dir)

    def text(self, name: str) -> str | None:
        """The value of a setting, or None. A literal `${NAME}` is a host's unset variable."""
        value = self.environ.get(PREFIX + name, "").strip()
        if value and not value.startswith("${"):
            return value
        stored = self.document.get(name.lower())
        if stored is None or stored == "":
            return None
        if isinstance(stored, list):
            separator = os.pathsep if name == "IMAGE_DIRS" else ","
            return separator.join(str(part) for part in cast("list[object]", stored))
        return str(stored)

    def where(self, name: str) -> str:
        """How a person finds the place of a setting."""
        value = self.environ.get(PREFIX + name, "").strip()
        if value and not value.startswith("${"):
            return f"{PREFIX}{name} (environment)"
        return f"{name.lower()} in {self.base_dir / SETTINGS_FILE}"

    def amount(self, name: str, default_micro_usdc: int) -> int:
        found = self.amount_or_none(name)
        return default_micro_usdc if found is None else found

    def amount_or_none(self, name: str) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_usdc(text)
        except ValueError as exc:
            raise ConfigError(f"{self.where(name)} is wrong: {exc}.", "Write US dollars, such as 1.50.") from exc

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        text = self.text(name) or default
        for value in allowed:
            if text.lower() == value.lower():
                return value
        raise ConfigError(f"{self.where(name)} is {text[:60]!r}.", f"Allowed are: {', '.join(allowed)}.")

    def choices(self, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        parts = tuple(part.strip() for part in (self.text(name) or "").split(",") if part.strip())
        for part in parts:
            if part not in allowed:
                raise ConfigError(f"{self.where(name)} names {part[:60]!r}.", f"Allowed are: {', '.join(allowed)}.")
        return parts


def _read_profile(source: _Source) -> tuple[Profile, bool]:
    name = source.choice("PROFILE", ("live", "sandbox", "custom"), "live")
    studio_url = source.text("STUDIO_URL")
    if studio_url is not None and name != "sandbox":
        raise ConfigError(
            f"{source.where('STUDIO_URL')} is set, but the profile is {name}.",
            "It belongs to the sandbox profile; another studio needs a custom profile (SEEDANCE_PROFILE_FILE).",
        )
    if name == "live":
        profile = LIVE
    elif name == "sandbox":
        url = (studio_url or f"http://127.0.0.1:{SANDBOX_PORT}").rstrip("/")
        _check_origin(url, source.where("STUDIO_URL"), allow_loopback_http=True)
        return sandbox_profile(url), studio_url is None
    else:
        profile = _read_custom(source)
    rpc_url = source.text("RPC_URL")
    if rpc_url is not None:
        _check_url(rpc_url, source.where("RPC_URL"), allow_loopback_http=profile.allow_loopback_http)
        profile = replace(profile, rpc_url=rpc_url)
    return profile, False


def _read_custom(source: _Source) -> Profile:
    named = source.text("PROFILE_FILE")
    if named is None:
        raise ConfigError("The profile is custom, but no profile file is named.", "Set SEEDANCE_PROFILE_FILE.")
    path = Path(named).expanduser()
    document = _read_toml(path)
    where = str(path)
    _check_keys(document, {"studio_url", "blob_url", "allow_loopback_http", "x402", "mpp", "pay_to"}, where)
    allow_loopback_http = document.get("allow_loopback_http", False)
    if not isinstance(allow_loopback_http, bool):
        raise ConfigError(f"allow_loopback_http in {where} is not true or false.")
    studio_url = _require_text(document, "studio_url", where).rstrip("/")
    _check_origin(studio_url, f"studio_url in {where}", allow_loopback_http=allow_loopback_http)
    blob_url = _require_text(document, "blob_url", where)
    _check_url(blob_url, f"blob_url in {where}", allow_loopback_http=allow_loopback_http)
    if urlsplit(blob_url).path in ("", "/"):
        blob_url = blob_url.rstrip("/") + "/api/blob/"
    x402 = document.get("x402")
    token, rpc_url = (None, None)
    if x402 is not None:
        token, rpc_url = _read_token(x402, where, allow_loopback_http=allow_loopback_http)
    pay_to = document.get("pay_to", [])
    if not isinstance(pay_to, list) or not all(is_address(address) for address in cast("list[object]", pay_to)):
        raise ConfigError(f"pay_to in {where} is not a list of addresses.")
    return Profile(
        name="custom",
        studio_url=studio_url,
        blob_url=blob_url if blob_url.endswith("/") else blob_url + "/",
        allow_loopback_http=allow_loopback_http,
        token=token,
        rpc_url=rpc_url,
        explorer_url=None,
        pay_to=tuple(str(address) for address in cast("list[object]", pay_to)),
    )


def _read_token(table: object, where: str, *, allow_loopback_http: bool) -> tuple[TokenDomain, str | None]:
    if not isinstance(table, dict):
        raise ConfigError(f"[x402] in {where} is not a table.")
    fields = cast("dict[str, object]", table)
    where = f"[x402] in {where}"
    _check_keys(fields, {"network", "asset", "name", "version", "rpc_url"}, where)
    network, asset = _require_text(fields, "network", where), _require_text(fields, "asset", where)
    if not network.startswith("eip155:") or not network.removeprefix("eip155:").isdigit():
        raise ConfigError(f"network of {where} is {network[:60]!r}.", "Write eip155:<chain id>, such as eip155:8453.")
    if not is_address(asset):
        raise ConfigError(f"asset of {where} is not an address.")
    rpc_url = fields.get("rpc_url")
    if rpc_url is not None:
        rpc_url = str(rpc_url)
        _check_url(rpc_url, f"rpc_url of {where}", allow_loopback_http=allow_loopback_http)
    token = TokenDomain(
        network=network,
        asset=asset,
        name=_require_text(fields, "name", where),
        version=_require_text(fields, "version", where),
    )
    return token, rpc_url


def _read_rails(source: _Source, profile: Profile) -> tuple[Rail, ...]:
    available: tuple[Rail, ...] = ("x402",) if profile.token is not None else ()
    if not available:
        raise ConfigError(f"The {profile.name} profile names no token to pay in.", "Add an [x402] table to it.")
    chosen = source.choices("RAILS", ("x402",))
    return tuple(cast("Rail", rail) for rail in chosen) or available


def _read_recipients(source: _Source) -> tuple[str, ...]:
    parts = [part.strip() for part in (source.text("RECIPIENTS") or "").split(",") if part.strip()]
    for part in parts:
        if not is_address(part):
            raise ConfigError(f"{source.where('RECIPIENTS')} names {part[:60]!r}, which is not an address.")
    return tuple(part.lower() for part in parts)


def _read_toml(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as file:
            data = file.read(SETTINGS_BYTES_MAX + 1)
        if len(data) > SETTINGS_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {SETTINGS_BYTES_MAX} bytes.")
        return tomllib.loads(data.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}.", "Mend it or take it away.") from exc


def _check_keys(document: Mapping[str, object], allowed: set[str], where: str) -> None:
    for key in document:
        if key not in allowed:
            raise ConfigError(f"{where} has an unknown key {key!r}.", f"Known are: {', '.join(sorted(allowed))}.")


def _require_text(document: Mapping[str, object], key: str, where: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key} is missing in {where}.")
    return value


def _check_origin(url: str, where: str, *, allow_loopback_http: bool) -> None:
    _check_url(url, where, allow_loopback_http=allow_loopback_http)
    parts = urlsplit(url)
    if parts.path or parts.query or parts.fragment:
        raise ConfigError(
            f"{where} is {url[:80]!r}.", "Write only scheme, host and port, such as https://stablestudio.dev."
        )


def _check_url(url: str, where: str, *, allow_loopback_http: bool) -> None:
    """An https URL; plain http only to this machine, and only where the profile says so."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError(f"{where} is not a URL.") from exc
    if parts.username or parts.password or not host:
        raise ConfigError(f"{where} is not a plain URL with a host.")
    if parts.scheme == "https":
        return
    if parts.scheme == "http" and allow_loopback_http and host in ("127.0.0.1", "localhost", "::1"):
        return
    raise ConfigError(
        f"{where} is not https.", "Plain http is for this machine's loopback address, in a profile that allows it."
    )
