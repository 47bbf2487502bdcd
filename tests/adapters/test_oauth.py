"""Access tokens against a real authorization server: what is valid, what is not, and what is fetched when."""

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any

import anyio
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher
from seedance_mcp.adapters.http.transport import open_client
from seedance_mcp.adapters.oauth import keys as keys_module
from seedance_mcp.adapters.oauth.issuer import Issuer, IssuerClient, Pace, list_metadata_urls
from seedance_mcp.adapters.oauth.keys import parse_keys
from seedance_mcp.adapters.oauth.tokens import LEEWAY_SECONDS, TOKEN_CHARACTERS_MAX, AccessTokens, read_header
from seedance_mcp.core.access_tokens import AuthorizationServerError, TokenRefusedError
from tests.hosted.authorization import (
    KEYS_PATH,
    AuthorizationServer,
    Key,
    encode_part,
    forge_with_secret,
    run_authorization_server,
)
from tests.servers import say, serve_raw

AUDIENCE = "https://clips.example/mcp"
NO_PAUSE = Pace(refresh_seconds=0, retry_seconds=0)


@pytest.fixture
def server() -> Generator[AuthorizationServer]:
    with run_authorization_server() as running:
        yield running


@dataclass
class Checks:
    """The check of tokens, as one replica has it."""

    tokens: AccessTokens

    async def refuse(self, token: str) -> str:
        """Return why a token is refused."""
        with pytest.raises(TokenRefusedError) as caught:
            await self.tokens.read(token)
        assert token[-20:] not in str(caught.value)
        return str(caught.value)


Open = Callable[..., Checks]


async def run(work: Callable[[], Awaitable[None]]) -> None:
    await work()


@pytest.fixture
async def open_checks(server: AuthorizationServer) -> AsyncGenerator[Open]:
    fetcher = PublicUrlFetcher()
    async with anyio.create_task_group() as tasks, open_client(allow_loopback_http=True) as client:

        def start(work: Callable[[], Awaitable[None]]) -> None:
            tasks.start_soon(lambda: run(work))

        def make(pace: Pace | None = None, *, issuer: str = "") -> Checks:
            found = Issuer(IssuerClient(issuer or server.issuer, client, fetcher), start, pace)
            return Checks(AccessTokens(found, audience=AUDIENCE))

        yield make
    await fetcher.aclose()


@pytest.fixture
def checks(open_checks: Open) -> Checks:
    return open_checks()


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_token_is_valid_in_each_allowed_algorithm(
    server: AuthorizationServer, checks: Checks, algorithm: str
) -> None:
    server.rotate(Key.make("one", algorithm))
    claims = await checks.tokens.read(server.mint("ada", AUDIENCE))
    assert claims.scopes == {"read", "spend"}
    assert claims.identity.name.startswith("ada-")
    assert (await checks.tokens.read(server.mint("ada", AUDIENCE, scope="read"))).identity == claims.identity


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "https://clips.example"}, f"not for {AUDIENCE}"),
        ({"aud": f"{AUDIENCE}/"}, f"not for {AUDIENCE}"),
        ({"aud": ["https://other.example/mcp"]}, f"not for {AUDIENCE}"),
        ({"aud": [AUDIENCE, 1]}, f"not for {AUDIENCE}"),
        ({"aud": None}, "no exp, iss or aud"),
        ({"iss": "http://127.0.0.1:1"}, "another issuer"),
        ({"iss": None}, "no exp, iss or aud"),
        ({"exp": 1}, "has expired"),
        ({"exp": None}, "no exp, iss or aud"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": float("inf")}, "malformed"),
        ({"nbf": 99_999_999_999}, "not valid yet"),
        ({"sub": 7}, "malformed"),
        ({"sub": ""}, "sub is not a text"),
        ({"sub": "x" * 600}, "sub is not a text"),
        ({"sub": None, "client_id": None}, "no subject and no client"),
        ({"cnf": {"jkt": "x"}}, "bound to a key"),
    ],
)
async def test_claims_that_do_not_fit_are_refused_with_the_reason(
    server: AuthorizationServer, checks: Checks, changes: dict[str, Any], why: str
) -> None:
    assert why in await checks.refuse(server.mint("ada", AUDIENCE) if not changes else _mint(server, changes))


def _mint(server: AuthorizationServer, changes: dict[str, Any]) -> str:
    claims = {**server.build_claims("ada", AUDIENCE), **changes}
    return server.keys[0].sign({name: value for name, value in claims.items() if value is not None})


