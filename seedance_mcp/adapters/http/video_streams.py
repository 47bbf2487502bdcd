"""Video streams: a finished video, or the rest of one, from the store that its URL names.

Any other answer to a request for the rest than that rest or the whole video is put aside, and the whole video is
requested. This module must not write files.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import httpx

from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher
from seedance_mcp.adapters.http.transport import inflate_stream, read_encoding, translate_stream
from seedance_mcp.core.errors import StudioRejectedError
from seedance_mcp.core.wire.ranges import Resume, VideoStream, is_requested_range, read_version
from seedance_mcp.core.wire.responses import quote_url

OK, PARTIAL_CONTENT = 200, 206


@asynccontextmanager
async def open_video(
    public_urls: PublicUrlFetcher, url: str, resume: Resume | None, *, loopback_allowed: bool
) -> AsyncGenerator[VideoStream]:
    """Request a video, or the rest of it.

    Args:
        public_urls: Checks the URL and sends the request.
        url: The result's URL.
        resume: The rest that is requested; None for the whole video.
        loopback_allowed: Whether the URL may be on this machine.

    Raises:
        StudioRejectedError: The URL has expired or is not allowed.
        StudioProtocolError: In an encoding that was not requested, or damaged.
        StudioUnreachableError: No answer, or the connection was lost.
    """
    if resume is not None:
        headers = resume.build_headers()
        async with public_urls.stream(url, loopback_allowed=loopback_allowed, headers=headers) as response:
            if response.status_code == OK:  # another video by now, or a store that sends no ranges
                async with _read_whole(response, url) as stream:
                    yield stream
                return
            if _is_rest(response, resume):
                async with aclosing(translate_stream(response, url)) as chunks:
                    yield VideoStream(chunks, resume.start, resume.version)
                return
    async with (
        public_urls.stream(url, loopback_allowed=loopback_allowed) as response,
        _read_whole(response, url) as stream,
    ):
        yield stream


def _is_rest(response: httpx.Response, resume: Resume) -> bool:
    is_partial = response.status_code == PARTIAL_CONTENT and read_encoding(response) == "identity"
    return is_partial and is_requested_range(response.headers, resume)


@asynccontextmanager
async def _read_whole(response: httpx.Response, url: str) -> AsyncGenerator[VideoStream]:
    if response.status_code != OK:
        raise StudioRejectedError(
            f"The result at {quote_url(url)} answered status {response.status_code}.", status=response.status_code
        )
    encoding = read_encoding(response)
    async with aclosing(translate_stream(response, url)) as chunks:
        if encoding == "identity":
            yield VideoStream(chunks, version=read_version(response.headers))
            return
        async with aclosing(inflate_stream(chunks, encoding, f"The result at {quote_url(url)}")) as inflated:
            yield VideoStream(inflated)
