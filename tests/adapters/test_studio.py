"""The studio client, with the sandbox and with hostile servers."""

import asyncio
import gzip
import ipaddress
import json
import logging
import secrets
import socket
import time
import traceback
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_mcp.adapters.chain.rpc import ChainRpc
from seedance_mcp.adapters.http.public_urls import is_public
from seedance_mcp.adapters.http.transport import exchange, open_client, read_retry_after
from seedance_mcp.adapters.studio import client as remaining
from seedance_mcp.adapters.studio.client import Address, Studio
from seedance_mcp.adapters.wallet import Wallet, open_wallet
from seedance_mcp.config.profiles import SANDBOX_TOKEN, sandbox_profile
from seedance_mcp.core.errors import (
    ChainError,
    ConfigError,
    StudioError,
    StudioProtocolError,
    StudioRejectedError,
    StudioUnreachableError,
)
from seedance_mcp.core.limits import Limits, PinnedTerms
from seedance_mcp.core.wire.jobs import JobStatus, UploadTicket, read_submitted_job, read_upload_ticket
from seedance_mcp.core.wire.json import JSON_BYTES_MAX, encode_base64_json, encode_json
from seedance_mcp.core.wire.offers import Credential, read_offers
from seedance_mcp.core.wire.responses import PaidRequest, Purpose, Response
from seedance_mcp.core.wire.routes import Route, read_route_contract
from seedance_mcp.core.wire.x402 import Authorization, build_payment
from seedance_mcp.payments.policy import choose_offer
from tests.bombs import build_gzip_bomb
from tests.servers import Asked, RawServer, build_answer, say, serve_raw

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_mcp.sandbox import Sandbox
    from tests.conftest import HttpsServer

HUSH = secrets.token_hex(8)
CREDENTIAL = Credential(header="PAYMENT-SIGNATURE", value="eyJzZWNyZXQi" * 20)
TICKET = UploadTicket(upload_id="u", client_token="vercel_blob_client_secret", pathname="uploads/a b/c.png")


@pytest.fixture
async def wallet(funded_key: str, tmp_path: "Path") -> Wallet:
    return await open_wallet(funded_key, tmp_path)


@asynccontextmanager
async def open_studio(
    url: str, wallet: Wallet | None = None, *, loopback: bool = True, now: Callable[[], float] = time.time
) -> AsyncGenerator[Studio]:
    async def sign_in(build: Callable[[str], str]) -> tuple[str, str]:
        assert wallet is not None, "no sign-in was expected"
        return wallet.address, await wallet.sign_in(build(wallet.address))

    profile = sandbox_profile(url)
    address = Address(
        studio_url=url,
        blob_url=profile.blob_url,
        chain_id=profile.sign_in_chain,
        allow_loopback_http=loopback,
    )
    async with Studio(address, sign_in, now=now) as studio:
        yield studio


def order(url: str, body: dict[str, object], *, purpose: Purpose = "generation") -> PaidRequest:
    return PaidRequest(purpose=purpose, idempotency_key="f", url=url, body=encode_json(body))


async def buy(studio: Studio, wallet: Wallet, request: PaidRequest) -> Response:
    """Pay a request on x402, without a ledger."""
    answer = await studio.send(request)
    offers = read_offers(answer.status, answer.headers, answer.body)
    pins = PinnedTerms(studio_origin=studio.origin, x402=SANDBOX_TOKEN)
    offer = choose_offer(offers, Limits(), pins, payer=wallet.address)
    authorization = Authorization(
        payer=wallet.address,
        pay_to=offer.pay_to,
        amount_micro_usdc=offer.amount_micro_usdc,
        valid_after=0,
        valid_before=int(time.time()) + 120,
        nonce="0x" + secrets.token_hex(32),
    )
    credential = await wallet.sign_payment(build_payment(authorization, offer, offers), SANDBOX_TOKEN)
    return await studio.send_paid(request, credential)


async def upload(studio: Studio, wallet: Wallet, data: bytes) -> str:
    body: dict[str, object] = {"filename": "a.png", "contentType": "image/png", "size": len(data)}
    answer = await buy(studio, wallet, order(f"{studio.origin}/api/upload", body, purpose="upload"))
    ticket = read_upload_ticket(answer.body)
    url = await studio.put_blob(ticket, data, "image/png")
    await studio.confirm_upload(ticket, url)
    return url