async def test_clocks_may_differ_by_a_minute(server: AuthorizationServer, checks: Checks) -> None:
    now = int(time.time())
    await checks.tokens.read(server.mint("ada", AUDIENCE, exp=now - LEEWAY_SECONDS + 10))
    await checks.tokens.read(server.mint("ada", AUDIENCE, nbf=now + LEEWAY_SECONDS - 10, iat=now + 3600))
    assert "has expired" in await checks.refuse(server.mint("ada", AUDIENCE, exp=now - LEEWAY_SECONDS - 10))


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"typ": "JWT"}, ""),
        ({"typ": "application/at+jwt"}, ""),
        ({"typ": None}, ""),
        ({"typ": "dpop+jwt"}, "not an access token"),
        ({"typ": "logout+jwt"}, "not an access token"),
        ({"kid": "x" * 300}, "malformed"),
        ({"crit": ["b64"], "b64": True}, "not supported"),
        ({"crit": ["exp"], "exp": 1}, "malformed"),
    ],
)
async def test_headers_decide_what_kind_of_token_it_is(
    server: AuthorizationServer, checks: Checks, headers: dict[str, Any], why: str
) -> None:
    header = {"alg": "ES256", "typ": "at+jwt", "kid": "first", **headers}
    signed = f"{encode_part(header)}.{encode_part(server.build_claims('ada', AUDIENCE))}"
    algorithm = jwt.get_algorithm_by_name("ES256")
    token = f"{signed}.{encode_part(algorithm.sign(signed.encode(), server.keys[0].private))}"
    if why:
        assert why in await checks.refuse(token)
    else:
        await checks.tokens.read(token)


async def test_algorithm_confusion_is_refused_without_asking_anyone(
    server: AuthorizationServer, checks: Checks
) -> None:
    claims = server.build_claims("ada", AUDIENCE)
    none = f"{encode_part({'alg': 'none', 'kid': 'first'})}.{encode_part(claims)}."
    pem = forge_with_secret(claims, server.keys[0].public_pem, kid="first")
    text = forge_with_secret(claims, json.dumps(server.keys[0].public).encode(), kid="first")
    for token in (none, f"{none}AA", pem, text):
        await checks.refuse(token)
    assert server.asked == []


async def test_key_signs_only_with_an_algorithm_of_its_own_kind(server: AuthorizationServer, checks: Checks) -> None:
    server.rotate(Key.make("one", "RS256"))
    pss = Key("one", "PS256", server.keys[0].private)
    other_kind = Key.make("one", "ES256")
    await checks.tokens.read(pss.sign(server.build_claims("ada", AUDIENCE)))
    assert "does not publish" in await checks.refuse(other_kind.sign(server.build_claims("ada", AUDIENCE)))


async def test_token_of_another_key_with_a_known_id_is_refused(server: AuthorizationServer, checks: Checks) -> None:
    thief = Key.make("first")
    assert "signature is wrong" in await checks.refuse(thief.sign(server.build_claims("ada", AUDIENCE)))


async def test_keys_and_urls_in_a_token_are_never_used(server: AuthorizationServer, checks: Checks) -> None:
    thief = Key.make("first")
    async with serve_raw(say(200, json.dumps({"keys": [thief.public]}).encode())) as evil:
        headers = {"jku": evil.url, "x5u": evil.url, "jwk": thief.public, "x5c": ["MIIB"]}
        token = thief.sign(server.build_claims("ada", AUDIENCE), **headers)
        assert "signature is wrong" in await checks.refuse(token)
        assert evil.asked == []


async def test_token_without_a_key_id_fits_an_only_key(server: AuthorizationServer, open_checks: Open) -> None:
    nameless = Key.make(None)
    server.rotate(nameless)
    await open_checks().tokens.read(server.mint("ada", AUDIENCE))
    server.keys.append(Key.make("second"))
    assert "does not publish" in await open_checks().refuse(server.mint("ada", AUDIENCE))


async def test_rotated_key_is_found_without_a_restart(server: AuthorizationServer, open_checks: Open) -> None:
    checks = open_checks(NO_PAUSE)
    old = server.mint("ada", AUDIENCE)
    await checks.tokens.read(old)
    server.rotate(Key.make("second"))
    await checks.tokens.read(server.mint("ada", AUDIENCE))
    assert "does not publish" in await checks.refuse(old)


async def test_flood_of_unknown_keys_fetches_once(server: AuthorizationServer, checks: Checks) -> None:
    claims = server.build_claims("ada", AUDIENCE)
    unknown = Key.make("unknown-0")
    outcomes: list[str] = []

    async def read(number: int) -> None:
        token = Key(f"unknown-{number}", "ES256", unknown.private).sign(claims)
        try:
            await checks.tokens.read(token)
        except (TokenRefusedError, AuthorizationServerError) as exc:
            outcomes.append(type(exc).__name__)

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(read, number)
    await read(51)
    await read(0)
    assert outcomes == ["TokenRefusedError"] * 50 + ["AuthorizationServerError", "TokenRefusedError"]
    assert server.keys_asked == 1
    await checks.tokens.read(server.mint("ada", AUDIENCE))


