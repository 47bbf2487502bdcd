"""Payments in the ledger: reserving, signing, concluding and finding them; freezes and what only a chain knows."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from seedance_mcp.adapters.ledger import untracked_payments, verifying
from seedance_mcp.adapters.ledger.connection import Connection, list_marks
from seedance_mcp.adapters.ledger.freezes import drop_freeze, find_freeze, put_freeze
from seedance_mcp.adapters.ledger.rows import is_gone, make_storable, name_ourselves, read_payment
from seedance_mcp.adapters.ledger.transaction import SQLiteBooks, insert_recipient
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.freezes import Freeze, check_not_frozen
from seedance_mcp.core.limits import Spend
from seedance_mcp.core.next_steps import NextStep, Repeat
from seedance_mcp.core.records import Payment, UntrackedPayment
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.responses import Receipt, Refused, Settled


class Payments(Connection):
    """The payments of the ledger."""

    @contextmanager
    def writing(self) -> Generator[SQLiteBooks, None, None]:
        """One writer's transaction."""
        with self._atomic() as db:
            self._open_file.check()
            yield SQLiteBooks(db)

    def spend(self, now: float) -> Spend:
        """Sum the budget."""
        with self._translating():
            return SQLiteBooks(self._db).spend(now)

    def find_recipients(self, studio: str, network: str) -> frozenset[str]:
        """Return the addresses that a studio is known by on a network."""
        with self._translating():
            return SQLiteBooks(self._db).find_recipients(studio, network)

    def record_signed(
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
        with self._atomic() as db:
            self._open_file.check()
            check_not_frozen(find_freeze(db))
            row = db.execute(
                """UPDATE payments SET state = 'signed', document = ?, credential_sha256 = ?, hold_until = ?,
                                       lease_until = ?, lease_owner = ?, signed_at = ?
                   WHERE id = ? AND state = 'reserved' AND hold_until > ? RETURNING *""",
                (
                    json.dumps(document),
                    credential_sha256,
                    hold_until,
                    lease_until,
                    name_ourselves(),
                    now,
                    payment.id,
                    now,
                ),
            ).fetchone()
            if row is None:
                raise LedgerError(f"Payment {payment.id} is not reserved any more.", NextStep("{0}.", Repeat()))
        return read_payment(row)

    def claim(self, payment: Payment, *, lease_until: float, now: float) -> Payment | None:
        """Take the lease of an unfinished payment; a dead process's lease is free, and counts as an interruption."""
        with self._atomic() as db:
            self._open_file.check(
                payment_state="held", amount_micro_usdc=payment.cost_micro_usdc, payment_id=payment.id
            )  # its credential may be sent again, which another ledger does not know of
            found = db.execute("SELECT lease_owner FROM payments WHERE id = ?", (payment.id,)).fetchone()
            owner_is_gone = found is not None and is_gone(found["lease_owner"])
            row = db.execute(
                """UPDATE payments SET lease_until = ?, lease_owner = ?,
                                       interruptions = interruptions + (lease_until > 0)
                   WHERE id = ? AND state IN ('signed', 'refused') AND (lease_until <= ? OR ?) RETURNING *""",
                (lease_until, name_ourselves(), payment.id, now, owner_is_gone),
            ).fetchone()
        return None if row is None else read_payment(row)

    def release(self, payment: Payment) -> None:
        """Give the lease back, unless it has passed to somebody else."""
        with self._atomic() as db:
            db.execute(
                "UPDATE payments SET lease_until = 0 WHERE id = ? AND lease_until = ?",
                (payment.id, payment.lease_until),
            )

    def conclude(
        self,
        payment: Payment,
        outcome: Settled | Refused,
        *,
        now: float,
        chain_checked: bool = False,
        fee_micro_usdc: int | None = None,
    ) -> Payment:
        """Write the end of a payment with its raw answer. A settled one stays settled; a late answer completes it."""
        if isinstance(outcome, Settled):
            state, reason, receipt, answer = "settled", None, outcome.receipt, outcome.answer
        else:
            state, reason, receipt, answer = "refused", outcome.reason, None, None
        with self._atomic() as db:
            db.execute(
                """UPDATE payments SET state = ?, reason = ?, receipt_network = coalesce(?, receipt_network),
                                       receipt_transaction = coalesce(?, receipt_transaction), answer = ?,
                                       concluded_at = ?, chain_checked = max(chain_checked, ?), lease_until = 0,
                                       verified = coalesce(?, verified),
                                       fee_micro_usdc = min(fee_micro_usdc, coalesce(?, fee_micro_usdc))
                   WHERE id = ? AND (state IN ('signed', 'refused')
                                     OR (state = 'settled' AND ? AND length(coalesce(answer, '')) = 0))""",
                (
                    state, make_storable(reason), make_storable(receipt.network) if receipt else None,
                    make_storable(receipt.transaction or None) if receipt else None, answer, now, int(chain_checked),
                    receipt.verified if receipt else None, fee_micro_usdc, payment.id, bool(answer),
                ),
            )  # fmt: skip
            row = db.execute("SELECT * FROM payments WHERE id = ?", (payment.id,)).fetchone()
            if row is None:
                raise LedgerError(f"Payment {payment.id} is not in the ledger.")
            if isinstance(outcome, Settled):
                insert_recipient(db, payment.request.studio, payment.network, payment.pay_to, now=now)
            return read_payment(row)

    def record_moved(self, payment: Payment, receipt: Receipt, *, fee_micro_usdc: int | None) -> Payment:
        """Write that the money of a signed payment has moved; it stays open until its end is known."""
        with self._atomic() as db:
            db.execute(
                """UPDATE payments SET receipt_network = ?, receipt_transaction = ?,
                                       fee_micro_usdc = min(fee_micro_usdc, coalesce(?, fee_micro_usdc))
                   WHERE id = ? AND state = 'signed'""",
                (make_storable(receipt.network), make_storable(receipt.transaction), fee_micro_usdc, payment.id),
            )
            row = db.execute("SELECT * FROM payments WHERE id = ?", (payment.id,)).fetchone()
            if row is None:
                raise LedgerError(f"Payment {payment.id} is not in the ledger.")
            return read_payment(row)

    def record_fee(self, payment: Payment, fee_micro_usdc: int) -> Payment:
        """Write what the network kept of a settled payment; never more than was held for it."""
        with self._atomic() as db:
            row = db.execute(
                "UPDATE payments SET fee_micro_usdc = min(fee_micro_usdc, ?) WHERE id = ? RETURNING *",
                (fee_micro_usdc, payment.id),
            ).fetchone()
            if row is None:
                raise LedgerError(f"Payment {payment.id} is not in the ledger.")
            return read_payment(row)

    def find_payment(self, payment_id: int) -> Payment | None:
        """A payment by its number."""
        row = self._one("SELECT * FROM payments WHERE id = ?", payment_id)
        return None if row is None else read_payment(row)

    def unverified_payments(self, *, after_id: int, limit: int, now: float) -> list[Payment]:
        """Return settled payments whose credential has expired and that no chain was asked about, by number."""
        with self._translating():
            return verifying.select_unverified(self._db, after_id=after_id, limit=limit, now=now)

    def record_verified(
        self, payment: Payment, *, transaction: str, verified: bool | None, fee_micro_usdc: int | None
    ) -> Payment:
        """Write that the chain says that a settled payment moved."""
        with self._atomic() as db:
            verifying.mark_verified(
                db, payment, transaction=transaction, verified=verified, fee_micro_usdc=fee_micro_usdc
            )
        return self.find_payment(payment.id) or payment

    def record_unmoved(self, payment: Payment, *, reason: str, fee_micro_usdc: int | None) -> Payment:
        """Write that a payment that the studio called settled never moved."""
        with self._atomic() as db:
            verifying.mark_unmoved(db, payment, reason=reason, fee_micro_usdc=fee_micro_usdc)
        return self.find_payment(payment.id) or payment

    def unfinished_payments(self, now: float) -> list[Payment]:
        """Signed payments, and refused ones whose credential expired before the chain was asked."""
        rows = self._all(
            """SELECT * FROM payments WHERE state = 'signed'
               OR (state = 'refused' AND chain_checked = 0 AND hold_until <= ?) ORDER BY id""",
            now,
        )
        return [read_payment(row) for row in rows]

    def held_payments(self, now: float) -> list[Payment]:
        """Signed payments, refused ones about which the chain has not spoken, and reservations that have not lapsed."""
        rows = self._all(
            """SELECT * FROM payments WHERE state = 'signed' OR (state = 'refused' AND chain_checked = 0)
               OR (state = 'reserved' AND hold_until > ?) ORDER BY id""",
            now,
        )
        return [read_payment(row) for row in rows]

    def settled_without_result(self, wallet: str) -> list[Payment]:
        """Settled generations from whose answer no job was made yet."""
        rows = self._all(
            """SELECT payments.* FROM payments LEFT JOIN jobs ON jobs.payment_id = payments.id
               WHERE wallet = ? AND purpose = 'generation' AND state = 'settled' AND jobs.job_id IS NULL""",
            wallet,
        )
        return [read_payment(row) for row in rows]

    def count_rivals(self, payment: Payment, *, now: float) -> int:
        """Other payments of the same wallet for the very same body whose answers are awaited or just being read."""
        return self._count(
            """payments LEFT JOIN jobs ON jobs.payment_id = payments.id
               WHERE payments.id <> ? AND wallet = ? AND body = ? AND jobs.job_id IS NULL
                     AND ((state = 'signed' AND lease_until > ?) OR (state = 'settled' AND length(answer) > 0))""",
            payment.id, payment.wallet, payment.body, now,
        )  # fmt: skip

    def count_jobless(self, payment: Payment, *, made_at: float, skew_seconds: float) -> int:
        """Count other payments of the same wallet on the same route without a job that may own one made at a time.

        A refused payment counts until the chain was asked: the studio may have made its job all the same.
        """
        return self._count(
            """payments LEFT JOIN jobs ON jobs.payment_id = payments.id
               WHERE payments.id <> ? AND wallet = ? AND url = ? AND jobs.job_id IS NULL
                     AND (state IN ('signed', 'settled') OR (state = 'refused' AND NOT chain_checked))
                     AND ? BETWEEN coalesce(signed_at, payments.created_at) - ? AND hold_until + ?""",
            payment.id, payment.wallet, payment.url, made_at, skew_seconds, skew_seconds,
        )  # fmt: skip

    def count_unhosted(self, keys: tuple[str, ...], *, since: float, interrupted: bool) -> int:
        """Settled uploads of a picture since a moment that never became a hosted image."""
        return self._count(
            f"""payments LEFT JOIN uploads ON uploads.payment_id = payments.id
                WHERE fingerprint IN ({list_marks(keys)}) AND state = 'settled' AND uploads.image_url IS NULL
                      AND payments.created_at > ? AND (interruptions > 0) = ?""",
            *keys, since, interrupted,
        )  # fmt: skip

    def count_uploads_paid(self, keys: tuple[str, ...], *, since: float) -> int:
        """Settled uploads of a picture since a moment."""
        return self._count(
            f"payments WHERE fingerprint IN ({list_marks(keys)}) AND state = 'settled' AND created_at > ?", *keys, since
        )

    def has_left(self) -> bool:
        """Whether a job is not saved or a payment not over."""
        return (
            self._count(
                """(SELECT 1 FROM jobs WHERE status <> 'failed' AND file IS NULL
                UNION ALL SELECT 1 FROM payments WHERE state = 'signed' OR (state = 'refused' AND chain_checked = 0)
                UNION ALL SELECT 1 FROM payments LEFT JOIN jobs ON jobs.payment_id = payments.id
                          WHERE purpose = 'generation' AND state = 'settled' AND jobs.job_id IS NULL)"""
            )
            > 0
        )

    def recent_payments(self, limit: int) -> list[Payment]:
        """The latest payments, newest first."""
        return [read_payment(row) for row in self._all("SELECT * FROM payments ORDER BY id DESC LIMIT ?", limit)]

    def find_latest_payment(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the latest payment of any of these idempotency keys."""
        with self._translating():
            return SQLiteBooks(self._db).find_payment(keys)

    def find_freeze(self) -> Freeze | None:
        """Return the owner's stop, if one stands."""
        with self._translating():
            return find_freeze(self._db)

    def freeze(self, reason: str, *, now: float) -> Freeze:
        """Stop all spending of every process on this ledger."""
        with self._atomic() as db:
            return put_freeze(db, make_storable(reason) or "", now=now)

    def unfreeze(self) -> bool:
        """End the stop; returns True if one stood."""
        with self._atomic() as db:
            return drop_freeze(db)

    def find_chain_reading(self, *, wallet: str, network: str, pay_to: str) -> float | None:
        """When a chain was last read for payments to a recipient."""
        with self._translating():
            return untracked_payments.select_reading(self._db, wallet=wallet, network=network, pay_to=pay_to)

    def record_chain_reading(
        self, payments: Sequence[UntrackedPayment], *, wallet: str, network: str, pay_to: str, now: float
    ) -> None:
        """Write that a chain was read, and which payments are not explained."""
        with self._atomic() as db:
            untracked_payments.insert_reading(db, payments, wallet=wallet, network=network, pay_to=pay_to, now=now)

    def list_untracked_payments(self, *, wallet: str) -> list[UntrackedPayment]:
        """Return the payments that only a chain knows, oldest first."""
        with self._translating():
            return untracked_payments.select_all(self._db, wallet=wallet)
