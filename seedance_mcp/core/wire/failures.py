"""Job failures: what the studio's words about a failed job say of its cause.

Reads words only; whether to pay again is decided by others.
"""

from __future__ import annotations

import re

_MODERATION = re.compile(
    r"moderat|polic(?:y|ies)\b|\bfaces?\b|\breal (?:person|people)\b|\bsensitive\b|\bnsfw\b|\bunsafe\b|\bsafety\b"
    r"|inappropriate|prohibited|\bviolat|copyright|\bexplicit\b|\bflagged\b|\bcensor",
    re.IGNORECASE,
)
"""Words of a refusal of the picture or the prompt.

Source: contract section 10: failed for text moderation, or for a face in the picture; a server error is neither.
"""


def is_moderation(error: str | None) -> bool:
    """Return True where a failed job's words say that its picture or prompt was refused."""
    return error is not None and _MODERATION.search(error) is not None
