"""Tokens: whether an access token is valid here, by its signature, issuer, audience and times.

A token is checked with the key that the owner's authorization server publishes, and with the algorithm of that key.
Headers that bring a key or name a URL (`jwk`, `jku`, `x5c`, `x5u`) are not read. Must never log a token.

Source: RFC 9068, section 4 (validation); RFC 8725 (best current practices); RFC 7515, section 4.1.11 (`crit`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import jwt

from seedance_mcp.adapters.oauth.keys import ALLOWED, KEY_ID_CHARACTERS_MAX
from seedance_mcp.core.access_tokens import TokenClaims, TokenRefusedError, read_claims

if TYPE_CHECKING:
    from seedance_mcp.adapters.oauth.issuer import Issuer

TOKEN_CHARACTERS_MAX = 16 * 1024
LEEWAY_SECONDS = 60
"""How far the clocks of the authorization server and of this machine may differ."""
TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt", "application/jwt"})
"""Accepted types in lower case; a token need not name one."""

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_REFUSALS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired"),
    (jwt.ImmatureSignatureError, "The token is not valid yet"),
    (jwt.InvalidAudienceError, "The token is not for {audience}"),
    (jwt.InvalidIssuerError, "The token is of another issuer"),
    (jwt.InvalidSignatureError, "The token's signature is wrong"),
    (jwt.MissingRequiredClaimError, "The token has no exp, iss or aud"),
)
_MALFORMED = "The token is malformed"


class AccessTokens:
    """Checks access tokens.

    Args:
        issuer: Whose tokens are accepted.
        audience: For whom they must be.
    """

    def __init__(self, issuer: Issuer, *, audience: str) -> None:
        self._issuer = issuer
        self._audience = audience

    async def read(self, token: str) -> TokenClaims:
        """Return what a valid token says.

        Raises:
            TokenRefusedError: It is not valid.
            AuthorizationServerError: Whether it is valid cannot be found out now.
        """
        if len(token) > TOKEN_CHARACTERS_MAX or _SHAPE.fullmatch(token) is None:
            raise TokenRefusedError("The token is not a JWT of this server's issuer")
        key_id, algorithm = read_header(token)
        key = await self._issuer.find_key(key_id, algorithm)
        return read_claims(self._verify(token, key))

    def _verify(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer.url,
                leeway=LEEWAY_SECONDS,
                # The time of issue decides nothing, and a clock behind the issuer's must not refuse a token.
                options={"require": ["exp", "iss", "aud"], "verify_iat": False},
            )
        except jwt.PyJWTError as exc:
            text = next((text for kind, text in _REFUSALS if isinstance(exc, kind)), _MALFORMED)
            raise TokenRefusedError(text.format(audience=self._audience)) from None  # the cause may quote the token


def read_header(token: str) -> tuple[str | None, str]:
    """Return the key id and the algorithm that a token names.

    Raises:
        TokenRefusedError: The algorithm or the type is not allowed, or the header cannot be read.
    """
    try:
        header = cast("dict[str, object]", jwt.get_unverified_header(token))
    except jwt.PyJWTError:
        raise TokenRefusedError(_MALFORMED) from None
    kind, algorithm, key_id = header.get("typ"), header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALLOWED:
        raise TokenRefusedError(f"The token's algorithm is not one of {', '.join(sorted(ALLOWED))}")
    if kind is not None and (not isinstance(kind, str) or kind.lower() not in TYPES):
        raise TokenRefusedError("The token is not an access token (typ is not at+jwt or JWT)")
    if "crit" in header or "b64" in header:
        raise TokenRefusedError("The token has header parameters that are not supported")
    if not isinstance(key_id, str | None) or len(key_id or "") > KEY_ID_CHARACTERS_MAX:
        raise TokenRefusedError(_MALFORMED)
    return key_id, algorithm
