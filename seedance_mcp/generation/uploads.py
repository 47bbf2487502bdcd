"""Uploads: from a picture to a URL that the studio can read.

An https URL is used as it is. A local picture is uploaded once ($0.01) and found again by its bytes. The three steps
of an upload (buy a place, PUT the bytes, confirm) can be taken up where a crash left them: the bought ticket is in the
ledger.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import quote, urlsplit

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.concurrency import SingleFlight
from seedance_mcp.core.errors import (
    ImageError,
    PaymentError,
    PurchaseUnderwayError,
    StudioError,
    StudioProtocolError,
    StudioRejectedError,
)
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Recipient
from seedance_mcp.core.next_steps import NextStep, Repeat, Report
from seedance_mcp.core.records import Payment, Upload
from seedance_mcp.core.wire.jobs import UploadTicket, read_upload_ticket
from seedance_mcp.core.wire.mpp import was_pushed
from seedance_mcp.core.wire.offers import Offers
from seedance_mcp.generation.source_images import Picture
from seedance_mcp.generation.upload_lookup import PURCHASES_MAX, SourceFile, UploadLookup
from seedance_mcp.payments import policy
from seedance_mcp.payments.executor import PaymentExecutor
from seedance_mcp.payments.purchase import Purchaser

INTERRUPTIONS_MAX = 3
"""How many more purchases are forgiven in 24 hours because the process that bought died before the answer came."""
REBOUGHT = "This picture's upload was bought once more: an earlier one was paid, but its answer or its slot was lost."
VERCEL_HOST = "vercel.com"

_STORE = re.compile(r"vercel_blob_client_(?P<id>[A-Za-z0-9]{1,63})_")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedUpload:
    """A hosted picture, and what hosting it cost this time: the price, and the network's fee beside it."""

    upload: Upload
    paid_micro_usdc: int
    fee_micro_usdc: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Uploader:
    """Hosts pictures at the studio, each at most once.

    Attributes:
        lookup: Finds what is hosted already.
        single_flight: Uploads under way, by their idempotency key.
        blob_url: Where the bytes go.
        caller: Who pays for new uploads. A picture is uploaded once per wallet: others have it for free.
    """

    lookup: UploadLookup
    executor: PaymentExecutor
    purchaser: Purchaser
    ledger: Ledger
    studio: Studio
    single_flight: SingleFlight[CompletedUpload]
    blob_url: str
    now: Callable[[], float]
    caller: str = ""

    async def upload(
        self,
        picture: Picture,
        *,
        check: Callable[[Offers], Awaitable[None]] | None = None,
        agreed: tuple[Recipient, ...] | None = None,
    ) -> CompletedUpload:
        """Host a picture, buying an upload only where there is none.

        Args:
            picture: What to host.
            check: Given the terms of an upload before one is perhaps bought; raises where it must not be.
            agreed: Whom a person agreed to pay in this call, or None where no one was asked.

        Raises:
            PolicyError: The limits forbid it.
            PaymentError: See `PaymentExecutor.pay`.
            StudioError: The studio did not do its part; a bought ticket is taken up by the next call.
        """
        await self.ledger.scrub_tickets(self.now())
        upload = await self.lookup.find(picture)
        image = picture.image
        if image is None:
            if upload is None:
                raise ImageError("The studio no longer has this picture.", "Upload the picture again.")
            return CompletedUpload(upload=upload, paid_micro_usdc=0)
        keys = self.lookup.find_keys(image.sha256)
        if upload is None:
            if check is not None:  # each caller's own limits, before it joins another's work
                await check(await self.lookup.ask_offers(image))
            return await self.single_flight.run(keys[0], lambda: self._purchase(image, keys, agreed))
        return CompletedUpload(upload=upload, paid_micro_usdc=0, notes=await self._find_notes(keys))

    async def _find_notes(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        """Return the notes about a hosted picture, in every result for a day."""
        return (REBOUGHT,) if await self._count_unhosted(keys, interrupted=None) else ()

    async def _count_unhosted(self, keys: tuple[str, ...], *, interrupted: bool | None) -> int:
        return await self.ledger.count_failed_uploads(
            keys, since=self.now() - policy.DAY_SECONDS, interrupted=interrupted
        )

    async def _purchase(
        self, image: SourceFile, keys: tuple[str, ...], agreed: tuple[Recipient, ...] | None
    ) -> CompletedUpload:
        try:
            return await self.purchaser.purchase_once(
                keys, deliver=partial(self._deliver, image, keys), pay=partial(self._pay, image, keys, agreed)
            )
        except PaymentError as exc:
            if not await self._is_of_another(exc.payment_id):
                raise
            raise PurchaseUnderwayError(
                "An upload of this picture is being finished for another caller.",
                NextStep("{0} in a minute.", Repeat()),
            ) from exc

    async def _is_of_another(self, payment_id: int | None) -> bool:
        """Return True for the payment of another caller, which is not told to this one."""
        payment = None if payment_id is None else await self.ledger.find_payment(payment_id)
        return payment is not None and payment.caller != self.caller

    async def _deliver(self, image: SourceFile, keys: tuple[str, ...], payment: Payment) -> CompletedUpload | None:
        """Return the hosted picture that a reconciled payment bought; None if its ticket is of no more use."""
        recorded = await self._find_completed(image, keys)
        if recorded is not None:
            return recorded
        upload = await self._use(payment, image)
        if upload is None:  # or another process has used the ticket meanwhile, and written it down
            return await self._find_completed(image, keys)
        if payment.caller != self.caller:
            return CompletedUpload(upload=upload, paid_micro_usdc=0)
        return CompletedUpload(
            upload=upload, paid_micro_usdc=payment.amount_micro_usdc, fee_micro_usdc=payment.fee_micro_usdc
        )

    async def _find_completed(self, image: SourceFile, keys: tuple[str, ...]) -> CompletedUpload | None:
        upload = await self.lookup.find_recorded(image)
        if upload is None:
            return None
        return CompletedUpload(upload=upload, paid_micro_usdc=0, notes=await self._find_notes(keys))

    async def _pay(
        self, image: SourceFile, keys: tuple[str, ...], agreed: tuple[Recipient, ...] | None, superseded: Payment | None
    ) -> CompletedUpload:
        """Buy an upload and use it."""
        is_settled = superseded is not None and superseded.state == "settled"
        if superseded is not None and is_settled and await self.ledger.find_upload_of(superseded) is None:
            await self._check_unhosted(superseded, keys)
        request = self.lookup.build_request(image)
        offers = await self.lookup.fetch_offers(request)
        approval = replace(policy.UPLOAD_APPROVAL, recipients=agreed)
        payment = await self.executor.pay(request, offers, approval, supersedes=superseded)
        upload = await self._use(payment, image)
        if upload is None:
            await self._check_unhosted(payment, keys)
            raise _unusable_error(payment, NextStep("{0} in a minute: it buys another one, once.", Repeat()))
        return CompletedUpload(
            upload=upload,
            paid_micro_usdc=payment.amount_micro_usdc,
            fee_micro_usdc=payment.fee_micro_usdc,
            notes=await self._find_notes(keys),
        )

    async def _use(self, payment: Payment, image: SourceFile) -> Upload | None:
        """Finish a paid upload; returns None if its ticket is of no more use.

        Raises:
            StudioError: The studio did not do its part. It says what the upload cost: an upload whose answer was lost
                may have been paid in this very call.
        """
        try:
            return await self._finish(payment, image)
        except StudioError as exc:
            raise exc.with_upload_cost(payment.amount_micro_usdc) from exc

    async def _check_unhosted(self, payment: Payment, keys: tuple[str, ...]) -> None:
        """Raise where a picture was paid for as often as it may be, without ever being hosted.

        Raises:
            StudioRejectedError: A person between us and the studio's store is in the way; money does not help.
        """
        interrupted = await self._count_unhosted(keys, interrupted=True)
        unhosted = await self._count_unhosted(keys, interrupted=False) + max(0, interrupted - INTERRUPTIONS_MAX)
        # What was pushed may have been refused by a studio that keeps the money: it gets no second chance.
        is_lost = unhosted + interrupted > 0 if was_pushed(payment.document) else unhosted >= PURCHASES_MAX
        if is_lost:
            raise _unusable_error(
                payment,
                NextStep(
                    "This picture's upload was paid and is not bought again for a day. {0}, or give an https URL that "
                    "anyone can open.",
                    Report(),
                ),
            )

    async def _finish(self, payment: Payment, image: SourceFile) -> Upload | None:
        """PUT the bytes to the bought place, confirm, and write it down; None where the ticket is of no more use."""
        if payment.state != "settled" or not payment.answer or await self.ledger.find_upload_of(payment) is not None:
            return None
        try:
            ticket = read_upload_ticket(payment.answer)
        except StudioProtocolError:
            return None
        try:
            image_url = await self.studio.put_blob(ticket, image.data, image.media_type)
        except StudioRejectedError:
            found = await self._find_stored(ticket)
            if found is None:
                return None
            image_url = found
        else:
            await self.studio.confirm_upload(ticket, image_url)
        upload = Upload(
            sha256=image.sha256,
            studio=self.studio.origin,
            wallet=self.lookup.wallet,
            image_url=image_url,
            upload_id=ticket.upload_id,
            media_type=image.media_type,
            size_bytes=image.size_bytes,
            width=image.width,
            height=image.height,
            payment_id=payment.id,
            created_at=self.now(),
        )
        await self.ledger.record_upload(upload)
        return upload

    async def _find_stored(self, ticket: UploadTicket) -> str | None:
        """Return the confirmed URL of bytes that were stored under this ticket before, or None.

        A place takes its bytes once. A process that died between that and writing it down, or whose confirmation
        failed, finds the place used: the picture is there, and another upload of it would be paid twice.
        """
        image_url = find_stored_url(ticket, self.blob_url)
        if image_url is None or not await self.studio.is_hosted(image_url):
            return None
        try:
            await self.studio.confirm_upload(ticket, image_url)
        except StudioRejectedError as exc:
            if exc.status not in (400, 404):  # it is we who are refused, not the picture
                raise
            return None
        return image_url


def _unusable_error(payment: Payment, next_step: NextStep) -> StudioRejectedError:
    return StudioRejectedError(
        "The picture cannot be sent to the slot that was paid for.",
        next_step,
        status=502,
        payment_state="settled",
        amount_micro_usdc=payment.amount_micro_usdc,
        payment_id=payment.id,
    )


def find_stored_url(ticket: UploadTicket, blob_url: str) -> str | None:
    """Where the bytes of a ticket are read once they are stored, as the blob service would name it.

    Source: `@vercel/blob` 2.8.0, client tokens (`vercel_blob_client_<storeId>_...`) and `addRandomSuffix: false`; a
    blob service that is not Vercel's serves what it stores itself.
    """
    service = urlsplit(blob_url)
    pathname = quote(ticket.pathname, safe="/")
    if service.hostname != VERCEL_HOST:
        return f"{service.scheme}://{service.netloc}/{pathname}"
    store = _STORE.match(ticket.client_token)
    return None if store is None else f"https://{store['id'].lower()}.public.blob.vercel-storage.com/{pathname}"
