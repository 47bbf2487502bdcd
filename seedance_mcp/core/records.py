"""Records: what the ledger keeps, as plain values."""

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
    """One row: one purchase.

    Attributes:
        hold_until: Unix seconds until which a `reserved` or `refused` row holds budget; for a `signed` row the
            credential's own expiry.
        lease_until: Unix seconds until which one process is busy with it.
        document: The unsigned payment, once it was signed; for a Tempo charge with the hash of the transaction,
            which is how the chain is asked about it, and no secret once it was sent.
        credential_sha256: Hash of the credential that was signed.
        answer: The studio's paid answer, verbatim.
        chain_checked: Whether the chain was asked after the credential's expiry.
        fee_micro_usdc: The network's fee on top of the price: at most, until the chain has named it.
    """

    id: int
    purpose: Purpose
    fingerprint: str
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

    @property
    def cost_micro_usdc(self) -> int:
        """Price and fee: what it holds of the budget."""
        return self.amount_micro_usdc + self.fee_micro_usdc

    @property
    def request(self) -> PaidRequest:
        """What was to be bought."""
        return PaidRequest(
            purpose=self.purpose,
            fingerprint=self.fingerprint,
            url=self.url,
            body=self.body,
            arguments=self.arguments,
        )

    def holds(self, now: float) -> bool:
        """Whether it may still become a settlement."""
        if self.state == "refused" and self.chain_checked:
            return False
        return self.state == "signed" or (self.state in ("reserved", "refused") and self.hold_until > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An image that the studio hosts for us."""

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
class Sight:
    """Which picture was seen at a stranger's URL, and when (Unix seconds)."""

    url: str
    sha256: str
    width: int
    height: int
    seen_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that was paid for.

    Attributes:
        arguments: What the caller asked, for people to read.
        file: Absolute path of the saved video, once it is saved.
        thumbnail: Absolute path of the saved thumbnail.
        created_at, ended_at: Unix seconds; `ended_at` when the studio said complete or failed.
        fee_micro_usdc: The network's fee on top of the price, as `Payment` has it.
        stalled_at: Unix seconds since when the studio reports an error under a word that does not say that it failed.
        url_seen_at: Unix seconds at which the studio first named this `video_url`.
        expired_at: Unix seconds at which a paid result could not be had any more; `status` is `failed` then.
        note: What a person should know of the saved file.
        pruned_at: Unix seconds at which the saved video was deleted because of its age. It is not fetched again.
        adopted: Whether its payment was found, not made: the price is then only an estimate.
        charged: Whether it was paid for, as far as anyone knows; False once the chain said that nothing moved.
    """

    job_id: str
    studio: str
    wallet: str
    payment_id: int
    fingerprint: str
    arguments: Json
    status: Status
    progress: int
    error: str | None
    video_url: str | None
    thumbnail_url: str | None
    file: str | None
    thumbnail: str | None
    created_at: float
    ended_at: float | None
    price_micro_usdc: int
    fee_micro_usdc: int
    rail: Rail
    receipt: Receipt | None
    stalled_at: float | None = None
    url_seen_at: float | None = None
    expired_at: float | None = None
    note: str | None = None
    pruned_at: float | None = None
    adopted: bool = False
    charged: bool = True

    @property
    def known_price_micro_usdc(self) -> int | None:
        """What was paid for it; None where this ledger did not pay, or the chain says that nothing moved."""
        return self.price_micro_usdc if self.payment_id and self.charged and not self.adopted else None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do for it: failed, or complete and saved."""
        return self.status == "failed" or (self.status == "complete" and self.file is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrackedJob:
    """A job of this wallet at the studio that the ledger has no payment for.

    Attributes:
        type: The studio's word for its kind.
        input: The request that made it, where the studio repeats it.
        created_at: Unix seconds.
        amount_micro_usdc: What it is thought to have cost; it counts against the budget.
    """

    job_id: str
    type: str | None
    status: Status
    input: Json | None = field(repr=False)
    created_at: float
    amount_micro_usdc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrackedPayment:
    """A payment of this wallet that a chain has and the ledger has not.

    Attributes:
        transaction: Its hash, in lower case.
        network: CAIP-2 name of the chain.
        pay_to: The recipient's address, in lower case.
        amount_micro_usdc: It counts against the budget.
        created_at: Unix seconds of its block.
    """

    transaction: str
    network: str
    pay_to: str
    amount_micro_usdc: int
    created_at: float
