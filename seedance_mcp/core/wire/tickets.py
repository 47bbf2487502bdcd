"""Upload tickets as they are stored: their token is a secret, kept only for as long as it is of use."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.redaction import REDACTED, redact
from seedance_mcp.core.wire.json import encode_json, find_text, parse_json_object

TICKET_SECONDS = 900
"""How long a token lives whose ticket does not say so. Source: contract section 9: about 5 minutes."""
TICKET_SECONDS_MAX = 24 * 3600
CLOCK_SECONDS = 300
"""How far the studio's clock may be ahead of ours: a token that is still good must not be thrown away."""

_STORE = re.compile(r"vercel_blob_client_[A-Za-z0-9]{1,63}_")
"""What of a token names the store, which is public, and is needed to find what was stored."""


def read_ticket_end(answer: bytes, concluded_at: float) -> float:
    """Return the Unix seconds from which on a stored ticket's token is of no more use."""
    try:
        text = find_text(parse_json_object(answer, "The upload ticket"), "expiresAt")
        moment = datetime.fromisoformat(text or "")
        end = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() + CLOCK_SECONDS
    except (StudioProtocolError, ValueError, OverflowError):
        end = concluded_at + TICKET_SECONDS
    return min(end, concluded_at + TICKET_SECONDS_MAX)


def scrub_ticket(answer: bytes) -> bytes:
    """Return a stored ticket without its token, wherever the answer repeats it."""
    try:
        document = parse_json_object(answer, "The upload ticket")
    except StudioProtocolError:
        return redact(answer.decode("utf-8", "replace")).encode()
    token = find_text(document, "clientToken") or ""
    store = _STORE.match(token)
    left = f"{store[0] if store else ''}{REDACTED}"
    scrubbed: dict[str, object] = {
        str(_scrub(key, token, left)): _scrub(document[key], token, left) for key in document
    }
    return encode_json({**scrubbed, "clientToken": left})


def _scrub(value: object, token: str, left: str) -> object:
    """Keep a text without the token, a number, and nothing that is nested: no reader of a ticket looks there."""
    if isinstance(value, str):
        return value.replace(token, left) if token else value
    return value if isinstance(value, int | float | bool) else None
