"""Echoes: removal of secrets that we sent from the studio's answers.

A studio may repeat our credential, a sign-in or an upload's token in its answers. Answers are stored and quoted, so the
secret and its parts are removed first. A secret that the studio has encoded again is not recognised.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from seedance_mcp.core.redaction import REDACTED

SECRET_HEADERS = frozenset({"payment-signature", "authorization", "sign-in-with-x"})
"""Request headers, in lower case, whose values are secrets."""
SECRET_CHARACTERS_MIN = 16
"""Shortest part that is treated as a secret; a shorter one would match other text."""

_HEX = re.compile(r"0x([0-9a-fA-F]{100,})")
_WORD = 64
"""Hexadecimal digits of each half of an ECDSA signature."""
_RUN = re.compile(r"[A-Za-z0-9]+")
_ESCAPED: dict[str, str] = {
    character: rf"(?:[{re.escape(characters)}]|\\/|\\u00{ord(character):02x}|%{ord(character):02x})"
    for characters in ("+-", "/_")
    for character in characters
}
"""Spellings of each base64 character: in either alphabet, plain, escaped in JSON, or in a URL."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A part of a secret that was sent.

    Attributes:
        core: Its longest run of letters and digits in lower case; the search starts with it because that is fast.
        part: The part, as it was sent.
    """

    core: str = field(repr=False)
    part: str = field(repr=False)

    def find_pattern(self) -> re.Pattern[str]:
        """Return a pattern of every known spelling; built only when needed, because compiling is slow."""
        spelling = "".join(_ESCAPED.get(character) or re.escape(character) for character in self.part)
        return re.compile(spelling, re.IGNORECASE)


def list_secrets(value: str) -> tuple[Secret, ...]:
    """Return the secret parts of a header's value: the value, its token, and the signatures in it."""
    token = value.rpartition(" ")[2].rstrip("=")
    parts = [token]
    for digits in _HEX.findall(f"{value} {_decode(token)}"):
        parts += [digits, digits[:_WORD], digits[_WORD : 2 * _WORD]]
    return tuple(_build(part) for part in dict.fromkeys(parts) if len(part) >= SECRET_CHARACTERS_MIN)


def clean(text: str, secrets: Iterable[Secret]) -> str:
    """Return a text without these secrets; the same object if it has none."""
    lower = text.lower()
    for secret in secrets:
        if secret.core in lower:
            text = secret.find_pattern().sub(REDACTED, text)
    return text


def clean_bytes(data: bytes, secrets: Iterable[Secret]) -> bytes:
    """Return bytes without these secrets; the same object if they have none."""
    text = data.decode("latin-1")  # a secret is ASCII, and Latin-1 preserves all bytes
    cleaned = clean(text, secrets)
    return data if cleaned == text else cleaned.encode("latin-1")


def _build(part: str) -> Secret:
    return Secret(core=max(_RUN.findall(part), key=len, default="").lower(), part=part)


def _decode(token: str) -> str:
    plain = token.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return ""


Kind = Literal["payment", "other"]


class SentSecrets:
    """The latest secrets of each kind that this process sent."""

    def __init__(self, *, kept_max: int = 64) -> None:
        self._kept_max = kept_max
        self._sent: dict[Kind, dict[str, tuple[Secret, ...]]] = {"payment": {}, "other": {}}
        self._all: tuple[Secret, ...] | None = None
        """All of them; None if there are others by now."""

    def add(self, header: str, value: str) -> None:
        """Store the value of a header that is sent, if it is a secret."""
        if header.lower() not in SECRET_HEADERS:
            return
        # A credential is valid for minutes, a sign-in for one request: many sign-ins must not displace credentials.
        kind: Kind = "other" if header.lower() == "sign-in-with-x" or value.startswith("Bearer ") else "payment"
        sent = self._sent[kind]
        if value not in sent:
            sent[value], self._all = list_secrets(value), None
        if len(sent) > self._kept_max:
            sent.pop(next(iter(sent)))
            self._all = None

    def list(self) -> tuple[Secret, ...]:
        """Return all stored secrets."""
        if self._all is None:
            self._all = tuple(secret for sent in self._sent.values() for secrets in sent.values() for secret in secrets)
        return self._all

    def find_in(self, text: str) -> tuple[Secret, ...]:
        """Return the stored secrets that a text may contain; `clean` finds out."""
        lower = text.lower()
        return tuple(secret for secret in self.list() if secret.core in lower)
