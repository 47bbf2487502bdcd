"""Slots: pictures that people gave over links to any replica, in the store that all share.

A slot is a caller's; its token is in the link alone, and the ledger has the hash. A picture counts once it was decoded
and stored under its own hash. Which of several pictures for one slot counts, the ledger decides. Must not serve a page.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from seedance_mcp.adapters.media.given import (
    NAME_CHARACTERS_MAX,
    changed_error,
    expired_error,
    missing_error,
    unknown_error,
)
from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, Image, prepare_image
from seedance_mcp.adapters.storage.store import ObjectStore
from seedance_mcp.core.image_names import UPLOAD_ID_BYTES, find_upload_id, name_upload
from seedance_mcp.core.objects import HostedLedger, Slot, StoredObject, name_picture_key
from seedance_mcp.core.texts import quote_text

TOKEN_BYTES = 24
UNKNOWN_TYPE = "application/octet-stream"
"""A picture is stored as it came, and no one is sent it under a type."""


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """A new slot, and the token of its link, which is nowhere else."""

    slot: Slot
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SlotPictures:
    """The `GivenPictures` protocol on slots.

    Attributes:
        ledger: Has the slots of one caller, and finds any by its token.
        store: Has the pictures.
    """

    ledger: HostedLedger
    store: ObjectStore

    async def open(self, *, seconds: float) -> OpenSlot:
        """Make a slot that waits so long.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        upload_id, token = secrets.token_hex(UPLOAD_ID_BYTES), secrets.token_hex(TOKEN_BYTES)
        return OpenSlot(await self.ledger.open_slot(hash_token(token), upload_id, seconds=seconds), token)

    async def find(self, token: str) -> Slot | None:
        """Return the slot of a token."""
        return await self.ledger.find_slot(hash_token(token))

    async def fill(self, token: str, image: Image, data: bytes) -> bool:
        """Store a decoded picture and give it to the slot of a token; returns False if another one was faster.

        Args:
            token: Of the slot.
            image: The picture.
            data: Its bytes as they came.

        Raises:
            StorageError, LedgerError: It cannot be stored.
        """
        key = name_picture_key(image.sha256)
        stored = StoredObject(key=key, sha256=image.sha256, size_bytes=len(data), media_type=UNKNOWN_TYPE)
        await self.ledger.record_object(stored)  # first: what is being stored is not old
        await self.store.put_bytes(stored, data)
        return await self.ledger.fill_slot(hash_token(token), key)

    async def read(self, name: str, *, now: float) -> Image:
        """Read a picture of this caller and prepare it; see `GivenPictures`. The database's clock decides.

        Raises:
            ImageError: The id is unknown or expired, or its picture has not come.
            StorageError: The store cannot be read.
        """
        upload_id = find_upload_id(name)
        if upload_id is None:
            raise unknown_error(quote_text(name, NAME_CHARACTERS_MAX))
        shown = name_upload(upload_id)
        slot = await self.ledger.find_own_slot(upload_id)
        if slot is None:
            raise unknown_error(shown)
        if slot.state == "waiting":
            raise missing_error(shown)
        if slot.state == "expired" or slot.object_key is None:
            raise expired_error(shown)
        return await self._read_object(slot.object_key, shown)

    async def _read_object(self, key: str, shown: str) -> Image:
        if await self.store.find_size(key) is None:
            raise expired_error(shown)
        data = b"".join([chunk async for chunk in self.store.read(key, end=IMAGE_BYTES_MAX + 1)])
        image = await prepare_image(data, f"The picture {shown}")
        if name_picture_key(image.sha256) != key:
            raise changed_error(shown)
        return image


def hash_token(token: str) -> str:
    """Return what the ledger has of a token; looking it up takes a time that says nothing about the token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
