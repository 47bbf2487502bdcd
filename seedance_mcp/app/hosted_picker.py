"""Hosted picker: links to a page of a hosted server, one for each picture that a model cannot name.

Any replica serves the page and takes the picture, so a link's state is in the ledger, and who waits asks there.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from seedance_mcp.adapters.media.images import Image
from seedance_mcp.app.picker import LINK_SECONDS
from seedance_mcp.app.web.picker.links import PickerLink
from seedance_mcp.app.web.picker.server import PATH
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.image_names import name_upload
from seedance_mcp.core.objects import Slot
from seedance_mcp.generation.slots import SlotPictures

LOOK_SECONDS = 1
"""How often a call that waits looks whether the picture has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedPicker:
    """The `PicturePicker` protocol for one caller.

    Attributes:
        pictures: The caller's.
        public_url: Under which clients reach the servers, without a slash at its end.
        link_seconds: How long a link waits for its picture.
    """

    pictures: SlotPictures
    public_url: str
    link_seconds: float = LINK_SECONDS

    async def open(self) -> PickerLink:
        """Return a new link.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        opened = await self.pictures.open(seconds=self.link_seconds)
        return self._build_link(opened.slot, opened.token)

    async def find(self, upload_id: str, token: str) -> PickerLink | None:
        """Return the link of a caller's slot, or None once it has ended without a picture."""
        slot = await self.pictures.ledger.find_own_slot(upload_id)
        if slot is None or slot.state == "expired":
            return None
        link = self._build_link(slot, token)
        if slot.state == "filled":
            link.image = await self._read(upload_id)
        return link

    async def find_received(self, name: str) -> Image | None:
        """Return the picture that came over a link of this caller, or None."""
        try:
            return await self.pictures.read(name, now=0)  # the database's clock decides
        except SeedanceError:
            return None

    async def wait(self, link: PickerLink) -> None:
        """Wait until a picture has come over a link, or the link has ended."""
        while link.image is None:
            slot = await self.pictures.ledger.find_own_slot(link.upload_id)
            if slot is None or slot.state == "expired":
                return
            if slot.state == "filled":
                link.image = await self._read(link.upload_id)
                return
            await anyio.sleep(LOOK_SECONDS)

    async def end(self, link: PickerLink) -> None:
        """End a link that no one needs any more."""
        await self.pictures.ledger.end_slot(link.upload_id)

    async def _read(self, upload_id: str) -> Image:
        return await self.pictures.read(name_upload(upload_id), now=0)

    def _build_link(self, slot: Slot, token: str) -> PickerLink:
        url = f"{self.public_url}{PATH}{token}"
        return PickerLink(upload_id=slot.upload_id, token=token, url=url, expires_at=slot.until, is_local=False)
