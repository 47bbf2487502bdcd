"""Uploads in the ledger, pictures that were seen at URLs, and what studios declared."""

from __future__ import annotations

import hashlib
import json
from typing import cast

from seedance_mcp.adapters.ledger.driver import Queries, Session
from seedance_mcp.adapters.ledger.rows import make_storable, scrub
from seedance_mcp.core.records import Payment, Upload, UrlSnapshot
from seedance_mcp.core.wire.json import Json, parse_json_object
from seedance_mcp.core.wire.tickets import read_ticket_end


class UploadQueries(Queries):
    """The `UploadLedger` protocol."""

    async def record_upload(self, upload: Upload) -> None:
        """Write down a hosted image."""
        async with self._driver.transaction() as session:
            await _insert_upload(session, upload)
            await scrub(session, [upload.payment_id])
        await self._driver.erase_old_pages()

    async def scrub_tickets(self, now: float) -> None:
        """Take the tokens out of tickets that have expired or were used."""
        rows = await self._all(
            """SELECT payments.id, answer, concluded_at, payment_id FROM payments
               LEFT JOIN uploads ON uploads.payment_id = payments.id
               WHERE purpose = 'upload' AND scrubbed = 0 AND length(coalesce(answer, '')) > 0 ORDER BY payments.id"""
        )
        over = [
            cast("int", row["id"])
            for row in rows
            if row["payment_id"] is not None or now > read_ticket_end(bytes(row["answer"]), row["concluded_at"] or 0)
        ]
        if over:
            async with self._driver.transaction() as session:
                await scrub(session, over)
            await self._driver.erase_old_pages()

    async def find_upload(self, sha256: str, *, studio: str, wallet: str) -> Upload | None:
        """Return the hosted copy of these bytes."""
        where = "sha256 = :sha256 AND studio = :studio AND wallet = :wallet AND gone = 0"
        return await self._find(where, sha256=sha256, studio=studio, wallet=wallet)

    async def find_upload_by_url(self, image_url: str, *, studio: str) -> Upload | None:
        """Return the upload behind one of our own hosted URLs."""
        return await self._find("image_url = :url AND studio = :studio AND gone = 0", url=image_url, studio=studio)

    async def find_upload_of(self, payment: Payment) -> Upload | None:
        """Return what an upload payment bought."""
        return await self._find("payment_id = :id", id=payment.id)

    async def latest_upload(self, *, studio: str, wallet: str) -> Upload | None:
        """Return any hosted image of ours."""
        return await self._find("studio = :studio AND wallet = :wallet AND gone = 0", studio=studio, wallet=wallet)

    async def _find(self, where: str, **parameters: object) -> Upload | None:
        query = f"SELECT * FROM uploads WHERE {where} ORDER BY created_at DESC LIMIT 1"  # noqa: S608 - our own SQL
        row = await self._one(query, **parameters)
        return None if row is None else Upload(**{name: row[name] for name in Upload.__dataclass_fields__})

    async def forget_upload(self, image_url: str) -> None:
        """Write that the studio does not host an image any more."""
        async with self._driver.transaction() as session:
            await session.execute("UPDATE uploads SET gone = 1 WHERE image_url = :url", {"url": image_url})

    async def remember_url(self, snapshot: UrlSnapshot) -> None:
        """Write down which picture was at a public URL."""
        async with self._driver.transaction() as session:
            await session.execute(
                """INSERT INTO sights VALUES (:url_sha256, :sha256, :width, :height, :seen_at)
                   ON CONFLICT (url_sha256) DO UPDATE SET sha256 = excluded.sha256, width = excluded.width,
                                                          height = excluded.height, seen_at = excluded.seen_at""",
                {
                    "url_sha256": _digest(snapshot.url), "sha256": snapshot.sha256, "width": snapshot.width,
                    "height": snapshot.height, "seen_at": snapshot.seen_at,
                },
            )  # fmt: skip

    async def find_url_snapshot(self, url: str, *, since: float) -> UrlSnapshot | None:
        """Return the picture that was last at a URL."""
        query = "SELECT * FROM sights WHERE url_sha256 = :url_sha256 AND seen_at > :since"
        row = await self._one(query, url_sha256=_digest(url), since=since)
        if row is None:
            return None
        return UrlSnapshot(
            url=url, sha256=row["sha256"], width=row["width"], height=row["height"], seen_at=row["seen_at"]
        )

    async def record_contract(self, studio: str, model: str, contract: Json, *, now: float) -> None:
        """Write what a studio declares for a model's route; does not wait for a locked ledger."""
        async with self._driver.transaction(wait=False) as session:
            await session.execute(
                """INSERT INTO route_contracts VALUES (:studio, :model, :contract, :now)
                   ON CONFLICT (studio, model)
                   DO UPDATE SET contract = excluded.contract, read_at = excluded.read_at""",
                {"studio": studio, "model": model, "contract": json.dumps(contract), "now": now},
            )

    async def find_contract(self, studio: str, model: str) -> Json | None:
        """Return what a studio last declared for a model's route."""
        query = "SELECT contract FROM route_contracts WHERE studio = :studio AND model = :model"
        row = await self._one(query, studio=studio, model=model)
        return None if row is None else parse_json_object(row["contract"], "A stored contract")


async def _insert_upload(session: Session, upload: Upload) -> None:
    await session.execute(
        """INSERT INTO uploads (image_url, sha256, studio, wallet, upload_id, media_type, size_bytes, width, height,
                                payment_id, created_at, gone)
           VALUES (:image_url, :sha256, :studio, :wallet, :upload_id, :media_type, :size_bytes, :width, :height,
                   :payment_id, :created_at, 0)
           ON CONFLICT (image_url) DO UPDATE SET
               sha256 = excluded.sha256, studio = excluded.studio, wallet = excluded.wallet,
               upload_id = excluded.upload_id, media_type = excluded.media_type, size_bytes = excluded.size_bytes,
               width = excluded.width, height = excluded.height, payment_id = excluded.payment_id,
               created_at = excluded.created_at, gone = 0""",
        {
            "image_url": make_storable(upload.image_url), "sha256": upload.sha256, "studio": upload.studio,
            "wallet": upload.wallet, "upload_id": make_storable(upload.upload_id), "media_type": upload.media_type,
            "size_bytes": upload.size_bytes, "width": upload.width, "height": upload.height,
            "payment_id": upload.payment_id, "created_at": upload.created_at,
        },
    )  # fmt: skip


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
