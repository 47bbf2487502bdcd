"""What the errors of a payment that is not over say of its money."""

from dataclasses import replace
from pathlib import Path

import pytest

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import PaymentOutcomeUnknownError, PaymentRefusedError, PurchaseUnderwayError
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.responses import Receipt
from seedance_mcp.payments.pending import CANDIDATES_MAX, held_error, jobless_error, refused_error
from tests.adapters.ledger.rows import NOW, reserve, sign
from tests.ledgers import SQLiteStore

NONCE = "0x" + "7" * 64
JOBS = tuple(f"job-{number}" for number in range(CANDIDATES_MAX + 2))


@pytest.fixture
async def signed(tmp_path: Path) -> Payment:
    """A payment of $0.04 that was sent."""
    ledger = await SQLiteStore(tmp_path / "ledger.sqlite3").open()
    try:
        return await sign(ledger, await reserve(ledger))
    finally:
        await ledger.close()


def show(error: SeedanceError) -> tuple[type[SeedanceError], str, int | None]:
    return type(error), error.payment_state, error.amount_micro_usdc


async def test_payment_that_holds_is_reported_by_its_state(signed: Payment) -> None:
    refused = held_error(replace(signed, state="refused", reason="no balance"), NOW)
    reserved = held_error(replace(signed, state="reserved"), NOW)
    unknown = held_error(signed, NOW, JOBS)
    assert show(refused) == (PaymentRefusedError, "held", 40_000)
    assert show(reserved) == (PurchaseUnderwayError, "held", 40_000)
    assert show(unknown) == (PaymentOutcomeUnknownError, "held", 40_000)
    assert "refused the payment: no balance." in refused.what
    assert (
        f"{len(JOBS)} jobs of its list could be the one: job-0, job-1, job-2, job-3, job-4 and 2 more" in unknown.what
    )
    assert "It is not bought again." in str(unknown)


async def test_refusal_that_was_not_written_says_nothing_of_the_money(signed: Payment) -> None:
    error = refused_error(signed)
    assert show(error) == (PaymentOutcomeUnknownError, "held", 40_000)
    assert "Another process has taken it over." in error.what


async def test_paid_video_without_a_job_is_named_by_its_proof(signed: Payment) -> None:
    receipt = Receipt(rail="x402", network="eip155:8453", transaction="0x" + "3" * 64)
    settled = replace(signed, state="settled", receipt=None, document={"payload": {"authorization": {"nonce": NONCE}}})
    by_nonce, by_transaction = jobless_error(settled), jobless_error(replace(settled, receipt=receipt))
    nameless, one = jobless_error(replace(settled, document=None)), jobless_error(settled, JOBS[:1])
    assert f"The video was paid by the authorization with nonce {NONCE}, but" in by_nonce.what
    assert f"The video was paid by transaction {receipt.transaction}, but" in by_transaction.what
    assert "The video was paid, but" in nameless.what
    assert "one job of its list, job-0, could also be another payment's" in one.what
    for error in (by_nonce, by_transaction, nameless, one):
        assert show(error) == (PaymentOutcomeUnknownError, "settled", 40_000)
        assert "It is not bought again." in str(error)
