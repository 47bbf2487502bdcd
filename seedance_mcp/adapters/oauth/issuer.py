"""Issuer: the keys of the authorization server that the owner named, fetched when a token first needs them.

A flood of tokens with unknown keys causes one fetch per `Pace.refresh_seconds`. While the server is away, the keys that
are known stay in use for a day. Follows no URL of a token, and no redirect.

Source: RFC 8414, section 3 (metadata); OpenID Connect Discovery 1.0, section 4; MCP 2025-11-25, authorization.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher, is_loopback
from seedance_mcp.adapters.http.transport import Client, exchange
from seedance_mcp.adapters.oauth.keys import SigningKeys, parse_keys
from seedance_mcp.core.access_tokens import AuthorizationServerError, TokenRefusedError
from seedance_mcp.core.concurrency import SingleFlight, Start
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import StudioProtocolError, StudioUnreachableError
from seedance_mcp.core.wire.json import Json, parse_json_object, read_text
from seedance_mcp.core.wire.responses import Response, quote_url

if TYPE_CHECKING:
    import jwt

FETCH_SECONDS = 10
"""How long one document may take."""
ABSENT_MAX = 1_000
"""How many unknown key ids are remembered until the next fetch."""

_DEFAULT_PORTS = {"https": 443, "http": 80}

log = logging.getLogger("seedance_mcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often an authorization server is asked.

    Attributes:
        refresh_seconds: Least time after a fetch until the next one, whatever tokens come.
        retry_seconds: The same after a fetch that failed.
        keys_seconds: After which keys are fetched again in the background.
        metadata_seconds: After which a fetch reads the metadata again, too.
        stale_seconds: How long keys are used while they cannot be fetched.
    """

    refresh_seconds: float = 10
    retry_seconds: float = 2
    keys_seconds: float = 600
    metadata_seconds: float = 3600
    stale_seconds: float = 24 * 3600


class IssuerClient:
    """Reads the documents of an authorization server.

    Args:
        issuer: The owner's setting; its host may be a private one.
        client: For the issuer's own origin.
        fetcher: For keys at another origin, which must be a public address unless the issuer is on this machine.
    """

    def __init__(self, issuer: str, client: Client, fetcher: PublicUrlFetcher) -> None:
        self.issuer = issuer
        self._client = client
        self._fetcher = fetcher

    async def find_keys_url(self) -> str:
        """Return where the keys are, by the first metadata document that names this issuer.

        Raises:
            SeedanceError: None does.
        """
        failure: SeedanceError | None = None
        for url in list_metadata_urls(self.issuer):
            try:
                return self._read_metadata(await self._get(url), url)
            except StudioUnreachableError:
                raise  # no other document of this host can be had either
            except SeedanceError as exc:
                failure = failure or exc
        raise failure or StudioProtocolError("It has no metadata.")

    async def fetch_keys(self, url: str) -> SigningKeys:
        """Return the keys at an address that the metadata names.

        Raises:
            SeedanceError: They cannot be had, or the address may not be called.
        """
        keys = parse_keys(_read_document(await self._get(url), url))
        if not keys.keys:
            raise StudioProtocolError(f"{quote_url(url)} has no key that can be used.")
        return keys

    async def _get(self, url: str) -> Response:
        if _find_origin(url) == _find_origin(self.issuer):
            return await exchange(self._client, "GET", url, timeout_seconds=FETCH_SECONDS)
        on_loopback = is_loopback(urlsplit(self.issuer).hostname or "")
        return await self._fetcher.exchange(url, loopback_allowed=on_loopback, timeout_seconds=FETCH_SECONDS)

    def _read_metadata(self, response: Response, url: str) -> str:
        document = _read_document(response, url)
        if document.get("issuer") != self.issuer:
            raise StudioProtocolError(f"{quote_url(url)} names another issuer.")
        return read_text(document, "jwks_uri", quote_url(url))


