"""Callers: who uses a server that several share, what each may do, and the text of a token.

A caller without the scope `admin` sees only what is its own. Reads no clock and no ledger.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field
from typing import Literal

SCOPES = ("read", "spend", "admin")
"""See its own jobs, prices and limits; buy within its caps; see everything of the wallet."""
SCOPES_DEFAULT = frozenset({"read", "spend"})
TOKEN_BYTES = 32
"""Random bytes of a token."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"sdn_(?P<id>[0-9a-f]{12})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Caller:
    """One user of a shared server.

    Attributes:
        id: Identifies it in the ledger and in idempotency keys; never changes. Empty for the owner.
        name: The owner's name of it.
        scopes: What it may do; see `SCOPES`.
        obtainable: Scopes that the owner gave it and its token has not: another token would.
        needs_cap: True if it may buy only once a cap limits what it spends.
    """

    id: str
    name: str
    scopes: frozenset[str]
    obtainable: frozenset[str] = frozenset()
    needs_cap: bool = False

    @property
    def is_admin(self) -> bool:
        """Return True if it sees everything of the wallet."""
        return "admin" in self.scopes


CallerScope = Literal["caller", "team"]
"""Whether each caller has its own purchases, or all callers share theirs, and so see each other's jobs."""
OWNER = Caller("", "owner", frozenset(SCOPES))
"""The caller of a server on stdio, and of the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerCaps:
    """What one caller may spend, and how many purchases it may have open; None is no cap of its own.

    Attributes:
        max_per_day_micro_usdc: In any 24 hours.
        max_per_week_micro_usdc: In any 7 days.
        max_per_month_micro_usdc: In any 30 days.
        max_total_micro_usdc: In all.
        max_open: Running jobs, and payments whose job is not known yet.
    """

    max_per_day_micro_usdc: int | None = None
    max_per_week_micro_usdc: int | None = None
    max_per_month_micro_usdc: int | None = None
    max_total_micro_usdc: int | None = None
    max_open: int | None = None

    @property
    def limits_spending(self) -> bool:
        """Return True if an amount is capped; a number of open purchases limits none."""
        return any(cap is not None for name, cap in asdict(self).items() if name != "max_open")


NO_CAPS = CallerCaps()
"""No caps of its own."""


def merge_caps(own: CallerCaps, defaults: CallerCaps) -> CallerCaps:
    """Return a caller's own caps, and the defaults where it has none."""
    return CallerCaps(**{name: asdict(defaults)[name] if cap is None else cap for name, cap in asdict(own).items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerEntry:
    """A caller as the owner sees it.

    Attributes:
        caps: Its own caps, without the defaults of the server.
        created_at: Unix seconds.
        revoked_at: Unix seconds; None while it may call.
        tokens: How many of its tokens are valid.
        webhook_host: The host that is told when its jobs are over; None for no webhook.
    """

    caller: Caller
    caps: CallerCaps
    created_at: float
    revoked_at: float | None
    tokens: int
    webhook_host: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token's text, which is stored nowhere, and what is stored of it.

    Attributes:
        id: The part that names it.
        sha256: Hash of the whole text, hexadecimal.
        text: The whole text; its bearer is the caller.
    """

    id: str
    sha256: str
    text: str = field(repr=False)


def parse_token(text: str) -> Token | None:
    """Return a token from its text; None for a text of another shape."""
    found = _TOKEN.fullmatch(text)
    return None if found is None else Token(found["id"], hashlib.sha256(text.encode()).hexdigest(), text)


def is_name(text: str) -> bool:
    """Return True for a text that may be a caller's name."""
    return _NAME.fullmatch(text) is not None


def parse_scopes(text: str) -> frozenset[str]:
    """Read a list of scopes, such as `read,spend`.

    Raises:
        ValueError: One is not known, or `read` is missing.
    """
    scopes = frozenset(word.strip() for word in text.split(",") if word.strip())
    unknown = sorted(scopes - set(SCOPES))
    if unknown:
        raise ValueError(f"{unknown[0][:20]!r} is not a scope: they are {', '.join(SCOPES)}")
    if "read" not in scopes:
        raise ValueError("the scopes have no `read`, without which a caller cannot see what it bought")
    return scopes


def write_scopes(scopes: frozenset[str]) -> str:
    """Return a list of scopes as it is stored."""
    return ",".join(scope for scope in SCOPES if scope in scopes)
