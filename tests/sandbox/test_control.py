"""The routes that only a sandbox has: funding, transactions, JSON-RPC; and several sandboxes at once."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.sandbox import EXAMPLE_IMAGE, LocalChain, Sandbox, SandboxSettings
from seedance_mcp.sandbox.chains.rpc import answer_rpc

from .bodies import UPLOAD
from .client import FUNDS_MICRO_USDC, SandboxClient

TOKEN = "0x5A4dB0c500000000000000000000000000000402"


async def call(client: SandboxClient, method: str, *params: Any) -> dict[str, Any]:
    request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
    answer = (await client.http.post("/rpc", json=request)).json()
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
    return answer


def pad(address: str) -> str:
    return address[2:].lower().rjust(64, "0")


async def test_rpc_reports_the_outcome_of_an_authorization(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    await client.buy("/api/upload", UPLOAD)
    [settlement] = (await client.state())["settlements"]
    spent = {"to": TOKEN, "data": f"0xe94a0102{pad(client.address)}{settlement['nonce'][2:]}"}
    unspent = {"to": TOKEN, "data": f"0xe94a0102{pad(client.address)}{'0' * 64}"}
    balance = {"to": TOKEN.lower(), "data": f"0x70a08231{pad(client.address)}"}

    assert (await call(client, "eth_chainId"))["result"] == hex(402402)
    assert int((await call(client, "eth_call", spent, "latest"))["result"], 16) == 1
    assert int((await call(client, "eth_call", unspent, "latest"))["result"], 16) == 0
    assert int((await call(client, "eth_call", balance, "latest"))["result"], 16) == FUNDS_MICRO_USDC - 10_000
    assert int((await call(client, "eth_call", {"to": TOKEN, "data": "0x313ce567"}, "latest"))["result"], 16) == 6
    block = (await call(client, "eth_getBlockByNumber", "latest", False))["result"]
    assert int(block["number"], 16) <= int((await call(client, "eth_blockNumber"))["result"], 16)
    assert int(block["timestamp"], 16) >= 1_700_000_000
    receipt = (await call(client, "eth_getTransactionReceipt", settlement["transaction"]))["result"]
    assert receipt["status"] == "0x1"
    assert int(receipt["logs"][0]["data"], 16) == 10_000


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_sendRawTransaction", ["0x00"], -32601),
        ("eth_call", [], -32602),
        ("eth_call", [{"to": TOKEN, "data": "0xzz"}, "latest"], -32602),
        ("eth_call", [{"to": TOKEN, "data": "0x12345678"}, "latest"], 3),
        ("eth_call", [{"to": TOKEN, "data": "0x70a08231"}, "latest"], 3),
        ("eth_getBlockByNumber", ["soon", False], -32602),
    ],
)
async def test_invalid_call_is_a_json_rpc_error(
    open_sandbox: Callable[..., Sandbox],
    open_client: Callable[..., SandboxClient],
    method: str,
    params: list[Any],
    code: int,
) -> None:
    answer = await call(open_client(open_sandbox()), method, *params)

    assert answer["error"]["code"] == code
    assert "result" not in answer


async def test_batch_is_answered_in_order_and_bad_json_is_an_error(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    batch = [{"jsonrpc": "2.0", "id": n, "method": "eth_chainId"} for n in range(3)]

    many = (await client.http.post("/rpc", json=batch)).json()
    nonsense = (await client.http.post("/rpc", content=b"{")).json()

    assert [one["id"] for one in many] == [0, 1, 2]
    assert nonsense["error"]["code"] == -32700


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(["eth_call", "eth_getBlockByNumber"]), "params": JSON}
)


@given(JSON | CALLS)
def test_rpc_survives_any_request(request: Any) -> None:
    answer = answer_rpc(LocalChain(), request)

    for one in answer if isinstance(answer, list) else [answer]:  # pyright: ignore[reportUnknownVariableType]  # any JSON
        assert ("result" in one) != ("error" in one)


async def test_any_address_can_be_funded(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    sandbox = open_sandbox()
    poor = open_client(sandbox, Account.create())

    answer = await poor.http.post("/_sandbox/fund", json={"address": poor.address, "amount_micro_usdc": 10_000})
    wrong = await poor.http.post("/_sandbox/fund", json={"address": "me", "amount_micro_usdc": 1})

    assert answer.json() == {"address": poor.address, "balance_micro_usdc": 10_000}
    assert wrong.status_code == 400
    assert (await poor.buy("/api/upload", UPLOAD)).status_code == 200
    assert sandbox.chain.balance_of(poor.address) == 0


async def test_transaction_can_be_looked_up(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    await client.buy("/api/upload", UPLOAD)
    [settlement] = (await client.state())["settlements"]

    shown = (await client.http.get(f"/_sandbox/tx/{settlement['transaction']}")).json()
    unknown = await client.http.get("/_sandbox/tx/0x00")

    assert {key: shown[key] for key in settlement} == settlement
    assert shown["path"] == "/api/upload"
    assert shown["receipt"]["transactionHash"] == settlement["transaction"]
    assert unknown.status_code == 404


async def test_unknown_routes_and_methods_get_the_framework_answers(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    sandbox = open_sandbox()
    client = open_client(sandbox)

    unknown = await client.http.get("/api/nothing")
    method = await client.http.get("/api/upload")

    assert unknown.status_code == 404
    assert unknown.json()["code"] == "route_not_found"
    assert unknown.json()["requestedUrl"] == f"{sandbox.url}/api/nothing"
    assert method.status_code == 405


@pytest.mark.parametrize(
    ("contract", "field", "prices"),
    [("classic", "image", ("0.33", "0.99", "0.04", "0.12")), ("current", "urls", ("0", "20.00", "0", "20.00"))],
)
async def test_openapi_declares_dialect_and_price_range(
    open_sandbox: Callable[..., Sandbox],
    open_client: Callable[..., SandboxClient],
    contract: str,
    field: str,
    prices: tuple[str, ...],
) -> None:
    sandbox = open_sandbox(contract=contract)
    client = open_client(sandbox)

    document = (await client.http.get("/openapi.json")).json()
    guidance = await client.http.get("/llms.txt")

    operations = [document["paths"][f"/api/generate/{model}/i2v"]["post"] for model in ("seedance", "seedance-fast")]
    schemas = [one["requestBody"]["content"]["application/json"]["schema"] for one in operations]
    ranges = [one["x-payment-info"]["price"] for one in operations]
    assert all(field in schema["required"] for schema in schemas)
    assert tuple(price[end] for price in ranges for end in ("min", "max")) == prices
    assert operations[0]["x-payment-info"]["protocols"] == [{"x402": {}}]
    assert document["paths"]["/api/upload"]["post"]["x-payment-info"]["price"]["amount"] == "0.01"
    assert document["servers"] == [{"url": sandbox.url}]
    assert guidance.headers["content-type"].startswith("text/plain")


async def test_several_sandboxes_run_in_one_process(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    first, second = open_sandbox(contract="classic"), open_sandbox(contract="current")

    await open_client(first).buy("/api/upload", UPLOAD)

    assert first.url != second.url
    assert (len(first.chain.settlements()), len(second.chain.settlements())) == (1, 0)


@pytest.mark.parametrize("path", ["/rpc", "/tempo/rpc", "/_sandbox/fund", "/_sandbox/faults", "/api/upload"])
async def test_client_disconnect_in_mid_request_is_ignored(
    open_client: Callable[..., SandboxClient], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with Sandbox(SandboxSettings()) as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99\r\n\r\n{{".encode())
        assert (
            await open_client(sandbox).http.get("/_sandbox/state")
        ).status_code == 200  # answered after the broken request

    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_taken_port_is_an_os_error(open_sandbox: Callable[..., Sandbox]) -> None:
    port = int(open_sandbox().url.rpartition(":")[2])

    with pytest.raises(OSError, match="in use"):
        Sandbox(SandboxSettings(), port=port).start()


async def test_given_socket_is_served(open_client: Callable[..., SandboxClient]) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    with Sandbox(SandboxSettings(), sock=listening) as sandbox:
        assert sandbox.url == f"http://127.0.0.1:{port}"
        assert (await open_client(sandbox).http.get("/llms.txt")).status_code == 200


def test_stopped_sandbox_frees_its_port() -> None:
    sandbox = Sandbox()
    sandbox.start()
    port = int(sandbox.url.rpartition(":")[2])
    sandbox.stop()

    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize(
    "settings", [{"contract": "old"}, {"rails": ("card",)}, {"rails": ()}, {"pay_to": "me"}, {"job_seconds": 0}]
)
def test_invalid_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"unknown|no rail|not an address|job_seconds"):
        SandboxSettings(**settings)


def test_example_picture_is_bundled() -> None:
    assert EXAMPLE_IMAGE.read_bytes()[:3] == b"\xff\xd8\xff"
    assert EXAMPLE_IMAGE.stat().st_size <= 150_000
