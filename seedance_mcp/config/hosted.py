"""Hosted settings: what `seedance-mcp serve` reads in addition to the owner's settings.

A value that is wrong, missing or has no meaning in this mode is an error that names it. Reads files, opens nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from seedance_mcp.config.objects import FOLDER_OR_BUCKET, read_objects
from seedance_mcp.config.places import expand
from seedance_mcp.config.profiles import LOOPBACK_HOSTS
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.config.sources import PREFIX, Source, check_url
from seedance_mcp.config.state_keys import StateKeys
from seedance_mcp.core.callers import CallerCaps, CallerScope
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.next_steps import Command, NextStep
from seedance_mcp.core.objects import BucketAddress

LISTEN_DEFAULT = "127.0.0.1:8080"
LINK_SECONDS_DEFAULT, LINK_SECONDS_MAX = 900, 7 * 24 * 3600
DRAIN_SECONDS_DEFAULT, DRAIN_SECONDS_MAX = 60, 3600
CALLS_PER_MINUTE_DEFAULT, CALLS_PER_MINUTE_MAX = 120, 100_000
OPEN_MAX = 100_000
KEY_BYTES_MIN = 32
KEYS_MAX = 16
KEYS_FILE_BYTES_MAX = 64 * 1024

_LISTEN = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens.

    Attributes:
        host: A name or an address, without brackets.
        port: The port; 0 for a free one.
    """

    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Return host and port as a URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Return True if no other machine can connect."""
        return self.host in LOOPBACK_HOSTS or self.host.startswith("127.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedSettings:
    """Everything the owner decided about a hosted server.

    Attributes:
        owner: The owner's settings: wallet, limits, profile, database.
        listen: Where MCP is served.
        named_url: The public URL that is set, without a slash at its end, or None.
        objects: The folder or the bucket that all servers share, for pictures and videos.
        link_seconds: How long a link to a video works.
        state_keys: Keys that seal what a client must bring back unchanged.
        shares_state: True if the keys come from a file, so that all servers have the same.
        metrics_listen: Where metrics are served, or None.
        drain_seconds: How long calls may go on after the request to end.
        is_single: True if the owner accepts a database without a synchronous standby.
        caller_scope: Whether each caller has its own purchases, or all callers share theirs.
        caller_caps: Caps of a caller for whom the owner has set no others.
        calls_per_minute: Most tool calls of a caller in a minute at one server.
        oauth_issuer: Whose OAuth tokens callers send; None where they send our own.
    """

    owner: Settings
    listen: ListenAddress
    named_url: str | None
    objects: Path | BucketAddress
    link_seconds: int
    state_keys: StateKeys = field(repr=False)
    shares_state: bool
    metrics_listen: ListenAddress | None
    drain_seconds: int
    is_single: bool
    caller_scope: CallerScope
    caller_caps: CallerCaps
    calls_per_minute: int
    oauth_issuer: str | None = None

    @property
    def resource(self) -> str:
        """Return the URL of MCP as clients write it, for which an OAuth token must be.

        Source: RFC 8707, section 2; MCP 2025-11-25, authorization, "Canonical Server URI" (lower case).
        """
        parts = urlsplit(self.public_url)
        default = {"https": ":443", "http": ":80"}[parts.scheme]
        return f"{parts.scheme}://{parts.netloc.lower().removesuffix(default)}{parts.path}/mcp"

    @property
    def public_url(self) -> str:
        """Return the URL under which clients reach the servers, without a slash at its end."""
        return self.named_url or f"http://{self.listen.netloc}"

    @property
    def hosts(self) -> frozenset[str]:
        """Return what a request's `Host` may be, in lower case."""
        return frozenset(host for origin in self._bases for host in _spell_hosts(origin))

    @property
    def origins(self) -> frozenset[str]:
        """Return what a request's `Origin` may be, in lower case."""
        return frozenset(
            f"{urlsplit(origin).scheme}://{host}" for origin in self._bases for host in _spell_hosts(origin)
        )

    @property
    def _bases(self) -> list[str]:
        names = _LOOPBACK_NAMES if self.listen.is_loopback else ()
        listening = [f"http://{self.listen.netloc}", *(f"http://{name}:{self.listen.port}" for name in names)]
        return [self.public_url, *listening]

    def at_port(self, port: int) -> HostedSettings:
        """Return the same settings with the port that the server got."""
        return replace(self, listen=replace(self.listen, port=port))