async def test_fetch_goes_on_if_the_first_who_needs_it_leaves(server: AuthorizationServer, checks: Checks) -> None:
    with anyio.move_on_after(0):
        await checks.tokens.read(server.mint("ada", AUDIENCE))
    await checks.tokens.read(server.mint("ada", AUDIENCE))
    assert server.keys_asked == 1


async def test_known_keys_serve_while_the_issuer_is_away(server: AuthorizationServer, open_checks: Open) -> None:
    checks = open_checks(Pace(refresh_seconds=0, retry_seconds=0, keys_seconds=0))
    token, other = server.mint("ada", AUDIENCE), Key.make("second").sign(server.build_claims("ada", AUDIENCE))
    await checks.tokens.read(token)
    server.stop()
    await checks.tokens.read(token)
    with pytest.raises(AuthorizationServerError, match="cannot be reached"):
        await checks.tokens.read(other)
    await checks.tokens.read(token)


async def test_keys_are_not_used_for_ever_without_the_issuer(server: AuthorizationServer, open_checks: Open) -> None:
    checks = open_checks(Pace(refresh_seconds=0, retry_seconds=0, stale_seconds=0))
    await checks.tokens.read(server.mint("ada", AUDIENCE))
    server.stop()
    with pytest.raises(AuthorizationServerError):
        await checks.tokens.read(server.mint("ada", AUDIENCE))


async def test_issuer_that_was_away_is_asked_again_after_a_pause(
    server: AuthorizationServer, open_checks: Open
) -> None:
    patient, eager = open_checks(Pace(retry_seconds=60)), open_checks(NO_PAUSE)
    token = server.mint("ada", AUDIENCE)
    server.stop()
    for checks in (patient, eager):
        with pytest.raises(AuthorizationServerError) as caught:
            await checks.tokens.read(token)
        assert 1 <= caught.value.retry_after_seconds <= 60
    server.start()
    await eager.tokens.read(token)
    with pytest.raises(AuthorizationServerError, match="a moment ago"):
        await patient.tokens.read(token)


@pytest.mark.parametrize("form", list_metadata_urls("http://127.0.0.1/realms/team/"))
async def test_each_form_of_metadata_is_found(open_checks: Open, form: str) -> None:
    with run_authorization_server(path="/realms/team") as server:
        document = json.dumps(server.build_documents()[server.metadata_path]).encode()
        server.answers[server.metadata_path] = (404, {}, b"")
        server.answers[form.removeprefix("http://127.0.0.1")] = (200, {}, document)
        await open_checks(issuer=server.issuer).tokens.read(server.mint("ada", AUDIENCE))


@pytest.mark.parametrize(
    ("path", "status", "body", "why"),
    [
        ("metadata", 500, b"", "answered 500"),
        ("metadata", 200, b"[]", "not an object"),
        ("metadata", 200, b'{"issuer": "http://127.0.0.1:1"}', "another issuer"),
        ("metadata", 200, b"{" * 5000, "not JSON"),
        (KEYS_PATH, 404, b"", "answered 404"),
        (KEYS_PATH, 200, b'{"keys": []}', "no key that can be used"),
        (KEYS_PATH, 200, b'{"keys": "x"}', "no key that can be used"),
        (KEYS_PATH, 200, b"x" * 2_000_000, "larger than"),
    ],
)
async def test_documents_that_cannot_be_used_are_no_verdict_on_a_token(
    server: AuthorizationServer, checks: Checks, path: str, status: int, body: bytes, why: str
) -> None:
    server.answers[server.metadata_path if path == "metadata" else path] = (status, {}, body)
    with pytest.raises(AuthorizationServerError, match=why):
        await checks.tokens.read(server.mint("ada", AUDIENCE))


@pytest.mark.parametrize(
    ("keys_url", "why"),
    [
        ("http://10.0.0.1/keys", "plain http"),
        ("https://10.0.0.1/keys", "not at a public address"),
        ("https://169.254.169.254/latest/meta-data", "not at a public address"),
        ("https://[::ffff:10.0.0.1]/keys", "not at a public address"),
        ("https://0x0a000001/keys", "not at a public address"),
        ("ftp://127.0.0.1/keys", "not an https URL"),
        ("file:///etc/passwd", "not an https URL"),
        ("http://[::1/keys", "not a URL"),
        ("http://127.0.0.1:99999/keys", "not a URL"),
    ],
)
async def test_keys_are_not_fetched_from_a_private_address(
    server: AuthorizationServer, checks: Checks, keys_url: str, why: str
) -> None:
    server.metadata["jwks_uri"] = keys_url
    with pytest.raises(AuthorizationServerError, match=why):
        await checks.tokens.read(server.mint("ada", AUDIENCE))


