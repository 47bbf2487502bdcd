"""Objects and slots: the records of files that replicas share, and the ledger's part in them. Pure.

An object is a finished file under a key. A slot is a place for one picture, which comes over a link.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from seedance_mcp.core.wire.json import Json

VIDEOS, THUMBNAILS, PICTURES = "videos/", "thumbnails/", "pictures/"
"""What the keys begin with."""
KEY_CHARACTERS_MAX = 200

SlotState = Literal["waiting", "filled", "expired"]

_HASHED = "sha256-"
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_KEY = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[a-z0-9]+)?")


@dataclass(frozen=True, slots=True)
class BucketKey:
    """A key pair of an object store, and its token where it is a temporary one."""

    id: str = field(repr=False)
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAddress:
    """Where a bucket is.

    Attributes:
        bucket: Its name.
        prefix: What all its keys of ours begin with, without a slash at either end; may be empty.
        endpoint: URL of the store; None for the one of the region.
        region: Where it is; None for the usual one.
        key: Signs requests; None for a role of the machine.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    key: BucketKey | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Return bucket and prefix as the setting has them."""
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """A file in the object store.

    Attributes:
        key: Its name there.
        sha256: Of its bytes.
    """

    key: str
    sha256: str
    size_bytes: int
    media_type: str


class StoredVideo(Protocol):
    """What a link to a video needs to know of a job or a film."""

    @property
    def job_id(self) -> str:
        """Return its id."""
        ...

    @property
    def arguments(self) -> Json:
        """Return its arguments: their prompt names the file."""
        ...

    @property
    def video_key(self) -> str | None:
        """Return the key of its video in the object store, or None."""
        ...

    @property
    def pruned_at(self) -> float | None:
        """Return when the video was deleted because of its age, Unix seconds, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place for one picture.

    Attributes:
        upload_id: What the picture is named by.
        caller: Whom it belongs to.
        state: By the database's clock.
        until: When it stops waiting, Unix seconds.
        object_key: Where its picture is, once it has come.
    """

    upload_id: str
    caller: str
    state: SlotState
    until: float
    object_key: str | None


def name_video_key(job_id: str, extension: str) -> str:
    """Return the key of a job's video, whatever the studio put into the job's id."""
    return f"{VIDEOS}{_name_job(job_id)}.{extension}"


def name_thumbnail_key(job_id: str) -> str:
    """Return the key of a job's thumbnail."""
    return f"{THUMBNAILS}{_name_job(job_id)}.jpg"


def name_picture_key(sha256: str) -> str:
    """Return the key of a picture that a person gave."""
    return PICTURES + sha256


def is_key(text: str) -> bool:
    """Return True for a key as this module makes them: a folder, a plain name, and perhaps an extension."""
    return len(text) <= KEY_CHARACTERS_MAX and _KEY.fullmatch(text) is not None


def _name_job(job_id: str) -> str:
    """Return a plain id as it is, and any other one as a hash, whose prefix no plain one has."""
    if _PLAIN_ID.fullmatch(job_id) and not job_id.startswith(_HASHED):
        return job_id
    return _HASHED + hashlib.sha256(job_id.encode("utf-8", "replace")).hexdigest()


class ObjectLedger(Protocol):
    """What the ledger knows of objects. Every method raises `LedgerError` if the ledger cannot be used."""

    async def record_object(self, stored: StoredObject) -> None:
        """Write an object's facts before its file is stored; its age begins again."""
        ...

    async def find_object(self, key: str) -> StoredObject | None:
        """Return the facts of an object."""
        ...

    async def list_old_objects(self, *, older_than_seconds: float | None, unused_seconds: float) -> list[str]:
        """Return the keys of what must go: objects past an age, and pictures that nothing was bought with.

        Args:
            older_than_seconds: The age; None keeps all but unused pictures.
            unused_seconds: The age of an unused picture.
        """
        ...

    async def mark_object_pruned(self, key: str, *, pruned_at: float) -> None:
        """Write that the video with this key is deleted because of its age; its thumbnail goes with it."""
        ...

    async def drop_object(
        self, key: str, *, older_than_seconds: float, delete: Callable[[str], Awaitable[None]]
    ) -> bool:
        """Delete an object that is older than an age, file first; no one stores it again until this has ended.

        Returns:
            False if it is younger by now, or another process is deleting it.
        """
        ...


class SlotLedger(Protocol):
    """Slots of one caller. Every method raises `LedgerError` if the ledger cannot be used."""

    async def open_slot(self, token_sha256: str, upload_id: str, *, seconds: float) -> Slot:
        """Make a slot; the oldest ones that wait end where the caller has too many."""
        ...

    async def find_slot(self, token_sha256: str) -> Slot | None:
        """Return the slot of a token of any caller: the token is the right to use it."""
        ...

    async def find_own_slot(self, upload_id: str) -> Slot | None:
        """Return a slot of this caller by its id."""
        ...

    async def fill_slot(self, token_sha256: str, object_key: str) -> bool:
        """Write where the picture of a slot is; returns False if it waits no more. Only one of many does it."""
        ...

    async def end_slot(self, upload_id: str) -> None:
        """End a slot of this caller that waits."""
        ...

    async def drop_old_slots(self, *, unused_seconds: float) -> int:
        """Delete the slots that ended, or whose picture went unused, for longer than this; returns their number."""
        ...


class HostedLedger(ObjectLedger, SlotLedger, Protocol):
    """What a ledger of several replicas does in addition."""
