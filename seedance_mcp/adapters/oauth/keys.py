"""Keys: the public keys that an authorization server signs tokens with, from its JSON Web Key Set.

Only asymmetric keys are used, each with the algorithms of its own kind, so that a token cannot choose how it is
checked. A key that cannot be used is left out. Must not fetch anything.

Source: RFC 7517 (JWK), RFC 7518, section 6 (key types), RFC 8037 (Ed25519), RFC 8725, section 3 (algorithms).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jwt

from seedance_mcp.core.wire.json import Json, find_list

ALGORITHMS: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""Algorithms of a key by its type and curve. Never `none`, and never one with a shared secret."""
ALLOWED = frozenset(name for names in ALGORITHMS.values() for name in names)
KEYS_MAX = 100
KEY_ID_CHARACTERS_MAX = 256
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
MODULUS_CHARACTERS_MAX = 1400
"""Of an RSA key of `RSA_BITS_MAX` in base64, with a margin."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The usable keys of one set, by key id and algorithm; a key without an id has None."""

    keys: Mapping[tuple[str | None, str], jwt.PyJWK]

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key of a token, or None. A token that names none fits the only key of its algorithm."""
        if key_id is not None:
            return self.keys.get((key_id, algorithm))
        fitting = [key for (_, name), key in self.keys.items() if name == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def has_id(self, key_id: str | None) -> bool:
        """Return True if a key has this id, whatever its algorithm."""
        return key_id is not None and any(key_id == known for known, _ in self.keys)


def parse_keys(document: Json) -> SigningKeys:
    """Read a JSON Web Key Set. Ids that several keys have are left out: no token could tell which it means."""
    found = [
        (_find_key_id(key), algorithm, usable)
        for key in _list_keys(find_list(document, "keys")[:KEYS_MAX])
        for algorithm in _list_algorithms(key)
        if (usable := _build_key(key, algorithm)) is not None
    ]
    uses = Counter((key_id, algorithm) for key_id, algorithm, _ in found)
    return SigningKeys({(key_id, name): key for key_id, name, key in found if uses[key_id, name] == 1})


def _list_keys(items: Sequence[object]) -> list[Json]:
    return [cast("Json", item) for item in items if isinstance(item, dict)]


def _find_key_id(key: Json) -> str | None:
    key_id = key.get("kid")
    return key_id if isinstance(key_id, str) and len(key_id) <= KEY_ID_CHARACTERS_MAX else None


def _list_algorithms(key: Json) -> tuple[str, ...]:
    """Return the algorithms that a key may verify: those of its type, or the one that it names of them."""
    kind, curve, operations = key.get("kty"), key.get("crv"), key.get("key_ops")
    if key.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return ()
    if not isinstance(kind, str) or not isinstance(curve, str | None) or "d" in key:
        return ()  # `d` is a private key, with which any reader of the set could sign
    fitting = ALGORITHMS.get((kind, curve), ())
    named = key.get("alg")
    return fitting if named is None else tuple(name for name in fitting if name == named)


def _build_key(key: Json, algorithm: str) -> jwt.PyJWK | None:
    modulus = key.get("n", "")
    if not isinstance(modulus, str) or len(modulus) > MODULUS_CHARACTERS_MAX:
        return None
    try:
        built = jwt.PyJWK.from_dict(cast("dict[str, Any]", dict(key)), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None
    bits = getattr(built.key, "key_size", RSA_BITS_MIN) if key["kty"] == "RSA" else RSA_BITS_MIN
    return built if RSA_BITS_MIN <= bits <= RSA_BITS_MAX else None
