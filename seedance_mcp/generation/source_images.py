"""Source images: from the path or URL of an image to its bytes and its identity; the same for a reference.

An https URL is read and used as it is. A local picture is read from the folders that the owner allows, and one that was
given on a page of ours by its id. Must not upload or buy anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from seedance_mcp.adapters.media.files import read_file
from seedance_mcp.adapters.media.given import GivenPictures
from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, Image, prepare_image
from seedance_mcp.adapters.media.recordings import Recording, find_kind, prepare_reference
from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.concurrency import SingleFlight
from seedance_mcp.core.errors import ImageError, StudioRejectedError
from seedance_mcp.core.image_names import (
    CHAT_HINT,
    NAME_HINT,
    find_url,
    has_chat_scheme,
    is_data_uri,
    is_upload,
    read_data_uri,
)
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.next_steps import NextStep, PickPicture
from seedance_mcp.core.records import UrlSnapshot
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.generation import MediaKind
from seedance_mcp.core.wire.responses import quote_url

Prepare: TypeAlias = Callable[[bytes, str], Awaitable[Image | Recording]]
"""Recognises the bytes of a file, which an error calls by the second argument."""

REMOTE_HINT = NextStep("{0}. Or give an https URL of the picture, or a data: URI.", PickPicture())
"""What to do where a caller on another machine names a file."""
FETCHED_SECONDS = 120
"""How long a picture that no caller waited for is kept for the call that asks for it again."""
SNAPSHOT_SECONDS = 25 * 3600
"""How long after its last use a URL means the picture that was first seen there, whatever its host answers by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image that the caller named, decoded; or a video or a sound, which has no size.

    Attributes:
        sha256: Of the file's bytes: its identity, wherever it comes from.
        url: Where the studio can read it already, or None.
        width: Of the picture as a person sees it, in pixels.
        height: The same.
        image: Its prepared bytes, or None if it is an upload of ours.
        was_url: Whether the caller named a URL that the studio could not use as it is.
        kind: What it is.
    """

    sha256: str
    url: str | None
    width: int
    height: int
    image: Image | Recording | None
    was_url: bool = False
    kind: MediaKind = "image"

    @property
    def frame(self) -> Image | None:
        """Return the decoded picture; None for a video, a sound, or an upload of ours."""
        return self.image if isinstance(self.image, Image) else None

    @property
    def changes(self) -> tuple[str, ...]:
        """Return what was done to the bytes that are sent, in words; nothing for a URL that is used as it is."""
        return () if self.frame is None or self.url is not None else self.frame.changes

    @property
    def sent_size(self) -> tuple[int, int]:
        """Return width and height of what the studio gets, in pixels."""
        return (self.width, self.height) if self.frame is None or self.url is not None else self.frame.sent_size


def list_media_types(pictures: Iterable[Picture]) -> list[str]:
    """Return the media types of the bytes that would be uploaded."""
    return [picture.image.media_type for picture in pictures if picture.image is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImages:
    """Reads the images that callers name.

    Attributes:
        fetches: Files at other hosts that are being read, by what they are to be and their URL.
        given: Pictures that a person gave on a page of ours.
        image_dirs: Folders that local pictures may come from; empty: any but hidden and system folders. None: callers
            are on other machines, so that no file, and no URL on this machine, is theirs to name.
        now: Unix seconds.
    """

    ledger: Ledger
    studio: Studio
    fetches: SingleFlight[Picture]
    given: GivenPictures
    image_dirs: tuple[Path, ...] | None
    now: Callable[[], float]

    async def load(self, image: str) -> Picture:
        """Read what the caller calls an image: a path, an https URL, a URL that we uploaded to, or `upload:` and an id.

        Raises:
            ImageError: Not there, not allowed, too large, or not a picture.
            StudioUnreachableError: The URL's host does not answer.
        """
        if not image.strip():
            raise ImageError("No image was named.", REMOTE_HINT if self.image_dirs is None else NAME_HINT)
        return await self._load(image, "picture", prepare_image)

    async def load_reference(self, name: str) -> Picture:
        """Read what the caller calls a reference: a picture, a video or a sound, named as an image is.

        Raises:
            ImageError: Not there, not allowed, too large, or none of these.
            StudioUnreachableError: The URL's host does not answer.
        """
        if not name.strip():
            raise ImageError("A reference has no name.", REMOTE_HINT if self.image_dirs is None else NAME_HINT)
        return await self._load(name, "file", prepare_reference)

    async def _load(self, name: str, noun: str, prepare: Prepare) -> Picture:
        url = find_url(name)
        if url is not None:
            return await self._load_url(url, noun, prepare)
        found = await self._read(name, noun, prepare)
        return Picture(
            sha256=found.sha256,
            url=None,
            width=found.width,
            height=found.height,
            image=found,
            kind=find_kind(found.media_type),
        )

    async def _read(self, image: str, noun: str, prepare: Prepare) -> Image | Recording:
        """Read a file that is in the argument itself, was given on a page of ours, or is on this machine."""
        if is_data_uri(image):
            return await prepare(read_data_uri(image), f"The {noun} in the data: URI")
        if is_upload(image):
            return await self.given.read(image, now=self.now())
        if self.image_dirs is None:
            raise ImageError(
                f"{quote_text(image, 80)} is not on this server, which reads no files of its callers.", REMOTE_HINT
            )
        if has_chat_scheme(image):
            raise ImageError(f"{quote_text(image, 80)} is inside the chat, not on this machine.", CHAT_HINT)
        return await prepare(*await read_file(image, self.image_dirs))

    async def _load_url(self, url: str, noun: str, prepare: Prepare) -> Picture:
        upload = await self.ledger.find_upload_by_url(url, studio=self.studio.origin)
        if upload is not None:
            return Picture(
                sha256=upload.sha256,
                url=url,
                width=upload.width,
                height=upload.height,
                image=None,
                kind=find_kind(upload.media_type),
            )
        if not url.lower().startswith("https://") and not self._may_be_plain(url):
            raise ImageError(f"{quote_url(url)} is plain http.", self._url_hint)
        # A slow host may take longer than one call: the reading goes on, and the next call finds it done.
        fetched = await self.fetches.run(f"{noun} {url}", lambda: self._fetch(url, noun, prepare))
        return await self._recognize(fetched, url)

    async def _recognize(self, picture: Picture, url: str) -> Picture:
        """Identify a URL by the picture that was first seen there, whatever its host returns now."""
        now = self.now()
        snapshot = await self.ledger.find_url_snapshot(url, since=now - SNAPSHOT_SECONDS)
        if snapshot is not None:
            picture = replace(picture, sha256=snapshot.sha256)
            if snapshot.width and picture.width:  # a video has no size
                picture = replace(picture, width=snapshot.width, height=snapshot.height)
        await self.ledger.remember_url(
            UrlSnapshot(url=url, sha256=picture.sha256, width=picture.width, height=picture.height, seen_at=now)
        )
        return picture

    async def _fetch(self, url: str, noun: str, prepare: Prepare) -> Picture:
        try:
            data = await self.studio.fetch_image(url, bytes_max=IMAGE_BYTES_MAX, public_only=self.image_dirs is None)
        except StudioRejectedError as exc:
            raise ImageError(exc.what, self._url_hint) from exc
        image = await prepare(data, f"The {noun} at that URL")
        is_readable = isinstance(image, Recording) or image.is_readable_as_it_is
        return Picture(
            sha256=image.sha256,
            url=url if is_readable else None,
            width=image.width,
            height=image.height,
            image=image,
            was_url=not is_readable,
            kind=find_kind(image.media_type),
        )

    @property
    def _url_hint(self) -> NextStep:
        if self.image_dirs is None:
            return NextStep("Give an https URL that anyone can open, or {0}.", PickPicture())
        return NextStep("Give an https URL that anyone can open, or a local path.")

    def _may_be_plain(self, url: str) -> bool:
        """Plain http is for this machine alone, and for a studio that is on it; `studio` checks the address."""
        if self.image_dirs is None:
            return False
        try:
            return self.studio.allows_loopback and urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        except ValueError:
            return False
