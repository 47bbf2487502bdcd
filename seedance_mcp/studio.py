"""The studio: every HTTP exchange that this product makes, and the only room that knows `httpx`.

Owns bounds (bytes, seconds, pages), address rules (TLS, public addresses, no redirects that carry a credential), and
the two-step of a sign-in. Knows no budget and remembers nothing but the nonces that it signed for.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urljoin, urlsplit

import anyio
import httpx

from seedance_mcp import __version__
from seedance_mcp.errors import StudioProtocolError, StudioRejectedError, StudioUnreachableError, quote_text
from seedance_mcp.wire import siwx
from seedance_mcp.wire.encoding import JSON_BYTES_MAX, Json, encode_json, find_text, parse_json_object
from seedance_mcp.wire.exchange import PaidRequest, Response, describe_answer, quote_url
from seedance_mcp.wire.jobs import JobPage, JobStatus, UploadTicket, is_job_id, read_job, read_job_page
from seedance_mcp.wire.jobs import read_studio_error as read_error
from seedance_mcp.wire.offers import Credential

CONNECT_SECONDS = 10
ANSWER_SECONDS = 30
"""How long an unpaid exchange may take; the studio's 95th percentile is 3 s."""
BLOB_SECONDS = 120
DOWNLOAD_SECONDS = 300
REDIRECTS_MAX = 5
NONCES_MAX = 4096
"""How many signed nonces we remember, so that none is signed for twice."""
RETRY_AFTER_SECONDS_MAX = 120

ATTEMPTS_MAX = 3
"""How often a free, repeatable exchange is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Whom we talk to: an origin, a place for bytes, a chain name for sign-ins, and whether loopback is allowed."""

    studio_url: str
    blob_url: str
    rpc_url: str | None
    chain_id: str
    allow_loopback_http: bool