def read_hosted_settings(environ: Mapping[str, str]) -> HostedSettings:
    """Read all settings of `serve`.

    Args:
        environ: The process environment.

    Raises:
        ConfigError: A value is wrong, missing, or has no meaning in this mode; the text names it.
    """
    owner = read_settings(environ)
    source = Source.open(environ)
    _check_owner(source, owner)
    listen = _read_listen(source, "HTTP_LISTEN") or _parse_listen(LISTEN_DEFAULT, LISTEN_DEFAULT)
    public_url = _read_public_url(source, listen)
    keys = read_state_keys(source)
    return HostedSettings(
        owner=owner,
        listen=listen,
        named_url=public_url,
        objects=_read_objects(source, owner, public_url),
        link_seconds=_read_number(source, "LINK_SECONDS", LINK_SECONDS_DEFAULT, 1, LINK_SECONDS_MAX),
        state_keys=StateKeys(
            keys or (secrets.token_bytes(KEY_BYTES_MIN),), _find_keys_file(source), lambda: read_state_keys(source)
        ),
        shares_state=bool(keys),
        metrics_listen=_read_listen(source, "METRICS_LISTEN"),
        drain_seconds=_read_number(source, "DRAIN_SECONDS", DRAIN_SECONDS_DEFAULT, 0, DRAIN_SECONDS_MAX),
        is_single=source.choice("DATABASE_SINGLE", ("on", "off"), "off") == "on",
        caller_scope="team" if source.choice("CALLER_SCOPE", ("caller", "team"), "caller") == "team" else "caller",
        caller_caps=read_caller_caps(source),
        calls_per_minute=_read_number(
            source, "CALLER_CALLS_PER_MINUTE", CALLS_PER_MINUTE_DEFAULT, 1, CALLS_PER_MINUTE_MAX
        ),
        oauth_issuer=read_issuer(source),
    )


def read_caller_caps(source: Source) -> CallerCaps:
    """Read the caps of a caller for whom the owner has set no others.

    Raises:
        ConfigError: A value is wrong.
    """
    return CallerCaps(
        max_per_day_micro_usdc=source.amount_or_none("CALLER_MAX_PER_DAY"),
        max_total_micro_usdc=source.amount_or_none("CALLER_MAX_TOTAL"),
        max_open=_read_number_or_none(source, "CALLER_MAX_OPEN", 1, OPEN_MAX),
    )


def _check_owner(source: Source, owner: Settings) -> None:
    """Refuse the owner's settings that belong to one machine and one person."""
    if source.is_set("IMAGE_DIRS"):
        raise ConfigError(
            f"{source.where('IMAGE_DIRS')} is set, but callers of a hosted server cannot use its files.",
            "Remove the setting: callers give pictures as https URLs, or upload them.",
        )
    if owner.embedded:
        raise ConfigError(
            "The embedded sandbox runs in one process, so a hosted server cannot use it.",
            NextStep(f"Run {{0}}, and set {PREFIX}STUDIO_URL to its address.", Command("sandbox")),
        )
    if owner.database_url is None:
        raise ConfigError(
            f"{PREFIX}DATABASE_URL is not set; a hosted server keeps its ledger in PostgreSQL.",
            NextStep(
                "Set it to postgresql://host/database with user:password@ before the host, and run once: {0}",
                Command("migrate"),
            ),
        )


def read_issuer(source: Source) -> str | None:
    """Return the issuer of the callers' tokens exactly as it is written, or None where they have our own.

    Raises:
        ConfigError: It is missing, or not an https URL, or set where our own tokens are used.
    """
    issuer, where = source.text("OAUTH_ISSUER"), source.where("OAUTH_ISSUER")
    if source.choice("AUTH", ("tokens", "oauth"), "tokens") == "tokens":
        if issuer is not None:
            raise ConfigError(
                f"{where} is set, but {PREFIX}AUTH is tokens.", f"Set {PREFIX}AUTH to oauth, or remove this."
            )
        return None
    if issuer is None:
        raise ConfigError(
            f"{source.where('AUTH')} is oauth, and {PREFIX}OAUTH_ISSUER is not set.",
            "Set it to the issuer of the authorization server, as its metadata has it.",
        )
    check_url(issuer, where, allow_loopback_http=True)
    if "?" in issuer or "#" in issuer:
        raise ConfigError(f"{where} has a query or a fragment.", "Write it as the metadata of the issuer has it.")
    return issuer


