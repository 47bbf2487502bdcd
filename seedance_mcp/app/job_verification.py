"""Job verification: ask the chain, once, whether a finished job was paid for."""

from __future__ import annotations

import anyio

from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.records import Job
from seedance_mcp.payments.verification import PaymentVerifier

VERIFY_SECONDS = 5
"""How long the chain may take to say that a finished job was paid for, while a caller waits."""


async def verify_job(verifier: PaymentVerifier, ledger: Ledger, job: Job) -> Job:
    """Return a finished job after reading the chain, once, for whether its payment moved."""
    if job.payment_id is None or not job.finished:
        return job
    payment = await ledger.find_payment(job.payment_id)
    if payment is None or not verifier.can_verify(payment):
        return job
    with anyio.move_on_after(VERIFY_SECONDS):
        await verifier.verify(payment)
    return await ledger.find_job(job.job_id) or job
