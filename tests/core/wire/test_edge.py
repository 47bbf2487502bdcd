"""Answers from other systems than the studio, and the stored contract of a route."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.wire.contracts import ASSUMED, read_contract, write_contract
from seedance_mcp.core.wire.edge import BOT_CHECK, WEB_PAGE, find_edge_answer
from seedance_mcp.core.wire.responses import Response, Unclear, describe_answer, read_outcome
from seedance_mcp.core.wire.routes import Route, read_route_contract
from tests.challenges import CAPTURES
from tests.core.wire.hostile import BODIES, VALUES

HTML = [("content-type", "text/html; charset=UTF-8")]
JUST_A_MOMENT = b"<!DOCTYPE html><html><head><title>Just a moment...</title>"


@pytest.mark.parametrize(
    ("status", "headers", "body", "who"),
    [
        (403, [*HTML, ("cf-mitigated", "challenge")], b"", BOT_CHECK),
        (403, HTML, JUST_A_MOMENT, BOT_CHECK),
        (503, HTML, JUST_A_MOMENT, BOT_CHECK),
        (429, [("x-vercel-mitigated", "challenge")], b"", BOT_CHECK),
        (202, [("x-amzn-waf-action", "challenge")], b"", BOT_CHECK),
        (403, [], b"<html><body>Attention Required! | Cloudflare", BOT_CHECK),
        (403, HTML, b"<html><body>Your company blocks this site", WEB_PAGE),
        (503, HTML, b"<html><body>Service Unavailable", None),
        (403, [("content-type", "application/json")], b'{"error":"captcha"}', None),
        (200, HTML, JUST_A_MOMENT, None),
        (402, HTML, b"<html>Payment Required</html>", None),
    ],
)
def test_answers_from_other_systems_are_recognised(
    status: int, headers: list[tuple[str, str]], body: bytes, who: str | None
) -> None:
    assert find_edge_answer(status, headers, body) == who
    response = Response(status=status, headers=headers, body=body)
    if who is not None:
        assert describe_answer(response) == f"status {status}: {who}"
        assert isinstance(read_outcome(response, "x402"), Unclear), "it proves nothing about the money"


@given(st.integers(100, 599), st.lists(st.tuples(st.sampled_from(["content-type", "x"]), st.text())), BODIES)
def test_reads_any_answer_without_raising(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    assert find_edge_answer(status, headers, body) in (None, BOT_CHECK, WEB_PAGE)


@pytest.mark.parametrize("name", ["openapi_classic", "openapi_current"])
def test_contract_survives_the_ledger_unchanged(name: str) -> None:
    contract = read_route_contract(json.dumps(CAPTURES[name]).encode(), Route("seedance"))
    assert read_contract(json.loads(json.dumps(write_contract(contract)))) == contract
    assert read_contract(write_contract(ASSUMED)) == ASSUMED


@given(st.dictionaries(st.sampled_from(["dialect", "ceiling_micro_usdc", "fields", "choices", "x"]), VALUES))
def test_damaged_contract_raises_nothing(document: dict[str, object]) -> None:
    read_contract(document)
