"""The studio client: the HTTP exchanges with a studio.

This module has the bounds (bytes, seconds, redirects), the rules for URLs (TLS, public addresses, no credential after a
redirect), and the two steps of a sign-in. It knows no budget, and keeps only the nonces that it signed; no cookies.

There are two kinds of URLs. Those of the studio, its blob store and the chain come from the owner's settings
(`config`): they are called unchanged, and no redirect is followed. Every other URL (a caller's picture, a finished
video, a redirect) is untrusted, and `public_urls` checks it.
"""

from __future__ import annotations

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import quote, urlsplit

import anyio

from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher, is_loopback
from seedance_mcp.adapters.http.transport import (
    ANSWER_SECONDS,
    Client,
    exchange,
    open_client,
    read_bounded,
    read_retry_after,
    translating,
)
from seedance_mcp.adapters.http.video_streams import open_video
from seedance_mcp.core.errors import StudioProtocolError, StudioRejectedError, StudioUnreachableError
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire import siwx
from seedance_mcp.core.wire.echoes import SentSecrets, clean, clean_bytes
from seedance_mcp.core.wire.edge import BOT_CHECK, EDGE_HINT, find_edge_answer
from seedance_mcp.core.wire.jobs import JobPage, JobStatus, Status, UploadTicket, is_job_id, read_job, read_job_page
from seedance_mcp.core.wire.jobs import read_studio_error as read_error
from seedance_mcp.core.wire.json import encode_json, find_text, parse_json_object
from seedance_mcp.core.wire.kinds import is_url, show_url
from seedance_mcp.core.wire.offers import Credential
from seedance_mcp.core.wire.ranges import Resume, VideoStream
from seedance_mcp.core.wire.responses import PaidRequest, Response, describe_answer, quote_url

PAID_SECONDS = 60
"""How long a paid exchange may take: the studio verifies, executes and settles it before it answers."""
BLOB_SECONDS = 120
IMAGE_SECONDS = 60
DOWNLOAD_SECONDS = 600
"""How long a video's whole download may take; its URL expires after about twenty minutes."""
NONCES_MAX = 4096
"""How many signed nonces are kept, so that none is signed twice."""

ATTEMPTS_MAX = 3
"""How often a free exchange is tried."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A studio: its origin, its blob store, the chain name for sign-ins, and the permission to use loopback."""

    studio_url: str
    blob_url: str
    chain_id: str
    allow_loopback_http: bool


