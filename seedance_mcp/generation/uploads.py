"""Uploads: from a picture to a URL that the studio can read.

An https URL is used as it is. A local picture is uploaded once ($0.01) and found again by its bytes. The three steps
of an upload (buy a place, PUT the bytes, confirm) can be taken up where a crash left them: the bought ticket is in the
ledger.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import quote, urlsplit

import anyio

from seedance_mcp.adapters.media.images import Image
from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.concurrency import SingleFlight
from seedance_mcp.core.errors import ImageError, StudioError, StudioProtocolError, StudioRejectedError
from seedance_mcp.core.idempotency import upload_keys
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Recipient
from seedance_mcp.core.next_steps import NextStep, Repeat, Report
from seedance_mcp.core.records import Payment, Upload
from seedance_mcp.core.wire.jobs import UploadTicket, read_upload_ticket
from seedance_mcp.core.wire.json import encode_json
from seedance_mcp.core.wire.mpp import was_pushed
from seedance_mcp.core.wire.offers import Offers, read_offers
from seedance_mcp.core.wire.responses import PaidRequest, describe_answer
from seedance_mcp.generation.source_images import Picture
from seedance_mcp.payments import policy
from seedance_mcp.payments.executor import PaymentExecutor
from seedance_mcp.payments.purchase import Purchaser

UPLOAD_PRICE_MICRO_USDC = policy.UPLOAD_APPROVAL.max_price_micro_usdc
"""What one image upload costs."""
OFFERS_SECONDS = 30
"""How long the terms of an upload are believed when a call is judged; a payment always answers terms of its own."""
PURCHASES_MAX = 2
"""How often in 24 hours the upload of one picture is paid for without the picture being hosted."""
INTERRUPTIONS_MAX = 3
"""How many more purchases are forgiven in 24 hours because the process that bought died before the answer came."""
REBOUGHT = "This picture's upload was bought once more: an earlier one was paid, and its answer lost or its place gone."
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
        single_flight: Uploads under way, by their idempotency key.
        blob_url: Where the bytes go.
    """

    executor: PaymentExecutor
    purchaser: Purchaser
    ledger: Ledger
    studio: Studio
    single_flight: SingleFlight[CompletedUpload]
    blob_url: str
    now: Callable[[], float]
    _offers: list[tuple[float, Offers]] = field(default_factory=list[tuple[float, Offers]])

    async def is_hosted(self, picture: Picture) -> bool:
        """Whether the ledger knows a hosted copy; no one is asked."""
        return await self._find_recorded(picture) is not None

    async def _find_recorded(self, picture: Picture | Image) -> Upload | None:
        wallet = self.executor.wallet.address
        return await self.ledger.find_upload(picture.sha256, studio=self.studio.origin, wallet=wallet)

    async def find(self, picture: Picture) -> Upload | None:
        """Return the hosted copy of a picture, if the studio still has it."""
        upload = await self._find_recorded(picture)
        if upload is None or await self.studio.is_hosted(upload.image_url):
            return upload
        keys = self._keys(picture.sha256)
        if await self.ledger.count_uploads_paid(keys, since=self.now() - policy.DAY_SECONDS) >= PURCHASES_MAX:
            return upload  # a store that calls every picture gone is not paid for each of its answers
        await self.ledger.forget_upload(upload.image_url)
        return None

    async def must_buy(self, picture: Picture) -> bool:
        """Return True where hosting a picture would be paid for: no copy and no earlier payment for it is known."""
        if await self.is_hosted(picture):
            return False
        earlier = await self.ledger.find_latest_payment(self._keys(picture.sha256))
        if earlier is None:
            return True
        unused = (
            earlier.state == "settled" and bool(earlier.answer) and await self.ledger.find_upload_of(earlier) is None
        )
        return not (unused or earlier.counts_against_budget(self.now()))

    async def ask_offers(self, image: Image) -> Offers:
        """Ask for the terms of an upload without buying it; they are the same for every picture.

        Raises:
            StudioError: The studio names none.
        """
        now = anyio.current_time()
        if not self._offers or self._offers[-1][0] + OFFERS_SECONDS < now:
            self._offers[:] = [(now, await self._ask_offers(self._build_request(image)))]
        return self._offers[-1][1]

    async def _ask_offers(self, request: PaidRequest) -> Offers:
        answer = await self.studio.send(request)
        if answer.status != 402:
            raise StudioRejectedError(
                f"The studio named no price for an upload: {describe_answer(answer)}.", status=answer.status
            )
        return read_offers(answer.status, answer.headers, answer.body, url=request.url)

    def _build_request(self, image: Image) -> PaidRequest:
        keys = self._keys(image.sha256)
        return PaidRequest(
            purpose="upload",
            idempotency_key=keys[0],
            aliases=keys,
            url=f"{self.studio.origin}/api/upload",
            body=encode_json({"filename": image.file_name, "contentType": image.media_type, "size": image.size_bytes}),
            arguments={"sha256": image.sha256, "media_type": image.media_type, "size_bytes": image.size_bytes},
        )

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
        upload = await self.find(picture)
        image = picture.image
        if image is None:
            if upload is None:
                raise ImageError("The studio does not host this image any more.", "Upload the picture again.")
            return CompletedUpload(upload=upload, paid_micro_usdc=0)
        keys = self._keys(image.sha256)
        if upload is None:
            if check is not None:  # each caller's own limits, before it joins another's work
                await check(await self.ask_offers(image))
            return await self.single_flight.run(keys[0], lambda: self._purchase(image, keys, agreed))
        return CompletedUpload(upload=upload, paid_micro_usdc=0, notes=await self._find_notes(keys))

    async def _find_notes(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        """Return the notes about a hosted picture, in every result for a day."""
        unhosted = await self._count_unhosted(keys, interrupted=False) + await self._count_unhosted(
            keys, interrupted=True
        )
        return (REBOUGHT,) if unhosted else ()

    async def _count_unhosted(self, keys: tuple[str, ...], *, interrupted: bool) -> int:
        return await self.ledger.count_failed_uploads(
            keys, since=self.now() - policy.DAY_SECONDS, interrupted=interrupted
        )

    def _keys(self, sha256: str) -> tuple[str, str]:
        return upload_keys(sha256, wallet=self.executor.wallet.address, studio=self.studio.origin)

    async def _purchase(
        self, image: Image, keys: tuple[str, ...], agreed: tuple[Recipient, ...] | None
    ) -> CompletedUpload:
        return await self.purchaser.purchase_once(
            keys, deliver=partial(self._deliver, image, keys), pay=partial(self._pay, image, keys, agreed)
        )

    async def _deliver(self, image: Image, keys: tuple[str, ...], payment: Payment) -> CompletedUpload | None:
        """Return the hosted picture that a reconciled payment bought; None if its ticket is of no more use."""
        upload = await self._find_recorded(image)
        if upload is not None:
            return CompletedUpload(upload=upload, paid_micro_usdc=0, notes=await self._find_notes(keys))
        upload = await self._use(payment, image)
        if upload is None:
            return None
        return CompletedUpload(
            upload=upload, paid_micro_usdc=payment.amount_micro_usdc, fee_micro_usdc=payment.fee_micro_usdc
        )

    async def _pay(
        self, image: Image, keys: tuple[str, ...], agreed: tuple[Recipient, ...] | None, superseded: Payment | None
    ) -> CompletedUpload:
        """Buy an upload and use it."""
        is_settled = superseded is not None and superseded.state == "settled"
        if superseded is not None and is_settled and await self.ledger.find_upload_of(superseded) is None:
            await self._check_unhosted(superseded, keys)
        request = self._build_request(image)
        offers = await self._ask_offers(request)
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

    async def _use(self, payment: Payment, image: Image) -> Upload | None:
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

    async def _finish(self, payment: Payment, image: Image) -> Upload | None:
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
            wallet=self.executor.wallet.address,
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
        "The picture cannot be put where its upload was paid for.",
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