async def test_keys_url_with_a_user_or_two_readings_is_refused(server: AuthorizationServer, open_checks: Open) -> None:
    host = server.issuer.removeprefix("http://")
    for url in (f"http://ada:pw@{host}{KEYS_PATH}", f"http://{host}\\@evil.example/keys", f"http://{host}/ keys"):
        server.metadata["jwks_uri"] = url
        with pytest.raises(AuthorizationServerError):
            await open_checks().tokens.read(server.mint("ada", AUDIENCE))
    assert server.keys_asked == 0


@pytest.mark.parametrize("document", ["metadata", "keys"])
async def test_redirects_of_the_issuer_are_not_followed(
    server: AuthorizationServer, checks: Checks, document: str
) -> None:
    async with serve_raw(say(200, json.dumps({"keys": [server.keys[0].public]}).encode())) as other:
        path = KEYS_PATH if document == "keys" else server.metadata_path
        server.answers[path] = (302, {"location": f"{other.url}/keys"}, b"")
        with pytest.raises(AuthorizationServerError):
            await checks.tokens.read(server.mint("ada", AUDIENCE))
        assert other.asked == []


async def test_keys_may_be_at_another_port_of_this_machine(server: AuthorizationServer, checks: Checks) -> None:
    """Only because the issuer is on this machine, too."""
    async with serve_raw(say(200, json.dumps({"keys": [server.keys[0].public]}).encode())) as other:
        server.metadata["jwks_uri"] = f"{other.url}/keys"
        await checks.tokens.read(server.mint("ada", AUDIENCE))


def test_keys_that_may_not_sign_tokens_are_left_out() -> None:
    good = Key.make("good", "RS256").public
    weak = RSA_1024 | {"kid": "weak"}
    left_out: list[Any] = [
        {**good, "use": "enc"}, {**good, "key_ops": ["encrypt"]}, {**good, "alg": "RS512"}, {**good, "d": "AQAB"},
        {**good, "n": "x" * 2000}, {**good, "n": 7}, {**good, "e": "!"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "x"},
        {"kty": "EC", "crv": "P-384", "x": "", "y": ""}, {"kty": ["RSA"]}, {"kty": "EC", "crv": {}}, {}, None, "x",
        weak,
    ]  # fmt: skip
    assert parse_keys({"keys": left_out}).keys == {}
    assert set(parse_keys({"keys": [*left_out, good]}).keys) == {("good", "RS256"), ("good", "PS256")}
    assert set(parse_keys({"keys": [{**good, "alg": "PS256"}]}).keys) == {("good", "PS256")}
    assert parse_keys({"keys": [good, Key.make("good", "RS256").public]}).keys == {}, "no token could tell them apart"
    assert parse_keys({"keys": [*({"kid": "none"} for _ in range(keys_module.KEYS_MAX)), good]}).keys == {}


RSA_1024 = {"kty": "RSA", "e": "AQAB", "n": encode_part((2**1023 + 15).to_bytes(128, "big"))}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b",
        "a.b.c.d",
        "é.b.c",
        "a=.b.c",
        "a.b.c\n",
        "sdn_0123456789ab_x",
        f"a.b.{'c' * TOKEN_CHARACTERS_MAX}",
    ],
)
async def test_text_that_is_no_token_asks_no_one(server: AuthorizationServer, checks: Checks, token: str) -> None:
    with pytest.raises(TokenRefusedError):
        await checks.tokens.read(token)
    assert server.asked == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["ES256", "none", "HS256"]) | JSON,
        "typ": st.sampled_from(["JWT", "at+jwt"]) | JSON,
        "kid": JSON, "crit": JSON, "b64": JSON,
    },
)  # fmt: skip


@given(part=HEADERS.map(encode_part) | st.binary(max_size=200).map(encode_part) | st.text(max_size=50))
def test_any_header_is_read_or_refused(part: str) -> None:
    try:
        key_id, algorithm = read_header(f"{part}.e30.AA")
    except TokenRefusedError:
        return
    assert algorithm in keys_module.ALLOWED
    assert key_id is None or len(key_id) <= keys_module.KEY_ID_CHARACTERS_MAX


def test_deep_header_is_refused() -> None:
    with pytest.raises(TokenRefusedError):
        read_header(f"{encode_part(b'[' * 12_000)}.e30.AA")


FIELDS = st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "use", "alg", "key_ops"])
VALUES = st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig"]) | JSON


@given(keys=JSON | st.lists(st.dictionaries(FIELDS, VALUES, max_size=8), max_size=3))
def test_any_set_of_keys_is_read(keys: object) -> None:
    assert all(algorithm in keys_module.ALLOWED for _, algorithm in parse_keys({"keys": keys}).keys)
