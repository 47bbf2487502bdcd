"""Fetching of the images that a generate body names; anything else is refused before a payment settles.

This module reads the studio's own uploads directly and all other images over HTTP, within bounds of size and time. It
decides by content, not by name or header.

Source: the studio's published media rules: any public URL, jpeg/png/gif/webp, at most 10 MB, checked before a
charge.
"""

import httpx
from anyio import fail_after

from seedance_mcp.sandbox.api.answers import RefusalError
from seedance_mcp.sandbox.storage.blob import BlobStore

IMAGE_BYTES_MAX = 10 * 1024 * 1024
FETCH_SECONDS = 15.0
REDIRECTS_MAX = 3
UPLOADS_PREFIX = "uploads/"


def find_media_type(content: bytes) -> str | None:
    """Return the image type that the first bytes show, or None."""
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None


def find_pathname(url: str, origin: str) -> str | None:
    """Return the store's pathname of one of the studio's own URLs, or None for any other URL."""
    prefix = f"{origin}/{UPLOADS_PREFIX}"
    return url[len(origin) + 1 :].partition("?")[0] if url.startswith(prefix) else None


class MediaReader:
    """Reads images by URL."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._client: httpx.AsyncClient | None = None

    async def read(self, urls: tuple[str, ...], origin: str) -> list[bytes]:
        """Return the images at the URLs.

        Raises:
            RefusalError: 400 if one is not reachable, not an image, or too large.
        """
        return [await self._read_one(url, origin) for url in urls]

    async def close(self) -> None:
        """Close the connections to other hosts."""
        if self._client is not None:
            await self._client.aclose()

    async def _read_one(self, url: str, origin: str) -> bytes:
        pathname = find_pathname(url, origin)
        if pathname is None:
            content = await self._fetch(url)
        else:
            blob = self._blobs.find_blob(pathname)
            if blob is None:
                raise RefusalError(400, f"Media URL is not reachable: {url}")
            content = blob.content
        if len(content) > IMAGE_BYTES_MAX:
            raise RefusalError(400, f"Media is larger than 10 MB: {url}")
        if find_media_type(content) is None:
            raise RefusalError(400, f"Media is not a JPEG, PNG, GIF or WebP image: {url}")
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
                        if len(content) > IMAGE_BYTES_MAX:
                            break
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            raise RefusalError(400, f"Media URL is not reachable: {url}") from exc
        return bytes(content)
