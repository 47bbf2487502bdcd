"""Ranges: the parts of HTTP by which a download that broke off continues where it was.

A store names the exact content of a file by a strong ETag. A client that has a part of that content requests the rest
under this name. This module must not trust an answer: what was received is compared and checked by `adapters.media`.

Source: RFC 9110, sections 8.8.3 (ETag), 13.1.5 (If-Range), 14.2 (Range), 14.4 (Content-Range) and 15.3.7 (206).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_LENGTH = re.compile(r"[0-9]{1,15}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Version:
    """The exact content of a file, as a store names it.

    Attributes:
        etag: A strong ETag, with its quotation marks.
        total_bytes: How many bytes the file has.
    """

    etag: str
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Resume:
    """The rest of a file, from a position that is smaller than its length."""

    version: Version
    start: int

    def build_headers(self) -> dict[str, str]:
        """Build the headers of the request; a store whose file is another one by now sends it whole."""
        return {"range": f"bytes={self.start}-", "if-range": self.version.etag}


@dataclass(frozen=True, slots=True)
class VideoStream:
    """A video, or the rest of one, as it is received.

    Attributes:
        chunks: Its bytes.
        start: The position of the first of them in the file.
        version: The name of the content; None if the download cannot be resumed.
    """

    chunks: AsyncIterator[bytes]
    start: int = 0
    version: Version | None = None


OpenStream = Callable[[Resume | None], AbstractAsyncContextManager[VideoStream]]
"""Opens a video whole, or the rest of it if the store allows that."""


def is_strong_etag(text: str) -> bool:
    """Return True for one ETag that names the exact bytes."""
    return _STRONG_ETAG.fullmatch(text) is not None


def read_version(headers: Mapping[str, str]) -> Version | None:
    """Read the name of a whole content from the headers of a 200 answer.

    Args:
        headers: By lower-case name.

    Returns:
        The version, or None if the store names none, or sends no ranges.
    """
    etag, length = headers.get("etag", ""), headers.get("content-length", "")
    if headers.get("accept-ranges", "").lower() == "none" or not is_strong_etag(etag) or not _LENGTH.fullmatch(length):
        return None
    return Version(etag, int(length)) if int(length) else None


def is_requested_range(headers: Mapping[str, str], resume: Resume) -> bool:
    """Return True if a 206 answer is the rest that was requested, by its headers (lower-case names)."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    total = resume.version.total_bytes
    return (
        found is not None
        and tuple(map(int, found.groups())) == (resume.start, total - 1, total)
        and headers.get("etag", resume.version.etag) == resume.version.etag
        and headers.get("content-length", str(total - resume.start)) == str(total - resume.start)
    )
