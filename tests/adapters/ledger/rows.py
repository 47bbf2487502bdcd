"""What the ledger's tests buy: the smallest requests, offers and answers that are still real."""

import secrets

from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Approval, Limits
from seedance_mcp.core.money import MicroUSDC
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest, Purpose, Receipt, Settled
from seedance_mcp.payments.policy import check_price

WALLET = "0x00000000000000000000000000000000000000AA"
STUDIO = "https://studio.test"
NOW = 1_800_000_000.0


def write_request(idempotency_key: str = "f", *, purpose: Purpose = "generation", body: bytes = b"{}") -> PaidRequest:
    arguments: dict[str, object] = {"model": "seedance-fast", "duration": 4, "resolution": "480p", "prompt": "ü ☃"}
    return PaidRequest(
        purpose=purpose, idempotency_key=idempotency_key, url=f"{STUDIO}/api/x", body=body, arguments=arguments
    )


def write_offer(amount_micro_usdc: int = 40_000) -> Offer:
    return Offer(
        rail="x402",
        scheme="exact",
        network="eip155:8453",
        asset="0x" + "1" * 40,
        pay_to="0x" + "2" * 40,
        amount_micro_usdc=MicroUSDC(amount_micro_usdc),
        lifetime_seconds=300,
    )


async def reserve(
    ledger: Ledger,
    amount: int = 40_000,
    *,
    cap: int = 10**12,
    now: float = NOW,
    idempotency_key: str | None = None,
) -> Payment:
    """Sum, ask the policy and reserve in one transaction, as `PaymentExecutor.pay` does; a new request each time."""
    idempotency_key = idempotency_key or secrets.token_hex(8)
    limits = Limits(max_per_day_micro_usdc=cap, max_total_micro_usdc=cap)
    async with ledger.lock_budget() as transaction:
        check_price(amount, limits, spend=await transaction.spend(now), approval=Approval(amount, "a test says so"))
        return await transaction.reserve(
            write_request(idempotency_key), write_offer(amount), wallet=WALLET, hold_until=int(now) + 60, now=now
        )


async def sign(ledger: Ledger, payment: Payment, *, now: float = NOW, lease: float = 75) -> Payment:
    return await ledger.record_signed(
        payment,
        {"payload": {"authorization": {"nonce": "0x00"}}},
        credential_sha256="c" * 64,
        hold_until=int(now) + 180,
        lease_until=now + lease,
        now=now,
    )


async def settle(ledger: Ledger, payment: Payment, *, now: float = NOW, answer: bytes = b'{"jobId":"j"}') -> Payment:
    receipt = Receipt(rail="x402", network="eip155:8453", transaction="0x" + "3" * 64)
    return await ledger.conclude(payment, Settled(receipt=receipt, answer=answer), now=now)
