"""Fetching of the media that a generate body names; anything else is refused before a payment settles.

This module reads the studio's own uploads directly and all other files over HTTP, within bounds of size and time. It
decides by content, not by name or header.

Source: the studio's published media rules: any public URL, jpeg/png/gif/webp, at most 10 MB, checked before a
charge. A declared media type is checked, too.
"""

import httpx
from anyio import fail_after

from seedance_mcp.sandbox.api.answers import RefusalError
from seedance_mcp.sandbox.api.contract import GenerateRequest
from seedance_mcp.sandbox.storage.blob import BlobStore

IMAGE_BYTES_MAX = 10 * 1024 * 1024
RECORDING_BYTES_MAX = 20 * 1024 * 1024
FETCH_SECONDS = 15.0
REDIRECTS_MAX = 3
UPLOADS_PREFIX = "uploads/"


_SIGNATURES = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (4, b"ftypM4A ", "audio/mp4"),
    (4, b"ftypqt  ", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
)
"""Where the bytes of a type differ from all others, the first match counts."""


def find_media_type(content: bytes) -> str | None:
    """Return the media type that the first bytes show, or None."""
    for start, signature, media_type in _SIGNATURES:
        if content[start : start + len(signature)] == signature and (start != 8 or content.startswith(b"RIFF")):
            return media_type
    return None


def find_pathname(url: str, origin: str) -> str | None:
    """Return the store's pathname of one of the studio's own URLs, or None for any other URL."""
    prefix = f"{origin}/{UPLOADS_PREFIX}"
    return url[len(origin) + 1 :].partition("?")[0] if url.startswith(prefix) else None


class MediaReader:
    """Reads media by URL."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._client: httpx.AsyncClient | None = None

    async def read(self, wanted: GenerateRequest, origin: str) -> list[bytes]:
        """Return the images and videos of a request, once its sounds were read, too.

        Raises:
            RefusalError: 400 if one is not reachable, not of its declared kind, or too large.
        """
        any_kind = ("image", "video") if wanted.is_scene else ("image",)
        contents: list[bytes] = []
        for index, url in enumerate(wanted.image_urls):
            allowed = (wanted.kinds[index],) if wanted.kinds else any_kind
            contents.append(await self._read_one(url, origin, allowed))
        for url in wanted.sound_urls:
            await self._read_one(url, origin, ("audio",))
        return contents

    async def close(self) -> None:
        """Close the connections to other hosts."""
        if self._client is not None:
            await self._client.aclose()

    async def _read_one(self, url: str, origin: str, kinds: tuple[str, ...]) -> bytes:
        pathname = find_pathname(url, origin)
        if pathname is None:
            content = await self._fetch(url)
        else:
            blob = self._blobs.find_blob(pathname)
            if blob is None:
                raise RefusalError(400, f"Media URL is not reachable: {url}")
            content = blob.content
        found = (find_media_type(content) or "").partition("/")[0]
        if len(content) > (RECORDING_BYTES_MAX if found in ("video", "audio") else IMAGE_BYTES_MAX):
            raise RefusalError(400, f"Media is larger than {20 if found in ('video', 'audio') else 10} MB: {url}")
        if found not in kinds:
            wanted = "a JPEG, PNG, GIF or WebP image" if kinds == ("image",) else f"of type {' or '.join(kinds)}"
            raise RefusalError(400, f"Media is not {wanted}: {url}")
        return content

    async def _fetch(self, url: str) -> bytes:
        if self._client is None:  # created on first use: reading the trusted certificates is slow
            # The default context trusts the file that SSL_CERT_FILE names, so a test may serve images over TLS.
            self._client = httpx.AsyncClient(
                timeout=FETCH_SECONDS,
                follow_redirects=True,
                max_redirects=REDIRECTS_MAX,
                headers={"accept": "image/*"},
            )
        content = bytearray()
        try:
            with fail_after(FETCH_SECONDS):
                async with self._client.stream("GET", url) as response:
                    response.raise_for_status()
                    async for chunk in response.aiter_bytes():
                        content += chunk
                        if len(content) > RECORDING_BYTES_MAX:
                            break
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            raise RefusalError(400, f"Media URL is not reachable: {url}") from exc
        return bytes(content)
