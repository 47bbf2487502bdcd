"""Settings: the owner's word, from the environment first and then from `settings.toml`.

Owns every default and every pin (which token on which chain a profile pays in). Touches no network and opens no
wallet; a wrong value names itself, its source and what is allowed. Values of secrets never appear in an error.

A limit that its owner believes to be set must be set: what cannot be understood (a misspelt name, an empty list) is
refused, never passed over.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

import platformdirs

from seedance_mcp.errors import ConfigError
from seedance_mcp.money import parse_usdc
from seedance_mcp.policy import Limits, Pins
from seedance_mcp.wire.encoding import is_address, is_network
from seedance_mcp.wire.generation import MODELS
from seedance_mcp.wire.mpp import MppPins
from seedance_mcp.wire.offers import Rail
from seedance_mcp.wire.x402 import TokenDomain

ProfileName = Literal["live", "sandbox", "custom"]

PREFIX = "SEEDANCE_"
SETTINGS_FILE = "settings.toml"
SETTINGS_BYTES_MAX = 64 * 1024
SANDBOX_PORT = 8402

_LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_MISSPELT = 0.85
"""How alike a variable's name must be to one of ours to be taken for a slip of the pen."""

SETTINGS: dict[str, str] = {
    "PROFILE": "`live`, `sandbox` or `custom`",
    "PROFILE_FILE": "TOML file of a custom profile",
    "STUDIO_URL": "address of a standing sandbox studio (sandbox profile only)",
    "WALLET_KEY": "private key of the paying wallet",
    "WALLET_FILE": "file with the private key, readable by its owner only",
    "WALLET_PASSWORD_FILE": "file with the password of an encrypted wallet file, readable by its owner only",
    "WALLET_KEYCHAIN": "`on` or `off`: keep the key in the operating system's keychain",
    "DATA_DIR": "folder for the ledger, videos and wallet",
    "MAX_PRICE_PER_VIDEO": "most that one video may cost, in US dollars",
    "MAX_PER_DAY": "most that may be spent in any 24 hours, in US dollars",
    "MAX_TOTAL": "most that may ever be spent from this ledger, in US dollars",
    "ASK_ABOVE": "ask a person before a video that costs more, in US dollars",
    "RAILS": "allowed payment rails, preferred first",
    "RECIPIENTS": "addresses that may be paid; any if unset",
    "MODELS": "models that may be used; any if unset",
    "IMAGE_DIRS": "folders that local images may come from",
    "RPC_URL": "JSON-RPC address of the x402 token's chain, to ask what became of a payment",
    "TEMPO_RPC_URL": "JSON-RPC address of the Tempo chain, for the same on MPP",
    "THUMBNAILS": "`on` or `off`: a small picture of the finished video in its result",
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


LIVE_CHARGES = MppPins(
    chain_id=4217,
    currencies=("0x20c000000000000000000000b9537d11c60e8b50", "0x20c0000000000000000000000000000000000000"),
)
"""USDC.e and pathUSD on Tempo. Source: contract section 5; `mpp.methods.tempo` (both can pay the network's fee)."""

_TOKEN_NAMES = {
    LIVE_TOKEN.asset.lower(): "USDC",
    LIVE_CHARGES.currencies[0]: "USDC.e",
    LIVE_CHARGES.currencies[1]: "pathUSD",
    "0x20c0000000000000000000000000000004024217": "Sandbox dollar",
}

SANDBOX_CHARGES = MppPins(chain_id=4024217, currencies=("0x20c0000000000000000000000000000004024217",))
"""A Tempo chain and a dollar that exist nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Whom we talk to and what we pay in.

    Attributes:
        name: `live`, `sandbox` or `custom`.
        studio_url: The studio's origin, without a trailing slash.
        blob_url: Where image bytes are PUT.
        allow_loopback_http: Whether plain http and loopback addresses may be used at all.
        token: The x402 token, or None where the profile has no such rail.
        rpc_url: JSON-RPC address of the token's chain, or None; a provider's address often holds its key.
        explorer_url: Prefix of a transaction's page for people, or None.
        charges: The chain and dollars of MPP charges, or None where the profile has no such rail.
        tempo_rpc_url: JSON-RPC address of that chain, or None.
        tempo_explorer_url: As `explorer_url`, for that chain.
        job_seconds: How long a job is expected to take before the ledger knows better.
        poll_seconds_min: The shortest pause between two questions about a job.
        pay_to: Recipients that the profile allows, in lower case; empty allows any.
    """

    name: ProfileName
    studio_url: str
    blob_url: str
    allow_loopback_http: bool
    token: TokenDomain | None
    rpc_url: str | None = field(repr=False)
    explorer_url: str | None
    charges: MppPins | None = None
    tempo_rpc_url: str | None = field(default=None, repr=False)
    tempo_explorer_url: str | None = None
    job_seconds: float = 60
    poll_seconds_min: float = 3
    pay_to: tuple[str, ...] = ()

    @property
    def sign_in_chain(self) -> str:
        """The chain that a sign-in names. Source: contract section 7: the studio signs people in on Base."""
        return LIVE_TOKEN.network if self.token is None else self.token.network

    def name_token(self, token: str) -> str:
        """What people call a token; its address where nobody told us."""
        if self.token is not None and self.token.asset == token:
            return _TOKEN_NAMES.get(token.lower(), self.token.name)
        return _TOKEN_NAMES.get(token.lower(), token)

    def explorer_of(self, rail: Rail) -> str | None:
        """Prefix of a transaction's page on a rail's chain."""
        return self.explorer_url if rail == "x402" else self.tempo_explorer_url

    @property
    def pins(self) -> Pins:
        """What policy judges offers by."""
        return Pins(studio_origin=self.studio_url, x402=self.token, mpp=self.charges)


LIVE = Profile(
    name="live",
    studio_url="https://stablestudio.dev",
    blob_url="https://vercel.com/api/blob/",
    allow_loopback_http=False,
    token=LIVE_TOKEN,
    rpc_url="https://mainnet.base.org",
    explorer_url="https://basescan.org/tx/",
    charges=LIVE_CHARGES,
    tempo_rpc_url="https://rpc.tempo.xyz",
    tempo_explorer_url="https://explore.tempo.xyz/tx/",
)


def sandbox_profile(studio_url: str) -> Profile:
    """The profile of a sandbox studio at this address. One elsewhere has no business with this machine's loopback."""
    return Profile(
        name="sandbox",
        studio_url=studio_url,
        blob_url=f"{studio_url}/api/blob/",
        allow_loopback_http=urlsplit(studio_url).hostname in _LOOPBACK_HOSTS,
        token=SANDBOX_TOKEN,
        rpc_url=f"{studio_url}/rpc",
        explorer_url=f"{studio_url}/_sandbox/tx/",
        charges=SANDBOX_CHARGES,
        tempo_rpc_url=f"{studio_url}/tempo/rpc",
        tempo_explorer_url=f"{studio_url}/_sandbox/tx/",
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
        wallet_password_file: A file with the password of an encrypted key file, or None.
        wallet_keychain: Name of the key's entry in the operating system's keychain, or None to leave that alone.
        image_dirs: Resolved folders that local images may come from; empty: any but hidden and system folders.
        thumbnails: Whether a finished job's result has a small picture in it.
        log_level: Name of a `logging` level.
    """

    profile: Profile
    embedded: bool
    limits: Limits
    data_dir: Path
    wallet_key: str | None = field(repr=False)
    wallet_file: Path
    wallet_password_file: Path | None
    wallet_keychain: str | None
    image_dirs: tuple[Path, ...]
    thumbnails: bool
    log_level: str

    @property
    def key_places(self) -> tuple[str | None, Path, Path | None, str | None]:
        """Where the key may come from, as `wallet.open_wallet` takes it. Holds the key of the environment."""
        return self.wallet_key, self.wallet_file, self.wallet_password_file, self.wallet_keychain

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
        recipients=_read_recipients(source) or profile.pay_to,
        models=source.choices("MODELS", MODELS),
    )
    data_dir = source.base_dir / profile.name
    if profile.name == "custom":
        data_dir /= urlsplit(profile.studio_url).netloc.replace(":", "_")
    wallet_file = source.text("WALLET_FILE")
    password_file = source.text("WALLET_PASSWORD_FILE")
    keychain = source.choice("WALLET_KEYCHAIN", ("on", "off"), "off")
    return Settings(
        profile=profile,
        embedded=embedded,
        limits=limits,
        data_dir=data_dir,
        wallet_key=source.text("WALLET_KEY"),
        wallet_file=_expand(wallet_file, source.where("WALLET_FILE")) if wallet_file else data_dir / "wallet.json",
        wallet_password_file=(
            None if password_file is None else _expand(password_file, source.where("WALLET_PASSWORD_FILE"))
        ),
        wallet_keychain=None if keychain == "off" or profile.name == "sandbox" else profile.name,
        image_dirs=tuple(
            _expand(part, source.where("IMAGE_DIRS")).resolve() for part in source.parts("IMAGE_DIRS", os.pathsep)
        ),
        thumbnails=source.choice("THUMBNAILS", ("on", "off"), "on") == "on",
        log_level=source.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "WARNING"),
    )


def find_sources(environ: Mapping[str, str]) -> dict[str, str]:
    """Where each setting that is set comes from, for people; never its value.

    Raises:
        ConfigError: As `read_settings`, for the settings file.
    """
    source = _Source.open(environ)
    return {name: source.where(name) for name in SETTINGS if source.text(name) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where a value may come from, and how to say so when it is wrong."""

    environ: Mapping[str, str]
    document: Mapping[str, object]
    base_dir: Path

    @classmethod
    def open(cls, environ: Mapping[str, str]) -> _Source:
        _check_environ(environ)
        named = environ.get(f"{PREFIX}DATA_DIR", "").strip()
        if named and not named.startswith("${"):
            base_dir = _expand(named, f"{PREFIX}DATA_DIR (environment)")
        else:
            base_dir = platformdirs.user_data_path("seedance-mcp", appauthor=False)
        file = base_dir / SETTINGS_FILE
        document = _read_toml(file, may_be_missing=True)
        _check_keys(document, {name.lower() for name in SETTINGS}, str(file))
        if "data_dir" in document:
            raise ConfigError(
                f"data_dir is set in {file}, which lies in that very folder.", f"Set {PREFIX}DATA_DIR instead."
            )
        if "wallet_key" in document:
            raise ConfigError(
                f"A private key (wallet_key) is in {file}, which others may read.",
                f"Put it into a file of mode 0600 and name that as wallet_file, or set {PREFIX}WALLET_KEY.",
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
            stored = separator.join(str(part) for part in cast("list[object]", stored)) or separator
        text = str(stored)
        if not text.isprintable():
            raise ConfigError(f"{self.where(name)} holds control characters.", "Write it as one line of plain text.")
        return text

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

    def parts(self, name: str, separator: str = ",") -> tuple[str, ...]:
        """The parts of a list; empty only where it is not set, since an empty list would allow everything."""
        text = self.text(name)
        if text is None:
            return ()
        parts = tuple(part.strip() for part in text.split(separator) if part.strip())
        if not parts:
            raise ConfigError(f"{self.where(name)} names nothing.", "Name at least one, or take the setting away.")
        return parts

    def choices(self, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        parts = self.parts(name)
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
        origin = _read_origin(
            studio_url or f"http://127.0.0.1:{SANDBOX_PORT}", source.where("STUDIO_URL"), allow_loopback_http=True
        )
        return sandbox_profile(origin), studio_url is None  # its chain is its own: RPC_URL is the other profiles'
    else:
        profile = _read_custom(source)
    rpc_url = source.text("RPC_URL")
    if rpc_url is not None:
        _check_url(rpc_url, source.where("RPC_URL"), allow_loopback_http=profile.allow_loopback_http)
        profile = replace(profile, rpc_url=rpc_url)
    tempo_rpc_url = source.text("TEMPO_RPC_URL")
    if tempo_rpc_url is not None:
        _check_url(tempo_rpc_url, source.where("TEMPO_RPC_URL"), allow_loopback_http=profile.allow_loopback_http)
        profile = replace(profile, tempo_rpc_url=tempo_rpc_url)
    return profile, False


def _read_custom(source: _Source) -> Profile:
    named = source.text("PROFILE_FILE")
    if named is None:
        raise ConfigError("The profile is custom, but no profile file is named.", "Set SEEDANCE_PROFILE_FILE.")
    path = _expand(named, source.where("PROFILE_FILE"))
    document = _read_toml(path)
    where = str(path)
    _check_keys(document, {"studio_url", "blob_url", "allow_loopback_http", "x402", "mpp", "pay_to"}, where)
    allow_loopback_http = document.get("allow_loopback_http", False)
    if not isinstance(allow_loopback_http, bool):
        raise ConfigError(f"allow_loopback_http in {where} is not true or false.", "Write it without quotes.")
    studio_url = _read_origin(
        _require_text(document, "studio_url", where), f"studio_url in {where}", allow_loopback_http=allow_loopback_http
    )
    blob_url = _require_text(document, "blob_url", where)
    _check_url(blob_url, f"blob_url in {where}", allow_loopback_http=allow_loopback_http)
    if "?" in blob_url or "#" in blob_url:
        raise ConfigError(f"blob_url in {where} has a query.", "Write it without; ours is added to it.")
    if urlsplit(blob_url).path in ("", "/"):
        blob_url = blob_url.rstrip("/") + "/api/blob/"
    x402 = document.get("x402")
    token, rpc_url = (None, None)
    if x402 is not None:
        token, rpc_url = _read_token(x402, where, allow_loopback_http=allow_loopback_http)
    charges, tempo_rpc_url = (None, None)
    if document.get("mpp") is not None:
        charges, tempo_rpc_url = _read_charges(document["mpp"], where, allow_loopback_http=allow_loopback_http)
    return Profile(
        name="custom",
        studio_url=studio_url,
        blob_url=blob_url if blob_url.endswith("/") else blob_url + "/",
        allow_loopback_http=allow_loopback_http,
        token=token,
        rpc_url=rpc_url,
        explorer_url=None,
        charges=charges,
        tempo_rpc_url=tempo_rpc_url,
        pay_to=_read_pay_to(document, where),
    )


def _read_pay_to(document: Mapping[str, object], where: str) -> tuple[str, ...]:
    """The profile's recipients; no `pay_to` at all allows any, an empty one is a mistake."""
    if "pay_to" not in document:
        return ()
    pay_to = document["pay_to"]
    addresses = cast("list[object]", pay_to) if isinstance(pay_to, list) else []
    if not addresses or not all(is_address(address) for address in addresses):
        raise ConfigError(
            f"pay_to in {where} is not a list of addresses.", 'Write pay_to = ["0x…"], or leave it out to allow any.'
        )
    return tuple(str(address).lower() for address in addresses)


def _read_token(table: object, where: str, *, allow_loopback_http: bool) -> tuple[TokenDomain, str | None]:
    if not isinstance(table, dict):
        raise ConfigError(f"[x402] in {where} is not a table.", "Write [x402] on its own line, and its keys below.")
    fields = cast("dict[str, object]", table)
    where = f"[x402] in {where}"
    _check_keys(fields, {"network", "asset", "name", "version", "rpc_url"}, where)
    network, asset = _require_text(fields, "network", where), _require_text(fields, "asset", where)
    if not is_network(network):
        raise ConfigError(f"network of {where} is {network[:60]!r}.", "Write eip155:<chain id>, such as eip155:8453.")
    if not is_address(asset):
        raise ConfigError(f"asset of {where} is not an address.", "Write the token's contract: 0x and 40 digits.")
    rpc_url = None
    if "rpc_url" in fields:
        rpc_url = _require_text(fields, "rpc_url", where)
        _check_url(rpc_url, f"rpc_url of {where}", allow_loopback_http=allow_loopback_http)
    token = TokenDomain(
        network=network,
        asset=asset,
        name=_require_text(fields, "name", where),
        version=_require_text(fields, "version", where),
    )
    return token, rpc_url


def _read_charges(table: object, where: str, *, allow_loopback_http: bool) -> tuple[MppPins, str | None]:
    if not isinstance(table, dict):
        raise ConfigError(f"[mpp] in {where} is not a table.", "Write [mpp] on its own line, and its keys below.")
    fields = cast("dict[str, object]", table)
    where = f"[mpp] in {where}"
    _check_keys(fields, {"chain_id", "currencies", "rpc_url"}, where)
    chain_id, listed = fields.get("chain_id"), fields.get("currencies")
    if not isinstance(chain_id, int) or not is_network(f"eip155:{chain_id}"):
        raise ConfigError(f"chain_id of {where} is not a chain's number.", "Write it without quotes, such as 4217.")
    currencies = cast("list[object]", listed) if isinstance(listed, list) else []
    if not currencies or not all(is_address(currency) for currency in currencies):
        raise ConfigError(f"currencies of {where} is not a list of addresses.", 'Write currencies = ["0x…"].')
    rpc_url = None
    if "rpc_url" in fields:
        rpc_url = _require_text(fields, "rpc_url", where)
        _check_url(rpc_url, f"rpc_url of {where}", allow_loopback_http=allow_loopback_http)
    lower = tuple(dict.fromkeys(str(currency).lower() for currency in currencies))
    return MppPins(chain_id=chain_id, currencies=lower), rpc_url


def _read_rails(source: _Source, profile: Profile) -> tuple[Rail, ...]:
    pinned: dict[Rail, bool] = {"x402": profile.token is not None, "mpp": profile.charges is not None}
    available: tuple[Rail, ...] = tuple(rail for rail, has_pins in pinned.items() if has_pins)
    if not available:
        raise ConfigError(
            f"The {profile.name} profile names no token to pay in.", "Add an [x402] or an [mpp] table to it."
        )
    return tuple(rail for name in source.choices("RAILS", available) for rail in available if rail == name) or available


def _read_recipients(source: _Source) -> tuple[str, ...]:
    parts = source.parts("RECIPIENTS")
    for part in parts:
        if not is_address(part):
            raise ConfigError(
                f"{source.where('RECIPIENTS')} names {part[:60]!r}, which is not an address.",
                "Write addresses (0x and 40 hexadecimal digits), separated by commas.",
            )
    return tuple(part.lower() for part in parts)


def _check_environ(environ: Mapping[str, str]) -> None:
    """Refuse a variable whose name is nearly one of ours: a limit set by a misspelt name would not hold."""
    for name in environ:
        own = name.removeprefix(PREFIX)
        if own == name or own in SETTINGS:
            continue
        meant = get_close_matches(own.upper(), SETTINGS, n=1, cutoff=_MISSPELT)
        if meant:
            raise ConfigError(f"{name[:80]} (environment) is not a setting.", f"Did you mean {PREFIX}{meant[0]}?")


def _expand(text: str, where: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:  # `~somebody` who does not exist
        raise ConfigError(f"{where} is {text[:120]!r}, whose ~ cannot be resolved.", "Write the whole path.") from exc


def _read_toml(path: Path, *, may_be_missing: bool = False) -> Mapping[str, object]:
    try:
        with path.open("rb") as file:
            data = file.read(SETTINGS_BYTES_MAX + 1)
        if len(data) > SETTINGS_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {SETTINGS_BYTES_MAX} bytes.", "Mend it or take it away.")
        return tomllib.loads(data.decode())
    except FileNotFoundError as exc:
        if may_be_missing:
            return {}
        raise ConfigError(f"{path} does not exist.", "Write it, or name another.") from exc
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.", "Mend it or take it away.") from exc
    except (ValueError, RecursionError) as exc:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(f"{path} is not TOML: {str(exc)[:200]}.", "Mend it or take it away.") from exc


def _check_keys(document: Mapping[str, object], allowed: set[str], where: str) -> None:
    for key in document:
        if key not in allowed:
            raise ConfigError(f"{where} has an unknown key {key[:60]!r}.", f"Known are: {', '.join(sorted(allowed))}.")


def _require_text(document: Mapping[str, object], key: str, where: str) -> str:
    if key not in document:
        raise ConfigError(f"{key} is missing in {where}.", f'Add {key} = "…" to it.')
    value = document[key]
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ConfigError(f"{key} in {where} is not a line of text.", f'Write {key} = "…".')
    return value


def _read_origin(url: str, where: str, *, allow_loopback_http: bool) -> str:
    """Scheme, host and port, written the one way: a studio spelt in two ways would get two ledgers, and two budgets."""
    _check_url(url, where, allow_loopback_http=allow_loopback_http)
    parts = urlsplit(url.rstrip("/"))
    if parts.path or "?" in url or "#" in url:
        raise ConfigError(f"{where} has a path or a query.", "Write only the origin, such as https://stablestudio.dev.")
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _check_url(url: str, where: str, *, allow_loopback_http: bool) -> None:
    """An https URL; plain http only to this machine, and only where the profile says so.

    Never repeats it: a URL may hold a password or a provider's key.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or "@" in parts.netloc or not url.isascii() or " " in url or not url.isprintable() or "\\" in url:
        raise ConfigError(f"{where} is not a plain URL with a host.", "Write it as https://host or https://host/path.")
    if parts.scheme == "https":
        return
    if parts.scheme == "http" and allow_loopback_http and host in _LOOPBACK_HOSTS:
        return
    raise ConfigError(
        f"{where} is not https.", "Plain http is for this machine's loopback address, in a profile that allows it."
    )
