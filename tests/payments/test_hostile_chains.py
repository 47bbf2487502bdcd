"""What a chain's RPC address may say, and how little is believed: a payment is given up for dead only on proof."""

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seedance_mcp.adapters.chain.rpc import ChainRpc
from seedance_mcp.config.profiles import LIVE
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.records import Payment
from seedance_mcp.payments.reconciler import Reconciler
from seedance_mcp.payments.settlement import Block, ChainNode, Settlement, SettlementChecker
from seedance_mcp.sandbox import Sandbox, SandboxSettings
from seedance_mcp.sandbox.chains.rpc import answer_rpc
from seedance_mcp.sandbox.chains.tempo_rpc import answer_tempo
from tests.conftest import FUNDED_MICRO_USDC
from tests.payments.test_purchase import services_on, settings_for
from tests.servers import Asked, say, serve_raw

EXPIRED_SECONDS = 300
CALLS_MAX = 60
Lie = Callable[[str, list[Any], dict[str, Any]], dict[str, Any]]
"""Changes one JSON-RPC answer: method, parameters, what the honest node says."""


@dataclass
class Case:
    """A settled upload, and the same payment as if its transaction had never been sent."""

    sandbox: Sandbox
    chains: SettlementChecker
    settled: Payment
    passed: float = 0

    @property
    def never_sent(self) -> Payment:
        document = json.loads(json.dumps(self.settled.document))
        if self.settled.rail == "x402":
            document["payload"]["authorization"]["nonce"] = "0x" + "7" * 64
        else:
            document["transaction"]["memo"] = "0x" + "7" * 64
            document.pop("hash", None)
            if not document["transaction"].get("feePayer"):
                document["hash"] = "0x" + "7" * 64
        return replace(self.settled, document=document)

    def let_expire(self) -> None:
        self.let_pass(EXPIRED_SECONDS)

    def let_pass(self, seconds: float) -> None:
        self.sandbox.chain.let_pass(seconds)
        self.sandbox.tempo.let_pass(seconds)
        self.passed += seconds


@dataclass
class Paid:
    """A sandbox with one settled upload, which every test of a rail looks at."""

    sandbox: Sandbox
    settings: Settings
    settled_at: float


@pytest.fixture(scope="module", params=["x402", "mpp", "sponsored"])
def paid(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Paid]:
    rail, sponsored = ("mpp", True) if request.param == "sponsored" else (request.param, False)
    folder, key = tmp_path_factory.mktemp("paid"), "0x" + os.urandom(32).hex()
    picture = folder / "picture.png"
    Image.new("RGB", (640, 360), "teal").save(picture)
    funded = {Account.from_key(key).address: FUNDED_MICRO_USDC}

    async def upload() -> None:
        async with services_on(settings) as services:
            await services.generation.upload(str(picture))

    with Sandbox(SandboxSettings(rails=(rail,), sponsors_fees=sponsored, funded=funded)) as sandbox:
        settings = settings_for(sandbox, key, folder / "data")
        asyncio.run(upload())
        yield Paid(sandbox, settings, time.time())


@pytest.fixture
async def case(paid: Paid) -> AsyncGenerator[Case]:
    """Look at the upload as it was when it had just settled."""
    async with services_on(paid.settings) as services:
        reconciler: Reconciler = services.reconciler
        payment = await reconciler.ledger.find_payment(1)
        assert payment is not None
        case = Case(paid.sandbox, reconciler.settlement_checker, payment)
        case.let_pass(paid.settled_at - time.time())
        yield case
        case.let_pass(-case.passed)


