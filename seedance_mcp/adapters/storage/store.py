"""Object store: what every kind of store does. Knows no job, no caller and no ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Protocol

from seedance_mcp.core.objects import StoredObject


class ObjectStore(Protocol):
    """Files under keys, such as `videos/<job id>.mp4`. Every method raises `StorageError` if the store cannot be used.

    Attributes:
        name: What texts call it; never with a password.
    """

    @property
    def name(self) -> str:
        """Return what texts call it."""
        ...

    async def put_file(self, stored: StoredObject, file: Path, *, file_name: str | None = None) -> None:
        """Store a finished file, whole or not at all; the same key may be stored again with the same bytes.

        Args:
            stored: Key and bytes.
            file: Where the bytes are.
            file_name: Under which a browser saves it, where the store answers links itself.

        Raises:
            StorageError: It cannot be written, or the file is not what `stored` says.
        """
        ...

    async def put_bytes(self, stored: StoredObject, data: bytes, *, file_name: str | None = None) -> None:
        """Store bytes, as `put_file` does a file."""
        ...

    def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """Read an object, or a range of it.

        Args:
            key: The object.
            start: The first byte.
            end: The byte before which to stop; None for the last one.

        Raises:
            StorageError: Among others, that there is none.
        """
        ...

    async def find_size(self, key: str) -> int | None:
        """Return the number of bytes of an object, or None if there is none."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is deleted already."""
        ...

    async def clear_left(self, *, before: float) -> None:
        """Delete what writers that were killed left half-written before a moment, Unix seconds."""
        ...

    def find_file(self, key: str) -> Path | None:
        """Return where this machine has the object's file; None for a store that is elsewhere."""
        ...

    async def sign_link(self, key: str, *, seconds: int, method: str = "GET") -> str | None:
        """Return a link to an object that the store itself answers; None for a store that answers no one.

        Args:
            key: The object.
            seconds: How long the link works.
            method: The one that it is for; others are refused.
        """
        ...

    async def check(self) -> None:
        """Check that the store can be written."""
        ...
