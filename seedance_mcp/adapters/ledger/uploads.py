"""Uploads in the ledger, pictures that were seen at URLs, and what studios declared."""

from __future__ import annotations

import hashlib
import json

from seedance_mcp.adapters.ledger.connection import Connection
from seedance_mcp.adapters.ledger.rows import make_storable, scrub
from seedance_mcp.core.records import Payment, Sight, Upload
from seedance_mcp.core.wire.json import Json, parse_json_object
from seedance_mcp.core.wire.tickets import read_ticket_end


class Uploads(Connection):
    """The uploads of the ledger."""

    def record_upload(self, upload: Upload) -> None:
        """Write down a hosted image."""
        with self._atomic() as db:
            db.execute(
                "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    make_storable(upload.image_url), upload.sha256, upload.studio, upload.wallet,
                    make_storable(upload.upload_id), upload.media_type, upload.size_bytes, upload.width, upload.height,
                    upload.payment_id, upload.created_at,
                ),
            )  # fmt: skip
            scrub(db, [upload.payment_id])
        self._forget_old_pages()

    def scrub_tickets(self, now: float) -> None:
        """Take the tokens out of tickets that have expired or were used."""
        rows = self._all(
            """SELECT payments.id, answer, concluded_at, payment_id FROM payments
               LEFT JOIN uploads ON uploads.payment_id = payments.id
               WHERE purpose = 'upload' AND NOT scrubbed AND length(coalesce(answer, '')) > 0"""
        )
        over = [
            row["id"]
            for row in rows
            if row["payment_id"] is not None or now > read_ticket_end(row["answer"], row["concluded_at"] or 0)
        ]
        if over:
            with self._atomic() as db:
                scrub(db, over)
            self._forget_old_pages()

    def find_upload(self, sha256: str, *, studio: str, wallet: str) -> Upload | None:
        """The hosted copy of these bytes."""
        return self._upload("sha256 = ? AND studio = ? AND wallet = ? AND NOT gone", sha256, studio, wallet)

    def find_upload_by_url(self, image_url: str, *, studio: str) -> Upload | None:
        """The upload behind one of our own hosted URLs."""
        return self._upload("image_url = ? AND studio = ? AND NOT gone", image_url, studio)

    def record_sight(self, sight: Sight) -> None:
        """Write down which picture was seen at a stranger's URL."""
        with self._atomic() as db:
            db.execute(
                "INSERT OR REPLACE INTO sights VALUES (?, ?, ?, ?, ?)",
                (_digest(sight.url), sight.sha256, sight.width, sight.height, sight.seen_at),
            )

    def find_sight(self, url: str, *, since: float) -> Sight | None:
        """The picture that was last seen at a URL."""
        row = self._one("SELECT * FROM sights WHERE url_sha256 = ? AND seen_at > ?", _digest(url), since)
        if row is None:
            return None
        return Sight(url=url, sha256=row["sha256"], width=row["width"], height=row["height"], seen_at=row["seen_at"])

    def find_upload_of(self, payment: Payment) -> Upload | None:
        """What an upload payment bought."""
        return self._upload("payment_id = ?", payment.id)

    def latest_upload(self, *, studio: str, wallet: str) -> Upload | None:
        """Any hosted image of ours."""
        return self._upload("studio = ? AND wallet = ? AND NOT gone", studio, wallet)

    def _upload(self, where: str, *parameters: object) -> Upload | None:
        query = f"SELECT * FROM uploads WHERE {where} ORDER BY created_at DESC LIMIT 1"  # noqa: S608 - our own words
        row = self._one(query, *parameters)
        return None if row is None else Upload(**{name: row[name] for name in Upload.__dataclass_fields__})

    def forget_upload(self, image_url: str) -> None:
        """The studio does not host it any more."""
        with self._atomic() as db:
            db.execute("UPDATE uploads SET gone = 1 WHERE image_url = ?", (image_url,))

    def record_contract(self, studio: str, model: str, contract: Json, *, now: float) -> None:
        """Write what a studio declares for a model's route; nothing waits for it where the ledger is locked."""
        with self._impatient(), self._atomic() as db:
            db.execute(
                "INSERT OR REPLACE INTO route_contracts VALUES (?, ?, ?, ?)", (studio, model, json.dumps(contract), now)
            )

    def find_contract(self, studio: str, model: str) -> Json | None:
        """Return what a studio last declared for a model's route."""
        row = self._one("SELECT contract FROM route_contracts WHERE studio = ? AND model = ?", studio, model)
        return None if row is None else parse_json_object(row["contract"], "A stored contract")


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