@asynccontextmanager
async def lying(case: Case, lie: Lie, *, places: str = "l") -> AsyncGenerator[SettlementChecker]:
    """The chains as seen through an RPC address that lies, or through it (`l`) and an honest one (`h`), in order."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        request = json.loads(asked.body)
        if case.settled.rail == "x402":
            honest = answer_rpc(case.sandbox.chain, request)
        else:
            honest = answer_tempo(case.sandbox.tempo, request)
        body = json.dumps(lie(request["method"], request["params"], honest)).encode()
        await say(200, body, content_type="application/json", connection="keep-alive")(asked, writer)

    async with serve_raw(answer, keeps_open=True) as server:
        rpc: Any = case.chains.rpc
        honest = rpc._urls[case.settled.rail][0]
        urls = tuple(server.url if place == "l" else honest for place in places)
        yield replace(case.chains, rpc=ChainRpc(rpc._client, {"x402": urls, "mpp": urls}))


def always(**said: Any) -> Lie:
    """A node that says one thing to everything."""
    return lambda _method, _params, _honest: {"jsonrpc": "2.0", "id": 1, **said}


def only(method: str, said: Any) -> Lie:
    """An honest node but for one method."""
    return lambda asked, _, honest: {**honest, **said} if asked == method else honest


async def test_the_honest_chain_says_what_happened(case: Case) -> None:
    check_settlement = case.chains.check_settlement
    assert await check_settlement(case.never_sent) is None, "it may still be included"
    case.let_expire()
    settled, never = await check_settlement(case.settled), await check_settlement(case.never_sent)
    assert settled is not None
    assert settled.used
    assert never in (Settlement(used=False), Settlement(used=False, fee_micro_usdc=0))


BROKEN: dict[str, Lie] = {
    "error-beside-null": always(result=None, error={"code": -32005, "message": "limit"}),
    "error": always(error={"code": -32005, "message": "limit"}),
    "null": always(result=None),
    "empty": always(result="0x"),
    "list": always(result=list[Any]()),
    "other-chain": only("eth_chainId", {"result": "0x1"}),
    "no-chain": only("eth_chainId", {"result": None}),
    "no-blocks": only("eth_getBlockByNumber", {"result": None}),
    "old-blocks": only("eth_getBlockByNumber", {"result": {"number": "0x1", "timestamp": "0x1"}}),
}


async def test_a_broken_or_foreign_chain_never_says_that_a_payment_is_dead(case: Case) -> None:
    case.let_expire()
    for name, lie in BROKEN.items():
        async with lying(case, lie) as chains:
            for payment in (case.settled, case.never_sent):
                settlement = await chains.check_settlement(payment)
                assert settlement is None or settlement.used, name


HIDDEN: dict[str, dict[str, Any]] = {
    "eth_call": {"result": "0x0"},
    "eth_getTransactionReceipt": {"result": None},
    "eth_getLogs": {"result": []},
}


def hide(method: str, _: list[Any], honest: dict[str, Any]) -> dict[str, Any]:
    """A node that hides every payment, and is honest about all else."""
    return {**honest, **HIDDEN.get(method, {})}


async def test_a_node_that_hides_a_payment_is_believed_where_there_is_no_other(case: Case) -> None:
    case.let_expire()
    async with lying(case, hide) as chains:
        settlement = await chains.check_settlement(case.settled)
    if case.settled.rail == "x402":
        assert settlement == Settlement(used=False)
    else:
        assert settlement is None, "it does not keep the receipts of that time"


async def test_of_several_nodes_those_that_hide_a_payment_are_not_believed(case: Case) -> None:
    case.let_expire()
    for places in ("lh", "hl", "llh"):
        async with lying(case, hide, places=places) as chains:
            moved = await chains.check_settlement(case.settled)
        assert moved is not None, places
        assert moved.used, places


async def test_a_payment_is_dead_only_by_the_word_of_every_node(case: Case) -> None:
    case.let_expire()
    for places in ("lh", "hl"):
        async with lying(case, BROKEN["error"], places=places) as chains:
            moved, unsaid = await chains.check_settlement(case.settled), await chains.check_settlement(case.never_sent)
        assert moved is not None, places
        assert moved.used, places
        assert unsaid is None, places
    async with lying(case, lambda _method, _params, honest: honest, places="lh") as chains:
        dead = await chains.check_settlement(case.never_sent)
    assert dead is not None
    assert not dead.used


async def test_a_node_without_receipts_does_not_hide_a_charge_from_its_own_events(case: Case) -> None:
    case.let_expire()
    answers: tuple[dict[str, Any], ...] = ({"result": None}, {"result": None, "error": {"code": 1}})
    for answer in answers:
        async with lying(case, only("eth_getTransactionReceipt", answer)) as chains:
            settlement = await chains.check_settlement(case.settled)
        assert settlement is None or settlement.used, answer


async def test_a_node_that_claims_blocks_of_the_future_does_not_hide_a_payment(case: Case) -> None:
    future: dict[str, Any] = {"result": {"number": "0xffffff", "timestamp": "0xffffffff", "transactions": []}}
    async with lying(case, only("eth_getBlockByNumber", future)) as chains:
        settlement = await chains.check_settlement(case.settled)
    assert settlement is None or settlement.used


async def test_a_node_that_forgot_what_happened_then_says_nothing_of_it(case: Case) -> None:
    """Receipts and events pruned, blocks kept: what an ordinary full node answers about last month."""
    case.let_expire()

    def forget(method: str, _: list[Any], honest: dict[str, Any]) -> dict[str, Any]:
        forgotten: dict[str, Any] = {"eth_getTransactionReceipt": None, "eth_getLogs": []}
        return {**honest, "result": forgotten[method]} if method in forgotten else honest

    async with lying(case, forget) as chains:
        settlement = await chains.check_settlement(case.settled)
    assert settlement is None or settlement.used


async def test_the_receipt_of_another_transaction_proves_nothing(case: Case) -> None:
    foreign = {"result": {"transactionHash": "0x" + "9" * 64, "status": "0x0", "gasUsed": "0x1",
                          "effectiveGasPrice": "0x1"}}  # fmt: skip
    case.let_expire()
    async with lying(case, only("eth_getTransactionReceipt", foreign)) as chains:
        settlement = await chains.check_settlement(case.settled)
    assert settlement is None or settlement.used


async def test_a_node_that_keeps_only_late_blocks_is_asked_for_no_others(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And on a chain of a hundred million blocks it takes a handful of questions."""
    tempo = case.sandbox.tempo
    monkeypatch.setattr(tempo, "_born_at", tempo._born_at - 100_000_000)  # pyright: ignore[reportPrivateUsage]  # an old chain
    case.let_expire()
    oldest, calls = tempo.block_number() - 10_000, list[str]()

    def prune(method: str, params: list[Any], honest: dict[str, Any]) -> dict[str, Any]:
        calls.append(method)
        if method == "eth_getBlockByNumber" and params[0] != "latest" and int(params[0], 16) < oldest:
            return {**honest, "result": None}
        return honest

    async with lying(case, prune) as chains:
        never = await chains.check_settlement(case.never_sent)
    assert never is not None
    assert not never.used
    assert len(calls) <= CALLS_MAX


