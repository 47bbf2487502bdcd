"""Tokens and limits of calls: what the ledger is asked, and how often."""

import anyio
import pytest

from seedance_mcp.adapters.ledger.tokens import make_token
from seedance_mcp.core.callers import Caller
from seedance_mcp.core.errors import LedgerError, TooManyCallsError
from seedance_mcp.server import auth
from seedance_mcp.server.auth import TokenVerifier, read_bearer
from seedance_mcp.server.limits import CallLimiter, check_rate

ANN = Caller("1", "ann", frozenset({"read", "spend"}))


class Lookups:
    """A ledger of tokens that can be away.

    Attributes:
        asked: Ids of the tokens that it was asked for.
        known: The caller of each token, by its hash.
        is_away: Whether it answers with an error.
        at_a_time: The most lookups that went on together.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.known: dict[str, Caller] = {}
        self.is_away = False
        self.at_a_time = 0
        self._running = 0

    async def find(self, token_id: str, sha256: str) -> Caller | None:
        self.asked.append(token_id)
        self._running += 1
        self.at_a_time = max(self.at_a_time, self._running)
        await anyio.lowlevel.checkpoint()
        self._running -= 1
        if self.is_away:
            raise LedgerError("It is away.")
        return self.known.get(sha256)


async def test_ledger_is_asked_once_for_calls_that_come_together() -> None:
    lookups, token = Lookups(), make_token()
    lookups.known[token.sha256] = ANN
    verifier = TokenVerifier(lookups.find)
    found: list[Caller | None] = []

    async def verify() -> None:
        found.append(await verifier.verify(token.text))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(verify)
    assert found == [ANN] * 20
    assert await verifier.verify(token.text) == ANN
    assert lookups.asked == [token.id]


async def test_revoked_token_ends_when_the_answer_is_no_longer_used() -> None:
    lookups, token = Lookups(), make_token()
    lookups.known[token.sha256] = ANN
    verifier = TokenVerifier(lookups.find, cache_seconds=0)
    assert await verifier.verify(token.text) == ANN
    lookups.known.clear()
    assert await verifier.verify(token.text) is None


async def test_known_token_is_valid_while_the_ledger_is_away() -> None:
    lookups, token = Lookups(), make_token()
    lookups.known[token.sha256] = ANN
    verifier = TokenVerifier(lookups.find, cache_seconds=0)
    assert await verifier.verify(token.text) == ANN
    lookups.is_away = True
    assert await verifier.verify(token.text) == ANN
    with pytest.raises(LedgerError):
        await verifier.verify(make_token().text)


async def test_flood_of_unknown_tokens_uses_few_lookups_and_little_memory() -> None:
    lookups = Lookups()
    verifier = TokenVerifier(lookups.find)
    async with anyio.create_task_group() as tasks:
        for _ in range(auth.UNKNOWN_MAX + 200):
            tasks.start_soon(verifier.verify, make_token().text)
    assert lookups.at_a_time <= auth.LOOKUPS_MAX
    assert verifier.remembered <= auth.UNKNOWN_MAX


@pytest.mark.parametrize("text", ["", "sdn_", "sdn_0123456789ab_short", "x" * 5000, "sdn_0123456789ab_" + "é" * 43])
async def test_malformed_token_does_not_reach_the_ledger(text: str) -> None:
    lookups = Lookups()
    assert await TokenVerifier(lookups.find).verify(text) is None
    assert lookups.asked == []


@pytest.mark.parametrize(
    ("values", "token"),
    [
        ((b"Bearer abc",), "abc"),
        ((b"bearer  abc ",), "abc"),
        ((b"Basic abc",), None),
        ((b"Bearer",), None),
        ((b"Bearer abc", b"Bearer abc"), None),
        ((), None),
    ],
)
def test_token_is_read_from_one_bearer_header_alone(values: tuple[bytes, ...], token: str | None) -> None:
    assert read_bearer([(b"host", b"x"), *((b"authorization", value) for value in values)]) == token


async def test_callers_do_not_use_up_each_others_calls() -> None:
    limiter, eve = CallLimiter(2), Caller("2", "eve", frozenset({"read"}))
    for _ in range(2):
        check_rate(limiter, ANN)
        check_rate(limiter, eve)
    with pytest.raises(TooManyCallsError) as caught:
        check_rate(limiter, ANN)
    assert caught.value.retry_after_seconds == 30