def write_body(dialect: str, url: str) -> dict[str, object]:
    if dialect == "classic":
        return {"prompt": "p", "image": url, "duration": "4", "resolution": "480p", "aspect_ratio": "16:9"}
    return {
        "prompt": "p", "duration": "4", "aspectRatio": "16:9", "outputResolution": "480p", "mode": "keyframe",
        "urls": [url], "urlMediaTypes": ["image"],
    }  # fmt: skip


async def wait_for(studio: Studio, job_id: str) -> JobStatus:
    with anyio.fail_after(60):
        while not (job := await studio.fetch_job(job_id)).ended:
            await anyio.sleep(0.05)
    return job


# ── against the sandbox ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dialect", ["classic", "current"])
async def test_video_is_paid_polled_and_downloaded(
    dialect: str,
    make_sandbox: Callable[..., "Sandbox"],
    wallet: Wallet,
    make_picture: Callable[..., "Path"],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    sandbox = make_sandbox(contract=dialect)
    async with open_studio(sandbox.url, wallet) as studio:
        contract = read_route_contract(await studio.fetch_openapi(), Route("seedance-fast"))
        assert contract.dialect == dialect
        url = await upload(studio, wallet, make_picture().read_bytes())
        assert await studio.is_hosted(url)
        assert not await studio.is_hosted(url + "gone")
        request = order(f"{studio.origin}/api/generate/seedance-fast/i2v", write_body(dialect, url))
        job = await wait_for(studio, read_submitted_job((await buy(studio, wallet, request)).body).job_id)
        assert job.status == "complete"
        assert [one.job_id for one in (await studio.list_jobs()).jobs] == [job.job_id]
        assert job.video_url is not None
        assert job.thumbnail_url is not None
        async with studio.stream_video(job.video_url) as stream:
            assert b"ftyp" in b"".join([chunk async for chunk in stream.chunks])[:16]
        assert await studio.fetch_image(job.thumbnail_url, bytes_max=10_000_000)
    # Also at the debug level, the log contains nothing that could be replayed.
    assert not any(word in caplog.text for word in ("eyJ", "Bearer", "vercel_blob", "?pathname", "signature"))


async def test_chain_answers(studio_server: "Sandbox") -> None:
    async with open_studio(studio_server.url) as studio:
        rpc = ChainRpc(studio.http, {"x402": sandbox_profile(studio_server.url).rpc_urls})
        block = await rpc.call("eth_getBlockByNumber", ["latest", False])
        assert isinstance(block, dict)
        with pytest.raises(ChainError, match=r"The chain did not answer eth_mine: status 200"):
            await rpc.call("eth_mine", [])


async def test_prepared_sign_in_needs_one_request(make_sandbox: Callable[..., "Sandbox"], wallet: Wallet) -> None:
    sandbox = make_sandbox()
    async with open_studio(sandbox.url, wallet) as studio:
        await studio.list_jobs()
        with pytest.raises(StudioRejectedError, match="404") as caught:
            await studio.fetch_job("cmnobodyknowsit")
        assert caught.value.status == 404
    async with open_client(allow_loopback_http=True) as client:
        state = await exchange(client, "GET", f"{sandbox.url}/_sandbox/state")
    assert json.loads(state.body)["requests"] == {"GET /api/jobs": 1, "GET /api/jobs/{job_id}": 1}


async def test_wrong_clock_makes_the_client_sign_the_studios_challenge(
    make_sandbox: Callable[..., "Sandbox"], wallet: Wallet
) -> None:
    sandbox = make_sandbox()
    async with open_studio(sandbox.url, wallet, now=lambda: time.time() - 100) as studio:
        assert (await studio.list_jobs()).jobs == ()
    async with open_studio(sandbox.url, wallet, now=lambda: time.time() - 3600) as studio:
        with pytest.raises(StudioProtocolError, match="Is this machine's clock right"):
            await studio.list_jobs()


@pytest.mark.parametrize("job_id", ["", "../admin", "a/b", "a?b", "a b", "x" * 200, "ä"])
async def test_invalid_job_id_is_not_requested(job_id: str, studio_server: "Sandbox") -> None:
    async with open_studio(studio_server.url) as studio:
        with pytest.raises(StudioRejectedError, match="cannot be a job id"):
            await studio.fetch_job(job_id)


@pytest.mark.parametrize("fault", ["server_error", "rate_limited"])
async def test_free_exchange_is_retried_until_it_works(
    fault: str, make_sandbox: Callable[..., "Sandbox"], wallet: Wallet
) -> None:
    sandbox = make_sandbox(faults=(f"{fault}:2",))
    async with open_studio(sandbox.url, wallet) as studio:
        request = order(f"{sandbox.url}/api/upload", {"filename": "a.png", "contentType": "image/png"})
        assert (await studio.send(request)).status == 402


async def test_overloaded_studio_error_has_the_retry_time(
    make_sandbox: Callable[..., "Sandbox"], wallet: Wallet
) -> None:
    sandbox = make_sandbox(faults=("rate_limited",))
    async with open_studio(sandbox.url, wallet) as studio:
        for ask in (studio.list_jobs(), studio.send(order(f"{sandbox.url}/api/upload", {}))):
            with pytest.raises(StudioUnreachableError, match="429") as caught:
                await ask
            assert caught.value.retry_after_seconds == 1


async def test_page_instead_of_a_job_is_a_protocol_error(
    make_sandbox: Callable[..., "Sandbox"], wallet: Wallet
) -> None:
    sandbox = make_sandbox(faults=("not_json",))
    async with open_studio(sandbox.url, wallet) as studio:
        with pytest.raises(StudioProtocolError, match="The list of jobs is not JSON"):
            await studio.list_jobs()


async def test_paid_request_is_sent_once_on_any_answer() -> None:
    for status in (200, 302, 402, 429, 500, 503):
        async with serve_raw(say(status, b"{}", location="/elsewhere")) as server, open_studio(server.url) as studio:
            answer = await studio.send_paid(order(f"{server.url}/api/upload", {}), CREDENTIAL)
            assert answer.status == status
        assert len(server.asked) == 1


# ── hostile answers ──────────────────────────────────────────────────────────────────────────────────────────────────


async def drop(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def talk_nonsense(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")


async def flood_with_headers(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx: ")
    for _ in range(160):
        writer.write(b"a" * 65_536)
        await writer.drain()


async def flood_with_header_lines(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(160):
        writer.write(b"x: a\r\n" * 10_000)
        await writer.drain()


async def flood_with_a_body(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"a" * 65_536)
        await writer.drain()


async def break_off(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")


async def dawdle(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.02)


async def promise_for_ever(asked: Asked, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


BOMB = build_gzip_bomb(b"", zero_megabytes=200)[:190_000]
HOSTILE = {
    "drop": drop,
    "nonsense": talk_nonsense,
    "a header of 10 MB": flood_with_headers,
    "a million headers": flood_with_header_lines,
    "an endless body": flood_with_a_body,
    "10 MB": say(200, bytes(10_000_000)),
    "half a body": break_off,
    "a byte now and then": dawdle,
    "endless promises": promise_for_ever,
    "a gzip bomb": say(200, BOMB, content_encoding="gzip"),
    "half a gzip": say(200, gzip.compress(b"{}" * 1000)[:-9], content_encoding="gzip"),
    "no gzip": say(200, b"{}", content_encoding="gzip"),
    "zstd": say(200, b"{}", content_encoding="zstd"),
    "gzip twice": say(200, gzip.compress(gzip.compress(b"{}")), content_encoding="gzip, gzip"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_answer_is_our_error_in_bounded_time_without_secrets(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for bound in ("ANSWER_SECONDS", "PAID_SECONDS", "IMAGE_SECONDS", "DOWNLOAD_SECONDS", "BLOB_SECONDS"):
        monkeypatch.setattr(remaining, bound, 0.5)
    async with serve_raw(HOSTILE[name]) as server, open_studio(server.url) as studio:

        async def watch() -> None:
            async with studio.stream_video(f"{server.url}/clip.mp4?token={HUSH}") as stream:
                async for _ in stream.chunks:
                    pass

        asks: list[Callable[[], Awaitable[object]]] = [
            lambda: studio.send_paid(order(f"{server.url}/api/upload", {}), CREDENTIAL),
            lambda: studio.fetch_image(f"{server.url}/x.png?token={HUSH}", bytes_max=JSON_BYTES_MAX),
            lambda: studio.put_blob(TICKET, b"bytes", "image/png"),
        ]
        if name not in ("10 MB", "an endless body", "no gzip"):  # these are checked when the stream is saved
            asks.append(watch)
        for ask in asks:
            with anyio.fail_after(60), pytest.raises(StudioError) as caught:
                await ask()
            told = "".join(traceback.format_exception(caught.value)) + caplog.text
            for secret in (CREDENTIAL.value, TICKET.client_token, HUSH):
                assert secret not in told


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity", "GZIP"])
async def test_unrequested_compression_is_read(encoding: str) -> None:
    body = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding.lower(), bytes)(b'{"a":1}')
    async with serve_raw(say(200, body, content_encoding=encoding)) as server, open_studio(server.url) as studio:
        answer = await studio.send_paid(order(f"{server.url}/api/upload", {}), CREDENTIAL)
        assert answer.body == b'{"a":1}'
        assert server.asked[0].headers["accept-encoding"] == "identity"


async def test_uploaded_picture_is_looked_up_only_at_allowed_urls() -> None:
    async with serve_raw(say(200)) as server:
        async with open_studio(server.url) as studio:
            assert await studio.is_hosted(f"{server.url}/x.png")
            assert [asked.method for asked in server.asked] == ["HEAD"]
            assert await studio.is_hosted("http://127.0.0.1:9/x.png"), "a studio that cannot say counts as yes"
        async with open_studio("https://studio.test") as studio:
            assert not await studio.is_hosted(f"{server.url}/x.png")
        assert len(server.asked) == 1


@pytest.mark.parametrize(("headers", "hosted"), [({}, False), ({"cf_mitigated": "challenge"}, True)])
async def test_bot_check_does_not_mean_a_missing_picture(headers: dict[str, str], hosted: bool) -> None:
    async with serve_raw(say(403, b"", **headers)) as server, open_studio(server.url) as studio:
        assert await studio.is_hosted(f"{server.url}/x.png") == hosted


async def test_no_cookie_is_kept() -> None:
    answer = say(200, b"{}", set_cookie="id=you; Max-Age=999999")
    async with serve_raw(answer) as server, open_studio(server.url) as studio:
        await studio.fetch_openapi()
        await studio.fetch_openapi()
    assert all("cookie" not in asked.headers for asked in server.asked)


@pytest.mark.parametrize("token", ["a\r\nx: y", "ä", "a b", "\0", "a\n"])
async def test_ticket_with_an_invalid_token_is_refused_unsent(token: str) -> None:
    async with serve_raw(say(200)) as server, open_studio(server.url) as studio:
        with pytest.raises(StudioRejectedError, match="cannot be sent as a header"):
            await studio.put_blob(UploadTicket(upload_id="u", client_token=token, pathname="p"), b"", "image/png")
    assert server.asked == []


async def test_non_public_upload_url_is_refused() -> None:
    answer = say(200, b'{"url": "http://169.254.169.254/latest"}')
    async with serve_raw(answer) as server, open_studio(server.url) as studio:
        with pytest.raises(StudioProtocolError, match=r"took the image's bytes, but: .* only https is used"):
            await studio.put_blob(TICKET, b"", "image/png")
    assert server.asked[0].target == "/api/blob/?pathname=uploads%2Fa%20b%2Fc.png"
    assert server.asked[0].headers["authorization"] == "Bearer vercel_blob_client_secret"


async def test_unusable_proxy_is_a_config_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://me:hunter2@proxy:1")
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        async with open_studio("https://studio.test"):
            pass
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


async def test_no_proxy_is_used_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_raw(say(200, b"{}")) as server:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        async with open_studio(server.url) as studio:
            assert await studio.fetch_openapi() == b"{}"
            assert await studio.fetch_image(f"{server.url}/x", bytes_max=10) == b"{}"


async def test_proxy_resolves_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_raw(say(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with open_studio("https://studio.test", loopback=False) as studio:
            with pytest.raises(StudioUnreachableError, match="cannot be reached"):
                await studio.fetch_image("https://no-such-name.invalid/x.png", bytes_max=10)
            with pytest.raises(StudioRejectedError, match="not at a public address"):
                await studio.fetch_image("https://10.0.0.1/x.png", bytes_max=10)
    assert [asked.target for asked in proxy.asked] == ["no-such-name.invalid:443"]


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9"},
        {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "pictures.test"},
        {"ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "*"},
    ],
    ids=["for-http", "not-for-this-host", "for-none"],
)
async def test_inapplicable_proxy_does_not_change_the_address(
    environ: dict[str, str],
    https_server: "HttpsServer",
    resolve: Callable[[str, list[list[str]]], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name resolves to a public address for the check, and to this machine afterwards."""
    lookups = resolve("pictures.test", [["1.1.1.1"], ["127.0.0.1"]])
    https_server.add("/x.png", b"inside")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with open_studio("https://studio.test", loopback=False) as studio:
        with anyio.move_on_after(2), pytest.raises(StudioError):
            await studio.fetch_image(f"https://pictures.test:{https_server.raw.port}/x.png", bytes_max=10)
    assert lookups == ["pictures.test"]
    assert https_server.raw.asked == []


async def test_applicable_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_raw(say(403)) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "other.invalid")
        async with open_studio("https://studio.test", loopback=False) as studio:
            for url in ("https://no-such-name.invalid/x.png", "https://other.invalid/x.png"):
                with pytest.raises(StudioUnreachableError):
                    await studio.fetch_image(url, bytes_max=10)
    assert [asked.target for asked in proxy.asked] == ["no-such-name.invalid:443"]


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────────────────────

PRIVATE = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",  # noqa: S104 - refused, not bound to
    "169.254.169.254",
    "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fe80::1", "fc00::1",
    "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:a00:1::", "2001::1", "100::1", "5f00::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_special_purpose_address_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_internet_address_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


BAD_URLS = {
    "https://127.0.0.1:{port}/": "not at a public address",
    "https://localhost:{port}/": "not at a public address",
    "https://localhost.:{port}/": "not at a public address|cannot be looked up",
    "https://2130706433:{port}/": "not at a public address",
    "https://0x7f000001:{port}/": "not at a public address",
    "https://0177.0.0.1:{port}/": "not at a public address|not an https URL",
    "https://127.1:{port}/": "not at a public address",
    "https://0:{port}/": "not at a public address",
    "https://[::1]:{port}/": "not at a public address",
    "https://[::ffff:127.0.0.1]:{port}/": "not at a public address",
    "https://[::ffff:7f00:1]:{port}/": "not at a public address",
    "https://169.254.169.254/latest/meta-data/": "not at a public address",
    "https://[fd00:ec2::254]/latest/": "not at a public address",
    "https://①②⑦.0.0.1:{port}/": "not at a public address|not an https URL",
    "https://[64:ff9b::7f00:1]:{port}/": "not at a public address",
    "http://127.0.0.1:{port}/": "only https is used",
    "http://1.1.1.1/": "only https is used",
    "https://you@1.1.1.1/": "user's name",
    "https://you:pass@127.0.0.1:{port}/": "user's name",
    "ftp://1.1.1.1/": "not an https URL",
    "file:///etc/passwd": "not an https URL",
    "//1.1.1.1/": "not an https URL",
    "https://": "not an https URL",
    "https:///x": "not an https URL",
    "https://[::1/": "not an https URL",
    "https://1.1.1.1:99999/": "not an https URL",
    "https://1.1.1.1:0/": "not an https URL",
    "https://a b/": "not an https URL|cannot be looked up",
    "https://1.1.1.1\n.x/": "not an https URL",
    "https://" + "a" * 300 + ".test/": "cannot be looked up|not an https URL",
    "https://.../": "cannot be looked up|not an https URL",
    "": "not an https URL",
}


@pytest.mark.parametrize("url", BAD_URLS)
async def test_url_with_a_non_public_address_is_never_called(url: str) -> None:
    async with serve_raw(say(200)) as inside, open_studio("https://studio.test", loopback=False) as studio:
        with anyio.fail_after(60), pytest.raises(StudioError, match=BAD_URLS[url]) as caught:
            await studio.fetch_image(url.format(port=inside.port), bytes_max=10)
        assert "pass@" not in str(caught.value)
    assert inside.asked == []


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[list[str]]], list[str]]:
    """Set the resolver's answers for one name, one per lookup; return the list of lookups."""

    def set_answers(name: str, answers: list[list[str]]) -> list[str]:
        real, lookups = socket.getaddrinfo, list[str]()

        def getaddrinfo(host: str | bytes | None, port: int, *rest: object, **more: object) -> object:
            text = host.decode() if isinstance(host, bytes) else host
            if text != name:
                return real(host, port, *rest, **more)  # type: ignore[arg-type]  # handed through
            lookups.append(name)
            found = answers[min(len(lookups), len(answers)) - 1]
            return [
                (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
                for one in found
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return lookups

    return set_answers


@pytest.mark.parametrize(
    "addresses", [["1.1.1.1", "127.0.0.1"], ["127.0.0.1", "1.1.1.1"], ["2606:4700::1111", "fd00::1"]]
)
@pytest.mark.parametrize("loopback", [True, False])
async def test_name_with_one_non_public_address_is_refused(
    addresses: list[str], loopback: bool, resolve: Callable[[str, list[list[str]]], list[str]]
) -> None:
    resolve("pictures.test", [addresses])
    async with open_studio("https://studio.test", loopback=loopback) as studio:
        with pytest.raises(StudioRejectedError, match="not at a public address"):
            await studio.fetch_image("https://pictures.test/x.png", bytes_max=10)


async def test_name_is_resolved_once_before_the_connection(
    https_server: "HttpsServer", resolve: Callable[[str, list[list[str]]], list[str]]
) -> None:
    lookups = resolve("pictures.test", [["127.0.0.1"], ["169.254.169.254"]])
    https_server.add("/x.png?a=b", b"picture")
    async with open_studio(https_server.url) as studio:
        url = f"https://pictures.test:{https_server.raw.port}/x.png?a=b"
        assert await studio.fetch_image(url, bytes_max=10) == b"picture"
    assert lookups == ["pictures.test"]
    assert https_server.raw.asked[0].headers["host"] == f"pictures.test:{https_server.raw.port}"


async def test_certificate_of_another_name_is_not_accepted(
    https_server: "HttpsServer", resolve: Callable[[str, list[list[str]]], list[str]]
) -> None:
    resolve("other.test", [["127.0.0.1"]])
    https_server.add("/x.png", b"picture")
    async with open_studio(https_server.url) as studio:
        with pytest.raises(StudioUnreachableError, match="cannot be reached: its certificate cannot be trusted"):
            await studio.fetch_image(f"https://other.test:{https_server.raw.port}/x.png", bytes_max=10)
    assert https_server.raw.asked == []


async def test_next_address_is_tried_after_a_failure(
    https_server: "HttpsServer", resolve: Callable[[str, list[list[str]]], list[str]]
) -> None:
    resolve("pictures.test", [["127.0.0.9", "127.0.0.1"]])
    https_server.add("/x.png", b"picture")
    async with open_studio(https_server.url) as studio:
        url = f"https://pictures.test:{https_server.raw.port}/x.png"
        assert await studio.fetch_image(url, bytes_max=10) == b"picture"


# ── redirects ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_picture_is_found_after_redirects(https_server: "HttpsServer") -> None:
    https_server.add("/x.png", b"picture")
    https_server.redirect("/1", "x.png")
    https_server.redirect("/2", https_server.url + "/1")
    async with open_studio(https_server.url) as studio:
        assert await studio.fetch_image(https_server.url + "/2", bytes_max=10) == b"picture"
        https_server.redirect("/loop", "/loop")
        with pytest.raises(StudioRejectedError, match="redirects more than 5 times"):
            await studio.fetch_image(https_server.url + "/loop", bytes_max=10)
    assert all("authorization" not in asked.headers for asked in https_server.raw.asked)


@pytest.mark.parametrize(
    "to", ["http://169.254.169.254/", "https://10.0.0.1/", "file:///etc/passwd", "https://[::1", "gopher://x"]
)
async def test_redirect_is_checked_like_the_first_url(to: str, https_server: "HttpsServer") -> None:
    url = https_server.redirect("/1", to)
    async with open_studio(https_server.url) as studio:
        with pytest.raises(StudioError, match=r"not at a public|only https|not an https|not a URL|cannot be reached"):
            await studio.fetch_image(url, bytes_max=10)
        with pytest.raises(StudioError, match=r"not at a public|only https|not an https|not a URL|cannot be reached"):
            async with studio.stream_video(url):
                pass


async def test_no_credential_follows_a_redirect() -> None:
    async with serve_raw(say(200, b"{}")) as thief:
        async with serve_raw(say(307, location=thief.url)) as server, open_studio(server.url) as studio:
            await studio.send_paid(order(f"{server.url}/api/upload", {}), CREDENTIAL)
            with pytest.raises(StudioRejectedError, match="307"):
                await studio.put_blob(TICKET, b"bytes", "image/png")
            rpc = ChainRpc(studio.http, {"x402": (server.url,)})
            with pytest.raises(ChainError, match="307"):
                await rpc.call("eth_call", [])
        assert [asked.headers.get("payment-signature") for asked in server.asked][:1] == [CREDENTIAL.value]
    assert thief.asked == []


async def test_no_sign_in_follows_a_redirect(wallet: Wallet) -> None:
    async with (
        serve_raw(say(200, b"{}")) as thief,
        serve_raw(say(302, location=thief.url)) as server,
        open_studio(server.url, wallet) as studio,
    ):
        with pytest.raises(StudioRejectedError, match="302"):
            await studio.list_jobs()
    assert "sign-in-with-x" in server.asked[0].headers
    assert thief.asked == []


# ── signing in ───────────────────────────────────────────────────────────────────────────────────────────────────────


def write_time(offset_seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset_seconds))


def write_challenge(url: str, **changes: object) -> dict[str, object]:
    info: dict[str, object] = {
        "domain": "127.0.0.1", "uri": url, "version": "1", "chainId": SANDBOX_TOKEN.network, "type": "eip191",
        "nonce": secrets.token_hex(16), "issuedAt": write_time(0), "expirationTime": write_time(300),
        "statement": "Sign in to verify your wallet identity",
    }  # fmt: skip
    extensions: dict[str, object] = {"sign-in-with-x": {"info": info | changes, "supportedChains": [], "schema": {}}}
    return {"x402Version": 2, "accepts": [], "extensions": extensions}


class StrictStudio:
    """A studio that accepts only its own challenges, and refuses every other sign-in."""

    def __init__(
        self, *, challenge: Callable[[str], dict[str, object]] = write_challenge, authenticate: str = ""
    ) -> None:
        self.challenge = challenge
        self.authenticate = authenticate
        self.url = ""
        self.proofs = 0

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if "sign-in-with-x" in asked.headers:
            self.proofs += 1
            if self.proofs % 2 == 1:
                writer.write(build_answer(402, b'{"error":"siwx_expired","message":"old"}'))
            else:
                writer.write(build_answer(200, b'{"items":[],"nextCursor":null}'))
            return
        document = self.challenge(f"http://127.0.0.1:{asked.headers['host'].split(':')[1]}{asked.target}")
        writer.write(
            build_answer(402, payment_required=encode_base64_json(document), www_authenticate=self.authenticate)
        )


async def test_studio_that_requires_its_challenge_is_remembered(wallet: Wallet) -> None:
    async with serve_raw(StrictStudio()) as server, open_studio(server.url, wallet) as studio:
        await studio.list_jobs()
        assert [("sign-in-with-x" in asked.headers) for asked in server.asked] == [True, False, True]
        with pytest.raises(StudioRejectedError, match=r"refused our sign-in: «siwx_expired».*clock") as caught:
            await studio.list_jobs()  # now at once with the challenge; this studio accepts every second proof
        assert caught.value.status == 402
        assert len(server.asked) == 5


async def test_zero_amount_charge_with_a_sign_in_is_not_paid(wallet: Wallet) -> None:
    payment = 'Payment id="x", realm="127.0.0.1", method="tempo", intent="charge", request="eyJhbW91bnQiOiIwIn0"'
    async with serve_raw(StrictStudio(authenticate=payment)) as server, open_studio(server.url, wallet) as studio:
        await studio.list_jobs()
    assert all("authorization" not in asked.headers for asked in server.asked)
    assert all("payment-signature" not in asked.headers for asked in server.asked)


WRONG_CHALLENGES: dict[str, tuple[dict[str, object], str]] = {
    "another domain": ({"domain": "evil.test"}, "domain"),
    "our domain and more": ({"domain": "127.0.0.1.evil.test"}, "domain"),
    "another path": ({"uri": "http://127.0.0.1:1/api/jobs"}, "A sign-in for"),
    "another scheme": ({"uri": "https://127.0.0.1/"}, "A sign-in for"),
    "real money's chain": ({"chainId": "eip155:8453"}, "chain"),
    "no nonce": ({"nonce": ""}, "nonce"),
    "a short nonce": ({"nonce": "abc"}, "nonce"),
    "a nonce with a line": ({"nonce": "abcdefgh\nURI: x"}, "nonce"),
    "another version": ({"version": "2"}, "version 1"),
    "another kind of signature": ({"type": "eip712"}, "EIP-4361"),
    "a statement of two lines": ({"statement": "hello\nURI: https://evil.test"}, "statement"),
    "expired": ({"expirationTime": write_time(-3600), "issuedAt": write_time(-3700)}, "expired"),
    "from the future": ({"issuedAt": write_time(3600), "expirationTime": write_time(3700)}, "future"),
    "for a year": ({"expirationTime": write_time(365 * 86_400)}, "fifteen minutes"),
    "no time": ({"issuedAt": "yesterday"}, "time"),
    "no expiry": ({"expirationTime": None}, "expirationTime"),
}


@pytest.mark.parametrize("name", WRONG_CHALLENGES)
async def test_wrong_challenge_is_not_signed(name: str, wallet: Wallet) -> None:
    changes, text = WRONG_CHALLENGES[name]
    strict = StrictStudio(challenge=lambda url: write_challenge(url, **changes))
    async with serve_raw(strict) as server, open_studio(server.url, wallet) as studio:
        with pytest.raises(StudioProtocolError, match=text):
            await studio.list_jobs()
    assert strict.proofs == 1  # the prepared one, for the called URL
    assert len(server.asked) == 2


async def test_price_on_a_free_route_is_not_a_sign_in(wallet: Wallet) -> None:
    strict = StrictStudio(challenge=lambda url: write_challenge(url) | {"accepts": [{"scheme": "exact"}]})
    async with serve_raw(strict) as server, open_studio(server.url, wallet) as studio:
        with pytest.raises(StudioProtocolError, match="payment on a route that is free"):
            await studio.list_jobs()


async def test_no_nonce_is_signed_twice(wallet: Wallet) -> None:
    strict = StrictStudio(challenge=lambda url: write_challenge(url, nonce="0123456789abcdef"))
    async with serve_raw(strict) as server, open_studio(server.url, wallet) as studio:
        await studio.list_jobs()
        with pytest.raises(StudioProtocolError, match="two sign-ins with one nonce"):
            await studio.list_jobs()
    assert strict.proofs == 2


# ── Retry-After ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0), ("7", 7), ("999999999", 120), ("9" * 400, None), ("-5", None), ("1.5", None), ("²", None),
        ("٣", None), ("", None), ("soon", None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30), ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 120), ("Wed, 99 Oct 2026 07:28:30 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_within_bounds(value: str, seconds: float | None) -> None:
    response = Response(status=429, headers=[("retry-after", value)], body=b"")
    assert read_retry_after(response, 1_792_567_680) == seconds
    assert read_retry_after(Response(status=429, headers=[], body=b""), 0) is None


async def test_undecodable_retry_after_is_ignored(wallet: Wallet) -> None:
    async with serve_raw(say(503, retry_after="\xb2")) as server, open_studio(server.url, wallet) as studio:
        with pytest.raises(StudioUnreachableError, match="503") as caught:
            await studio.list_jobs()
    assert caught.value.retry_after_seconds is None


def test_raw_server_records_requests() -> None:
    assert RawServer("http", 80).url == "http://127.0.0.1:80"
