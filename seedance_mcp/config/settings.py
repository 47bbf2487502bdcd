"""Settings: the owner's settings, from the environment first and then from `settings.toml`.

Owns every default and every pin (which token on which chain a profile pays in). Touches no network and opens no
wallet; a wrong value names itself, its source and what is allowed. Values of secrets never appear in an error.

A limit that its owner believes to be set must be set: what cannot be understood (a misspelt name, an empty list) is
refused, never passed over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from seedance_mcp.config.custom_profile import read_custom
from seedance_mcp.config.names import SETTINGS_FILE, find_unread_files
from seedance_mcp.config.places import expand, read_base_dir
from seedance_mcp.config.profiles import (
    LIVE,
    LIVE_CHARGES,
    LIVE_TOKEN,
    SANDBOX_TOKEN,
    Profile,
    sandbox_profile,
)
from seedance_mcp.config.sources import (
    SETTINGS,
    SETTINGS_BYTES_MAX,
    Source,
    check_url,
    read_origin,
)
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.limits import Limits
from seedance_mcp.core.next_steps import join_steps
from seedance_mcp.core.redaction import quote_value
from seedance_mcp.core.wire.json import is_address
from seedance_mcp.core.wire.offers import Rail
from seedance_mcp.core.wire.routes import check_model

__all__ = [
    "LIVE", "LIVE_CHARGES", "LIVE_TOKEN", "SANDBOX_PORT", "SANDBOX_TOKEN", "SETTINGS",
    "SETTINGS_BYTES_MAX", "SETTINGS_FILE", "Profile", "Settings", "find_sources", "list_unread_files",
    "read_settings", "sandbox_profile",
]  # fmt: skip

T = TypeVar("T")

SANDBOX_PORT = 8402
PROBLEMS_MAX = 3
"""How many problems of the settings one error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the owner decided.

    Attributes:
        profile: Whom we talk to.
        embedded: Whether this process must bring its own sandbox studio.
        limits: What may be spent.
        file: The one settings file that is read; it need not exist.
        data_dir: Folder of this profile: ledger, videos, wallet.
        wallet_key: A private key from the environment, or None.
        wallet_file: A key file that was named, or the profile's own.
        wallet_password_file: A file with the password of an encrypted key file, or None.
        wallet_keychain: Name of the key's entry in the operating system's keychain, or None to leave that alone.
        image_dirs: Resolved folders that local images may come from; empty: any but hidden and system folders.
        resource_links: True if the result of a saved video has a link to its file.
        thumbnails: Whether a finished job's result has a small picture in it.
        log_level: Name of a `logging` level.
        database_url: Address of the PostgreSQL database that has the ledger, or None for the file.
        database_direct_url: The address to change its schema at.
        key_file_group_readable: True if the group of the key file and of the password file may read them.
        keep_days: Age in days at which saved videos and pictures are deleted, or None to keep them for ever.
    """

    profile: Profile
    embedded: bool
    limits: Limits
    file: Path
    data_dir: Path
    wallet_key: str | None = field(repr=False)
    wallet_file: Path
    wallet_password_file: Path | None
    wallet_keychain: str | None
    image_dirs: tuple[Path, ...]
    resource_links: bool
    thumbnails: bool
    log_level: str
    keep_days: int | None
    database_url: str | None = field(default=None, repr=False)
    database_direct_url: str | None = field(default=None, repr=False)
    key_file_group_readable: bool = False

    @property
    def key_places(self) -> tuple[str | None, Path, Path | None, str | None, bool]:
        """Where the key may come from, as `wallet.open_wallet` takes it. Holds the key of the environment."""
        files = self.wallet_file, self.wallet_password_file
        return self.wallet_key, *files, self.wallet_keychain, self.key_file_group_readable

    @property
    def ledger_file(self) -> Path:
        """Where the ledger is."""
        return self.data_dir / "ledger.sqlite3"

    @property
    def ledger_place(self) -> str:
        """Where the ledger is, for people; never with a password."""
        if self.database_url is None:
            return str(self.ledger_file)
        parts = urlsplit(self.database_url)
        return f"the database {parts.path.strip('/')} at {parts.hostname or 'this machine'}"

    @property
    def has_ledger(self) -> bool:
        """Whether a ledger was made; a database has one before it is used."""
        return self.database_url is not None or self.ledger_file.exists()

    @property
    def videos_dir(self) -> Path:
        """Where finished videos are saved."""
        return self.data_dir / "videos"

    @property
    def pictures_dir(self) -> Path:
        """Where pictures are that a person gave on a page of ours."""
        return self.data_dir / "pictures"

    def at_studio(self, studio_url: str) -> Settings:
        """Return the same settings for the sandbox studio that was just started."""
        return replace(self, profile=sandbox_profile(studio_url), embedded=False)


def read_settings(environ: Mapping[str, str], *, blocking: bool = False) -> Settings:
    """Read the owner's settings.

    Args:
        environ: The process environment.
        blocking: What to do about a name or a limit that is not understood: True returns settings that quote and read
            but sign nothing (`limits.problem`), False raises.

    Raises:
        ConfigError: A value is wrong; the text names it, its source and what is allowed.
    """
    source = Source.open(environ)
    try:
        profile, embedded = _read_profile(source)
    except ConfigError as exc:  # perhaps it is wrong because a name is
        raise _join((*source.problems, exc)) from exc
    limits = _read_limits(source, profile)
    if limits.problem is not None and not blocking:
        raise limits.problem
    data_dir = source.base_dir / profile.name
    if profile.name == "custom":
        data_dir /= urlsplit(profile.studio_url).netloc.replace(":", "_")
    wallet_file = source.text("WALLET_FILE")
    password_file = source.text("WALLET_PASSWORD_FILE")
    keychain = source.choice("WALLET_KEYCHAIN", ("on", "off"), "off")
    # The play money of an embedded sandbox is no part of a shared budget.
    database_url = None if embedded else _read_database(source, "DATABASE_URL")
    return Settings(
        profile=profile,
        embedded=embedded,
        limits=limits,
        file=source.file,
        data_dir=data_dir,
        wallet_key=source.text("WALLET_KEY"),
        wallet_file=expand(wallet_file, source.where("WALLET_FILE")) if wallet_file else data_dir / "wallet.json",
        wallet_password_file=(
            None if password_file is None else expand(password_file, source.where("WALLET_PASSWORD_FILE"))
        ),
        wallet_keychain=None if keychain == "off" or profile.name == "sandbox" else profile.name,
        image_dirs=tuple(
            expand(part, source.where("IMAGE_DIRS")).resolve() for part in source.parts("IMAGE_DIRS", os.pathsep)
        ),
        resource_links=source.choice("RESOURCE_LINKS", ("on", "off"), "on") == "on",
        thumbnails=source.choice("THUMBNAILS", ("on", "off"), "on") == "on",
        log_level=source.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "WARNING"),
        keep_days=source.days_or_none("KEEP_DAYS"),
        database_url=database_url,
        key_file_group_readable=source.choice("KEY_FILE_GROUP_READABLE", ("on", "off"), "off") == "on",
        database_direct_url=None if embedded else _read_database(source, "DATABASE_DIRECT_URL") or database_url,
    )


def find_sources(environ: Mapping[str, str]) -> dict[str, str]:
    """Return where each setting that is set comes from, for people; never its value.

    Raises:
        ConfigError: As `read_settings`, for the settings file.
    """
    source = Source.open(environ)
    return {name: source.where(name) for name in SETTINGS if source.is_set(name)}


def list_unread_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return settings files that lie where they are not read, although their owner may believe in them.

    Raises:
        ConfigError: As `read_settings`, for the data folder.
    """
    return find_unread_files(read_base_dir(environ))