class ListOfBlocks:
    """A chain that is nothing but the times of its blocks."""

    def __init__(self, times: list[int]) -> None:
        self.times, self.asked = times, 0

    async def call(self, method: str, parameters: list[Any], *, rail: str, node: int) -> dict[str, str]:
        assert (method, rail, node) == ("eth_getBlockByNumber", "mpp", 0)
        self.asked += 1
        number = int(parameters[0], 16)
        return {"number": hex(number), "timestamp": hex(self.times[number])}


@given(
    gaps=st.lists(st.integers(0, 3), min_size=1, max_size=200),
    moment=st.integers(-5, 400),
    known=st.integers(0, 199),
)
def test_the_last_block_at_a_moment_is_the_one_that_a_plain_search_finds(
    gaps: list[int], moment: int, known: int
) -> None:
    times = [1_000 + sum(gaps[: number + 1]) for number in range(len(gaps))]
    latest = min(known, len(times) - 1)
    blocks: Any = ListOfBlocks(times)
    node: Any = ChainNode(blocks, LIVE.pins, "mpp", 0)
    start = Block(number=latest, time=times[latest])

    found = asyncio.run(node._find_last_block(1_000 + moment, start))

    plain = [number for number in range(latest + 1) if times[number] <= 1_000 + moment]
    assert found.number == (plain[-1] if plain else 0)
    assert blocks.asked <= 2 * len(times).bit_length()
