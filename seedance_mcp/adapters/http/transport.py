"""Transport: HTTP clients and single exchanges, with bounds on every response."""

from __future__ import annotations

import functools
import logging
import os
import re
import socket
import ssl
import sys
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import anyio
import httpcore
import httpx

from seedance_mcp import __version__
from seedance_mcp.core.errors import ConfigError, StudioProtocolError, StudioUnreachableError
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.json import JSON_BYTES_MAX
from seedance_mcp.core.wire.responses import Response, quote_url

if TYPE_CHECKING:
    from types import ModuleType

CONNECT_SECONDS = 10
ANSWER_SECONDS = 30
"""How long an unpaid exchange may take; the studio's 95th percentile is 3 s."""
RETRY_AFTER_SECONDS_MAX = 120
RETRY_AFTER_CHARACTERS_MAX = 40
CAUSES_MAX = 10
"""How many chained causes of a failure are read; httpx wraps a socket's error two or three times."""

URLS_KEPT_MAX = 64
"""How many parsed URLs are kept."""
READ_BYTES = 256 * 1024
"""How many bytes of an answer are read at a time: as many as asyncio takes from a socket, which httpcore would cut."""
PIECE_BYTES_MAX = 1024 * 1024
"""How many bytes of a compressed body are decompressed at a time."""

_PLAIN_ENCODINGS = frozenset({"", "identity", "none", "aws-chunked"})
_GZIP_MAGIC = b"\x1f\x8b"
_SECONDS = re.compile(r"[0-9]{1,9}")
_LOOPBACK_PATTERNS = ("all://127.0.0.1", "all://localhost", "all://[::1]")

if find_spec("sniffio") is None:
    # httpcore tries to import it several times a request, and each time searches the whole path in vain.
    sys.modules["sniffio"] = cast("ModuleType", None)

_connection: Any = httpcore.AsyncHTTP11Connection  # its own type says 65,536
_connection.READ_NUM_BYTES = READ_BYTES

for _library in ("httpx", "httpcore"):
    # They log whole URLs, whose queries may contain a token, and every response header.
    logging.getLogger(_library).setLevel(logging.WARNING)


@functools.lru_cache(maxsize=URLS_KEPT_MAX)
def parse_url(url: str) -> httpx.URL:
    """Parse a URL; the latest ones are kept, because httpx takes long for it.

    Raises:
        httpx.InvalidURL: It is none.
    """
    return httpx.URL(url)


Client: TypeAlias = httpx.AsyncClient
"""The client that sends requests; other adapters need not know the library."""


