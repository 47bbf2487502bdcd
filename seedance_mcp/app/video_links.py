"""Video links: URLs of ours under which one video can be read without a token until a time.

A link has the job, its end, and a signature over both. Any replica signs with the first key and accepts all keys, so
that keys can be changed without ending links. A link must never be logged.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from seedance_mcp.core.objects import StoredVideo

PATH = "/clips/"
"""What comes before a job's id."""
_PURPOSE = b"seedance-mcp video link, version 1"
_EXPIRES_DIGITS_MAX = 12


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A link to a video, and when it ends, Unix seconds."""

    url: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLinks:
    """Signs and checks links.

    Attributes:
        public_url: Under which clients reach us, without a slash at its end.
        keys: The first signs, all are accepted; a function returns those of now.
        seconds: How long a link works.
        now: Unix seconds.
    """

    public_url: str
    keys: tuple[bytes, ...] | Callable[[], tuple[bytes, ...]] = field(repr=False)
    seconds: int
    now: Callable[[], float] = time.time

    def sign(self, job: StoredVideo) -> SignedLink | None:
        """Return a link to the video of a job or a film that works from now on; None while no store has the video."""
        if job.video_key is None or job.pruned_at is not None:
            return None
        expires = math.ceil(self.now() + self.seconds)
        query = urlencode({"expires": expires, "signature": _sign(self._find_keys()[0], job.job_id, str(expires))})
        return SignedLink(f"{self.public_url}{PATH}{quote(job.job_id, safe='')}?{query}", expires)

    def find_end(self, job_id: str, expires: str, signature: str) -> int | None:
        """Return when a link ends, in Unix seconds; None if it has ended, or is not one of ours."""
        expected = [_sign(key, job_id, expires) for key in self._find_keys()]
        genuine = [hmac.compare_digest(one.encode(), signature.encode("utf-8", "replace")) for one in expected]
        if not any(genuine) or not _is_number(expires):
            return None
        return int(expires) if self.now() < int(expires) else None

    def _find_keys(self) -> tuple[bytes, ...]:
        return self.keys() if callable(self.keys) else self.keys


def derive_keys(state_keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the keys for links, made of the keys that seal what clients bring back: neither opens the other's."""
    return tuple(hmac.digest(key, _PURPOSE, hashlib.sha256) for key in state_keys)


def _sign(key: bytes, job_id: str, expires: str) -> str:
    signed = f"{expires}\n{job_id}".encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, signed, hashlib.sha256)).decode().rstrip("=")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _EXPIRES_DIGITS_MAX