class Studio:
    """One studio over HTTP. Use as an async context manager.

    Args:
        address: Whom to talk to.
        sign_in: Signs an EIP-4361 text; returns the wallet's checksummed address and the signature.
        now: Unix seconds.
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
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            headers={"user-agent": f"seedance-mcp/{__version__}"},
            trust_env=not address.allow_loopback_http,  # a proxy has no business between us and this machine
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

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
            raise _rejected("The studio's openapi.json", response)
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
            "POST", request.url, body=request.body, headers={credential.header: credential.value}
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
            raise _rejected("The upload of the image's bytes", response)
        url = find_text(parse_json_object(response.body, "The answer to the image's bytes"), "url")
        if url is None:
            raise StudioProtocolError("The studio took the image's bytes but named no URL for them.")
        await self._check_url(url)
        return url

    async def confirm_upload(self, ticket: UploadTicket, image_url: str) -> None:
        """Tell the studio that the bytes are there. Signed in, free."""
        body = encode_json({"uploadId": ticket.upload_id, "blobUrl": image_url})
        response = await self._signed("POST", f"{self.origin}/api/upload/confirm", body=body)
        if response.status != 200:
            raise _rejected("The confirmation of the upload", response)

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
            raise _rejected(f"The question for job {job_id}", response)
        return read_job(response.body)

    async def list_jobs(self, *, limit: int = 100, cursor: str | None = None) -> JobPage:
        """One page of `GET /api/jobs`, newest first, signed in."""
        query = f"?limit={limit}" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
        response = await self._signed("GET", f"{self.origin}/api/jobs{query}")
        if response.status != 200:
            raise _rejected("The list of jobs", response)
        return read_job_page(response.body)

    async def call_rpc(self, method: str, parameters: list[object]) -> object:
        """One JSON-RPC call to the chain.

        Returns:
            The `result`; None where no RPC address is set.

        Raises:
            StudioUnreachableError: No answer, or an error.
        """
        if self._address.rpc_url is None:
            return None
        body = encode_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
        response = await self._exchange("POST", self._address.rpc_url, body=body)
        document: Json = parse_json_object(response.body, "The chain's answer") if response.status == 200 else {}
        if "result" not in document:
            raise StudioUnreachableError(f"The chain did not answer {method}: {describe_answer(response)}.")
        return document["result"]

    # ── media ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def is_hosted(self, url: str) -> bool:
        """Whether a hosted image is still there; a studio that cannot say counts as yes."""
        try:
            response = await self._exchange("HEAD", url)
        except StudioUnreachableError:
            return True
        return response.status not in (403, 404, 410)

    async def fetch_image(self, url: str, *, bytes_max: int) -> bytes:
        """GET an image that the caller named; every address on the way is checked, also after redirects.

        Raises:
            StudioRejectedError: Not https, not public, not there, or larger than `bytes_max`.
            StudioUnreachableError: No answer.
        """
        async with self._stream(url, timeout_seconds=ANSWER_SECONDS) as response:
            if response.status_code != 200:
                raise StudioRejectedError(f"{quote_url(url)} answered status {response.status_code}.", status=404)
            return await _read_bounded(response, bytes_max, f"The image at {quote_url(url)}")

    @asynccontextmanager
    async def stream_video(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Stream a finished clip's bytes.

        Raises:
            StudioRejectedError: The URL is dead or not allowed.
            StudioUnreachableError: No answer, or the connection broke.
        """
        async with self._stream(url, timeout_seconds=DOWNLOAD_SECONDS) as response:
            if response.status_code != 200:
                raise StudioRejectedError(
                    f"The result at {quote_url(url)} answered status {response.status_code}.",
                    status=response.status_code,
                )
            yield _translate_stream(response, url)

    @asynccontextmanager
    async def _stream(self, url: str, *, timeout_seconds: float) -> AsyncIterator[httpx.Response]:
        """A GET without any credential, following a bounded number of checked redirects."""
        for _ in range(REDIRECTS_MAX + 1):
            await self._check_url(url)
            with _translating(url):
                request = self._client.build_request("GET", url, timeout=timeout_seconds)
                response = await self._client.send(request, stream=True)
            try:
                if not response.is_redirect:
                    yield response
                    return
                url = urljoin(url, response.headers.get("location", ""))
            finally:
                await response.aclose()
        raise StudioRejectedError(f"{quote_url(url)} redirects more than {REDIRECTS_MAX} times.", status=310)

    async def _check_url(self, url: str) -> None:
        """Raise unless a URL from outside is https to a public address, or loopback where the profile allows it.

        The address is looked up here and again by the connection: a name that changes in between is the network's to
        prevent. No credential ever goes to such a URL.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port, parts = "", None, urlsplit("")
        if parts.scheme not in ("https", "http") or not host or parts.username or parts.password:
            raise StudioRejectedError(f"{quote_url(url)} is not an https URL.", status=400)
        loopback_allowed = self._address.allow_loopback_http
        try:
            found = await anyio.getaddrinfo(host, port or 443, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise StudioUnreachableError(f"The name {quote_text(host, 80)} cannot be looked up.") from exc
        addresses = [ipaddress.ip_address(entry[4][0].partition("%")[0]) for entry in found]
        on_loopback = bool(addresses) and all(address.is_loopback for address in addresses)
        if loopback_allowed and on_loopback:
            return
        if parts.scheme != "https":
            raise StudioRejectedError(f"{quote_url(url)} is plain http; only https is used.", status=400)
        if not addresses or not all(_is_public(address) for address in addresses):
            raise StudioRejectedError(f"{quote_url(url)} is not at a public address.", status=400)

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
        reason = ""
        for attempt in range(ATTEMPTS_MAX):
            try:
                response = await self._exchange(method, url, body=body)
            except StudioUnreachableError as exc:
                reason, pause_seconds = exc.what, 0.5 * 2**attempt
            else:
                if response.status != 429 and response.status < 500:
                    return response
                reason = f"The studio answered {describe_answer(response)}."
                pause_seconds = read_retry_after(response) or 0.5 * 2**attempt
            if attempt + 1 < ATTEMPTS_MAX:
                await anyio.sleep(min(pause_seconds, ANSWER_SECONDS / 3))
        raise StudioUnreachableError(reason, "Try again in a minute.")

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


def read_retry_after(response: Response) -> float | None:
    """The seconds of a Retry-After header, bounded; None where there is none. Source: RFC 9110, section 10.2.3."""
    for name, value in response.headers:
        if name == "retry-after" and value.isdigit():
            return min(float(value), RETRY_AFTER_SECONDS_MAX)
    return None


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_global and not (mapped or address).is_multicast


def _rejected(what: str, response: Response) -> StudioRejectedError | StudioUnreachableError:
    if response.status == 429 or response.status >= 500:
        return StudioUnreachableError(
            f"{what} failed: {describe_answer(response)}.",
            "Try again in a minute.",
            retry_after_seconds=read_retry_after(response),
        )
    return StudioRejectedError(f"{what} was refused: {describe_answer(response)}.", status=response.status)


class _translating:  # noqa: N801 - reads as a `with` block, like contextlib's own
    """Turn what httpx raises into our errors; the text never carries a header."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        if isinstance(exc, httpx.TimeoutException | TimeoutError):
            raise StudioUnreachableError(f"{quote_url(self._url)} did not answer in time.", "Try again.") from exc
        if isinstance(exc, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
            raise StudioUnreachableError(
                f"{quote_url(self._url)} cannot be reached: {type(exc).__name__}.",
                "Check the connection and try again.",
            ) from exc


async def _read_bounded(response: httpx.Response, bytes_max: int, what: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > bytes_max:
            raise StudioRejectedError(f"{what} is larger than {bytes_max} bytes.", status=413)
        chunks.append(chunk)
    return b"".join(chunks)


async def _translate_stream(response: httpx.Response, url: str) -> AsyncIterator[bytes]:
    with _translating(url):
        async for chunk in response.aiter_bytes():
            yield chunk
