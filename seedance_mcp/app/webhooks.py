"""Webhooks of callers: setting one, its secret, and the request that carries a message.

A secret is sealed in the database with the first state key, opened with any of them, and bound to its caller. One
that an earlier key sealed is sealed again with the first one, so that earlier keys can be taken away.

Source: RFC 5869 (HKDF); NIST SP 800-38D (AES-GCM), with a random nonce of 96 bits.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from seedance_mcp.core.errors import ConfigError, StudioRejectedError, StudioUnreachableError
from seedance_mcp.core.webhooks import SECRET_BYTES, URL_CHARACTERS_MAX, write_secret

if TYPE_CHECKING:
    from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

ATTEMPT_SECONDS = 10
"""How long an attempt may take, from the look-up of the name to the answer's head."""
_PURPOSE = b"seedance-mcp webhook secret, version 1"
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """Seals and opens the secrets of webhooks.

    Attributes:
        find_keys: Returns the state keys of now: the first seals, all open.
    """

    find_keys: Callable[[], tuple[bytes, ...]] = field(repr=False)

    def seal(self, secret: bytes, caller: str) -> str:
        """Return a secret as the database keeps it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = _open_cipher(self.find_keys()[0]).encrypt(nonce, secret, caller.encode())
        return b64encode(nonce + sealed).decode("ascii")

    def open(self, sealed: str, caller: str) -> bytes | None:
        """Return the secret of a caller; None if none of the keys sealed it."""
        found = self._find(sealed, caller)
        return None if found is None else found[1]

    def reseal(self, sealed: str, caller: str) -> str | None:
        """Return the secret as the first key seals it; None if that key sealed it, or none of them."""
        found = self._find(sealed, caller)
        return None if found is None or found[0] == 0 else self.seal(found[1], caller)

    def _find(self, sealed: str, caller: str) -> tuple[int, bytes] | None:
        """Return the number of the key that sealed a secret, and the secret."""
        data = b64decode(sealed)
        for number, key in enumerate(self.find_keys()):
            try:
                return number, _open_cipher(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], caller.encode())
            except InvalidTag:
                continue
        return None


def _open_cipher(key: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key))


async def post_to(
    fetcher: PublicUrlFetcher, url: str, body: bytes, headers: Mapping[str, str], *, loopback_allowed: bool
) -> int:
    """Send a message in a bounded time; see `jobs.webhooks.Post`."""
    return await fetcher.post(url, body, headers, loopback_allowed=loopback_allowed, timeout_seconds=ATTEMPT_SECONDS)


async def set_webhook(
    ledger: PostgresLedger, keys: tuple[bytes, ...], name: str, url: str, *, loopback_allowed: bool
) -> str:
    """Set the webhook of a caller, with a new secret; returns the secret as receivers read it.

    Args:
        ledger: Has the caller.
        keys: The state keys; empty if the settings name none.
        name: Of the caller.
        url: An https URL at a public address, or on loopback if that is allowed.
        loopback_allowed: Whether it is.

    Raises:
        ConfigError: There is no such caller, no state key, or nothing may be sent to the URL.
    """
    if not keys:
        raise ConfigError(
            "SEEDANCE_STATE_KEYS_FILE is not set; its keys seal the webhook's secret.",
            "Set it as the servers have it, and run the same command again.",
        )
    await _check_url(url, loopback_allowed=loopback_allowed)
    caller = (await ledger.find_entry(name)).caller
    secret = secrets.token_bytes(SECRET_BYTES)
    await ledger.set_webhook(caller.id, url, WebhookSecrets(lambda: keys).seal(secret, caller.id))
    return write_secret(secret)


async def _check_url(url: str, *, loopback_allowed: bool) -> None:
    from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher

    if len(url) > URL_CHARACTERS_MAX:
        raise ConfigError(f"--url has more than {URL_CHARACTERS_MAX} characters.", "Name a shorter one.")
    fetcher = PublicUrlFetcher()
    try:
        await fetcher.check(url, loopback_allowed=loopback_allowed)
    except (StudioRejectedError, StudioUnreachableError) as exc:
        raise ConfigError(f"--url: {exc.what}", "Name an https URL at a public address.") from exc
    finally:
        await fetcher.aclose()
