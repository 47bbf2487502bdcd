"""Strangers: URLs that others name (a caller's picture, a finished clip, a redirect), and how they may be called.

Each is judged, also after a redirect, and the connection goes to the very address that was judged.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx

from seedance_mcp.adapters.http.transport import CONNECT_SECONDS, find_proxy, open_client_through, translating
from seedance_mcp.core.errors import StudioRejectedError, StudioUnreachableError, quote_text
from seedance_mcp.core.wire.responses import quote_url

REDIRECTS_MAX = 5
ADDRESSES_MAX = 4
"""How many of a name's addresses are tried."""

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Place:
    """A stranger's URL that may be called, and the addresses that were judged.

    Attributes:
        addresses: Where to connect; empty where a proxy looks the name up.
        proxy: The proxy that applies to this URL, or None.
    """

    url: httpx.URL
    addresses: tuple[str, ...]
    on_loopback: bool
    proxy: str | None


class Strangers:
    """Calls what strangers name, without any credential."""

    def __init__(self) -> None:
        self._clients: dict[str | None, httpx.AsyncClient] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    def _find_client(self, proxy: str | None) -> httpx.AsyncClient:
        """The client of a proxy, or of none: what was judged decides how it is called, never the environment again."""
        if proxy not in self._clients:
            self._clients[proxy] = open_client_through(proxy)
        return self._clients[proxy]

    @asynccontextmanager
    async def stream(self, url: str, *, loopback_allowed: bool) -> AsyncGenerator[httpx.Response, None]:
        """A GET without any credential, following a bounded number of redirects, each of them judged anew."""
        for _ in range(REDIRECTS_MAX + 1):
            place = await self.locate(url, loopback_allowed=loopback_allowed)
            loopback_allowed = place.on_loopback  # no public host ever leads us into this machine
            response = await self.open(place)
            try:
                if not response.is_redirect:
                    yield response
                    return
                url = _join(place.url, response.headers.get("location", ""))
            finally:
                await response.aclose()
        raise StudioRejectedError(f"{quote_url(url)} redirects more than {REDIRECTS_MAX} times.", status=310)

    async def open(self, place: Place, *, method: str = "GET") -> httpx.Response:
        """Connect to an address that was judged, as the host that was named: a name cannot change in between."""
        client = self._find_client(place.proxy)
        with translating(str(place.url)):
            if place.proxy is not None:
                return await client.send(client.build_request(method, place.url), stream=True)
            for number, address in enumerate(place.addresses, start=1):
                request = client.build_request(
                    method,
                    place.url.copy_with(host=address),
                    # One connection each: two hosts at one address must not share what was verified for the other.
                    headers={"host": place.url.netloc.decode("ascii"), "connection": "close"},
                    extensions={"sni_hostname": place.url.raw_host.decode("ascii").rstrip(".")},
                )
                try:
                    return await client.send(request, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if number == len(place.addresses):
                        raise
        raise AssertionError("unreachable: the last address returns or raises")

    async def locate(self, url: str, *, loopback_allowed: bool) -> Place:
        """Raise unless a stranger's URL is https to a public address, or on loopback where that is allowed.

        Every address of the name must pass, however it is spelled. Behind a proxy the name is the proxy's to look up,
        and only what this machine can look up is judged here.
        """
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError) as exc:
            raise StudioRejectedError(f"{quote_url(url)} is not an https URL.", status=400) from exc
        if parsed.userinfo:  # not quoted: it may be a password
            raise StudioRejectedError("A URL with a user's name in it is not called.", status=400)
        port = 443 if parsed.port is None else parsed.port
        if parsed.scheme not in ("https", "http") or not parsed.host or not 0 < port < 65536:
            raise StudioRejectedError(f"{quote_url(url)} is not an https URL.", status=400)
        proxy = find_proxy(parsed)
        judged = await self._look_up(parsed, port, proxied=proxy is not None)
        on_loopback = bool(judged) and all(address.is_loopback for address in judged)
        if not (loopback_allowed and on_loopback):
            if parsed.scheme != "https":
                raise StudioRejectedError(f"{quote_url(url)} is plain http; only https is used.", status=400)
            if not all(is_public(address) for address in judged) or not (judged or proxy):
                raise StudioRejectedError(f"{quote_url(url)} is not at a public address.", status=400)
        if on_loopback:
            proxy = None  # it has no business between us and this machine
        addresses = () if proxy else tuple(str(address) for address in judged[:ADDRESSES_MAX])
        return Place(url=parsed, addresses=addresses, on_loopback=on_loopback, proxy=proxy)

    async def _look_up(self, url: httpx.URL, port: int, *, proxied: bool) -> list[_IPAddress]:
        """Every address of a URL's host; none where only the proxy can look it up."""
        host = url.raw_host.decode("ascii")
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
    """Whether an address is anybody's on the internet; one that carries an IPv4 address is judged by that.

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
    """Whether a host is this machine, by its spelling; no name is looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _join(url: httpx.URL, location: str) -> str:
    try:
        return str(url.join(location))
    except (httpx.InvalidURL, ValueError) as exc:
        raise StudioRejectedError(f"{quote_url(str(url))} redirects to what is not a URL.", status=310) from exc
