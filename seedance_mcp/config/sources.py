"""Sources: read settings from the environment and TOML. What cannot be understood is rejected by name."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from seedance_mcp.config import names
from seedance_mcp.config.names import NEVER_EMPTY, PREFIX, SETTINGS_FILE
from seedance_mcp.config.places import LEFT_EMPTY, check_no_secret, empty_error, find_value, read_base_dir
from seedance_mcp.config.profiles import LOOPBACK_HOSTS
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.money import parse_usdc
from seedance_mcp.core.redaction import quote_value

SETTINGS_BYTES_MAX = 64 * 1024

_DEFAULT_PORTS = {"https": 443, "http": 80}
_DAYS_DIGITS_MAX = 5

HOSTED_SETTINGS: dict[str, str] = {
    "HTTP_LISTEN": "`serve`: `host:port` to listen at",
    "PUBLIC_URL": "`serve`: URL under which clients reach the servers; https, unless it is of this machine",
    "OBJECTS_URL": "`serve`: where all servers keep pictures and videos: `file:///folder`, or `s3://bucket/prefix` "
    "with `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` beside it",
    "LINK_SECONDS": "`serve`: how many seconds a link to a video works",
    "STATE_KEYS_FILE": "`serve`: file that all servers share, with one key of at least 32 bytes per line; "
    "the first seals what a client must bring back unchanged, all open it",
    "AUTH": "`serve`: `tokens` that `callers add` prints, or `oauth`: access tokens of an authorization server",
    "OAUTH_ISSUER": "`serve`: issuer whose tokens are accepted, as its metadata has it; with `oauth` alone",
    "METRICS_LISTEN": "`serve`: `host:port` of `/metrics`; no metrics if unset",
    "DRAIN_SECONDS": "`serve`: how many seconds requests may go on after the request to end",
    "DATABASE_SINGLE": "`serve`: `on` or `off`: accept a database without a synchronous standby",
    "CALLER_MAX_PER_DAY": "most that a caller may spend in any 24 hours, in US dollars, if it has no cap of its own",
    "CALLER_MAX_TOTAL": "most that a caller may ever spend, in US dollars, if it has no cap of its own",
    "CALLER_MAX_OPEN": "most unfinished videos of a caller at a time, if it has no cap of its own",
    "CALLER_SCOPE": "`serve`: `caller` or `team`: each caller has its own purchases, or all share theirs",
    "CALLER_CALLS_PER_MINUTE": "`serve`: most tool calls of a caller per minute, at each server",
}
"""Settings of a hosted server and of its callers; see `config.hosted`."""

SETTINGS: dict[str, str] = {
    "PROFILE": "`live`, `sandbox` or `custom`",
    "PROFILE_FILE": "TOML file of a custom profile",
    "STUDIO_URL": "address of a persistent sandbox studio (sandbox profile only)",
    "WALLET_KEY": "private key of the paying wallet",
    "WALLET_FILE": "file with the private key, readable by its owner only",
    "WALLET_PASSWORD_FILE": "file with the password of an encrypted wallet file, readable by its owner only",
    "KEY_FILE_GROUP_READABLE": "`on` or `off`: accept a key file and a password file that their group can read, as "
    "Kubernetes mounts secrets with `fsGroup`",
    "WALLET_KEYCHAIN": "`on` or `off`: keep the key in the operating system's keychain",
    "DATA_DIR": "folder for the ledger, videos and wallet",
    "DATABASE_URL": "address of the PostgreSQL database that has the ledger, for several machines; has a password",
    "DATABASE_DIRECT_URL": "another address of the same database, for `migrate`; if unset, the same one",
    "MAX_PRICE_PER_VIDEO": "most that one video may cost with its image uploads and network fees, in US dollars",
    "MAX_PER_DAY": "most that may be spent in any 24 hours, in US dollars",
    "MAX_PER_WEEK": "most that may be spent in any 7 days, in US dollars",
    "MAX_PER_MONTH": "most that may be spent in any 30 days, in US dollars",
    "MAX_PER_FILM": "most that one film may cost in all, in US dollars",
    "MAX_TOTAL": "most that may ever be spent from this ledger, in US dollars",
    "ASK_ABOVE": "ask a person before a video that costs more, image uploads and network fees included, in US dollars",
    "RAILS": "allowed payment rails, preferred first",
    "ALLOW_PUSH": "`on` or `off`: on Tempo, pay a studio that takes the money before it accepts the work, "
    "where it offers nothing else",
    "RECIPIENTS": "addresses that may be paid; if unset, the recipient that the studio is known by",
    "MODELS": "models that may be used; any if unset",
    "IMAGE_DIRS": "folders that local images may come from",
    "RPC_URL": "JSON-RPC address of the x402 token's chain, used to check the outcome of a payment; "
    "of several, separated by commas, all must report that a payment cannot settle before it is released",
    "TEMPO_RPC_URL": "JSON-RPC address of the Tempo chain, for the same on MPP",
    "RESOURCE_LINKS": "`on` or `off`: a link to the saved video in its result, for hosts that can read one",
    "THUMBNAILS": "`on` or `off`: a small picture of the finished video in its result",
    "KEEP_DAYS": "delete saved videos and pictures after this many days; kept forever if unset",
    "LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR",
    **HOSTED_SETTINGS,
}
"""Every setting and what it means: `SEEDANCE_<NAME>` in the environment, `<name>` in `settings.toml`."""


REAL_SETTINGS = (
    "DATABASE_DIRECT_URL", "DATABASE_URL", "PROFILE_FILE", "RAILS", "RECIPIENTS", "RPC_URL", "TEMPO_RPC_URL",
    "WALLET_FILE", "WALLET_KEY", "WALLET_KEYCHAIN", "WALLET_PASSWORD_FILE",
)  # fmt: skip
"""Settings that mean a real studio and wallet; a sandbox run must not meet them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a value may come from, and how to say so when it is wrong.

    Attributes:
        environ: The process environment.
        document: The settings file.
        base_dir: The data folder, in which the settings file lies.
        problems: Names in either that are no setting; nothing may be signed while there is one.
    """

    environ: Mapping[str, str]
    document: Mapping[str, object]
    base_dir: Path
    problems: tuple[ConfigError, ...] = ()

    @classmethod
    def open(cls, environ: Mapping[str, str]) -> Source:
        """Read the environment and the settings file of its data folder.

        Raises:
            ConfigError: The file cannot be read, or holds what does not belong there.
        """
        base_dir = read_base_dir(environ)
        file = base_dir / SETTINGS_FILE
        document = read_toml(file, may_be_missing=True)
        unknown = names.check_variables(environ, SETTINGS)
        unknown += names.check_keys(document, {name.lower() for name in SETTINGS}, str(file))
        if "data_dir" in document:
            raise ConfigError(
                f"data_dir is set in {file}, which lies in that very folder.", f"Set {PREFIX}DATA_DIR instead."
            )
        if "wallet_key" in document:
            raise ConfigError(
                f"A private key (wallet_key) is in {file}, which others may read.",
                f"Put it into a file of mode 0600 and name that as wallet_file, or set {PREFIX}WALLET_KEY.",
            )
        if find_value(environ, "PROFILE").lower() == "sandbox" and document.get("profile") != "sandbox":
            real = {name.lower() for name in REAL_SETTINGS}
            document = {name: value for name, value in document.items() if name not in real}
        return cls(environ=environ, document=document, base_dir=base_dir, problems=tuple(unknown))

    @property
    def file(self) -> Path:
        """The one settings file that is read; it need not exist."""
        return self.base_dir / SETTINGS_FILE

    def text(self, name: str) -> str | None:
        """Return the value of a setting, or None if it is not set or empty.

        Raises:
            ConfigError: It is a literal `${NAME}`: the host did not fill it in, and a limit that its owner believes to
                be set must be set. Or it is empty, and that would mean "no limit".
        """
        value = find_value(self.environ, name)
        if value:
            return value
        stored = self.document.get(name.lower())
        if stored is None or (stored == "" and name not in NEVER_EMPTY):
            return None
        if isinstance(stored, str) and not stored.strip() and name in NEVER_EMPTY:
            raise empty_error(self.where(name))
        if isinstance(stored, list):
            separator = os.pathsep if name == "IMAGE_DIRS" else ","
            stored = separator.join(str(part) for part in cast("list[object]", stored)) or separator
        text = str(stored)
        if not text.isprintable():
            raise ConfigError(f"{self.where(name)} holds control characters.", "Write it as one line of plain text.")
        check_no_secret(text, self.where(name))
        return text

    def is_set(self, name: str) -> bool:
        """Return True if a setting has a value, right or wrong."""
        try:
            return self.text(name) is not None
        except ConfigError:
            return True

    def where(self, name: str) -> str:
        """How a person finds the place of a setting."""
        value = self.environ.get(PREFIX + name, "").strip()
        if value and not value.startswith(LEFT_EMPTY):
            return f"{PREFIX}{name} (environment)"
        return f"{name.lower()} in {self.file}"

    def amount(self, name: str, default_micro_usdc: int) -> int:
        """Dollars as micro-USDC. Raises `ConfigError`, as everything below."""
        found = self.amount_or_none(name)
        return default_micro_usdc if found is None else found

    def amount_or_none(self, name: str) -> int | None:
        """Dollars as micro-USDC, or None where it is not set."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_usdc(text)
        except ValueError as exc:
            raise ConfigError(f"{self.where(name)} is wrong: {exc}.", "Write US dollars, such as 1.50.") from exc

    def days_or_none(self, name: str) -> int | None:
        """Whole days, at least one, or None where it is not set."""
        text = self.text(name)
        if text is None:
            return None
        days = int(text) if text.isascii() and text.isdigit() and len(text) <= _DAYS_DIGITS_MAX else 0
        if days < 1:
            raise ConfigError(f"{self.where(name)} is {quote_value(text)}.", "Write whole days, such as 90.")
        return days

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """One of a few words, in whatever case it was written."""
        text = self.text(name) or default
        for value in allowed:
            if text.lower() == value.lower():
                return value
        raise ConfigError(f"{self.where(name)} is {quote_value(text)}.", f"Allowed are: {', '.join(allowed)}.")

    def parts(self, name: str, separator: str = ",") -> tuple[str, ...]:
        """Return the parts of a list; empty only if it is not set, since an empty list would allow everything."""
        text = self.text(name)
        if text is None:
            return ()
        parts = tuple(part.strip() for part in text.split(separator) if part.strip())
        if not parts:
            raise ConfigError(f"{self.where(name)} names nothing.", "Name at least one, or remove the setting.")
        return parts

    def choices(self, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """Return some of a few words; empty only if it is not set."""
        parts = self.parts(name)
        for part in parts:
            if part not in allowed:
                raise ConfigError(
                    f"{self.where(name)} names {quote_value(part)}.", f"Allowed are: {', '.join(allowed)}."
                )
        return parts


def read_toml(path: Path, name: str = "", *, may_be_missing: bool = False) -> Mapping[str, object]:
    """Read a TOML document of at most `SETTINGS_BYTES_MAX`.

    Args:
        path: The file.
        name: What to call it where it is not there: a missing path may be anything that was put into the setting.
        may_be_missing: Whether a missing file is an empty document.
    """
    name = name or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(SETTINGS_BYTES_MAX + 1)
        if len(data) > SETTINGS_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {SETTINGS_BYTES_MAX} bytes.", "Correct it or remove it.")
        return tomllib.loads(data.decode())
    except FileNotFoundError as exc:
        if may_be_missing:
            return {}
        raise ConfigError(f"{name} does not exist.", "Create it, or name another file.") from exc
    except OSError as exc:
        raise ConfigError(f"{name} cannot be read: {exc.strerror}.", "Correct it or remove it.") from exc
    except (ValueError, RecursionError) as exc:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(f"{path} is not TOML: {str(exc)[:200]}.", "Correct it or remove it.") from exc


def check_keys(document: Mapping[str, object], allowed: set[str], where: str) -> None:
    """Refuse a key that no one would read."""
    for problem in names.check_keys(document, allowed, where):
        raise problem


def require_text(document: Mapping[str, object], key: str, where: str) -> str:
    """Return a line of text that is required."""
    if key not in document:
        raise ConfigError(f"{key} is missing in {where}.", f'Add {key} = "…" to it.')
    value = document[key]
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ConfigError(f"{key} in {where} is not a line of text.", f'Write {key} = "…".')
    return value


def read_origin(url: str, where: str, *, allow_loopback_http: bool) -> str:
    """Scheme, host and port, written the one way: a studio spelt in two ways would get two ledgers, and two budgets."""
    check_url(url, where, allow_loopback_http=allow_loopback_http)
    parts = urlsplit(url.rstrip("/"))
    if parts.path or "?" in url or "#" in url:
        raise ConfigError(f"{where} has a path or a query.", "Write only the origin, such as https://stablestudio.dev.")
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def check_url(url: str, where: str, *, allow_loopback_http: bool) -> None:
    """Return an https URL; plain http only to this machine, and only if the profile allows it.

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
    if parts.scheme == "http" and allow_loopback_http and host in LOOPBACK_HOSTS:
        return
    raise ConfigError(
        f"{where} is not https.", "Plain http is for this machine's loopback address, in a profile that allows it."
    )
