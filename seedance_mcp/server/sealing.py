"""Sealing: what a client must bring back unchanged is sealed with the state keys of now. They change while we run."""

from __future__ import annotations

from collections.abc import Callable

from mcp.server.request_state import AESGCMRequestStateCodec


class ReloadedCodec:
    """The SDK's codec, made anew when the keys have changed.

    Args:
        find_keys: Returns the keys; the same object for as long as they are the same.
    """

    def __init__(self, find_keys: Callable[[], tuple[bytes, ...]]) -> None:
        self._find_keys = find_keys
        self._keys = find_keys()
        self._codec = AESGCMRequestStateCodec(self._keys)

    def seal(self, payload: bytes) -> str:
        """Return a sealed text, with the first key."""
        return self._find_codec().seal(payload)

    def unseal(self, token: str) -> bytes:
        """Return what was sealed with any of the keys.

        Raises:
            InvalidRequestState: It was not.
        """
        return self._find_codec().unseal(token)

    def _find_codec(self) -> AESGCMRequestStateCodec:
        keys = self._find_keys()
        if keys is not self._keys:
            self._codec, self._keys = AESGCMRequestStateCodec(keys), keys
        return self._codec
