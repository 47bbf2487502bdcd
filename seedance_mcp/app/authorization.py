"""Authorization: opens what checks the access tokens of callers, in OAuth mode. Loaded by hosted mode alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from seedance_mcp.config.hosted import HostedSettings

if TYPE_CHECKING:
    from seedance_mcp.adapters.oauth.tokens import AccessTokens
    from seedance_mcp.core.concurrency import Start


@asynccontextmanager
async def open_access_tokens(settings: HostedSettings, start: Start) -> AsyncGenerator[AccessTokens | None]:
    """Open the check of access tokens; yields None where callers send our own tokens. Asks the issuer for nothing yet.

    Args:
        settings: Of the hosted server.
        start: Starts a background task.

    Raises:
        ConfigError: The environment names a proxy that cannot be used.
    """
    if settings.oauth_issuer is None:
        yield None
        return
    from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher
    from seedance_mcp.adapters.http.transport import open_client
    from seedance_mcp.adapters.oauth.issuer import Issuer, IssuerClient
    from seedance_mcp.adapters.oauth.tokens import AccessTokens

    fetcher = PublicUrlFetcher()
    try:
        async with open_client(allow_loopback_http=True) as client:
            issuer = Issuer(IssuerClient(settings.oauth_issuer, client, fetcher), start)
            yield AccessTokens(issuer, audience=settings.resource)
    finally:
        await fetcher.aclose()