def _read_database(source: Source, name: str) -> str | None:
    url = source.text(name)
    if url is not None and not _is_database_address(url):
        raise ConfigError(
            f"{source.where(name)} is not the address of a PostgreSQL database.",
            "Write postgresql://host/database with user:password@ before the host, both percent-encoded.",
        )
    return url


def _is_database_address(url: str) -> bool:
    """Return True unless a part of the password would be read as a host, a port or a database, and shown as one."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    is_split = "@" in parts.path or "@" in parts.query or "@" in parts.fragment or parts.netloc.count("@") > 1
    return parts.scheme in ("postgresql", "postgres") and not is_split


def _read_limits(source: Source, profile: Profile) -> Limits:
    """Read what may be spent; a limit that is not understood allows nothing."""
    problems = list(source.problems)

    def attempt(read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except ConfigError as exc:
            problems.append(exc)
            return otherwise

    available = _list_rails(profile)
    limits = Limits(
        max_price_per_video_micro_usdc=attempt(lambda: source.amount("MAX_PRICE_PER_VIDEO", 1_500_000), 0),
        max_per_day_micro_usdc=attempt(lambda: source.amount("MAX_PER_DAY", 5_000_000), 0),
        max_per_week_micro_usdc=attempt(lambda: source.amount_or_none("MAX_PER_WEEK"), 0),
        max_per_month_micro_usdc=attempt(lambda: source.amount_or_none("MAX_PER_MONTH"), 0),
        max_per_film_micro_usdc=attempt(lambda: source.amount_or_none("MAX_PER_FILM"), 0),
        max_total_micro_usdc=attempt(lambda: source.amount_or_none("MAX_TOTAL"), 0),
        ask_above_micro_usdc=attempt(lambda: source.amount_or_none("ASK_ABOVE"), 0),
        rails=attempt(lambda: _read_rails(source, available), available),
        recipients=attempt(lambda: _read_recipients(source), ()) or profile.pay_to,
        models=attempt(lambda: _read_models(source), ()),
        push_allowed=attempt(lambda: source.choice("ALLOW_PUSH", ("on", "off"), "off"), "off") == "on",
    )
    return replace(limits, problem=_join(problems)) if problems else limits


def _join(problems: Sequence[ConfigError]) -> ConfigError:
    """Make one error of several problems, so that the owner can correct all of them in one step."""
    if len(problems) == 1:
        return problems[0]
    first = problems[:PROBLEMS_MAX]
    return ConfigError(
        " ".join(problem.what for problem in first), join_steps(*(problem.next_step for problem in first))
    )


def _read_profile(source: Source) -> tuple[Profile, bool]:
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
        origin = read_origin(
            studio_url or f"http://127.0.0.1:{SANDBOX_PORT}", source.where("STUDIO_URL"), allow_loopback_http=True
        )
        return sandbox_profile(origin), studio_url is None  # its chain is its own: RPC_URL is the other profiles'
    else:
        profile = read_custom(source)
    return (
        replace(
            profile,
            rpc_urls=_read_urls(source, "RPC_URL", profile) or profile.rpc_urls,
            tempo_rpc_urls=_read_urls(source, "TEMPO_RPC_URL", profile) or profile.tempo_rpc_urls,
        ),
        False,
    )


def _read_urls(source: Source, name: str, profile: Profile) -> tuple[str, ...]:
    urls = source.parts(name)
    for url in urls:
        check_url(url, source.where(name), allow_loopback_http=profile.allow_loopback_http)
    return urls


def _list_rails(profile: Profile) -> tuple[Rail, ...]:
    pinned: dict[Rail, bool] = {"x402": profile.token is not None, "mpp": profile.charges is not None}
    available: tuple[Rail, ...] = tuple(rail for rail, has_pins in pinned.items() if has_pins)
    if not available:
        raise ConfigError(
            f"The {profile.name} profile names no token to pay in.", "Add an [x402] or an [mpp] table to it."
        )
    return available


def _read_rails(source: Source, available: tuple[Rail, ...]) -> tuple[Rail, ...]:
    return tuple(rail for name in source.choices("RAILS", available) for rail in available if rail == name) or available


def _read_recipients(source: Source) -> tuple[str, ...]:
    parts = source.parts("RECIPIENTS")
    for part in parts:
        if not is_address(part):
            raise ConfigError(
                f"{source.where('RECIPIENTS')} names {quote_value(part)}, which is not an address.",
                "Write addresses (0x and 40 hexadecimal digits), separated by commas.",
            )
    return tuple(part.lower() for part in parts)


def _read_models(source: Source) -> tuple[str, ...]:
    parts = source.parts("MODELS")
    for part in parts:
        try:
            check_model(part)
        except ValueError as exc:
            raise ConfigError(f"{source.where('MODELS')} names {quote_value(part)}.", f"Correct it: {exc}.") from exc
    return parts
