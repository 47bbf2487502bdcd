"""Callers of access tokens: what is remembered of them, and what token and owner let them do."""

from dataclasses import replace

import anyio
import pytest

from seedance_mcp.core.access_tokens import TokenClaims, identify
from seedance_mcp.core.callers import NO_CAPS, Caller, CallerCaps, CallerEntry
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.server.auth import Challenger
from seedance_mcp.server.oauth import OAuthVerifier, find_metadata_url, limit_caller

CAPS = CallerCaps(max_total_micro_usdc=5_000_000)
ENTRY = CallerEntry(
    caller=Caller("oauth-1", "ann-1", frozenset({"read", "spend"})), caps=CAPS, created_at=0, revoked_at=None, tokens=0
)
ANN = identify("https://id.example", "sub", "ann")


class Answers:
    """What checks a token and the ledger, and counts what it was asked."""

    def __init__(self, *, expires_at: float = 2**40) -> None:
        self.claims = TokenClaims(ANN, frozenset({"read", "spend"}), expires_at)
        self.entry, self.is_away, self.checked, self.asked = ENTRY, False, 0, 0

    async def read(self, _: str) -> TokenClaims:
        self.checked += 1
        return self.claims

    async def find(self, _: object) -> CallerEntry:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        if self.is_away:
            raise LedgerError("It is away.")
        return self.entry


async def test_token_is_checked_once_for_many_calls() -> None:
    answers = Answers()
    verifier = OAuthVerifier(answers.read, answers.find, defaults=NO_CAPS)
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(verifier.verify, f"token {number % 2}")
    await verifier.verify("token 0")
    assert (answers.asked, answers.checked <= 20) == (1, True)
    checked = answers.checked
    assert await verifier.verify("token 1") == ENTRY.caller
    assert answers.checked == checked


async def test_token_is_not_remembered_longer_than_it_is_valid() -> None:
    answers = Answers(expires_at=0)
    verifier = OAuthVerifier(answers.read, answers.find, defaults=NO_CAPS)
    for _ in range(3):
        await verifier.verify("token")
    assert (answers.checked, answers.asked) == (3, 1)


async def test_known_caller_is_served_while_the_ledger_is_away() -> None:
    answers = Answers()
    verifier = OAuthVerifier(answers.read, answers.find, defaults=NO_CAPS, cache_seconds=0)
    assert await verifier.verify("token") == ENTRY.caller
    answers.is_away = True
    assert await verifier.verify("token") == ENTRY.caller


async def test_revoked_caller_is_no_one() -> None:
    answers = Answers()
    answers.entry = replace(ENTRY, revoked_at=1.0)
    assert await OAuthVerifier(answers.read, answers.find, defaults=CAPS).verify("token") is None


def test_caller_buys_only_if_an_amount_is_capped() -> None:
    open_only = CallerEntry(caller=ENTRY.caller, caps=CallerCaps(max_open=1), created_at=0, revoked_at=None, tokens=0)
    scopes = frozenset({"read", "spend"})
    assert limit_caller(open_only, scopes, NO_CAPS).needs_cap
    assert not limit_caller(open_only, scopes, CAPS).needs_cap
    assert not limit_caller(ENTRY, scopes, NO_CAPS).needs_cap


def test_scopes_are_those_of_token_and_owner() -> None:
    caller = limit_caller(ENTRY, frozenset({"read", "admin"}), NO_CAPS)
    assert (caller.scopes, caller.obtainable) == ({"read"}, {"spend"})


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://clips.example/mcp", "https://clips.example/.well-known/oauth-protected-resource/mcp"),
        ("https://a.example:8443/clips/mcp", "https://a.example:8443/.well-known/oauth-protected-resource/clips/mcp"),
    ],
)
def test_metadata_is_below_the_host(resource: str, url: str) -> None:
    assert find_metadata_url(resource) == url


def test_challenge_without_metadata_has_no_scope() -> None:
    assert Challenger().build() == 'Bearer realm="seedance-mcp"'
