"""Stored upload tickets. Their token is a secret, and is removed once it is of no more use."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.redaction import REDACTED, redact
from seedance_mcp.core.wire.json import encode_json, find_text, parse_json_object

TICKET_SECONDS = 900
"""Assumed validity of a token if its ticket does not state it. Source: contract section 9: about 5 minutes."""
TICKET_SECONDS_MAX = 24 * 3600
CLOCK_SECONDS = 300
"""Largest lead of the studio's clock over ours: a valid token must not be removed."""

_STORE = re.compile(r"vercel_blob_client_[A-Za-z0-9]{1,63}_")
"""The part of a token that names the store. It is public, and is needed to find stored files."""


def read_ticket_end(answer: bytes, concluded_at: float) -> float:
    """Return the Unix seconds from which a stored ticket's token is of no more use."""
    try:
        text = find_text(parse_json_object(answer, "The upload ticket"), "expiresAt")
        moment = datetime.fromisoformat(text or "")
        end = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() + CLOCK_SECONDS
    except (StudioProtocolError, ValueError, OverflowError):
        end = concluded_at + TICKET_SECONDS
    return min(end, concluded_at + TICKET_SECONDS_MAX)


def scrub_ticket(answer: bytes) -> bytes:
    """Return a stored ticket with every occurrence of its token removed."""
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
    """Return a text without the token, or a number; remove nested values, which no reader of a ticket uses."""
    if isinstance(value, str):
        return value.replace(token, left) if token else value
    return value if isinstance(value, int | float | bool) else None
