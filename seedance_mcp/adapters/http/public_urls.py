"""Public URLs: requests to URLs from callers and answers, such as a picture, a finished video or a redirect.

Each URL is checked, also after a redirect, and the connection goes to the checked address.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import httpx

from seedance_mcp.adapters.http.proxies import Proxies
from seedance_mcp.adapters.http.transport import (
    CONNECT_SECONDS,
    open_client_through,
    parse_url,
    read_response,
    translating,
)
from seedance_mcp.core.errors import StudioRejectedError, StudioUnreachableError
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.responses import Response, quote_url

REDIRECTS_MAX = 5
ADDRESSES_MAX = 4
"""How many addresses of a name are tried."""

HOSTS_KEPT_MAX = 8
"""How many hosts have connections that stay open; further ones get one for each request."""
HOST_IDLE_SECONDS = 5
"""How long such a host is kept after its last request."""

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """An accepted public URL and its checked addresses.

    Attributes:
        addresses: The addresses to connect to; empty if a proxy resolves the name.
        proxy: The proxy that applies to this URL, or None.
    """

    url: httpx.URL
    addresses: tuple[str, ...]
    on_loopback: bool
    proxy: str | None


@dataclass(slots=True)
class _KeptHost:
    """The connections to one host under one name, which no other name shares: a verified one is verified for it."""

    client: httpx.AsyncClient
    users: int = 0
    left_at: float = 0.0


class PublicUrlFetcher:
    """Requests public URLs, without credentials."""

    def __init__(self) -> None:
        self._clients: dict[str | None, httpx.AsyncClient] = {}
        self._proxies = Proxies()
        self._kept: dict[str, _KeptHost] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        for client in (*self._clients.values(), *(kept.client for kept in self._kept.values())):
            await client.aclose()

    def _find_client(self, proxy: str | None) -> httpx.AsyncClient:
        """Return the client for a proxy, or for none, as the check decided; the environment is not read again."""
        if proxy not in self._clients:
            self._clients[proxy] = open_client_through(proxy)
        return self._clients[proxy]

    @asynccontextmanager
    async def stream(
        self, url: str, *, loopback_allowed: bool, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[httpx.Response, None]:
        """Send a GET without credentials, and follow a bounded number of redirects, each of which is checked.

        Args:
            url: The URL.
            loopback_allowed: Whether it may be on this machine.
            headers: Sent to every host of the redirects, so none may be a secret.
        """
        for _ in range(REDIRECTS_MAX + 1):
            checked = await self.check(url, loopback_allowed=loopback_allowed)
            loopback_allowed = checked.on_loopback  # a public host must not redirect to this machine
            kept = await self._take_host(checked)
            try:
                response = await self.open(checked, headers=headers, client=kept and kept.client)
                try:
                    if not response.is_redirect:
                        yield response
                        return
                    url = _join(checked.url, response.headers.get("location", ""))
                finally:
                    await response.aclose()
            finally:
                if kept is not None:
                    kept.users, kept.left_at = kept.users - 1, anyio.current_time()
        raise StudioRejectedError(f"{quote_url(url)} redirects more than {REDIRECTS_MAX} times.", status=310)

    async def _take_host(self, checked: CheckedUrl) -> _KeptHost | None:
        """Return the connections that are kept for a host, and close those of hosts that are idle for long."""
        now = anyio.current_time()
        idle = [name for name, kept in self._kept.items() if not kept.users and now - kept.left_at > HOST_IDLE_SECONDS]
        for client in [self._kept.pop(name).client for name in idle]:
            await client.aclose()
        name = checked.url.netloc.decode("ascii")
        if checked.proxy is not None or (name not in self._kept and len(self._kept) >= HOSTS_KEPT_MAX):
            return None
        if name not in self._kept:
            self._kept[name] = _KeptHost(open_client_through(None))
        self._kept[name].users += 1
        return self._kept[name]

    async def open(
        self,
        checked: CheckedUrl,
        *,
        client: httpx.AsyncClient | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> httpx.Response:
        """Connect to a checked address under the URL's host name, so that the name is not resolved again.

        Args:
            checked: The URL.
            client: Has the connections of this host alone. Without it the request has a connection of its own: two
                hosts at one address must not share a verified one.
            method: The method.
            headers: More headers.
            body: The body, if there is one.
        """
        own = dict(headers or {})
        if client is None and checked.proxy is None:
            own["connection"] = "close"
        client = client or self._find_client(checked.proxy)
        with translating(str(checked.url)):
            if checked.proxy is not None:
                return await client.send(
                    client.build_request(method, checked.url, headers=own, content=body), stream=True
                )
            for number, address in enumerate(checked.addresses, start=1):
                request = client.build_request(
                    method,
                    checked.url if checked.url.host == address else checked.url.copy_with(host=address),
                    headers={**own, "host": checked.url.netloc.decode("ascii")},
                    content=body,
                    extensions={"sni_hostname": checked.url.raw_host.decode("ascii").rstrip(".")},
                )
                try:
                    return await client.send(request, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if number == len(checked.addresses):
                        raise
        raise AssertionError("unreachable: the last address returns or raises")

    async def exchange(self, url: str, *, loopback_allowed: bool, timeout_seconds: float) -> Response:
        """Send a GET without credentials for a small document; follow no redirect.

        Raises:
            StudioRejectedError: The address may not be called.
            StudioUnreachableError: No answer in time.
            StudioProtocolError: Larger than `JSON_BYTES_MAX`, or in an encoding that was not requested.
        """
        with translating(url), anyio.fail_after(timeout_seconds):
            response = await self.open(await self.check(url, loopback_allowed=loopback_allowed))
            try:
                return await read_response(response, url)
            finally:
                await response.aclose()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, loopback_allowed: bool, timeout_seconds: float
    ) -> int:
        """Send a POST; return the status of the answer, whose body is not read; follow no redirect.

        Raises:
            StudioRejectedError: The address may not be called.
            StudioUnreachableError: No answer in time.
        """
        with translating(url), anyio.fail_after(timeout_seconds):
            checked = await self.check(url, loopback_allowed=loopback_allowed)
            response = await self.open(checked, method="POST", headers=headers, body=body)
            try:
                return response.status_code
            finally:
                await response.aclose()

    async def check(self, url: str, *, loopback_allowed: bool) -> CheckedUrl:
        """Check that a URL is https to a public address, or on loopback if that is allowed.

        Every address of the name must pass, in any spelling. Behind a proxy the proxy resolves the name, and only
        addresses that this machine can resolve are checked.
        """
        try:
            parsed = parse_url(url)
        except (httpx.InvalidURL, UnicodeError) as exc:
            raise StudioRejectedError(f"{quote_url(url)} is not an https URL.", status=400) from exc
        if parsed.userinfo:  # not quoted: it may be a password
            raise StudioRejectedError("A URL with a user's name in it is not called.", status=400)
        port = 443 if parsed.port is None else parsed.port
        if parsed.scheme not in ("https", "http") or not parsed.host or not 0 < port < 65536:
            raise StudioRejectedError(f"{quote_url(url)} is not an https URL.", status=400)
        proxy = self._proxies.find(parsed)
        judged = await self._look_up(parsed, port, proxied=proxy is not None)
        on_loopback = bool(judged) and all(address.is_loopback for address in judged)
        if not (loopback_allowed and on_loopback):
            if parsed.scheme != "https":
                raise StudioRejectedError(f"{quote_url(url)} is plain http; only https is used.", status=400)
            if not all(is_public(address) for address in judged) or not (judged or proxy):
                raise StudioRejectedError(f"{quote_url(url)} is not at a public address.", status=400)
        if on_loopback:
            proxy = None  # no proxy is used for this machine
        addresses = () if proxy else tuple(str(address) for address in judged[:ADDRESSES_MAX])
        return CheckedUrl(url=parsed, addresses=addresses, on_loopback=on_loopback, proxy=proxy)

    async def _look_up(self, url: httpx.URL, port: int, *, proxied: bool) -> list[_IPAddress]:
        """Return every address of a URL's host; none if only the proxy can resolve it."""
        host = url.raw_host.decode("ascii")
        with suppress(ValueError):  # the usual spelling of an address needs no lookup, which is another thread's work
            return [ipaddress.ip_address(host.partition("%")[0])]
        try:
            with anyio.fail_after(CONNECT_SECONDS):
                found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            if not proxied:
                raise StudioUnreachableError(f"The name {quote_text(host, 80)} cannot be looked up.") from exc
            found = []
        addresses = dict.fromkeys(entry[4][0].partition("%")[0] for entry in found)
        return [ipaddress.ip_address(address) for address in addresses]


def is_public(address: _IPAddress) -> bool:
    """Return True for a public address; one that contains an IPv4 address is checked as that.

    Source: IANA special-purpose address registries; RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4291 (IPv4-mapped).
    """
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour
        if carried is None and address in _NAT64:
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return is_public(carried)
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast


def is_loopback(host: str) -> bool:
    """Return True if a host is this machine, by its spelling; no name is resolved."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _join(url: httpx.URL, location: str) -> str:
    try:
        return str(url.join(location))
    except (httpx.InvalidURL, ValueError) as exc:
        raise StudioRejectedError(f"{quote_url(str(url))} redirects to what is not a URL.", status=310) from exc
