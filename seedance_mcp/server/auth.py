"""Authentication: who sends an HTTP request, by the bearer token in its header.

A token is `sdn_<id>_<secret>`. The ledger has its SHA-256 alone. What the ledger answered is kept for 15 seconds, so
that most requests need no database, and a revoked token ends that soon. Must never log or keep a token.

Source: RFC 6750, section 2.1 (header) and 3 (challenge).
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

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
SCOPES_OF_USE = "read spend"
"""Scopes that a client asks an authorization server for: all that its user needs, and not those of an admin."""

FindCaller: TypeAlias = Callable[[str, str], Awaitable[Caller | None]]


class CallerToken(AccessToken):
    """An access token as handlers see it: with the caller, without the token itself."""

    caller: Caller


@dataclass(frozen=True, slots=True)
class _Answer:
    caller: Caller | None
    read_at: float


class Verifier(Protocol):
    """Finds the caller of a token."""

    async def verify(self, token: str) -> Caller | None:
        """Return the caller of a token, or None if the token is unknown, or its caller revoked.

        Raises:
            TokenRefusedError: The token is not valid, and the error says why.
            AuthorizationServerError: Whether it is valid cannot be found out now.
            LedgerError: The ledger cannot be asked.
        """
        ...


class CallerCache:
    """What the ledger answered about callers, by a key. It is asked once for all that wait for the same key.

    Args:
        cache_seconds: How long an answer is used.
    """

    def __init__(self, cache_seconds: float = CACHE_SECONDS) -> None:
        self._cache_seconds = cache_seconds
        self._known: OrderedDict[str, _Answer] = OrderedDict()
        self._unknown: OrderedDict[str, _Answer] = OrderedDict()
        self._lookups: dict[str, anyio.Event] = {}
        self._places = anyio.CapacityLimiter(LOOKUPS_MAX)

    @property
    def size(self) -> int:
        """Return how many answers are remembered."""
        return len(self._known) + len(self._unknown)

    async def find(self, key: str, ask: Callable[[], Awaitable[Caller | None]]) -> Caller | None:
        """Return the caller of a key, as the ledger answered a moment ago, or answers now.

        Raises:
            LedgerError: The ledger cannot be asked, and has not answered lately.
        """
        while True:
            answer = self._recall(key, self._cache_seconds)
            if answer is not None:
                return answer.caller
            lookup = self._lookups.get(key)
            if lookup is None:
                return await self._look_up(key, ask)
            await lookup.wait()

    async def _look_up(self, key: str, ask: Callable[[], Awaitable[Caller | None]]) -> Caller | None:
        self._lookups[key] = lookup = anyio.Event()
        try:
            async with self._places:
                caller = await ask()
        except LedgerError:
            stale = self._recall(key, STALE_SECONDS)
            if stale is None or stale.caller is None:
                raise
            return stale.caller
        finally:
            del self._lookups[key]
            lookup.set()
        self._remember(key, _Answer(caller, anyio.current_time()))
        return caller

    def _recall(self, key: str, seconds: float) -> _Answer | None:
        answer = self._known.get(key) or self._unknown.get(key)
        return answer if answer is not None and anyio.current_time() - answer.read_at < seconds else None

    def _remember(self, key: str, answer: _Answer) -> None:
        self._known.pop(key, None)
        self._unknown.pop(key, None)
        answers, most = (self._unknown, UNKNOWN_MAX) if answer.caller is None else (self._known, KNOWN_MAX)
        answers[key] = answer
        if len(answers) > most:
            answers.popitem(last=False)


class TokenVerifier:
    """Finds the caller of a token that `seedance-mcp callers` printed.

    Args:
        find_caller: Asks the ledger, by the token's id and its SHA-256.
        cache_seconds: How long its answer is used.
    """

    def __init__(self, find_caller: FindCaller, *, cache_seconds: float = CACHE_SECONDS) -> None:
        self._find_caller = find_caller
        self._callers = CallerCache(cache_seconds)

    @property
    def remembered(self) -> int:
        """Return how many answers are remembered."""
        return self._callers.size

    async def verify(self, token: str) -> Caller | None:
        """Return the caller of a token, or None if the token is malformed, unknown or revoked.

        Raises:
            LedgerError: The ledger cannot be asked.
        """
        found = parse_token(token)
        if found is None:
            return None
        return await self._callers.find(found.sha256, lambda: self._find_caller(found.id, found.sha256))


def read_bearer(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Return the bearer token of a request, or None if it has none, or more than one.

    Args:
        headers: With names in lower case.
    """
    values = [value for name, value in headers if name == b"authorization"]
    scheme, _, token = values[0].decode("latin-1").partition(" ") if len(values) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


@dataclass(frozen=True, slots=True)
class Challenger:
    """Tells a client without a valid token what it needs.

    Attributes:
        metadata_url: Where the client reads who gives tokens; None where they come from the owner's command line, and
            there is nowhere to ask for one.
    """

    metadata_url: str | None = None

    @property
    def hint(self) -> str:
        """Return what to do without a token."""
        token = "sdn_…" if self.metadata_url is None else "with an access token"
        return f"Send a token in the header Authorization: Bearer {token}"

    def build(self, *, error: str | None = None, description: str = "", scope: str | None = None) -> str:
        """Return the value of `WWW-Authenticate`; without an error for a request that has no token.

        Source: RFC 6750, section 3; RFC 9728, section 5.1 (`resource_metadata`).
        """
        fields = {"realm": REALM}
        if error is not None:
            fields |= {"error": error, "error_description": description}
        if self.metadata_url is not None:
            fields["resource_metadata"] = self.metadata_url
            scope = scope or SCOPES_OF_USE
        if scope is not None:
            fields["scope"] = scope
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in fields.items())


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