def open_client(*, allow_loopback_http: bool) -> httpx.AsyncClient:
    """Open the HTTP client of a studio, with the proxy that the environment names.

    Raises:
        ConfigError: The environment names a proxy that cannot be used.
    """
    try:
        return _open(
            # No proxy is used for this machine.
            mounts=dict.fromkeys(_LOOPBACK_PATTERNS) if allow_loopback_http else None,
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        # Without `from exc`: a proxy's URL may contain a password.
        raise _proxy_error() from None


def open_client_through(proxy: str | None) -> httpx.AsyncClient:
    """Open a client with this proxy or with none, regardless of the environment.

    Raises:
        ConfigError: The proxy cannot be used.
    """
    try:
        return _open(proxy=proxy, trust_env=False)
    except (ImportError, ValueError, httpx.InvalidURL):
        raise _proxy_error() from None


class _PlainClient(httpx.AsyncClient):
    """A client that sends each request once, as it is: without cookies, logins and redirects.

    What httpx does for those takes as much processor time as parsing an answer.
    """

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send a request; the caller reads the response and closes it."""
        if self.is_closed:
            raise RuntimeError("The client is closed.")
        response = await self._transport_for_url(request.url).handle_async_request(request)
        response.request = request
        for hook in self.event_hooks["response"]:  # metrics count requests
            await hook(response)
        return response


@functools.lru_cache(maxsize=1)
def _read_authorities(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Read what all clients trust, once: it takes longer than an exchange.

    Args:
        _file: `SSL_CERT_FILE`, which names other authorities than the default ones.
        _folder: `SSL_CERT_DIR`, likewise.
    """
    return httpx.create_ssl_context()


def _open(**options: Any) -> httpx.AsyncClient:
    return _PlainClient(
        verify=_read_authorities(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
        follow_redirects=False,
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        headers={"user-agent": f"seedance-mcp/{__version__}", "accept-encoding": "identity"},
        **options,
    )


def _proxy_error() -> ConfigError:
    return ConfigError(
        "The proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used.", "Name an http:// proxy, or unset it."
    )


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout_seconds: float = ANSWER_SECONDS,
) -> Response:
    """Make one exchange with a host from the owner's settings; follow no redirect, and repeat nothing.

    Raises:
        StudioUnreachableError: No answer in time.
        StudioProtocolError: Larger than `JSON_BYTES_MAX`, or in an encoding that was not requested.
    """
    sent = {"content-type": "application/json"} if body is not None else {}
    if body is not None and headers is not None and "x-content-type" in headers:
        sent = {"content-type": headers["x-content-type"]}
    sent.update(headers or {})
    with translating(url), anyio.fail_after(timeout_seconds):
        request = client.build_request(method, parse_url(url), content=body, headers=sent, timeout=timeout_seconds)
        response = await client.send(request, stream=True)
        try:
            return await read_response(response, url)
        finally:
            await response.aclose()


async def read_response(response: httpx.Response, url: str) -> Response:
    """Read an answer whole.

    Raises:
        StudioProtocolError: Larger than `JSON_BYTES_MAX`, or in an encoding that was not requested.
    """
    data = await read_bounded(response, JSON_BYTES_MAX, "The answer of", url)
    headers = [(name.lower(), value) for name, value in response.headers.multi_items()]
    return Response(status=response.status_code, headers=headers, body=data)


def read_retry_after(response: Response, now: float) -> float | None:
    """Return the seconds of a Retry-After header, bounded; None if there is none.

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


class translating:  # noqa: N801 - reads as a `with` block, like contextlib's own
    """Convert the exceptions of httpx to ours; the text never contains a header."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        if isinstance(exc, httpx.TimeoutException | TimeoutError):
            raise StudioUnreachableError(f"{quote_url(self._url)} did not answer in time.", "Try again.") from exc
        if isinstance(exc, httpx.LocalProtocolError):
            # Without `from exc`: h11 quotes the header that it refuses to send.
            raise StudioProtocolError(f"The request to {quote_url(self._url)} cannot be sent.") from None
        if isinstance(exc, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
            raise StudioUnreachableError(
                f"{quote_url(self._url)} cannot be reached: {_describe_cause(exc)}.",
                "Check the connection and try again.",
            ) from exc


def _describe_cause(exc: BaseException) -> str:
    """Describe the cause of a failed exchange for people, who do not know the names of exception classes."""
    causes, cause = list[BaseException](), exc
    while cause is not None and len(causes) < CAUSES_MAX:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in causes):
        return "its certificate cannot be trusted"
    if any(isinstance(one, socket.gaierror) for one in causes):
        return "no connection, or its name cannot be resolved"
    match exc:
        case httpx.ConnectError():
            return "no connection"
        case httpx.ProxyError():
            return "the proxy refuses the connection"
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return "the URL is not valid"
        case httpx.RemoteProtocolError():
            return "the answer was incomplete, or is not HTTP"
        case _:
            return "the connection was lost"


async def read_bounded(response: httpx.Response, bytes_max: int, what: str, url: str) -> bytes:
    """Return a body of at most `bytes_max`, also after decompression; httpx would decompress it before any check.

    Args:
        response: The open response.
        bytes_max: The bound.
        what: What an error calls the body, in front of the URL.
        url: Where it comes from.

    Raises:
        StudioProtocolError: Larger, or in an encoding that was not requested and cannot be bounded.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > bytes_max:
            raise StudioProtocolError(f"{what} {quote_url(url)} is larger than {bytes_max} bytes.")
        chunks.append(chunk)
    data, encoding = b"".join(chunks), read_encoding(response)
    if not data or encoding == "identity":
        return data
    return _inflate(data, encoding, bytes_max, f"{what} {quote_url(url)}")


def _inflate(data: bytes, encoding: str, bytes_max: int, what: str) -> bytes:
    """Decompress a body. We request `identity`, but a paid answer must be readable even if a cache compresses it."""
    inflater = _open_inflater(encoding, what)
    try:
        inflated = inflater.decompress(data, bytes_max + 1)
    except zlib.error as exc:
        raise StudioProtocolError(f"{what} cannot be decompressed.") from exc
    if len(inflated) > bytes_max:
        raise StudioProtocolError(f"{what} is larger than {bytes_max} bytes.")
    if not inflater.eof:
        raise StudioProtocolError(f"{what} is incomplete.")
    return inflated


class _Inflater(Protocol):
    """The type of `zlib.decompressobj`, which has no public name."""

    @property
    def eof(self) -> bool: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


def _open_inflater(encoding: str, what: str) -> _Inflater:
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise StudioProtocolError(f"{what} came in the encoding {quote_text(encoding, 30)}, which was not asked for.")
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either header, gzip's or zlib's


def read_encoding(response: httpx.Response) -> str:
    """Return the content encoding; `identity` where none is named.

    Stores of files repeat `aws-chunked` or `none` from an upload: neither says anything of the bytes that are sent.
    """
    named = response.headers.get("content-encoding", "").lower().split(",")
    told = [name.strip() for name in named if name.strip() not in _PLAIN_ENCODINGS]
    return ",".join(told) or "identity"


async def inflate_stream(chunks: AsyncIterator[bytes], encoding: str, what: str) -> AsyncGenerator[bytes, None]:
    """Decompress a body as it comes, in pieces of at most `PIECE_BYTES_MAX`; the reader bounds their sum.

    Bytes that are not compressed although a header says so are given on as they are.

    Raises:
        StudioProtocolError: In an encoding that was not asked for, damaged, or broken off.
    """
    if encoding == "identity":
        async for chunk in chunks:
            yield chunk
        return
    inflater, started = _open_inflater(encoding, what), b""
    is_packed: bool | None = None
    async for chunk in chunks:
        data = started + chunk
        if is_packed is None and len(data) < len(_GZIP_MAGIC):
            started = data
            continue
        if is_packed is None:
            is_packed, started = _looks_compressed(data, encoding), b""
        if not is_packed:
            yield data
            continue
        for piece in _inflate_pieces(inflater, data, what):
            yield piece
    if is_packed is None and started:
        yield started
    elif is_packed and not inflater.eof:
        raise StudioProtocolError(f"{what} is incomplete.")


def _looks_compressed(data: bytes, encoding: str) -> bool:
    """Source: RFC 1952, section 2.3.1 (gzip); RFC 1950, section 2.2 (zlib)."""
    return data.startswith(_GZIP_MAGIC) or ("gzip" not in encoding and data[0] & 0x0F == 8)


def _inflate_pieces(inflater: _Inflater, data: bytes, what: str) -> Generator[bytes]:
    try:
        while data and not inflater.eof:
            piece = inflater.decompress(data, PIECE_BYTES_MAX)
            if piece:
                yield piece
            data = inflater.unconsumed_tail
    except zlib.error as exc:
        raise StudioProtocolError(f"{what} cannot be decompressed.") from exc


async def translate_stream(response: httpx.Response, url: str) -> AsyncGenerator[bytes, None]:
    """Yield a body as it arrives. Raises like `translating`."""
    with translating(url):
        async for chunk in response.aiter_raw():
            yield chunk
