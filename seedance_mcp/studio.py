"""The studio: every HTTP exchange that this product makes, and the only room that knows `httpx`.

Owns bounds (bytes, seconds, hops), address rules (TLS, public addresses, no redirects that carry a credential), and
the two-step of a sign-in. Knows no budget and remembers nothing but the nonces that it signed for; no cookie either.

Two kinds of address are kept apart. The studio, its place for bytes and the chain are the owner's word (`config`) and
are called as they are, without ever following a redirect. Every other URL (a caller's picture, a finished clip, a
redirect) is a stranger's word: `_locate` judges it, and the connection goes to the very address that was judged.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import socket
import time
import zlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self
from urllib.parse import quote
from urllib.request import getproxies

import anyio
import httpx

from seedance_mcp import __version__
from seedance_mcp.errors import (
    ConfigError,
    StudioProtocolError,
    StudioRejectedError,
    StudioUnreachableError,
    quote_text,
)
from seedance_mcp.wire import siwx
from seedance_mcp.wire.encoding import JSON_BYTES_MAX, Json, encode_json, find_text, parse_json_object
from seedance_mcp.wire.exchange import PaidRequest, Response, describe_answer, quote_url
from seedance_mcp.wire.jobs import JobPage, JobStatus, UploadTicket, is_job_id, read_job, read_job_page
from seedance_mcp.wire.jobs import read_studio_error as read_error
from seedance_mcp.wire.offers import Credential, Rail

CONNECT_SECONDS = 10
ANSWER_SECONDS = 30
"""How long an unpaid exchange may take; the studio's 95th percentile is 3 s."""
PAID_SECONDS = 60
"""How long a paid exchange may take: it is verified, carried out and settled before it is answered."""
BLOB_SECONDS = 120
IMAGE_SECONDS = 60
DOWNLOAD_SECONDS = 600
"""How long a clip's download may take in all; its address dies after about twenty minutes."""
REDIRECTS_MAX = 5
ADDRESSES_MAX = 4
"""How many of a name's addresses are tried."""
NONCES_MAX = 4096
"""How many signed nonces we remember, so that none is signed for twice."""
RETRY_AFTER_SECONDS_MAX = 120
RETRY_AFTER_CHARACTERS_MAX = 40

ATTEMPTS_MAX = 3
"""How often a free, repeatable exchange is tried."""

_SECONDS = re.compile(r"[0-9]{1,9}")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_LOOPBACK_PATTERNS = ("all://127.0.0.1", "all://localhost", "all://[::1]")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

for _library in ("httpx", "httpcore"):
    # They log whole URLs, whose queries may hold somebody's token, and every response header.
    logging.getLogger(_library).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Whom we talk to: an origin, a place for bytes, a chain name for sign-ins, and whether loopback is allowed."""

    studio_url: str
    blob_url: str
    rpc_url: str | None
    chain_id: str
    allow_loopback_http: bool
    tempo_rpc_url: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A stranger's URL that may be called, and the addresses that were judged.

    Attributes:
        addresses: Where to connect; empty where a proxy looks the name up.
    """

    url: httpx.URL
    addresses: tuple[str, ...]
    on_loopback: bool


