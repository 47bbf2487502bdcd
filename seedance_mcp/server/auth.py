"""Authentication: who sends an HTTP request, by the bearer token in its header.

A token is `sdn_<id>_<secret>`. The ledger has its SHA-256 alone. What the ledger answered is kept for 15 seconds, so
that most requests need no database, and a revoked token ends that soon. Must never log or keep a token.

Source: RFC 6750, section 2.1 (header) and 3 (challenge).
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import anyio
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from seedance_mcp.core.callers import Caller, parse_token
from seedance_mcp.core.errors import LedgerError

CACHE_SECONDS = 15
"""How long an answer of the ledger about a token is used."""
STALE_SECONDS = 300
"""How long it is used while the ledger cannot be asked: without the ledger, nothing can be read or bought."""
KNOWN_MAX, UNKNOWN_MAX = 10_000, 1_000
"""How many valid and how many invalid tokens are remembered."""
LOOKUPS_MAX = 4
"""How many tokens are looked up at a time, so that invalid ones cannot take all connections."""
REALM = "seedance-mcp"

FindCaller: TypeAlias = Callable[[str, str], Awaitable[Caller | None]]


class CallerToken(AccessToken):
    """An access token as handlers see it: with the caller, without the token itself."""

    caller: Caller


@dataclass(frozen=True, slots=True)
class _Answer:
    caller: Caller | None
    read_at: float


class TokenVerifier:
    """Finds the caller of a token.

    Args:
        find_caller: Asks the ledger, by the token's id and its SHA-256.
        cache_seconds: How long its answer is used.
    """

    def __init__(self, find_caller: FindCaller, *, cache_seconds: float = CACHE_SECONDS) -> None:
        self._find_caller = find_caller
        self._cache_seconds = cache_seconds
        self._known: OrderedDict[str, _Answer] = OrderedDict()
        self._unknown: OrderedDict[str, _Answer] = OrderedDict()
        self._lookups: dict[str, anyio.Event] = {}
        self._places = anyio.CapacityLimiter(LOOKUPS_MAX)

    @property
    def remembered(self) -> int:
        """Return how many answers are remembered."""
        return len(self._known) + len(self._unknown)

    async def verify(self, token: str) -> Caller | None:
        """Return the caller of a token, or None if the token is malformed, unknown or revoked.

        Raises:
            LedgerError: The ledger cannot be asked.
        """
        found = parse_token(token)
        while found is not None:
            answer = self._recall(found.sha256, self._cache_seconds)
            if answer is not None:
                return answer.caller
            lookup = self._lookups.get(found.sha256)
            if lookup is None:
                return await self._look_up(found.id, found.sha256)
            await lookup.wait()
        return None

    async def _look_up(self, token_id: str, sha256: str) -> Caller | None:
        self._lookups[sha256] = lookup = anyio.Event()
        try:
            async with self._places:
                caller = await self._find_caller(token_id, sha256)
        except LedgerError:
            stale = self._recall(sha256, STALE_SECONDS)
            if stale is None or stale.caller is None:
                raise
            return stale.caller
        finally:
            del self._lookups[sha256]
            lookup.set()
        self._remember(sha256, _Answer(caller, anyio.current_time()))
        return caller

    def _recall(self, sha256: str, seconds: float) -> _Answer | None:
        answer = self._known.get(sha256) or self._unknown.get(sha256)
        return answer if answer is not None and anyio.current_time() - answer.read_at < seconds else None

    def _remember(self, sha256: str, answer: _Answer) -> None:
        self._known.pop(sha256, None)
        self._unknown.pop(sha256, None)
        answers, most = (self._unknown, UNKNOWN_MAX) if answer.caller is None else (self._known, KNOWN_MAX)
        answers[sha256] = answer
        if len(answers) > most:
            answers.popitem(last=False)


def read_bearer(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Return the bearer token of a request, or None if it has none, or more than one.

    Args:
        headers: With names in lower case.
    """
    values = [value for name, value in headers if name == b"authorization"]
    scheme, _, token = values[0].decode("latin-1").partition(" ") if len(values) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def build_challenge(*, error: str | None = None, description: str = "", scope: str | None = None) -> str:
    """Return the value of `WWW-Authenticate`; without an error for a request that has no token.

    It names no resource metadata: a token comes from the owner's command line, and there is nowhere to ask for one.
    """
    parts = [f'realm="{REALM}"']
    if error is not None:
        parts += [f'error="{error}"', f'error_description="{description}"']
    if scope is not None:
        parts.append(f'scope="{scope}"')
    return f"Bearer {', '.join(parts)}"


@lru_cache(maxsize=KNOWN_MAX)
def build_user(caller: Caller) -> AuthenticatedUser:
    """Return the user of a request for the SDK, which binds what it seals to the caller."""
    scopes = sorted(caller.scopes)
    return AuthenticatedUser(
        CallerToken(token="", client_id=caller.id, subject=caller.id, scopes=scopes, caller=caller)
    )


def find_caller() -> Caller | None:
    """Return the caller of the current request; None outside of one."""
    token = get_access_token()
    return token.caller if isinstance(token, CallerToken) else None