def _read_listen(source: Source, name: str) -> ListenAddress | None:
    text = source.text(name)
    return None if text is None else _parse_listen(text, source.where(name))


def _parse_listen(text: str, where: str) -> ListenAddress:
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"]) > 65_535:
        raise ConfigError(
            f"{where} is not a host and a port.", "Write 127.0.0.1:8080, or 0.0.0.0:8080 for all addresses."
        )
    return ListenAddress(host=(found["six"] or found["host"]).lower(), port=int(found["port"]))


def _read_public_url(source: Source, listen: ListenAddress) -> str | None:
    url = source.text("PUBLIC_URL")
    if url is None:
        if not listen.is_loopback:
            raise ConfigError(
                f"{PREFIX}PUBLIC_URL is not set, and {source.where('HTTP_LISTEN')} reaches beyond this machine.",
                "Set it to the https URL under which clients reach the server.",
            )
        return None
    where = source.where("PUBLIC_URL")
    check_url(url, where, allow_loopback_http=True)
    if "?" in url or "#" in url:
        raise ConfigError(f"{where} has a query or a fragment.", "Write it as https://host or https://host/path.")
    return url.rstrip("/")


def _read_objects(source: Source, owner: Settings, public_url: str | None) -> Path | BucketAddress:
    """Return where pictures and videos are; only a server for this machine alone has a default."""
    named = read_objects(source)
    if named is not None:
        return named
    if public_url is None or urlsplit(public_url).hostname in LOOPBACK_HOSTS:
        return owner.data_dir / "objects"
    raise ConfigError(f"{PREFIX}OBJECTS_URL is not set.", FOLDER_OR_BUCKET)


def _find_keys_file(source: Source) -> Path | None:
    named = source.text("STATE_KEYS_FILE")
    return None if named is None else expand(named, source.where("STATE_KEYS_FILE"))


def read_state_keys(source: Source) -> tuple[bytes, ...]:
    """Return the keys of the file that is named; empty where none is.

    Raises:
        ConfigError: The file cannot be read, or has a key that is too short, or none, or too many.
    """
    path, where = _find_keys_file(source), source.where("STATE_KEYS_FILE")
    if path is None:
        return ()
    try:
        with path.open("rb") as file:
            data = file.read(KEYS_FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise ConfigError(f"{where} names a file that cannot be read: {exc.strerror}.", "Name another file.") from exc
    keys = tuple(line.strip() for line in data.splitlines() if line.strip())
    step = f"Write one key per line, each of {KEY_BYTES_MIN} bytes or more: openssl rand -base64 48"
    if not keys or len(keys) > KEYS_MAX or len(data) > KEYS_FILE_BYTES_MAX:
        raise ConfigError(f"{where} names a file with no key, or more than {KEYS_MAX}.", step)
    if any(len(key) < KEY_BYTES_MIN for key in keys):
        raise ConfigError(f"{where} names a file with a key of fewer than {KEY_BYTES_MIN} bytes.", step)
    return tuple(dict.fromkeys(keys))


def _read_number(source: Source, name: str, default: int, least: int, most: int) -> int:
    found = _read_number_or_none(source, name, least, most)
    return default if found is None else found


def _read_number_or_none(source: Source, name: str, least: int, most: int) -> int | None:
    text = source.text(name)
    if text is None:
        return None
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(most)) else -1
    if not least <= value <= most:
        raise ConfigError(f"{source.where(name)} is not a whole number from {least} to {most}.", "Correct it.")
    return value


def _spell_hosts(origin: str) -> list[str]:
    """Return the spellings of an origin's host in lower case: a default port may be left out."""
    parts = urlsplit(origin.lower())
    default = {"https": 443, "http": 80}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return [host, f"{host}:{default}"] if parts.port in (None, default) else [f"{host}:{parts.port}"]
