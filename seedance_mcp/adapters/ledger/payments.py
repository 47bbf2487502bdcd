"""Payments in the ledger: reserve, sign, conclude and find them; freezes, and payments that only a chain has."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from seedance_mcp.adapters.ledger import untracked_payments, verifying
from seedance_mcp.adapters.ledger.driver import Queries, Row, Session, bind_keys
from seedance_mcp.adapters.ledger.freezes import drop_freeze, find_freeze, put_freeze
from seedance_mcp.adapters.ledger.rows import is_gone, make_storable, read_payment
from seedance_mcp.adapters.ledger.transaction import BudgetTransaction, insert_recipient, select_wrong_totals
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.freezes import Freeze, check_not_frozen
from seedance_mcp.core.limits import Cap, Spend
from seedance_mcp.core.next_steps import NextStep, Repeat
from seedance_mcp.core.records import Payment, UntrackedPayment, WrongTotal
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.responses import Receipt, Refused, Settled


class PaymentQueries(Queries):
    """The `PaymentLedger` protocol."""

    _transaction: type[BudgetTransaction] = BudgetTransaction

    @asynccontextmanager
    async def lock_budget(self, *, sync: bool = False) -> AsyncGenerator[BudgetTransaction]:
        """Begin the transaction of a single writer, in which the budget is summed and reserved.

        A reservation need not be on disk at its end. `record_signed`, without which nothing is sent, brings it there
        together with the signature; if a power failure comes before that, nothing was signed or sent.
        """
        async with self._driver.transaction(budget_of=self._caller, sync=sync) as session:
            await session.check_storage()
            yield self._transaction(session, self._caller, self._reservation_id)

    async def spend(self, now: float) -> Spend:
        """Sum the budget."""
        async with self._driver.reading() as session:
            return await BudgetTransaction(session, reservation_id=self._reservation_id).spend(now)

    async def find_visible_spend(self, now: float) -> Spend:
        """Sum what may be shown of the budget: in a ledger without callers, all of it."""
        return await self.spend(now)

    async def find_caps(self, now: float) -> tuple[Cap, ...]:
        """Return the caps that the ledger itself keeps."""
        async with self._driver.reading() as session:
            return await BudgetTransaction(session, self._caller).find_caps(now)

    async def find_recipients(self, studio: str, network: str) -> frozenset[str]:
        """Return the addresses that a studio is known by on a network."""
        async with self._driver.reading() as session:
            return await BudgetTransaction(session).find_recipients(studio, network)

    async def record_signed(
        self,
        payment: Payment,
        document: Json,
        *,
        credential_sha256: str,
        hold_until: int,
        lease_until: float,
        now: float,
    ) -> Payment:
        """Write down that a credential exists; on disk before this returns.

        A reservation that lapsed meanwhile (a suspended machine, a starved process) has given its budget away and may
        not be signed for any more. Nor may anything that the owner has stopped meanwhile.
        """
        async with self._lock_payments() as session:
            await session.check_storage()
            check_not_frozen(await find_freeze(session, payment.caller))
            row = await session.fetch_one(
                """UPDATE payments SET state = 'signed', document = :document, credential_sha256 = :credential_sha256,
                                       hold_until = :hold_until, lease_until = :lease_until,
                                       lease_owner = :lease_owner, signed_at = :now
                   WHERE id = :id AND state = 'reserved' AND hold_until > :now RETURNING *""",
                {
                    "document": json.dumps(document),
                    "credential_sha256": credential_sha256,
                    "hold_until": hold_until,
                    "lease_until": lease_until,
                    "lease_owner": session.owner,
                    "now": now,
                    "id": payment.id,
                },
            )
            if row is None:
                raise LedgerError(f"Payment {payment.id} is not reserved any more.", NextStep("{0}.", Repeat()))
        return read_payment(row)

    async def claim(self, payment: Payment, *, lease_until: float, now: float) -> Payment | None:
        """Take the lease of an unfinished payment; a dead process's lease is free, and counts as an interruption."""
        async with self._lock_payments() as session:
            await session.check_storage(
                payment_state="held", amount_micro_usdc=payment.cost_micro_usdc, payment_id=payment.id
            )  # its credential may be sent again, which another ledger does not know of
            found = await _select_payment(session, payment.id)
            row = await session.fetch_one(
                """UPDATE payments SET lease_until = :lease_until, lease_owner = :lease_owner,
                                       interruptions = interruptions + CASE WHEN lease_until > 0 THEN 1 ELSE 0 END
                   WHERE id = :id AND state IN ('signed', 'refused')
                         AND (lease_until <= :now OR :owner_is_gone = 1) RETURNING *""",
                {
                    "lease_until": lease_until,
                    "lease_owner": session.owner,
                    "id": payment.id,
                    "now": now,
                    "owner_is_gone": int(found is not None and _is_left(found)),
                },
            )
        return None if row is None else read_payment(row)

    async def release(self, payment: Payment) -> None:
        """Give the lease back, unless another process has taken it since."""
        async with self._lock_payments() as session:
            await session.execute(
                "UPDATE payments SET lease_until = 0 WHERE id = :id AND lease_until = :lease_until",
                {"id": payment.id, "lease_until": payment.lease_until},
            )

    async def conclude(
        self,
        payment: Payment,
        outcome: Settled | Refused,
        *,
        now: float,
        chain_checked: bool = False,
        fee_micro_usdc: int | None = None,
    ) -> Payment:
        """Write the end of a payment with its raw answer. A settled one stays settled; a late answer completes it.

        A studio's refusal counts only from the process that still has the lease: where another one has taken it over
        and sent the credential too, the studio may have refused it as used already.
        """
        receipt = outcome.receipt if isinstance(outcome, Settled) else None
        answer = outcome.answer if isinstance(outcome, Settled) else None
        async with self._lock_payments() as session:
            row = await session.fetch_one(
                """UPDATE payments SET state = :state, reason = :reason, answer = :answer, concluded_at = :now,
                                       receipt_network = coalesce(:receipt_network, receipt_network),
                                       receipt_transaction = coalesce(:receipt_transaction, receipt_transaction),
                                       chain_checked = CASE WHEN :chain_checked = 1 THEN 1 ELSE chain_checked END,
                                       verified = coalesce(:verified, verified), lease_until = 0,
                                       fee_micro_usdc = CASE WHEN :fee < fee_micro_usdc THEN :fee
                                                             ELSE fee_micro_usdc END
                   WHERE id = :id AND (state IN ('signed', 'refused') OR (
                       state = 'settled' AND :is_answered = 1 AND length(coalesce(answer, '')) = 0))
                     AND (:is_refusal = 0 OR lease_until = :lease_until) RETURNING *""",
                {
                    "state": "settled" if isinstance(outcome, Settled) else "refused",
                    "reason": None if isinstance(outcome, Settled) else make_storable(outcome.reason),
                    "answer": answer,
                    "now": now,
                    "receipt_network": make_storable(receipt.network) if receipt else None,
                    "receipt_transaction": make_storable(receipt.transaction or None) if receipt else None,
                    "chain_checked": int(chain_checked),
                    "verified": None if receipt is None or receipt.verified is None else int(receipt.verified),
                    "fee": fee_micro_usdc,
                    "id": payment.id,
                    "is_answered": int(bool(answer)),
                    "is_refusal": int(isinstance(outcome, Refused) and not chain_checked),
                    "lease_until": payment.lease_until,
                },
            )
            row = row or await session.fetch_one("SELECT * FROM payments WHERE id = :id", {"id": payment.id})
            if isinstance(outcome, Settled) and row is not None:
                await insert_recipient(session, payment.request.studio, payment.network, payment.pay_to, now=now)
        return _read(row, payment)

    async def record_moved(self, payment: Payment, receipt: Receipt, *, fee_micro_usdc: int | None) -> Payment:
        """Write that the money of a signed payment has moved; it stays unfinished until its outcome is known."""
        async with self._lock_payments() as session:
            await session.execute(
                """UPDATE payments SET receipt_network = :network, receipt_transaction = :transaction_hash,
                                       fee_micro_usdc = CASE WHEN :fee < fee_micro_usdc THEN :fee
                                                             ELSE fee_micro_usdc END
                   WHERE id = :id AND state = 'signed'""",
                {
                    "network": make_storable(receipt.network),
                    "transaction_hash": make_storable(receipt.transaction),
                    "fee": fee_micro_usdc,
                    "id": payment.id,
                },
            )
            row = await session.fetch_one("SELECT * FROM payments WHERE id = :id", {"id": payment.id})
        return _read(row, payment)

    async def record_fee(self, payment: Payment, fee_micro_usdc: int) -> Payment:
        """Write what the network kept of a settled payment; never more than was held for it."""
        async with self._lock_payments() as session:
            row = await session.fetch_one(
                """UPDATE payments SET fee_micro_usdc = CASE WHEN :fee < fee_micro_usdc THEN :fee
                                                             ELSE fee_micro_usdc END
                   WHERE id = :id RETURNING *""",
                {"fee": fee_micro_usdc, "id": payment.id},
            )
        return _read(row, payment)

    async def find_payment(self, payment_id: int) -> Payment | None:
        """Return a payment by its number."""
        async with self._driver.reading() as session:
            row = await _select_payment(session, payment_id)
        return None if row is None else read_payment(row)

    async def unverified_payments(self, *, after_id: int, limit: int, now: float) -> list[Payment]:
        """Return settled payments whose credential has expired and that no chain was asked about, by number."""
        async with self._driver.reading() as session:
            return await verifying.select_unverified(session, after_id=after_id, limit=limit, now=now)

    async def record_verified(
        self, payment: Payment, *, transaction: str, verified: bool | None, fee_micro_usdc: int | None
    ) -> Payment:
        """Write that the chain reports that a settled payment moved."""
        async with self._lock_payments() as session:
            await verifying.mark_verified(
                session, payment, transaction=transaction, verified=verified, fee_micro_usdc=fee_micro_usdc
            )
        return await self.find_payment(payment.id) or payment

    async def record_unmoved(self, payment: Payment, *, reason: str, fee_micro_usdc: int | None) -> Payment:
        """Write that a payment that the studio called settled never moved."""
        async with self._lock_payments() as session:
            await verifying.mark_unmoved(session, payment, reason=reason, fee_micro_usdc=fee_micro_usdc)
        return await self.find_payment(payment.id) or payment

    async def unfinished_payments(self, now: float) -> list[Payment]:
        """Return signed payments, and refused ones whose credential expired before the chain was asked."""
        rows = await self._all(
            """SELECT * FROM payments WHERE state = 'signed'
               OR (state = 'refused' AND chain_checked = 0 AND hold_until <= :now) ORDER BY id""",
            now=now,
        )
        return [read_payment(row) for row in rows]

    async def held_payments(self, now: float) -> list[Payment]:
        """Return signed payments, refused ones that no chain was asked about, and reservations that have not lapsed."""
        visible, parameters = self._visible("payments")
        return await self._list_held(visible, now=now, **parameters)

    async def awaited_payments(self, wallet: str, now: float) -> list[Payment]:
        """Return the generations of a wallet, of everyone, whose job may still be found in the studio's list."""
        held = await self._list_held("wallet = :wallet AND purpose = 'generation'", wallet=wallet, now=now)
        return held + await self.settled_without_result(wallet)

    async def _list_held(self, condition: str, **parameters: object) -> list[Payment]:
        rows = await self._all(
            f"""SELECT * FROM payments WHERE {condition} AND (
                    state = 'signed' OR (state = 'refused' AND chain_checked = 0)
                    OR (state = 'reserved' AND hold_until > :now)) ORDER BY id""",  # noqa: S608 - our own conditions
            **parameters,
        )
        return [read_payment(row) for row in rows]

    async def settled_without_result(self, wallet: str) -> list[Payment]:
        """Return settled generations from whose answer no job was made yet."""
        rows = await self._all(
            """SELECT payments.* FROM payments LEFT JOIN jobs ON jobs.payment_id = payments.id
               WHERE wallet = :wallet AND purpose = 'generation' AND state = 'settled' AND jobs.job_id IS NULL""",
            wallet=wallet,
        )
        return [read_payment(row) for row in rows]

    async def count_inflight_duplicates(self, payment: Payment, *, now: float) -> int:
        """Count other payments of the same wallet for the very same body whose answers are expected or being read."""
        return await self._count(
            """payments LEFT JOIN jobs ON jobs.payment_id = payments.id
               WHERE payments.id <> :id AND wallet = :wallet AND body = :body AND jobs.job_id IS NULL
                     AND ((state = 'signed' AND lease_until > :now) OR (state = 'settled' AND length(answer) > 0))""",
            id=payment.id, wallet=payment.wallet, body=payment.body, now=now,
        )  # fmt: skip

    async def count_payments_without_job(self, payment: Payment, *, made_at: float, skew_seconds: float) -> int:
        """Count other payments of the same wallet on the same route without a job that may own one made at a time.

        A refused payment counts until the chain was asked: the studio may have made its job all the same.
        """
        return await self._count(
            """payments LEFT JOIN jobs ON jobs.payment_id = payments.id
               WHERE payments.id <> :id AND wallet = :wallet AND url = :url AND jobs.job_id IS NULL
                     AND (state IN ('signed', 'settled') OR (state = 'refused' AND chain_checked = 0))
                     AND :made_at BETWEEN coalesce(signed_at, payments.created_at) - :skew AND hold_until + :skew""",
            id=payment.id, wallet=payment.wallet, url=payment.url, made_at=made_at, skew=skew_seconds,
        )  # fmt: skip

    async def count_failed_uploads(self, keys: tuple[str, ...], *, since: float, interrupted: bool | None) -> int:
        """Count the settled uploads of a picture since a moment that never became a hosted image."""
        marks, parameters = bind_keys(keys)
        which = {None: ">= 0", True: "> 0", False: "= 0"}[interrupted]
        return await self._count(
            f"""payments LEFT JOIN uploads ON uploads.payment_id = payments.id
                WHERE fingerprint IN ({marks}) AND state = 'settled' AND uploads.image_url IS NULL
                      AND payments.created_at > :since AND interruptions {which}""",
            since=since,
            **parameters,
        )

    async def count_uploads_paid(self, keys: tuple[str, ...], *, since: float) -> int:
        """Count the settled uploads of a picture since a moment."""
        marks, parameters = bind_keys(keys)
        return await self._count(
            f"payments WHERE fingerprint IN ({marks}) AND state = 'settled' AND created_at > :since",
            since=since,
            **parameters,
        )

    async def has_unfinished_work(self) -> bool:
        """Return True if a job is not saved or the outcome of a payment is not known."""
        number = await self._count(
            """(SELECT 1 FROM jobs WHERE status <> 'failed' AND file IS NULL AND video_key IS NULL
                UNION ALL SELECT 1 FROM films WHERE state = 'running'
                UNION ALL SELECT 1 FROM payments WHERE state = 'signed' OR (state = 'refused' AND chain_checked = 0)
                UNION ALL SELECT 1 FROM payments LEFT JOIN jobs ON jobs.payment_id = payments.id
                          WHERE purpose = 'generation' AND state = 'settled' AND jobs.job_id IS NULL) AS unfinished"""
        )
        return number > 0

    async def find_wrong_totals(self) -> list[WrongTotal]:
        """Return each running total that is not the sum of its payments."""
        async with self._lock_payments() as session:  # else a payment may be written between total and sum
            return await select_wrong_totals(session)

    async def recent_payments(self, limit: int) -> list[Payment]:
        """Return the latest payments, newest first."""
        visible, parameters = self._visible("payments")
        query = f"SELECT * FROM payments WHERE {visible} ORDER BY id DESC LIMIT :limit"  # noqa: S608 - our own condition
        rows = await self._all(query, limit=limit, **parameters)
        return [read_payment(row) for row in rows]

    async def find_latest_payment(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the latest payment of any of these idempotency keys."""
        async with self._driver.reading() as session:
            return await BudgetTransaction(session).find_latest_payment(keys)

    async def find_freeze(self) -> Freeze | None:
        """Return the freeze that stops this caller, if there is one."""
        async with self._driver.reading() as session:
            return await find_freeze(session, self._caller)

    async def freeze(self, reason: str, *, now: float) -> Freeze:
        """Stop all spending of every process on this ledger, or of this caller."""
        async with self._lock_payments() as session:
            return await put_freeze(session, make_storable(reason) or "", now=now, scope=self._caller)

    async def unfreeze(self) -> bool:
        """End the freeze of everything, or of this caller; returns True if there was one."""
        async with self._lock_payments() as session:
            return await drop_freeze(session, self._caller)

    async def find_chain_reading(self, *, wallet: str, network: str, pay_to: str) -> float | None:
        """Return when a chain was last read for payments to a recipient."""
        async with self._driver.reading() as session:
            return await untracked_payments.select_reading(session, wallet=wallet, network=network, pay_to=pay_to)

    async def record_chain_reading(
        self, payments: Sequence[UntrackedPayment], *, wallet: str, network: str, pay_to: str, now: float
    ) -> None:
        """Write that a chain was read, and which payments are not explained."""
        async with self._lock_payments() as session:
            await untracked_payments.insert_reading(
                session, payments, wallet=wallet, network=network, pay_to=pay_to, now=now
            )

    async def list_untracked_payments(self, *, wallet: str) -> list[UntrackedPayment]:
        """Return the payments that only a chain knows, oldest first."""
        async with self._driver.reading() as session:
            return await untracked_payments.select_all(session, wallet=wallet)

    async def close(self) -> None:
        """Close the ledger."""
        await self._driver.close()


async def _select_payment(session: Session, payment_id: int) -> Row | None:
    return await session.fetch_one(
        f"SELECT *, {session.owner_is_gone} AS owner_is_gone FROM payments WHERE id = :id",  # noqa: S608 - ours
        {"id": payment_id},
    )


def _is_left(row: Row) -> bool:
    return bool(row["owner_is_gone"]) or is_gone(row["lease_owner"])


def _read(row: Row | None, payment: Payment) -> Payment:
    if row is None:
        raise LedgerError(f"Payment {payment.id} is not in the ledger.")
    return read_payment(row)