class Studio:
    """One studio over HTTP. Use as an async context manager.

    Args:
        address: The studio.
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
        self._accepts_prepared_sign_ins = True
        self._client = open_client(allow_loopback_http=address.allow_loopback_http)
        self._public_urls = PublicUrlFetcher()
        self._sent = SentSecrets()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._public_urls.aclose()
        await self._client.aclose()

    @property
    def allows_loopback(self) -> bool:
        """Return True if untrusted URLs may be on this machine, which requires that the studio is, too."""
        return self._address.allow_loopback_http and is_loopback(urlsplit(self.origin).hostname or "")

    @property
    def http(self) -> Client:
        """Return the HTTP client, which `adapters.chain` shares."""
        return self._client

    @property
    def origin(self) -> str:
        """Return scheme, host and port of the studio."""
        return self._address.studio_url

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def fetch_openapi(self) -> bytes:
        """Download `/openapi.json`.

        Raises:
            StudioError: No answer, or not a document.
        """
        response = await self._repeat("GET", f"{self.origin}/openapi.json")
        if response.status != 200:
            raise self._rejected("The studio's openapi.json", response)
        parse_json_object(response.body, "The studio's openapi.json")
        return response.body

    async def send(self, request: PaidRequest) -> Response:
        """Send a paid request without a payment, to get its price; the usual answer is 402.

        Raises:
            StudioUnreachableError: No answer in time, or the studio is overloaded or fails.
        """
        return await self._repeat("POST", request.url, body=request.body)

    async def send_paid(self, request: PaidRequest, credential: Credential) -> Response:
        """Send a paid request with its credential once; repeat nothing and follow no redirect.

        Raises:
            StudioUnreachableError: The connection was lost; it is unknown if the money moved.
        """
        return await self._exchange(
            "POST",
            request.url,
            body=request.body,
            headers={credential.header: credential.value},
            timeout_seconds=PAID_SECONDS,
        )

    async def put_blob(self, ticket: UploadTicket, data: bytes, media_type: str) -> str:
        """PUT an image's bytes to a paid upload slot.

        Returns:
            The uploaded image's URL.

        Raises:
            StudioRejectedError: The ticket has expired or does not fit the bytes.
            StudioError: No usable answer.

        Source: contract section 9.
        """
        if ticket.is_scrubbed:
            raise StudioRejectedError("The upload ticket has expired.", status=403)
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
        if not is_url(url):
            raise StudioProtocolError(f"The studio took the image's bytes, but names no URL for them: {show_url(url)}.")
        try:
            await self._public_urls.check(url, loopback_allowed=self.allows_loopback)
        except StudioRejectedError as exc:  # not the ticket's fault: paying for another one would not help
            raise StudioProtocolError(f"The studio took the image's bytes, but: {exc.what}") from exc
        return url

    async def confirm_upload(self, ticket: UploadTicket, image_url: str) -> None:
        """Confirm a finished upload to the studio. Signed in, free."""
        body = encode_json({"uploadId": ticket.upload_id, "blobUrl": image_url})
        response = await self._signed("POST", f"{self.origin}/api/upload/confirm", body=body)
        if response.status != 200:
            raise self._rejected("The confirmation of the upload", response)

    async def fetch_job(self, job_id: str) -> JobStatus:
        """Read `/api/jobs/{id}`, signed in.

        Raises:
            StudioRejectedError: Unknown to the studio (404) or another wallet's (403).
            StudioProtocolError: The answer is not a job, or another one.
            StudioError: No usable answer.
        """
        if not is_job_id(job_id):
            raise StudioRejectedError(f"{quote_text(job_id, 60)} cannot be a job id.", status=404)
        response = await self._signed("GET", f"{self.origin}/api/jobs/{job_id}")
        if response.status != 200:
            raise self._rejected(f"The request for job {job_id}", response)
        return read_job(response.body, job_id, loopback_http=self.allows_loopback)

    async def list_jobs(self, *, limit: int = 100, cursor: str | None = None, status: Status | None = None) -> JobPage:
        """Read one page of `/api/jobs`, signed in; only jobs of a status, as far as the studio heeds it.

        Raises:
            StudioProtocolError: The page is unreadable, which does not mean that there are no jobs.
            StudioError: No usable answer.
        """
        query = f"?limit={limit}" + (f"&status={status}" if status else "")
        query += f"&cursor={quote(cursor, safe='')}" if cursor else ""
        response = await self._signed("GET", f"{self.origin}/api/jobs{query}")
        if response.status != 200:
            raise self._rejected("The list of jobs", response)
        return read_job_page(response.body, loopback_http=self.allows_loopback)

    # ── media ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def is_hosted(self, url: str) -> bool:
        """Return True if an uploaded image still exists, or if the studio gives no clear answer."""
        try:
            with translating(url), anyio.fail_after(ANSWER_SECONDS):
                checked = await self._public_urls.check(url, loopback_allowed=self.allows_loopback)
                response = await self._public_urls.open(checked, method="HEAD")
                await response.aclose()
                headers = [(name.lower(), value) for name, value in response.headers.multi_items()]
        except StudioUnreachableError:
            return True
        except StudioRejectedError:  # not a URL that we accept
            return False
        gone = response.status_code in (403, 404, 410)
        return not gone or find_edge_answer(response.status_code, headers, b"") == BOT_CHECK

    async def fetch_image(self, url: str, *, bytes_max: int, public_only: bool = False) -> bytes:
        """Download an image from a caller's URL; every address is checked, also after redirects.

        Args:
            url: The URL.
            bytes_max: The largest image that is read.
            public_only: Refuse this machine also where the studio itself is on it: the caller is not.

        Raises:
            StudioRejectedError: Not https, not public, not found, or larger than `bytes_max`.
            StudioUnreachableError: No answer.
        """
        with translating(url), anyio.fail_after(IMAGE_SECONDS):
            allowed = self.allows_loopback and not public_only
            async with self._public_urls.stream(url, loopback_allowed=allowed) as response:
                if response.status_code != 200:
                    raise StudioRejectedError(f"{quote_url(url)} answered status {response.status_code}.", status=404)
                try:
                    return await read_bounded(response, bytes_max, "The image at", url)
                except StudioProtocolError as exc:
                    raise StudioRejectedError(exc.what, status=413) from exc

    @asynccontextmanager
    async def stream_video(self, url: str, resume: Resume | None = None) -> AsyncGenerator[VideoStream, None]:
        """Stream a finished video, or the rest of one; the whole block takes at most `DOWNLOAD_SECONDS`.

        Raises:
            StudioRejectedError: The URL has expired or is not allowed.
            StudioProtocolError: In an encoding that was not requested, or damaged.
            StudioUnreachableError: No answer, too slow, or the connection was lost.
        """
        with translating(url), anyio.fail_after(DOWNLOAD_SECONDS):
            allowed = self.allows_loopback
            async with open_video(self._public_urls, url, resume, loopback_allowed=allowed) as stream:
                yield stream

    # ── signed in ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _signed(self, method: str, url: str, *, body: bytes | None = None) -> Response:
        """Make a free exchange with a sign-in: a prepared one, or one for the studio's challenge."""
        if self._accepts_prepared_sign_ins:
            prepared = siwx.prepare_sign_in(
                url=url, chain_id=self._address.chain_id, nonce=secrets.token_hex(16), now=self._now()
            )
            response = await self._present(method, url, prepared, body=body)
            if response.status != 402:
                return response
            self._accepts_prepared_sign_ins = False  # this studio requires its own challenge: request it from now on
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
            raise StudioProtocolError("The studio requested two sign-ins with one nonce.")
        self._signed_nonces[sign_in.nonce] = None
        if len(self._signed_nonces) > NONCES_MAX:
            self._signed_nonces.popitem(last=False)
        address, signature = await self._sign_in(lambda address: siwx.build_message(sign_in, address))
        header = siwx.encode_sign_in(sign_in, address, signature)
        return await self._exchange(method, url, body=body, headers={siwx.SIGN_IN_HEADER: header})

    # ── one exchange ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _exchange(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Response:
        """Make one exchange, and remove from the answer every secret of ours that it repeats."""
        for name, value in (headers or {}).items():
            self._sent.add(name, value)
        seconds = ANSWER_SECONDS if timeout_seconds is None else timeout_seconds
        response = await exchange(self._client, method, url, body=body, headers=headers, timeout_seconds=seconds)
        texts = (response.body.decode("latin-1"), *(value for _, value in response.headers))
        secrets = self._sent.find_in("\n".join(texts))
        if not secrets:
            return response
        cleaned = [(name, clean(value, secrets)) for name, value in response.headers]
        return replace(response, headers=cleaned, body=clean_bytes(response.body, secrets))

    async def _repeat(self, method: str, url: str, *, body: bytes | None = None) -> Response:
        """Make a free exchange, and try again if the studio is overloaded or fails.

        Raises:
            StudioUnreachableError: It still fails after `ATTEMPTS_MAX`, or a bot check answers, which is not retried.
        """
        reason, retry_after, answered = "", None, False
        for attempt in range(ATTEMPTS_MAX):
            try:
                response = await self._exchange(method, url, body=body)
            except StudioUnreachableError as exc:
                reason, retry_after, answered, pause_seconds = exc.what, None, False, 0.5 * 2**attempt
            else:
                if find_edge_answer(response.status, response.headers, response.body) is not None:
                    raise _edge_error(f"The request to {quote_url(url)} failed", response)
                if response.status != 429 and response.status < 500:
                    return response
                reason, answered = f"The studio answered {describe_answer(response)}.", True
                retry_after = read_retry_after(response, self._now())
                pause_seconds = retry_after or 0.5 * 2**attempt
            if attempt + 1 < ATTEMPTS_MAX:
                await anyio.sleep(min(pause_seconds, ANSWER_SECONDS / 3))
        raise StudioUnreachableError(
            reason, "Try again in a minute.", retry_after_seconds=retry_after, answered=answered
        )

    def _rejected(self, what: str, response: Response) -> StudioRejectedError | StudioUnreachableError:
        if find_edge_answer(response.status, response.headers, response.body) is not None:
            return _edge_error(f"{what} failed", response)
        if response.status == 429 or response.status >= 500:
            return StudioUnreachableError(
                f"{what} failed: {describe_answer(response)}.",
                "Try again in a minute.",
                retry_after_seconds=read_retry_after(response, self._now()),
                answered=True,
            )
        return StudioRejectedError(f"{what} was refused: {describe_answer(response)}.", status=response.status)


def _edge_error(what: str, response: Response) -> StudioUnreachableError:
    """Return the error for an answer that is not the studio's: the request is not at fault."""
    return StudioUnreachableError(f"{what}: {describe_answer(response)}.", EDGE_HINT, answered=True)
