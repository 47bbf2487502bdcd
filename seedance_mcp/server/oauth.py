"""OAuth: the caller of an access token, and the document that tells clients who gives such tokens.

A caller may do what both its token and the owner allow. Its row is added with its first token; it buys only if a cap
limits what it spends. Must never log or keep a token.

Source: RFC 9728 (protected resource metadata); MCP 2025-11-25, authorization.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlsplit

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from seedance_mcp.core.access_tokens import Identity, TokenClaims
from seedance_mcp.core.callers import Caller, CallerCaps, CallerEntry, merge_caps, write_scopes
from seedance_mcp.server.auth import CACHE_SECONDS, KNOWN_MAX, SCOPES_OF_USE, CallerCache

METADATA_PATH = "/.well-known/oauth-protected-resource"

ReadToken: TypeAlias = Callable[[str], Awaitable[TokenClaims]]
"""Checks an access token; raises `TokenRefusedError` or `AuthorizationServerError`."""
FindEntry: TypeAlias = Callable[[Identity], Awaitable[CallerEntry]]


@dataclass(frozen=True, slots=True)
class _Checked:
    claims: TokenClaims
    until: float


class OAuthVerifier:
    """Finds the caller of an access token.

    Args:
        read_token: Checks a token.
        find_entry: Asks the ledger for the caller of an identity, which it adds if it is new.
        defaults: Caps of a caller for whom the owner has set no others.
        cache_seconds: How long the answers of both are used.
    """

    def __init__(
        self,
        read_token: ReadToken,
        find_entry: FindEntry,
        *,
        defaults: CallerCaps,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        self._read_token = read_token
        self._find_entry = find_entry
        self._defaults = defaults
        self._cache_seconds = cache_seconds
        self._callers = CallerCache(cache_seconds)
        self._checked: OrderedDict[bytes, _Checked] = OrderedDict()

    async def verify(self, token: str) -> Caller | None:
        """Return the caller of an access token, or None if the owner has revoked it; see `auth.Verifier`."""
        sha256 = hashlib.sha256(token.encode()).digest()
        checked = self._checked.get(sha256)
        if checked is None or anyio.current_time() >= checked.until:
            checked = await self._check(token)
            self._checked.pop(sha256, None)
            self._checked[sha256] = checked
            if len(self._checked) > KNOWN_MAX:
                self._checked.popitem(last=False)
        claims = checked.claims
        key = f"{claims.identity.id} {write_scopes(claims.scopes)}"
        return await self._callers.find(key, lambda: self._find_caller(claims))

    async def _check(self, token: str) -> _Checked:
        claims = await self._read_token(token)
        left = claims.expires_at - time.time()
        return _Checked(claims, anyio.current_time() + min(max(left, 0), self._cache_seconds))

    async def _find_caller(self, claims: TokenClaims) -> Caller | None:
        entry = await self._find_entry(claims.identity)
        return None if entry.revoked_at is not None else limit_caller(entry, claims.scopes, self._defaults)


def limit_caller(entry: CallerEntry, token_scopes: frozenset[str], defaults: CallerCaps) -> Caller:
    """Return a caller with the scopes that both its token and the owner give it."""
    caller = entry.caller
    return replace(
        caller,
        scopes=caller.scopes & token_scopes,
        obtainable=caller.scopes - token_scopes,
        needs_cap=not merge_caps(entry.caps, defaults).limits_spending,
    )


def find_metadata_url(resource: str) -> str:
    """Return where the metadata of a resource is. Source: RFC 9728, section 3.1."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{METADATA_PATH}{parts.path}"


def build_metadata_routes(resource: str, issuer: str) -> list[BaseRoute]:
    """Build the routes of the metadata: with the path of the public URL, and for a proxy that takes it away, without.

    Args:
        resource: The URL of MCP, as clients know it.
        issuer: The authorization server.
    """
    document = {
        "resource": resource,
        "authorization_servers": [issuer],
        "scopes_supported": SCOPES_OF_USE.split(),
        "bearer_methods_supported": ["header"],
        "resource_name": "seedance-mcp",
    }

    async def show(_: Request) -> Response:
        return JSONResponse(document)

    paths = dict.fromkeys((f"{METADATA_PATH}/mcp", urlsplit(find_metadata_url(resource)).path))
    return [Route(path, show) for path in paths]
