"""Upload ledger protocol: uploads, pictures at public URLs, and what studios declared. Part of `core.ledger`."""

from __future__ import annotations

from typing import Protocol

from seedance_mcp.core.records import Payment, Upload, UrlSnapshot
from seedance_mcp.core.wire.json import Json


class UploadLedger(Protocol):
    """Uploads, pictures at public URLs, and what studios declared. Every method raises `LedgerError`."""

    async def record_upload(self, upload: Upload) -> None:
        """Write down a hosted image; its ticket's token is of no more use, and is taken out."""

    async def scrub_tickets(self, now: float) -> None:
        """Take the tokens out of tickets that have expired or were used."""

    async def find_upload(self, sha256: str, *, studio: str, wallet: str) -> Upload | None:
        """Return the hosted copy of these bytes."""
        ...

    async def find_upload_by_url(self, image_url: str, *, studio: str) -> Upload | None:
        """Return the upload behind one of our own hosted URLs."""
        ...

    async def find_upload_of(self, payment: Payment) -> Upload | None:
        """Return what an upload payment bought, also if the studio no longer hosts it."""
        ...

    async def latest_upload(self, *, studio: str, wallet: str) -> Upload | None:
        """Return any hosted image of ours, to ask for a price with."""
        ...

    async def forget_upload(self, image_url: str) -> None:
        """Write that the studio no longer hosts an image."""
        ...

    async def remember_url(self, snapshot: UrlSnapshot) -> None:
        """Write down which picture was at a public URL."""
        ...

    async def find_url_snapshot(self, url: str, *, since: float) -> UrlSnapshot | None:
        """Return the picture that was last at a URL."""
        ...

    async def record_contract(self, studio: str, model: str, contract: Json, *, now: float) -> None:
        """Write what a studio declares for a model's route; never waits for another process's transaction.

        Raises:
            LedgerError: Among others, that the ledger is locked just now.
        """
        ...

    async def find_contract(self, studio: str, model: str) -> Json | None:
        """Return what a studio last declared for a model's route."""
        ...
