"""Upload lookup: which pictures the studio hosts already, and what an upload would cost.

Needs the paying address, or none, and no key. Must not pay or upload anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio

from seedance_mcp.adapters.media.images import Image
from seedance_mcp.adapters.media.recordings import Recording
from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.errors import StudioRejectedError
from seedance_mcp.core.idempotency import upload_keys
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.records import Upload
from seedance_mcp.core.wire.json import encode_json
from seedance_mcp.core.wire.offers import Offers, read_offers
from seedance_mcp.core.wire.responses import PaidRequest, describe_answer
from seedance_mcp.generation.source_images import Picture
from seedance_mcp.payments import policy

SourceFile: TypeAlias = Image | Recording
"""What can be uploaded."""
UPLOAD_PRICE_MICRO_USDC = policy.UPLOAD_APPROVAL.max_price_micro_usdc
"""What one image upload costs."""
OFFERS_SECONDS = 30
"""How long the terms of an upload are believed when a call is judged; a payment always answers terms of its own."""
SEEN_SECONDS = 10
"""How long a hosted picture that was there is believed to be: the studio reads it as long after the payment."""
PURCHASES_MAX = 2
"""How often in 24 hours the upload of one picture is paid for without the picture being hosted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLookup:
    """Finds the uploads of one wallet at one studio.

    Attributes:
        wallet: The paying address; empty without a wallet.
        now: Unix seconds.
    """

    ledger: Ledger
    studio: Studio
    wallet: str
    now: Callable[[], float]
    _offers: list[tuple[float, Offers]] = field(default_factory=list[tuple[float, Offers]])
    _seen: dict[str, float] = field(default_factory=dict[str, float])
    """When a hosted picture was there, by its URL and the event loop's clock."""

    async def is_hosted(self, picture: Picture) -> bool:
        """Whether the ledger knows a hosted copy; no one is asked."""
        return await self.find_recorded(picture) is not None

    async def find_recorded(self, picture: Picture | SourceFile) -> Upload | None:
        """Return the copy that the ledger knows, also one that the studio may have lost."""
        return await self.ledger.find_upload(picture.sha256, studio=self.studio.origin, wallet=self.wallet)

    async def find(self, picture: Picture) -> Upload | None:
        """Return the hosted copy of a picture, if the studio still has it."""
        upload = await self.find_recorded(picture)
        if upload is None or await self._is_there(upload.image_url):
            return upload
        keys = self.find_keys(picture.sha256)
        if await self.ledger.count_uploads_paid(keys, since=self.now() - policy.DAY_SECONDS) >= PURCHASES_MAX:
            return upload  # a store that calls every picture gone is not paid for each of its answers
        await self.ledger.forget_upload(upload.image_url)
        return None

    async def _is_there(self, url: str) -> bool:
        """Return True if a hosted picture is there, or was a moment ago."""
        now = anyio.current_time()
        if self._seen.get(url, -SEEN_SECONDS) + SEEN_SECONDS > now:
            return True
        is_there = await self.studio.is_hosted(url)
        if is_there:
            recent = {seen: at for seen, at in self._seen.items() if at + SEEN_SECONDS > now}
            self._seen.clear()
            self._seen.update(recent | {url: now})
        return is_there

    async def must_buy(self, picture: Picture) -> bool:
        """Return True where hosting a picture would be paid for: no copy and no earlier payment for it is known."""
        if await self.is_hosted(picture):
            return False
        earlier = await self.ledger.find_latest_payment(self.find_keys(picture.sha256))
        if earlier is None:
            return True
        unused = (
            earlier.state == "settled" and bool(earlier.answer) and await self.ledger.find_upload_of(earlier) is None
        )
        return not (unused or earlier.counts_against_budget(self.now()))

    async def ask_offers(self, image: SourceFile) -> Offers:
        """Ask for the terms of an upload without buying it; they are the same for every picture.

        Raises:
            StudioError: The studio names none.
        """
        now = anyio.current_time()
        if not self._offers or self._offers[-1][0] + OFFERS_SECONDS < now:
            self._offers[:] = [(now, await self.fetch_offers(self.build_request(image)))]
        return self._offers[-1][1]

    async def fetch_offers(self, request: PaidRequest) -> Offers:
        """Send the request of an upload unpaid, for its terms.

        Raises:
            StudioError: The studio names none.
        """
        answer = await self.studio.send(request)
        if answer.status != 402:
            raise StudioRejectedError(
                f"The studio named no price for an upload: {describe_answer(answer)}.", status=answer.status
            )
        return read_offers(answer.status, answer.headers, answer.body, url=request.url)

    def build_request(self, image: SourceFile) -> PaidRequest:
        """Return the request that buys the upload of a picture."""
        keys = self.find_keys(image.sha256)
        return PaidRequest(
            purpose="upload",
            idempotency_key=keys[0],
            aliases=keys,
            url=f"{self.studio.origin}/api/upload",
            body=encode_json({"filename": image.file_name, "contentType": image.media_type, "size": image.size_bytes}),
            arguments={"sha256": image.sha256, "media_type": image.media_type, "size_bytes": image.size_bytes},
        )

    def find_keys(self, sha256: str) -> tuple[str, str]:
        """Return the idempotency keys of a picture's upload, the current one first."""
        return upload_keys(sha256, wallet=self.wallet, studio=self.studio.origin)
