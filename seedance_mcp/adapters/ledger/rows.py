"""Rows: turn what the database stores into records."""

import json
import os
import socket
import sys
from functools import lru_cache
from pathlib import Path
from typing import cast

from seedance_mcp.adapters.ledger.driver import Row, Session
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.records import Job, Payment
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.responses import Receipt
from seedance_mcp.core.wire.tickets import scrub_ticket
from seedance_mcp.core.wire.x402 import find_nonce

JOB_QUERY = """
    SELECT jobs.*, wallet, fingerprint, arguments, amount_micro_usdc, fee_micro_usdc, rail, receipt_network,
           receipt_transaction, adopted, verified, document, chain_checked, state AS payment_state
    FROM jobs JOIN payments ON payments.id = jobs.payment_id"""
"""Jobs with what their payments know of them."""
_START_MARK = "#"


def make_storable(text: str | None) -> str | None:
    """Return untrusted text as a database accepts it: JSON may hold half a surrogate pair or a NUL."""
    return None if text is None else text.encode("utf-8", "replace").decode().replace("\0", "?")


def read_json(text: str) -> Json:
    """Read a JSON object that we wrote; another value is read as an empty one.

    Raises:
        LedgerError: It was damaged.
    """
    try:
        document = cast("object", json.loads(text))
    except ValueError as exc:
        raise LedgerError("A row of the ledger is damaged.", "Restore the ledger's file.") from exc
    return cast("Json", document) if isinstance(document, dict) else {}


def name_ourselves(start: str = "") -> str:
    """Return the owner to write in a lease: the scope of our process number, and the number.

    Args:
        start: Tells this owner from earlier ones, and from others of this process, if replicas have one ledger.
    """
    place = _find_place(os.getpid()) or socket.gethostname()
    return f"{place}{_START_MARK + start if start else ''}:{os.getpid()}"


@lru_cache(maxsize=1)
def _find_place(_pid: int) -> str | None:
    """Return the scope in which process numbers are unique: this boot of this machine, and this container.

    None if Linux does not tell. Read once by each process, because it is compared for each row of a payment.
    """
    if sys.platform != "linux":
        return socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()}/{boot[:8]}/{os.readlink('/proc/self/ns/pid')}"
    except (OSError, ValueError):
        return None


def is_gone(owner: str) -> bool:
    """Return True if the owner of a lease was a process of this scope that no longer runs; if unsure, it runs."""
    place, _, pid = owner.rpartition(":")
    if os.name != "posix" or place.partition(_START_MARK)[0] != _find_place(os.getpid()) or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _receipt(row: Row) -> Receipt | None:
    if row["receipt_network"] is None:
        return None
    transaction, document = row["receipt_transaction"] or "", row["document"]
    return Receipt(
        rail=row["rail"],
        network=row["receipt_network"],
        transaction=transaction,
        verified=None if row["verified"] is None else bool(row["verified"]),
        nonce="" if transaction or not document else find_nonce(read_json(document)),
    )


def read_payment(row: Row) -> Payment:
    """Read a row of `payments`, without the lease of a process that no longer runs or renews its own lease."""
    read = {"arguments", "document", "hold_until", "idempotency_key", "lease_until", "receipt", "chain_checked"}
    gone = bool(row.get("owner_is_gone")) or is_gone(row["lease_owner"])
    return Payment(
        **{name: row[name] for name in set(Payment.__dataclass_fields__) - read},
        idempotency_key=row["fingerprint"],
        hold_until=0 if gone and row["state"] == "reserved" else row["hold_until"],  # no process is left to sign for it
        lease_until=0 if gone else row["lease_until"],
        arguments=read_json(row["arguments"]),
        document=read_json(row["document"]) if row["document"] else None,
        receipt=_receipt(row),
        chain_checked=bool(row["chain_checked"]),
    )


def read_job(row: Row) -> Job:
    """Read a row of `JOB_QUERY`."""
    names = set(Job.__dataclass_fields__) - {
        "arguments",
        "idempotency_key",
        "price_micro_usdc",
        "receipt",
        "adopted",
        "charged",
    }
    return Job(
        **{name: row[name] for name in names},
        idempotency_key=row["fingerprint"],
        adopted=bool(row["adopted"]),
        charged=row["payment_state"] != "refused" or not row["chain_checked"],
        arguments=read_json(row["arguments"]),
        price_micro_usdc=row["amount_micro_usdc"],
        receipt=_receipt(row),
    )


async def scrub(session: Session, payment_ids: list[int]) -> None:
    """Take the token out of the stored tickets of these payments."""
    for payment_id in payment_ids:
        row = await session.fetch_one("SELECT answer FROM payments WHERE id = :id AND scrubbed = 0", {"id": payment_id})
        if row is not None and row["answer"]:
            await session.execute(
                "UPDATE payments SET answer = :answer, scrubbed = 1 WHERE id = :id",
                {"answer": scrub_ticket(bytes(row["answer"])), "id": payment_id},
            )