class Issuer:
    """The keys of an authorization server.

    Args:
        client: Reads its documents.
        start: Starts a background task.
        pace: How often it is asked.
    """

    def __init__(self, client: IssuerClient, start: Start, pace: Pace | None = None) -> None:
        self._client = client
        self._start = start
        self._pace = pace or Pace()
        self._reads: SingleFlight[SigningKeys] = SingleFlight(start)
        self._is_reading = False
        self._keys: SigningKeys | None = None
        self._keys_url = ""
        self._read_at = self._found_at = self._paused_until = -math.inf
        self._absent: set[tuple[str | None, str]] = set()

    @property
    def url(self) -> str:
        """Return the issuer as tokens name it."""
        return self._client.issuer

    async def find_key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key of a token.

        Raises:
            TokenRefusedError: The authorization server does not publish it.
            AuthorizationServerError: It cannot be asked now.
        """
        keys = self._find_known()
        found = None if keys is None else keys.find(key_id, algorithm)
        if found is None:
            is_absent = self._is_pausing() and (key_id, algorithm) in self._absent
            if is_absent or (keys is not None and keys.has_id(key_id)):
                raise _unknown_key_error()
            found = (await self._refresh()).find(key_id, algorithm)
        if found is None:
            if len(self._absent) < ABSENT_MAX:
                self._absent.add((key_id, algorithm))
            raise _unknown_key_error()
        return found

    def _find_known(self) -> SigningKeys | None:
        """Return the known keys unless they are too old; have them fetched again where they should be."""
        age = anyio.current_time() - self._read_at
        if age > self._pace.stale_seconds:
            return None
        if age > self._pace.keys_seconds and not self._is_pausing():
            self._start(self._refresh_quietly)
        return self._keys

    def _is_pausing(self) -> bool:
        return self._pause_seconds() > 0

    def _pause_seconds(self) -> float:
        return self._paused_until - anyio.current_time()

    async def _refresh_quietly(self) -> None:
        try:
            await self._refresh()
        except AuthorizationServerError:
            return  # it is in the log, and the known keys stay

    async def _refresh(self) -> SigningKeys:
        """Fetch the keys, once for all that wait for it, even if one of them leaves.

        Raises:
            AuthorizationServerError: They cannot be had, or were fetched a moment ago.
        """
        if self._is_pausing() and not self._is_reading:
            raise self._away_error("It was asked a moment ago.")
        try:
            return await self._reads.run("keys", self._read)
        except SeedanceError as exc:
            raise self._away_error(exc.what) from exc

    async def _read(self) -> SigningKeys:
        self._is_reading, self._paused_until = True, anyio.current_time() + self._pace.refresh_seconds
        try:
            keys = await self._fetch()
        except SeedanceError as exc:
            self._paused_until = anyio.current_time() + self._pace.retry_seconds
            log.warning("The keys of the authorization server %s cannot be read: %s", self.url, exc.what)
            raise
        finally:
            self._is_reading = False
        self._keys, self._read_at = keys, anyio.current_time()
        self._absent.clear()
        return keys

    async def _fetch(self) -> SigningKeys:
        if anyio.current_time() - self._found_at > self._pace.metadata_seconds:
            self._keys_url = await self._client.find_keys_url()
            self._found_at = anyio.current_time()
        try:
            return await self._client.fetch_keys(self._keys_url)
        except SeedanceError:
            self._found_at = -math.inf  # they may have moved
            raise

    def _away_error(self, what: str) -> AuthorizationServerError:
        return AuthorizationServerError(what, retry_after_seconds=max(1, math.ceil(self._pause_seconds())))


def list_metadata_urls(issuer: str) -> list[str]:
    """Return where the metadata of an issuer may be, in the order of the MCP specification."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    names = ("oauth-authorization-server", "openid-configuration")
    urls = [f"{origin}/.well-known/{name}{path}" for name in names]
    return [*urls, f"{origin}{path}/.well-known/openid-configuration"] if path else urls


def _read_document(response: Response, url: str) -> Json:
    if response.status != 200:
        raise StudioProtocolError(f"{quote_url(url)} answered {response.status}.")
    return parse_json_object(response.body, f"The answer of {quote_url(url)}")


def _find_origin(url: str) -> tuple[str, str, int | None, str | None]:
    """Return what two URLs of one origin have in common, with a user's name, which the owner's setting has not.

    Raises:
        StudioProtocolError: It is not a plain URL, so that two parsers might read two hosts in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError as exc:
        raise StudioProtocolError(f"{quote_url(url)} is not a URL.") from exc
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise StudioProtocolError(f"{quote_url(url)} is not a plain URL.")
    return parts.scheme, (parts.hostname or "").lower(), port, parts.username


def _unknown_key_error() -> TokenRefusedError:
    return TokenRefusedError("The token is signed with a key that its issuer does not publish")
