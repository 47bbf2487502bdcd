"""Redaction: remove from a text everything that looks like a secret.

A secret in the wrong setting must not appear in an error, a result or a log line. Every error is redacted when it is
created, every result when it becomes JSON, every log record when it becomes a line.

A 64-digit hash looks like a key. A hash after the word "transaction" or "nonce" in an error is kept, and so are the
fields in `KEPT_FIELDS` of a result. Everything else of that shape is removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

REDACTED = "[redacted]"
VALUE_CHARACTERS_MAX = 12
"""How many characters of a setting's value an error quotes."""

KEPT_FIELDS = frozenset({
    "address", "explorer_url", "file", "files", "idempotency_key", "image_url", "job_id", "network", "nonce", "pay_to",
    "sha256", "thumbnail_url", "token", "token_address", "transaction", "upload_id", "video_url", "wallet",
})  # fmt: skip
"""Fields of results that contain hashes or addresses by definition; their values are not redacted."""

SECRET = re.compile(
    r"(0x)?[0-9a-fA-F]{64,}"
    r"|eyJ[A-Za-z0-9+/_=-]{40,}"
    r"|vercel_blob_\S+"
    r"|\bsdn_[0-9a-f]{12}_[A-Za-z0-9_-]{16,}"
    r"|\b(?:ghp|gho|ghs|github_pat|glpat|sk|pk|rk|hf|npm|xox[abp]|pypi)[-_][A-Za-z0-9_-]{16,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\b[xyz]prv[1-9A-HJ-NP-Za-km-z]{60,}"
)
"""A key, a signature, a credential or a token of a well-known kind. Logs use this pattern directly."""

_HEX = re.compile(r"(\b(?:transaction|nonce)\s+)?(?:0x)?[0-9a-fA-F]{56,}", re.IGNORECASE)
_TRANSACTION_CHARACTERS = 66
_FILLER_CHARACTERS_MIN = 140
_USER_INFO = re.compile(r"(?<=:/)(/?)[^\s/?#@'\"]+@")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/_.=~-]{12,}")
_PARAMETER = re.compile(
    r"(?i)([?&;](?:[\w-]*(?:key|token|secret|signature|password|passwd|credential|auth)|sig|pwd)=)[^&\s#'\"«»]+"
)
_WORDS_12 = re.compile(r"(?:\b[A-Za-z]{3,8}\b[\s,;]+){11,}[A-Za-z]{3,8}\b")
_PHRASE_WORDS, _PHRASE_KNOWN_MIN = 12, 11
"""A seed phrase has at least 12 words; one of them may be misspelt."""


def redact(text: str) -> str:
    """Return a text without keys, signatures, seed phrases, tokens, and credentials in URLs."""
    text = _HEX.sub(_keep_transaction, text)
    text = _USER_INFO.sub(rf"\1{REDACTED}@", text)
    text = _PARAMETER.sub(rf"\1{REDACTED}", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    text = _WORDS_12.sub(_redact_phrase, text)
    return SECRET.sub(lambda found: found[0] if _is_kept(text, found) else REDACTED, text)


def redact_data(value: object, field: str = "") -> object:
    """Return JSON data with every text redacted, except in `KEPT_FIELDS`."""
    if isinstance(value, str):
        return value if field in KEPT_FIELDS else redact(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        return {name: redact_data(inner, name) for name, inner in items}
    if isinstance(value, list | tuple):
        return [redact_data(inner, field) for inner in cast("list[object]", value)]
    return value


def is_secret(text: str) -> bool:
    """Return True if the whole text is a private key, a token or a seed phrase."""
    text = text.strip()
    return text != "" and redact(text) == REDACTED


def quote_value(text: str) -> str:
    """Return the beginning of a setting's value, quoted and without secrets."""
    shown = redact(text)
    return repr(shown if len(shown) <= VALUE_CHARACTERS_MAX else shown[: VALUE_CHARACTERS_MAX - 1] + "…")


def _keep_transaction(found: re.Match[str]) -> str:
    digits = found[0][len(found[1] or "") :]
    if _is_filler(digits):
        return found[0]
    return found[0] if found[1] and len(digits) <= _TRANSACTION_CHARACTERS else f"{found[1] or ''}{REDACTED}"


def _is_kept(text: str, found: re.Match[str]) -> bool:
    """Return True for a hash that `_keep_transaction` has kept."""
    if _is_filler(found[0]):
        return True
    before = text[: found.start()].rstrip()
    return before.lower().endswith(("transaction", "nonce")) and len(found[0]) <= _TRANSACTION_CHARACTERS


def _is_filler(text: str) -> bool:
    """Return True for one character repeated for longer than any key or signature: it is no secret."""
    return len(text) > _FILLER_CHARACTERS_MIN and len(set(text)) == 1


def _redact_phrase(found: re.Match[str]) -> str:
    from seedance_mcp.core.redaction.words import WORDS  # only for a candidate

    parts = re.split(r"([\s,;]+)", found[0])
    words = parts[::2]
    known = [word.lower() in WORDS for word in words]
    secret = [False] * len(words)
    for first in range(len(words) - _PHRASE_WORDS + 1):
        if sum(known[first : first + _PHRASE_WORDS]) >= _PHRASE_KNOWN_MIN:
            secret[first : first + _PHRASE_WORDS] = [True] * _PHRASE_WORDS
    if not any(secret):
        return found[0]
    begin, end = secret.index(True), len(secret) - secret[::-1].index(True)
    return "".join(parts[: 2 * begin]) + REDACTED + "".join(parts[2 * end - 1 :])
