"""Job failures: the cause of a failed job, from the studio's error text.

This module reads texts only. Other modules decide whether to pay again.
"""

from __future__ import annotations

import re

_MODERATION = re.compile(
    r"moderat|polic(?:y|ies)\b|\bfaces?\b|\breal (?:person|people)\b|\bsensitive\b|\bnsfw\b|\bunsafe\b|\bsafety\b"
    r"|inappropriate|prohibited|\bviolat|copyright|\bexplicit\b|\bflagged\b|\bcensor",
    re.IGNORECASE,
)
"""Words that report a refusal of the picture or the prompt.

Source: contract section 10: failed for text moderation, or for a face in the picture; a server error is neither.
"""


def is_moderation(error: str | None) -> bool:
    """Return True if a failed job's error reports that its picture or prompt was refused."""
    return error is not None and _MODERATION.search(error) is not None
