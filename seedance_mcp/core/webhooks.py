"""Webhooks: the messages that tell a caller that a job is over, and their signature. No I/O.

A message has no link and no prompt: who reads it asks with a token for more.

Source: Standard Webhooks 1.0.0, "Payload", "Signature scheme", "Webhook headers" and "Deliverability and reliability"
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from seedance_mcp.core.money import MicroUSDC, format_usdc
from seedance_mcp.core.redaction import redact

SECRET_BYTES = 32
"""Random bytes of a secret; the specification demands 24 to 64."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with
URL_CHARACTERS_MAX = 2_000
ERROR_CHARACTERS_MAX = 500
GONE = 410
"""The status by which a receiver says that it wants no more messages."""
PAUSES_SECONDS = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800)
"""Pauses between two attempts, which take about a day in all. After the last attempt, a message is given up."""

Event = Literal["job.completed", "job.failed"]
Outcome = Literal["delivered", "failed", "given_up"]
"""What came of an attempt: `failed` is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMessage:
    """One message that is due.

    Attributes:
        id: The same in each attempt.
        caller: Whose job is over.
        created_at: When it was over, Unix seconds.
        attempts: Number of this attempt, from 1 on.
        error: What the studio says of a failed job.
        url: Where it goes.
        sealed_secret: What signs it, sealed.
    """

    id: str
    caller: str
    event: Event
    created_at: float
    attempts: int
    job_id: str
    status: str
    error: str | None
    amount_micro_usdc: MicroUSDC
    url: str = field(repr=False)
    sealed_secret: str = field(repr=False)


def write_secret(secret: bytes) -> str:
    """Return a secret as receivers' libraries read it."""
    return SECRET_PREFIX + b64encode(secret).decode("ascii")


def build_body(message: WebhookMessage) -> bytes:
    """Return the JSON of a message."""
    data = {"job_id": message.job_id, "status": message.status, "price_usd": format_usdc(message.amount_micro_usdc)}
    if message.event == "job.failed" and message.error:
        data["error"] = redact(message.error)[:ERROR_CHARACTERS_MAX]
    moment = datetime.fromtimestamp(message.created_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": message.event, "timestamp": moment, "data": data}, separators=(",", ":")).encode()


def build_headers(message_id: str, body: bytes, secret: bytes, *, now: int) -> dict[str, str]:
    """Return the headers of an attempt.

    Args:
        message_id: Contains no full stop.
        body: What is sent.
        secret: The caller's.
        now: When this attempt is made, Unix seconds.
    """
    signature = hmac.new(secret, f"{message_id}.{now}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{b64encode(signature).decode('ascii')}",
    }
