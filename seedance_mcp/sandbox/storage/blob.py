"""A store for uploaded files that behaves like Vercel Blob, and its upload slots.

The API sells a slot together with a client token: an HMAC over the pathname, content type, size and time that it
allows. The store trusts only the token. This module keeps slots and bytes. It takes no money and does not read the
content of files.

Source: Vercel Blob client tokens and error bodies (`@vercel/blob` 2.8.0), and wire captures of both.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from seedance_mcp.sandbox.api.answers import RefusalError, build_request_id
from seedance_mcp.sandbox.api.contract import UPLOAD_BYTES_MAX
from seedance_mcp.sandbox.api.sign_in import format_time

STORE_ID = "sandboxstore0001"
TOKEN_PREFIX = f"vercel_blob_client_{STORE_ID}_"
TOKEN_SECONDS = 300
STORE_BYTES_MAX = 1024**3


class BlobError(RefusalError):
    """A refusal in the blob service's error format."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, message)
        self.body = {"error": {"code": code, "message": message}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A stored file."""

    pathname: str
    content_type: str
    content: bytes = field(repr=False)

    @property
    def disposition(self) -> str:
        """Return the content-disposition header of a download."""
        return f'inline; filename="{PurePosixPath(self.pathname).name}"'


@dataclass(slots=True, kw_only=True)
class Slot:
    """One bought upload."""

    id: str
    owner: str
    filename: str
    content_type: str
    pathname: str
    expires_at: float
    client_token: str = field(repr=False)
    confirmed: bool = False


class BlobStore:
    """Upload slots and their files."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._blobs: dict[str, Blob] = {}
        self._slots: dict[str, Slot] = {}

    def sell_slot(
        self, owner: str, *, filename: str, content_type: str, size_bytes: int | None, id_tail: str = ""
    ) -> Slot:
        """Create a slot for one file of one wallet; its id ends with `id_tail`."""
        name = "".join(c if c.isalnum() or c in "._-" else "-" for c in PurePosixPath(filename).name) or "image"
        expires_at = self._clock() + TOKEN_SECONDS
        pathname = f"uploads/{build_request_id()}/{name}"
        grant = {
            "pathname": pathname,
            "allowedContentTypes": [content_type],
            "maximumSizeInBytes": size_bytes or UPLOAD_BYTES_MAX,
            "validUntil": int(expires_at * 1000),
            "addRandomSuffix": False,
        }
        slot = Slot(
            id=build_request_id() + id_tail,
            owner=owner,
            filename=filename,
            content_type=content_type,
            pathname=pathname,
            expires_at=expires_at,
            client_token=self.build_token(grant),
        )
        self._slots[slot.id] = slot
        return slot

    def build_token(self, grant: dict[str, Any]) -> str:
        """Sign a grant as a client token."""
        payload = base64.b64encode(json.dumps(grant, separators=(",", ":")).encode()).decode()
        return TOKEN_PREFIX + base64.b64encode(f"{self._sign(payload)}.{payload}".encode()).decode()

    def put(self, pathname: str, content: bytes, *, token: str, content_type: str) -> Blob:
        """Store a file under a pathname that a token allows.

        Raises:
            BlobError: If this store did not sign the token, or it has expired or does not allow this file.
        """
        grant = self._read_token(token)
        if grant["validUntil"] <= self._clock() * 1000:
            raise BlobError(403, "client_token_expired", "Client token has expired.")
        if grant["pathname"] != pathname:
            message = '"pathname" does not match the token payload'
            raise BlobError(400, "client_token_pathname_mismatch", message)
        allowed: list[str] = grant["allowedContentTypes"]
        if content_type not in allowed:
            message = (
                f'Content type mismatch. Content type "{content_type}" is not allowed. '
                f"Allowed types: {', '.join(allowed)}"
            )
            raise BlobError(400, "content_type_not_allowed", message)
        if len(content) > grant["maximumSizeInBytes"]:
            limit = grant["maximumSizeInBytes"]
            message = f"Your file is too large: the file length cannot be greater than {limit}"
            raise BlobError(400, "file_too_large", message)
        if pathname in self._blobs:
            message = "This blob already exists, use `allowOverwrite: true` if you want to overwrite it."
            raise BlobError(400, "bad_request", message)
        if sum(len(blob.content) for blob in self._blobs.values()) + len(content) > STORE_BYTES_MAX:
            raise BlobError(403, "store_suspended", "This store has been suspended.")
        blob = Blob(pathname=pathname, content_type=content_type, content=content)
        self._blobs[pathname] = blob
        return blob

    def find_blob(self, pathname: str) -> Blob | None:
        """Return a stored file, or None."""
        return self._blobs.get(pathname)

    def confirm(self, upload_id: str, *, owner: str, pathname: str | None) -> Slot:
        """Mark a slot's file as complete.

        Args:
            upload_id: The slot.
            owner: The caller's address.
            pathname: The pathname that the caller gives, or None if its URL is not in this store.

        Raises:
            RefusalError: 404 for an unknown slot, 403 for another wallet's, 400 when the file is not there.
        """
        slot = self._slots.get(upload_id)
        if slot is None:
            raise RefusalError(404, "Upload not found")
        if slot.owner.lower() != owner.lower():
            raise RefusalError(403, "Upload belongs to another wallet")
        if pathname != slot.pathname or pathname not in self._blobs:
            raise RefusalError(400, "Blob not found for this upload")
        slot.confirmed = True
        return slot

    def describe(self) -> list[dict[str, Any]]:
        """Return a description of every slot, without its token."""
        return [
            {
                "id": slot.id,
                "owner": slot.owner,
                "filename": slot.filename,
                "content_type": slot.content_type,
                "pathname": slot.pathname,
                "expires_at": format_time(slot.expires_at),
                "stored": slot.pathname in self._blobs,
                "confirmed": slot.confirmed,
            }
            for slot in self._slots.values()
        ]

    def _sign(self, payload: str) -> str:
        return hmac.new(self._secret, payload.encode(), hashlib.sha256).hexdigest()

    def _read_token(self, token: str) -> dict[str, Any]:
        """Return the grant of a token.

        Raises:
            BlobError: 403 if this store did not sign it.
        """
        denied = BlobError(403, "forbidden", "Access denied, please provide a valid token for this resource.")
        if not token.startswith(TOKEN_PREFIX):
            raise denied
        try:
            signature, _, payload = base64.b64decode(token[len(TOKEN_PREFIX) :], validate=True).decode().partition(".")
        except ValueError as exc:
            raise denied from exc
        if not hmac.compare_digest(signature.encode(), self._sign(payload).encode()):
            raise denied
        return json.loads(base64.b64decode(payload))
