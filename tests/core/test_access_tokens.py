"""Claims of access tokens: who a token means, under which name, and with which scopes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.access_tokens import (
    EXPIRES_AT_MAX,
    TokenClaims,
    TokenRefusedError,
    has_identity,
    identify,
    read_claims,
)
from seedance_mcp.core.callers import SCOPES, is_name

ISSUER = "https://id.example/"
CLAIMS: dict[str, Any] = {"iss": ISSUER, "sub": "ada", "exp": 1_000}


def test_identity_of_a_subject_never_changes() -> None:
    """Another id is another caller, with another budget, who buys every video again."""
    ada = identify(ISSUER, "sub", "ada")
    assert (ada.id, ada.name) == ("oauth-1546549303d291c1a94e2a72cfa597dd", "ada-1546549303d2")
    assert has_identity(ada.id)
    assert not has_identity("0123456789abcdef")


def test_issuer_kind_and_subject_all_make_another_identity() -> None:
    ids = {
        identify(issuer, kind, value).id
        for issuer in (ISSUER, "https://id.example")
        for kind in ("sub", "client_id")
        for value in ("ada", "Ada", "ada ")
    }
    assert len(ids) == 12


@pytest.mark.parametrize(
    ("subject", "word"),
    [
        ("auth0|5f7c8ec7c33c6c004bbafe82", "auth0-5f7c8ec7c33c6c004bbafe82"),
        ("ada@example.com", "ada-example.com"),
        ("../../etc\n\x1b[31m", "etc-31m"),
        ("数据", "oauth"),
        ("x" * 500, "x" * 40),
    ],
)
def test_name_has_the_readable_words_of_a_subject(subject: str, word: str) -> None:
    assert identify(ISSUER, "sub", subject).name.rpartition("-")[0] == word


@given(value=st.text(min_size=1))
def test_any_subject_has_a_safe_name_and_its_own_id(value: str) -> None:
    identity = identify(ISSUER, "sub", value)
    assert is_name(identity.name)
    assert is_name(identity.long_name)
    assert identity.id != identify(ISSUER, "sub", value + "x").id


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "read spend openid"}, {"read", "spend"}),
        ({"scope": "admin"}, {"admin"}),
        ({"scp": "read"}, {"read"}),
        ({"scp": ["read", "spend", 7]}, {"read", "spend"}),
        ({"scope": ["read"]}, {"read"}),
        ({"scope": "read", "scp": ["spend"]}, {"read"}),
        ({"scope": "Read spending"}, set[str]()),
        ({"scope": "read " * 5_000}, set[str]()),
        ({"scope": {"read": True}}, set[str]()),
        ({}, set[str]()),
    ],
)
def test_scopes_are_ours_of_the_token(claims: dict[str, Any], scopes: set[str]) -> None:
    assert read_claims(CLAIMS | claims).scopes == scopes


def test_token_without_a_subject_means_its_client() -> None:
    client = read_claims({"iss": ISSUER, "client_id": "ada", "exp": 1_000})
    assert client.identity == identify(ISSUER, "client_id", "ada")
    assert client.identity != read_claims(CLAIMS).identity


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["iss", "sub", "client_id", "exp", "scope", "scp", "cnf"])


@given(claims=st.dictionaries(NAMES, VALUES | st.sampled_from(["read spend", ISSUER])))
def test_any_claims_are_read_or_refused(claims: dict[str, object]) -> None:
    try:
        found = read_claims(claims)
    except TokenRefusedError:
        return
    assert isinstance(found, TokenClaims)
    assert found.scopes <= set(SCOPES)
    assert is_name(found.identity.name)
    assert isinstance(found.expires_at, float)


def test_token_without_an_end_in_sight_has_one() -> None:
    assert read_claims(CLAIMS | {"exp": 10**400}).expires_at == EXPIRES_AT_MAX
