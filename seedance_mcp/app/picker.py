"""Picker: links to a local page, one for each picture that a model cannot name.

The page is served in this process while a link needs it, on a free port of the loopback address. Nothing is loaded or
listened to before the first link. A picture costs nothing until something is bought with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import secrets
import socket
import time
from collections.abc import Callable
from typing import Protocol

import anyio

from seedance_mcp.adapters.media.images import Image
from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.app.web.door import open_door, serving
from seedance_mcp.app.web.picker.links import PickerLink
from seedance_mcp.app.web.picker.server import PATH, build_app
from seedance_mcp.app.web.receiving import BODY_SECONDS
from seedance_mcp.core.concurrency import Start
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.image_names import UPLOAD_ID_BYTES
from seedance_mcp.jobs.retention import prune_received

LINK_SECONDS = 900
"""How long a link waits for its picture."""
LINGER_SECONDS = 60
"""How long the page of a link that is used or expired is still served, to say so."""
LINKS_MAX = 32
"""Most links at a time; another one ends the oldest."""
TOKEN_BYTES = 24


class PicturePicker(Protocol):
    """Opens links to a page on which a person gives a picture."""

    async def open(self) -> PickerLink:
        """Return a new link."""
        ...

    async def find(self, upload_id: str, token: str) -> PickerLink | None:
        """Return the link of an id and a token, or None once it has ended."""
        ...

    async def find_received(self, name: str) -> Image | None:
        """Return the picture that came over a link that has ended, or None."""
        ...

    async def wait(self, link: PickerLink) -> None:
        """Wait until a picture has come over a link, or no picture can come any more."""
        ...

    async def end(self, link: PickerLink) -> None:
        """End a link that no one needs any more."""
        ...


class Picker:
    """Opens links and serves their page on this machine.

    Args:
        received: Where pictures are stored.
        profile: Name of the owner's profile, which the page shows.
        start: Starts a background task.
        link_seconds: How long a link waits for its picture.
        now: Unix seconds.
    """

    def __init__(
        self,
        received: ReceivedPictures,
        *,
        profile: str,
        start: Start,
        link_seconds: float = LINK_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._received = received
        self._profile = profile
        self._start = start
        self._link_seconds = link_seconds
        self._now = now
        self._links: dict[str, PickerLink] = {}
        self._origin: str | None = None
        self._changed = anyio.Event()

    async def open(self) -> PickerLink:
        """Return a new link, and serve its page.

        Raises:
            ConfigError: No port can be listened to.
            ImageError: The data folder cannot be written.
        """
        with contextlib.suppress(SeedanceError):  # tidying up must stop nothing
            await prune_received(self._received, older_than_days=None, now=self._now())
        upload_id, token = secrets.token_hex(UPLOAD_ID_BYTES), secrets.token_hex(TOKEN_BYTES)
        expires_at = math.floor(self._now() + self._link_seconds)
        await self._received.announce(upload_id, expires_at=expires_at)
        origin = self._origin or self._serve()
        link = PickerLink(upload_id=upload_id, token=token, url=f"{origin}{PATH}{token}", expires_at=expires_at)
        self._links[_hash(token)] = link
        self._drop_ended()
        self._wake()
        return link

    async def find(self, upload_id: str, token: str) -> PickerLink | None:
        """Return the link of an id and a token, or None once it has ended."""
        link = self._find(token)
        return link if link is not None and link.upload_id == upload_id else None

    async def find_received(self, name: str) -> Image | None:
        """Return the picture that came over a link that has ended, or None.

        Args:
            name: `upload:` and the link's id.
        """
        try:
            return await self._received.read(name, now=self._now())
        except SeedanceError:
            return None

    async def wait(self, link: PickerLink) -> None:
        """Wait until a picture has come over a link."""
        await link.filled.wait()

    async def end(self, link: PickerLink) -> None:
        """End a link that no one needs any more."""
        self._links.pop(_hash(link.token), None)
        self._wake()

    def close(self) -> None:
        """End all links, and stop serving."""
        self._links.clear()
        self._wake()

    def _serve(self) -> str:
        """Start to serve; returns the origin."""
        door, origin = open_door(0, name="The page for a picture")
        self._origin = origin
        self._start(lambda: self._serve_while_needed(door, origin))
        return origin

    async def _serve_while_needed(self, door: socket.socket, origin: str) -> None:
        app = build_app(self._find, self._received, origin=origin, profile=self._profile, now=self._now)
        try:
            async with serving(app, door):
                while self._links:
                    self._changed = anyio.Event()
                    end_at = max(map(_find_end, self._links.values()))
                    with anyio.move_on_after(max(end_at - self._now(), 0)):
                        await self._changed.wait()
                    self._drop_ended()
                self._forget(origin)
        finally:
            self._forget(origin)

    def _forget(self, origin: str) -> None:
        """Serve a later link at another port."""
        if self._origin == origin:
            self._origin = None

    def _find(self, token: str) -> PickerLink | None:
        return self._links.get(_hash(token))

    def _drop_ended(self) -> None:
        now = self._now()
        kept = {key: link for key, link in self._links.items() if _find_end(link) > now}
        self._links = dict(list(kept.items())[-LINKS_MAX:])

    def _wake(self) -> None:
        self._changed.set()


def _find_end(link: PickerLink) -> float:
    """Return when the page of a link is no longer served, in Unix seconds."""
    used_at = link.expires_at if link.image is None else link.filled_at
    return used_at + LINGER_SECONDS + (BODY_SECONDS if link.receiving else 0)


def _hash(token: str) -> str:
    """Return the key of a token: looking it up takes a time that says nothing about it."""
    return hashlib.sha256(token.encode()).hexdigest()
