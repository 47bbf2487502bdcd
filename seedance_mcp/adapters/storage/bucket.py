"""Bucket store: objects in an S3-compatible bucket, which answers links itself.

An object appears whole or not at all. What the store says is never quoted: it has addresses, and of a wrong signature
what was signed. Loaded only if the owner names a bucket.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import anyio
import anyio.to_thread
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from seedance_mcp.core.errors import StorageError
from seedance_mcp.core.next_steps import NextStep, OwnerOnly, Repeat
from seedance_mcp.core.objects import BucketAddress, StoredObject, is_key

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import S3Config

CHUNK_BYTES = 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
"""What is larger is sent in parts of this size."""
PARTS_MAX = 2
"""How many parts of an object are in memory at a time."""
CONNECT_SECONDS, REQUEST_SECONDS = 5, 120
RETRIES_MAX, RETRY_SECONDS = 2, 20
"""How often a request is repeated where the store fails, and for how long; after that our callers try again later."""
PROBE_KEY, NO_KEY = "checks/probe", "checks/none"
"""An object that shows whether we may write and read, and one that never exists."""

T = TypeVar("T")

_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_SHA256 = "sha256"
"""Name of our own metadata."""


@dataclass(slots=True)
class BucketStore:
    """The `ObjectStore` protocol on a bucket; see `open_bucket`.

    Attributes:
        address: Where the bucket is.
        client: Sends the requests.
    """

    address: BucketAddress
    client: S3Store = field(repr=False)
    _may_write: bool = False

    @property
    def name(self) -> str:
        """Return what texts call it."""
        return f"the bucket {self.address.url}"

    async def put_file(self, stored: StoredObject, file: Path, *, file_name: str | None = None) -> None:
        """Send a finished file, in parts where it is large; its bytes are compared with what `stored` says."""
        if stored.size_bytes <= PART_BYTES:
            data = b"".join([chunk async for chunk in _read_checked(stored, file)])
            return await self.put_bytes(stored, data, file_name=file_name)
        key = _check_key(stored.key)
        if await self._has(stored):
            return None
        sent = obstore.put_async(
            self.client, key, _read_checked(stored, file), chunk_size=PART_BYTES, max_concurrency=PARTS_MAX,
            attributes=_describe(stored, file_name),
        )  # fmt: skip
        await self._ask(sent, key)
        return None

    async def put_bytes(self, stored: StoredObject, data: bytes, *, file_name: str | None = None) -> None:
        """Send bytes as an object, unless it is there."""
        key, attributes = _check_key(stored.key), _describe(stored, file_name)
        if (hashlib.sha256(data).hexdigest(), len(data)) != (stored.sha256, stored.size_bytes):
            raise _changed_error(stored)
        with suppress(NotImplementedError):  # of a store without conditions, as the owner has said
            with suppress(AlreadyExistsError):
                put = obstore.put_async(
                    self.client, key, data, attributes=attributes, mode="create", use_multipart=False
                )
                await self._ask(put, key, allowed=AlreadyExistsError)
                return
            if await self._has(stored):
                return
        put = obstore.put_async(self.client, key, data, attributes=attributes, use_multipart=False)
        await self._ask(put, key)

    async def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """Read an object, or a range of it."""
        _check_key(key)
        if end is not None and end <= start:
            return
        chosen: GetOptions = {"range": {"offset": start} if end is None else (start, end)}
        got = await self._ask(obstore.get_async(self.client, key, options=chosen), key)
        chunks = aiter(got.stream(CHUNK_BYTES))
        with suppress(StopAsyncIteration):
            while True:
                yield await self._ask(anext(chunks), key, allowed=StopAsyncIteration)

    async def find_size(self, key: str) -> int | None:
        """Return the number of bytes of an object, or None if there is none."""
        with suppress(FileNotFoundError):
            found = obstore.head_async(self.client, _check_key(key))
            return (await self._ask(found, key, allowed=FileNotFoundError))["size"]
        return None

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is deleted already."""
        await self._ask(obstore.delete_async(self.client, _check_key(key)), key)

    async def clear_left(self, *, before: float) -> None:
        """Do nothing: parts that were never put together are for a rule of the bucket."""

    def find_file(self, key: str) -> Path | None:
        """Return None: no machine has files of a bucket."""
        return None

    async def sign_link(self, key: str, *, seconds: int, method: str = "GET") -> str | None:
        """Return a link that the bucket answers."""
        until = timedelta(seconds=seconds)
        return await self._ask(
            obstore.sign_async(self.client, "HEAD" if method == "HEAD" else "GET", _check_key(key), until), key
        )

    async def check(self) -> None:
        """Check that the bucket answers; at first and after a failure also that it can be written."""
        if self._may_write and await self.find_size(PROBE_KEY) is not None:
            return
        self._may_write = False
        await self._ask(obstore.put_async(self.client, PROBE_KEY, b"ok", use_multipart=False), PROBE_KEY)
        await self.find_size(NO_KEY)  # without the right to list, the store refuses to say that an object is missing
        self._may_write = True

    async def _has(self, stored: StoredObject) -> bool:
        """Return True if the store has an object with these bytes already."""
        with suppress(FileNotFoundError):
            asked = obstore.get_async(self.client, stored.key, options={"head": True})
            found = await self._ask(asked, stored.key, allowed=FileNotFoundError)
            return (found.attributes.get(_SHA256), found.meta["size"]) == (stored.sha256, stored.size_bytes)
        return False

    async def _ask(self, request: Awaitable[T], key: str, *, allowed: type[Exception] | tuple[()] = ()) -> T:
        """Wait for an answer; what went wrong becomes a `StorageError`, unless it is allowed."""
        try:
            return await request
        except allowed:
            raise
        except (BaseError, OSError, ValueError) as exc:
            self._may_write = False
            error = self._explain(exc, key)
        raise error  # outside, so that it does not carry the store's own words into a log

    def _explain(self, exc: Exception, key: str) -> StorageError:
        text = str(exc)
        code, status = _CODE.search(text), _STATUS.search(text)
        if isinstance(exc, FileNotFoundError) and not (code and code[1] == "NoSuchBucket"):
            return StorageError(f"{key} is not in {self.name}.", NextStep("{0}.", OwnerOnly("restore it")))
        said = code[1] if code else f"HTTP {status[1]}" if status else None
        what = f"{self.name[0].upper()}{self.name[1:]} " + ("does not answer" if said is None else f"answers {said}")
        if isinstance(exc, PermissionDeniedError | UnauthenticatedError):
            return StorageError(f"{what}: it refuses the server's key.", NextStep("{0}.", OwnerOnly(RIGHTS, stop=True)))
        way = OwnerOnly("make it reachable, with the right AWS_ENDPOINT_URL and AWS_REGION")
        return StorageError(f"{what}.", NextStep("{0}; then {1}.", way, Repeat()))


