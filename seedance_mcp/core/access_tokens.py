"""Access tokens: what a verified OAuth token says of its caller, and who that is in the ledger.

Reads claims whose signature, issuer, audience and times were checked before. Does no I/O and verifies nothing.

Source: RFC 9068, section 2.2 (claims); RFC 8693, section 4.2 (`scope`); RFC 7800, section 3 (`cnf`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from seedance_mcp.core.callers import SCOPES

IDENTITY_PREFIX = "oauth-"
"""How the id of a caller begins whose tokens come from an authorization server."""
SUBJECT_CHARACTERS_MAX = 512
"""Longest subject or client id; OpenID Connect allows a subject of 255."""
SCOPE_CHARACTERS_MAX = 8192
"""Longest list of scopes that is read."""
EXPIRES_AT_MAX = 2**40
"""Latest end of a token, Unix seconds; a later one is this one."""

_ID_DIGITS, _NAME_DIGITS, _NAME_WORD_MAX = 32, 12, 40
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class TokenRefusedError(Exception):
    """A token is not valid here. The text says why, and may be shown to its bearer; it has nothing of the token."""


class AuthorizationServerError(Exception):
    """The authorization server did not give what a token's check needs, so that the token is neither valid nor not.

    Args:
        retry_after_seconds: When it is asked again.
    """

    def __init__(self, what: str, *, retry_after_seconds: int) -> None:
        super().__init__(what)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom an issuer means, as the ledger knows it.

    Attributes:
        id: The caller's id: a hash of the issuer and the subject.
        name: A name for logs and commands: readable words of the subject, and a part of the hash.
    """

    id: str
    name: str

    @property
    def long_name(self) -> str:
        """Return a name that no other caller can have."""
        return self.id


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a valid token says.

    Attributes:
        identity: Its caller.
        scopes: Those of our scopes that it has.
        expires_at: Unix seconds.
    """

    identity: Identity
    scopes: frozenset[str]
    expires_at: float


def identify(issuer: str, kind: Literal["sub", "client_id"], value: str) -> Identity:
    """Return the identity of a subject, or of a client whose tokens name no subject.

    The kind is part of the hash, so that no user can choose a subject that is another one's client id.
    """
    # ASCII: a subject may have half a surrogate pair, which has no UTF-8.
    canonical = json.dumps({"v": 1, "iss": issuer, kind: value}, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode("ascii")).hexdigest()
    word = _UNSAFE.sub("-", value[:_NAME_WORD_MAX]).strip("-._")
    name = f"{word}-{digest[:_NAME_DIGITS]}" if word else f"{IDENTITY_PREFIX}{digest[:_NAME_DIGITS]}"
    return Identity(f"{IDENTITY_PREFIX}{digest[:_ID_DIGITS]}", name)


def has_identity(caller_id: str) -> bool:
    """Return True for a caller whose tokens come from an authorization server."""
    return caller_id.startswith(IDENTITY_PREFIX)


def read_claims(claims: Mapping[str, object]) -> TokenClaims:
    """Read the claims of a verified token.

    Raises:
        TokenRefusedError: It is bound to a key that its bearer did not prove to have, or it names no one.
    """
    if "cnf" in claims:
        raise TokenRefusedError("The token is bound to a key (DPoP or mTLS), which is not supported")
    issuer, expires_at = claims.get("iss"), claims.get("exp")
    if not isinstance(issuer, str) or not isinstance(expires_at, int | float):
        raise TokenRefusedError("The token has no issuer or no expiry")
    return TokenClaims(_find_identity(issuer, claims), _read_scopes(claims), float(min(expires_at, EXPIRES_AT_MAX)))


def _find_identity(issuer: str, claims: Mapping[str, object]) -> Identity:
    for kind in ("sub", "client_id"):
        value = claims.get(kind)
        if value is None:
            continue
        if not isinstance(value, str) or not 0 < len(value) <= SUBJECT_CHARACTERS_MAX:
            raise TokenRefusedError(f"The token's {kind} is not a text of at most {SUBJECT_CHARACTERS_MAX} characters")
        return identify(issuer, kind, value)
    raise TokenRefusedError("The token names no subject and no client")


def _read_scopes(claims: Mapping[str, object]) -> frozenset[str]:
    """Return our scopes of `scope`, or of `scp` where there is none: a text with spaces, or a list."""
    found = claims.get("scope", claims.get("scp"))
    if isinstance(found, str) and len(found) <= SCOPE_CHARACTERS_MAX:
        words: list[object] = list(found.split(" "))
    else:
        words = cast("list[object]", found) if isinstance(found, list) else []
    return frozenset(scope for scope in SCOPES if scope in words)