class Studio:
    """One studio over HTTP. Use as an async context manager.

    Args:
        address: Whom to talk to.
        sign_in: Signs an EIP-4361 text; returns the wallet's checksummed address and the signature.
        now: Unix seconds.

    Raises:
        ConfigError: The environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        address: Address,
        sign_in: Callable[[Callable[[str], str]], Awaitable[tuple[str, str]]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._address = address
        self._sign_in = sign_in
        self._now = now
        self._signed_nonces: OrderedDict[str, None] = OrderedDict()
        self._takes_prepared_sign_ins = True
        self._proxied = not {"http", "https", "all"}.isdisjoint(getproxies())
        try:
            self._client = httpx.AsyncClient(
                follow_redirects=False,
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                headers={"user-agent": f"seedance-mcp/{__version__}", "accept-encoding": "identity"},
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                # A proxy has no business between us and this machine.
                mounts=dict.fromkeys(_LOOPBACK_PATTERNS) if address.allow_loopback_http else None,
            )
        except (ImportError, ValueError, httpx.InvalidURL):
            # Without `from exc`: a proxy's URL may hold a password.
            raise ConfigError(
                "The proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used.",
                "Name an http:// proxy, or unset it.",
            ) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    @property
    def allows_loopback(self) -> bool:
        """Whether plain http to this machine is allowed."""
        return self._address.allow_loopback_http

    @property
    def origin(self) -> str:
        """Scheme, host and port of the studio."""
        return self._address.studio_url

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def fetch_openapi(self) -> bytes:
        """`GET /openapi.json`.

        Raises:
            StudioError: No answer, or not a document.
        """
        response = await self._repeat("GET", f"{self.origin}/openapi.json")
        if response.status != 200:
            raise self._rejected("The studio's openapi.json", response)
        return response.body

    async def send(self, request: PaidRequest) -> Response:
        """Send a paid request without paying, to be told its price; usually answered 402.

        Raises:
            StudioUnreachableError: No answer in time, overloaded, or out of order.
        """
        return await self._repeat("POST", request.url, body=request.body)

    async def send_paid(self, request: PaidRequest, credential: Credential) -> Response:
        """Send a paid request with its credential: once, never repeated here, no redirect followed.

        Raises:
            StudioUnreachableError: The connection broke; nobody knows whether the money moved.
        """
        return await self._exchange(
            "POST",
            request.url,
            body=request.body,
            headers={credential.header: credential.value},
            timeout_seconds=PAID_SECONDS,
        )

    async def put_blob(self, ticket: UploadTicket, data: bytes, media_type: str) -> str:
        """PUT an image's bytes to the place that was bought.

        Returns:
            The hosted image's URL.

        Raises:
            StudioRejectedError: The ticket has expired or does not fit the bytes.
            StudioError: No usable answer.

        Source: contract section 9.
        """
        if _TOKEN.fullmatch(ticket.client_token) is None:
            raise StudioRejectedError("The upload ticket's token cannot be sent as a header.", status=502)
        response = await self._exchange(
            "PUT",
            f"{self._address.blob_url}?pathname={quote(ticket.pathname, safe='')}",
            body=data,
            headers={
                "authorization": f"Bearer {ticket.client_token}",
                "x-api-version": "11",
                "x-content-type": media_type,
            },
            timeout_seconds=BLOB_SECONDS,
        )
        if response.status != 200:
            raise self._rejected("The upload of the image's bytes", response)
        url = find_text(parse_json_object(response.body, "The answer to the image's bytes"), "url")
        if url is None:
            raise StudioProtocolError("The studio took the image's bytes but named no URL for them.")
        try:
            await self._locate(url, loopback_allowed=self._address.allow_loopback_http)
        except StudioRejectedError as exc:  # not the ticket's fault: buying another one would not help
            raise StudioProtocolError(f"The studio took the image's bytes, but: {exc.what}") from exc
        return url

    async def confirm_upload(self, ticket: UploadTicket, image_url: str) -> None:
        """Tell the studio that the bytes are there. Signed in, free."""
        body = encode_json({"uploadId": ticket.upload_id, "blobUrl": image_url})
        response = await self._signed("POST", f"{self.origin}/api/upload/confirm", body=body)
        if response.status != 200:
            raise self._rejected("The confirmation of the upload", response)

    async def fetch_job(self, job_id: str) -> JobStatus:
        """`GET /api/jobs/{id}`, signed in.

        Raises:
            StudioRejectedError: Unknown there (404) or another wallet's (403).
            StudioError: No usable answer.
        """
        if not is_job_id(job_id):
            raise StudioRejectedError(f"{quote_text(job_id, 60)} cannot be a job id.", status=404)
        response = await self._signed("GET", f"{self.origin}/api/jobs/{job_id}")
        if response.status != 200:
            raise self._rejected(f"The question for job {job_id}", response)
        return read_job(response.body)

    async def list_jobs(self, *, limit: int = 100, cursor: str | None = None) -> JobPage:
        """One page of `GET /api/jobs`, newest first, signed in."""
        query = f"?limit={limit}" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
        response = await self._signed("GET", f"{self.origin}/api/jobs{query}")
        if response.status != 200:
            raise self._rejected("The list of jobs", response)
        return read_job_page(response.body)

    def knows_chain(self, rail: Rail) -> bool:
        """Whether a rail's chain can be asked at all: an RPC address is set."""
        return self._find_rpc_url(rail) is not None

    async def call_rpc(self, method: str, parameters: list[object], *, rail: Rail = "x402") -> object:
        """One JSON-RPC call to a rail's chain.

        Returns:
            The `result`; None where no RPC address is set.

        Raises:
            StudioUnreachableError: No answer, or an error.
        """
        rpc_url = self._find_rpc_url(rail)
        if rpc_url is None:
            return None
        body = encode_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
        response = await self._exchange("POST", rpc_url, body=body)
        document: Json = parse_json_object(response.body, "The chain's answer") if response.status == 200 else {}
        if "result" not in document:
            raise StudioUnreachableError(f"The chain did not answer {method}: {describe_answer(response)}.")
        return document["result"]

    def _find_rpc_url(self, rail: Rail) -> str | None:
        return self._address.rpc_url if rail == "x402" else self._address.tempo_rpc_url

    # ── media ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def is_hosted(self, url: str) -> bool:
        """Whether a hosted image is still there; a studio that cannot say counts as yes."""
        try:
            with _translating(url), anyio.fail_after(ANSWER_SECONDS):
                place = await self._locate(url, loopback_allowed=self._address.allow_loopback_http)
                response = await self._open(place, method="HEAD")
                await response.aclose()
        except StudioUnreachableError:
            return True
        except StudioRejectedError:  # not a place that we would send anybody to
            return False
        return response.status_code not in (403, 404, 410)

    async def fetch_image(self, url: str, *, bytes_max: int) -> bytes:
        """GET an image that the caller named; every address on the way is checked, also after redirects.

        Raises:
            StudioRejectedError: Not https, not public, not there, or larger than `bytes_max`.
            StudioUnreachableError: No answer.
        """
        with _translating(url), anyio.fail_after(IMAGE_SECONDS):
            async with self._stream(url) as response:
                if response.status_code != 200:
                    raise StudioRejectedError(f"{quote_url(url)} answered status {response.status_code}.", status=404)
                try:
                    return await _read_bounded(response, bytes_max, f"The image at {quote_url(url)}")
                except StudioProtocolError as exc:
                    raise StudioRejectedError(exc.what, status=413) from exc

    @asynccontextmanager
    async def stream_video(self, url: str) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """Stream a finished clip's bytes; the whole block takes at most `DOWNLOAD_SECONDS`.

        Raises:
            StudioRejectedError: The URL is dead or not allowed.
            StudioProtocolError: Compressed bytes, where a clip was asked for as it is.
            StudioUnreachableError: No answer, too slow, or the connection broke.
        """
        with _translating(url), anyio.fail_after(DOWNLOAD_SECONDS):
            async with self._stream(url) as response:
                if response.status_code != 200:
                    raise StudioRejectedError(
                        f"The result at {quote_url(url)} answered status {response.status_code}.",
                        status=response.status_code,
                    )
                if _read_encoding(response) != "identity":
                    raise StudioProtocolError(f"The result at {quote_url(url)} is sent compressed.")
                async with aclosing(_translate_stream(response, url)) as chunks:
                    yield chunks

    @asynccontextmanager
    async def _stream(self, url: str) -> AsyncGenerator[httpx.Response, None]:
        """A GET without any credential, following a bounded number of redirects, each of them judged anew."""
        loopback_allowed = self._address.allow_loopback_http
        for _ in range(REDIRECTS_MAX + 1):
            place = await self._locate(url, loopback_allowed=loopback_allowed)
            loopback_allowed = place.on_loopback  # no public host ever leads us into this machine
            response = await self._open(place)
            try:
                if not response.is_redirect:
                    yield response
                    return
                url = _join(place.url, response.headers.get("location", ""))
            finally:
                await response.aclose()
        raise StudioRejectedError(f"{quote_url(url)} redirects more than {REDIRECTS_MAX} times.", status=310)

    async def _open(self, place: _Place, *, method: str = "GET") -> httpx.Response:
        """Connect to an address that was judged, as the host that was named: a name cannot change in between."""
        with _translating(str(place.url)):
            if not place.addresses:
                return await self._client.send(self._client.build_request(method, place.url), stream=True)
            for number, address in enumerate(place.addresses, start=1):
                request = self._client.build_request(
                    method,
                    place.url.copy_with(host=address),
                    # One connection each: two hosts at one address must not share what was verified for the other.
                    headers={"host": place.url.netloc.decode("ascii"), "connection": "close"},
                    extensions={"sni_hostname": place.url.raw_host.decode("ascii").rstrip(".")},
                )
                try:
                    return await self._client.send(request, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if number == len(place.addresses):
                        raise
        raise AssertionError("unreachable: the last address returns or raises")

    async def _locate(self, url: str, *, loopback_allowed: bool) -> _Place:
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
        host = parsed.raw_host.decode("ascii")
        try:
            with anyio.fail_after(CONNECT_SECONDS):
                found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            if not self._proxied:
                raise StudioUnreachableError(f"The name {quote_text(host, 80)} cannot be looked up.") from exc
            found = []
        addresses = tuple(dict.fromkeys(entry[4][0].partition("%")[0] for entry in found))
        judged = [ipaddress.ip_address(address) for address in addresses]
        on_loopback = bool(judged) and all(address.is_loopback for address in judged)
        if not (loopback_allowed and on_loopback):
            if parsed.scheme != "https":
                raise StudioRejectedError(f"{quote_url(url)} is plain http; only https is used.", status=400)
            if not all(is_public(address) for address in judged) or not (judged or self._proxied):
                raise StudioRejectedError(f"{quote_url(url)} is not at a public address.", status=400)
        connect_to = () if self._proxied and not on_loopback else addresses[:ADDRESSES_MAX]
        return _Place(url=parsed, addresses=connect_to, on_loopback=on_loopback)

    # ── signed in ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _signed(self, method: str, url: str, *, body: bytes | None = None) -> Response:
        """A free exchange that proves who asks: with a sign-in of our own making, else with the studio's challenge."""
        if self._takes_prepared_sign_ins:
            prepared = siwx.prepare_sign_in(
                url=url, chain_id=self._address.chain_id, nonce=secrets.token_hex(16), now=self._now()
            )
            response = await self._present(method, url, prepared, body=body)
            if response.status != 402:
                return response
            self._takes_prepared_sign_ins = False  # this studio wants its own challenge: ask for it from now on
        challenge = await self._repeat(method, url, body=body)
        if challenge.status != 402:
            return challenge
        sign_in = siwx.read_sign_in(challenge.headers, challenge.body)
        siwx.check_sign_in(sign_in, url=url, chain_id=self._address.chain_id, now=self._now())
        response = await self._present(method, url, sign_in, body=body)
        if response.status == 402:
            raise StudioRejectedError(
                f"The studio refused our sign-in: {read_error(response.body)}.",
                "Check this machine's clock. Jobs answer only to the wallet that paid for them.",
                status=402,
            )
        return response

    async def _present(self, method: str, url: str, sign_in: siwx.SignIn, *, body: bytes | None) -> Response:
        if sign_in.nonce in self._signed_nonces:
            raise StudioProtocolError("The studio asks to sign in twice with one nonce.")
        self._signed_nonces[sign_in.nonce] = None
        if len(self._signed_nonces) > NONCES_MAX:
            self._signed_nonces.popitem(last=False)
        address, signature = await self._sign_in(lambda address: siwx.build_message(sign_in, address))
        header = siwx.encode_sign_in(sign_in, address, signature)
        return await self._exchange(method, url, body=body, headers={siwx.SIGN_IN_HEADER: header})

    # ── one exchange ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _repeat(self, method: str, url: str, *, body: bytes | None = None) -> Response:
        """A free exchange, tried again where the studio is overloaded or out of order.

        Raises:
            StudioUnreachableError: It still is after `ATTEMPTS_MAX`.
        """
        reason, retry_after = "", None
        for attempt in range(ATTEMPTS_MAX):
            try:
                response = await self._exchange(method, url, body=body)
            except StudioUnreachableError as exc:
                reason, retry_after, pause_seconds = exc.what, None, 0.5 * 2**attempt
            else:
                if response.status != 429 and response.status < 500:
                    return response
                reason = f"The studio answered {describe_answer(response)}."
                retry_after = read_retry_after(response, self._now())
                pause_seconds = retry_after or 0.5 * 2**attempt
            if attempt + 1 < ATTEMPTS_MAX:
                await anyio.sleep(min(pause_seconds, ANSWER_SECONDS / 3))
        raise StudioUnreachableError(reason, "Try again in a minute.", retry_after_seconds=retry_after)

    def _rejected(self, what: str, response: Response) -> StudioRejectedError | StudioUnreachableError:
        if response.status == 429 or response.status >= 500:
            return StudioUnreachableError(
                f"{what} failed: {describe_answer(response)}.",
                "Try again in a minute.",
                retry_after_seconds=read_retry_after(response, self._now()),
            )
        return StudioRejectedError(f"{what} was refused: {describe_answer(response)}.", status=response.status)

    async def _exchange(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_seconds: float = ANSWER_SECONDS,
    ) -> Response:
        sent = {"content-type": "application/json"} if body is not None else {}
        if body is not None and headers is not None and "x-content-type" in headers:
            sent = {"content-type": headers["x-content-type"]}
        with _translating(url), anyio.fail_after(timeout_seconds):
            async with self._client.stream(
                method, url, content=body, headers={**sent, **(headers or {})}, timeout=timeout_seconds
            ) as response:
                data = await _read_bounded(response, JSON_BYTES_MAX, f"The answer of {quote_url(url)}")
                return Response(
                    status=response.status_code,
                    headers=[(name.lower(), value) for name, value in response.headers.multi_items()],
                    body=data,
                )


def read_retry_after(response: Response, now: float) -> float | None:
    """The seconds of a Retry-After header, bounded; None where there is none.

    Source: RFC 9110, section 10.2.3: a number of seconds, or a date.
    """
    for name, value in response.headers:
        if name == "retry-after" and len(value) <= RETRY_AFTER_CHARACTERS_MAX:
            try:
                seconds = float(value) if _SECONDS.fullmatch(value) else parsedate_to_datetime(value).timestamp() - now
            except (ValueError, TypeError, IndexError, OverflowError):
                return None
            return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
    return None


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
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


def _join(url: httpx.URL, location: str) -> str:
    try:
        return str(url.join(location))
    except (httpx.InvalidURL, ValueError) as exc:
        raise StudioRejectedError(f"{quote_url(str(url))} redirects to what is not a URL.", status=310) from exc


class _translating:  # noqa: N801 - reads as a `with` block, like contextlib's own
    """Turn what httpx raises into our errors; the text never carries a header."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        if isinstance(exc, httpx.TimeoutException | TimeoutError):
            raise StudioUnreachableError(f"{quote_url(self._url)} did not answer in time.", "Try again.") from exc
        if isinstance(exc, httpx.LocalProtocolError):
            # Without `from exc`: h11 quotes the header that it will not send.
            raise StudioProtocolError(f"The request to {quote_url(self._url)} cannot be written.") from None
        if isinstance(exc, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
            raise StudioUnreachableError(
                f"{quote_url(self._url)} cannot be reached: {type(exc).__name__}.",
                "Check the connection and try again.",
            ) from exc


async def _read_bounded(response: httpx.Response, bytes_max: int, what: str) -> bytes:
    """A body of at most `bytes_max`, also after decompression: httpx would inflate first and let us count later.

    Raises:
        StudioProtocolError: Larger, or in an encoding that we did not ask for and cannot bound.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > bytes_max:
            raise StudioProtocolError(f"{what} is larger than {bytes_max} bytes.")
        chunks.append(chunk)
    data, encoding = b"".join(chunks), _read_encoding(response)
    return data if not data or encoding == "identity" else _inflate(data, encoding, bytes_max, what)


def _inflate(data: bytes, encoding: str, bytes_max: int, what: str) -> bytes:
    """We ask for `identity`; a cache that compresses all the same must not cost us the answer to a payment."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise StudioProtocolError(f"{what} came in the encoding {quote_text(encoding, 30)}, which was not asked for.")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either header, gzip's or zlib's
    try:
        inflated = inflater.decompress(data, bytes_max + 1)
    except zlib.error as exc:
        raise StudioProtocolError(f"{what} cannot be decompressed.") from exc
    if len(inflated) > bytes_max:
        raise StudioProtocolError(f"{what} is larger than {bytes_max} bytes.")
    if not inflater.eof:
        raise StudioProtocolError(f"{what} breaks off.")
    return inflated


def _read_encoding(response: httpx.Response) -> str:
    return response.headers.get("content-encoding", "").strip().lower() or "identity"


async def _translate_stream(response: httpx.Response, url: str) -> AsyncGenerator[bytes, None]:
    with _translating(url):
        async for chunk in response.aiter_raw():
            yield chunk