RIGHTS = "give AWS_ACCESS_KEY_ID the right to read, write, delete and list there"


async def open_bucket(address: BucketAddress) -> BucketStore:
    """Open a bucket as an object store; sends nothing yet.

    Raises:
        StorageError: The settings contradict each other.
    """

    def build() -> S3Store:
        return S3Store(
            address.bucket,
            prefix=address.prefix or None,
            config=_configure(address),
            client_options={
                "allow_http": (address.endpoint or "").startswith("http:"),
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "timeout": timedelta(seconds=REQUEST_SECONDS),
            },
            retry_config={"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        )

    try:
        return BucketStore(address, await anyio.to_thread.run_sync(build))  # it reads the machine's certificates
    except (BaseError, OSError, ValueError):
        error = StorageError(
            f"The bucket {address.url} cannot be opened.", NextStep("{0}.", OwnerOnly("correct the AWS_ settings"))
        )
    raise error


def _configure(address: BucketAddress) -> S3Config:
    """Return what the library must not look up by itself; it finds further AWS_ variables and roles."""
    config: S3Config = {"disable_bulk_delete": True}  # not every store can delete in bulk
    if address.endpoint is not None:
        config["endpoint"] = config["aws_endpoint_url_s3"] = address.endpoint
    if address.region is not None:
        config["region"] = address.region
    if address.key is not None:
        config["access_key_id"], config["secret_access_key"] = address.key.id, address.key.secret
        if address.key.session_token is not None:
            config["session_token"] = address.key.session_token
    return config


def _describe(stored: StoredObject, file_name: str | None) -> dict[str, str]:
    """Return the metadata that the store sends with an object, and our own."""
    attributes = {"Content-Type": stored.media_type, _SHA256: stored.sha256}
    if file_name is not None:
        attributes["Content-Disposition"] = f"inline; filename*=utf-8''{quote(file_name, safe='')}"
    return attributes


async def _read_checked(stored: StoredObject, file: Path) -> AsyncGenerator[bytes]:
    """Read a file in chunks; raises before the last one if it is not what was announced."""
    digest, size, last = hashlib.sha256(), 0, b""
    try:
        async with await anyio.open_file(file, "rb") as opened:
            while chunk := await opened.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                if size > stored.size_bytes:
                    break
                if last:
                    yield last
                last = chunk
    except OSError as exc:
        raise StorageError(f"What was to be stored as {stored.key} cannot be read: {exc.strerror}.") from exc
    if (digest.hexdigest(), size) != (stored.sha256, stored.size_bytes):
        raise _changed_error(stored)
    yield last


def _changed_error(stored: StoredObject) -> StorageError:
    return StorageError(f"What was to be stored as {stored.key} was changed on disk.")


def _check_key(key: str) -> str:
    if not is_key(key):
        raise StorageError("A key of the object store is not one of ours.")
    return key
