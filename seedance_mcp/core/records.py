"""Records: the entries of the ledger, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from seedance_mcp.core.wire.jobs import Status
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.offers import Rail
from seedance_mcp.core.wire.responses import PaidRequest, Purpose, Receipt

State = Literal["reserved", "signed", "settled", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One payment: one row of the ledger.

    Attributes:
        hold_until: Unix seconds until which a `reserved` or `refused` payment counts against the budget; for a `signed`
            payment the expiry of its credential.
        lease_until: Unix seconds until which one process works on it.
        document: The unsigned payment, once it was signed. For a Tempo charge it has the hash of the transaction, which
            identifies it on the chain and is no secret once it was sent.
        credential_sha256: Hash of the signed credential.
        answer: The studio's paid answer, verbatim.
        chain_checked: True if the chain was read after the credential's expiry.
        fee_micro_usdc: The network fee on top of the price: the maximum, until it is read from the chain.
        caller: Whom it belongs to in a ledger of several callers; empty in any other.
    """

    id: int
    purpose: Purpose
    idempotency_key: str
    url: str
    body: bytes = field(repr=False)
    arguments: Json = field(repr=False)
    wallet: str
    rail: Rail
    network: str
    pay_to: str
    amount_micro_usdc: int
    state: State
    hold_until: int
    lease_until: float
    created_at: float
    signed_at: float | None
    document: Json | None = field(repr=False)
    credential_sha256: str | None
    receipt: Receipt | None
    answer: bytes | None = field(repr=False)
    reason: str | None
    chain_checked: bool
    fee_micro_usdc: int = 0
    caller: str = ""

    @property
    def cost_micro_usdc(self) -> int:
        """Return price and fee, which together count against the budget."""
        return self.amount_micro_usdc + self.fee_micro_usdc

    @property
    def request(self) -> PaidRequest:
        """Return the request that was to be paid for."""
        return PaidRequest(
            purpose=self.purpose,
            idempotency_key=self.idempotency_key,
            url=self.url,
            body=self.body,
            arguments=self.arguments,
        )

    def counts_against_budget(self, now: float) -> bool:
        """Return True if it may still settle, and so counts against the budget."""
        if self.state == "refused" and self.chain_checked:
            return False
        return self.state == "signed" or (self.state in ("reserved", "refused") and self.hold_until > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expense:
    """What one purchase cost.

    Attributes:
        created_at: Unix seconds.
        purpose: `generation`, `upload`, or `untracked` if the ledger has no payment for it.
        model: Of a video; None if it is not known.
        amount_micro_usdc: Price and fee; 0 once the chain has shown that no money moved.
    """

    created_at: float
    purpose: str
    model: str | None
    amount_micro_usdc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongTotal:
    """A running total that is not the sum of its payments; `caller` is empty for the wallet's."""

    caller: str
    recorded_micro_usdc: int
    counted_micro_usdc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An uploaded image."""

    sha256: str
    studio: str
    wallet: str
    image_url: str
    upload_id: str
    media_type: str
    size_bytes: int
    width: int
    height: int
    payment_id: int
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSnapshot:
    """The picture that was read at a public URL, and the time in Unix seconds."""

    url: str
    sha256: str
    width: int
    height: int
    seen_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A paid job.

    Attributes:
        payment_id: The number of its payment; None for an untracked job, whose payment the ledger lacks. Key, price,
            fee and rail are None then, too.
        arguments: The caller's arguments, for people to read.
        file: Absolute path of the saved video, once it is saved.
        thumbnail: Absolute path of the saved thumbnail.
        video_key: Key of the saved video in the object store, where several replicas share one; `file` is None then.
        thumbnail_key: Key of the saved thumbnail there.
        created_at, ended_at: Unix seconds; `ended_at` when the studio reported it as complete or failed.
        fee_micro_usdc: The network fee on top of the price, as in `Payment`.
        stalled_at: Unix seconds since which the studio reports an error under a status word that is no failure.
        url_seen_at: Unix seconds at which the studio first reported this `video_url`.
        expired_at: Unix seconds since which a paid result is no longer available; `status` is `failed` then.
        note: Information for a person about the saved file.
        pruned_at: Unix seconds at which the saved video was deleted because of its age. It is not downloaded again.
        adopted: True if its payment was found, not made by this ledger: the price is then an estimate.
        charged: True if it was paid, as far as is known; False once the chain shows that no money moved.
    """

    job_id: str
    studio: str
    wallet: str
    payment_id: int | None = None
    idempotency_key: str | None = None
    arguments: Json
    status: Status
    progress: int
    error: str | None = None
    video_url: str | None = None
    thumbnail_url: str | None = None
    file: str | None = None
    thumbnail: str | None = None
    video_key: str | None = None
    thumbnail_key: str | None = None
    created_at: float
    ended_at: float | None = None
    price_micro_usdc: int | None = None
    fee_micro_usdc: int | None = None
    rail: Rail | None = None
    receipt: Receipt | None = None
    stalled_at: float | None = None
    url_seen_at: float | None = None
    expired_at: float | None = None
    note: str | None = None
    pruned_at: float | None = None
    adopted: bool = False
    charged: bool = True

    @property
    def known_price_micro_usdc(self) -> int | None:
        """Return its price; None if this ledger did not pay for it, or no money moved."""
        return self.price_micro_usdc if self.charged and not self.adopted else None

    @property
    def saved(self) -> bool:
        """Return True if its video was saved, on this machine or in the object store."""
        return self.file is not None or self.video_key is not None

    @property
    def finished(self) -> bool:
        """Return True if no work is left: it failed, or it is complete and saved."""
        return self.status == "failed" or (self.status == "complete" and self.saved)


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrackedJob:
    """A job of this wallet at the studio without a payment in the ledger.

    Attributes:
        type: The studio's name of its kind.
        input: The request that made it, if the studio repeats it.
        created_at: Unix seconds.
        amount_micro_usdc: Its estimated cost, which counts against the budget.
    """

    job_id: str
    type: str | None
    status: Status
    input: Json | None = field(repr=False)
    created_at: float
    amount_micro_usdc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrackedPayment:
    """A payment of this wallet that is on a chain but not in the ledger.

    Attributes:
        transaction: Its hash, in lower case.
        network: CAIP-2 name of the chain.
        pay_to: The recipient's address, in lower case.
        amount_micro_usdc: Its amount, which counts against the budget.
        created_at: Unix seconds of its block.
    """

    transaction: str
    network: str
    pay_to: str
    amount_micro_usdc: int
    created_at: float
