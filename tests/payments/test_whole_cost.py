"""A limit bounds all that a call pays for: the video, the upload of its image and the network's fees."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from tests.adapters.ledger.rows import NOW, sign, write_offer, write_request
from tests.payments.test_balances import start
from tests.server.test_server_results import buy, facts, open_host, settlements
from tests.servers import NO_TLS

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

MakeSandbox = Callable[..., "Sandbox"]
Draw = Callable[..., Path]
HELD = 23


def said(answer: Any) -> str:
    return answer.content[0].text


async def amounts(sandbox: "Sandbox") -> list[int]:
    return [one["amount_micro_usdc"] for one in await settlements(sandbox)]


async def fund(sandbox: "Sandbox", address: str, amount_micro_usdc: int, rail: str = "x402") -> None:
    wanted = {"address": address, "amount_micro_usdc": amount_micro_usdc, "rail": rail}
    async with httpx.AsyncClient(base_url=sandbox.url, verify=NO_TLS) as http:
        (await http.post("/_sandbox/fund", json=wanted)).raise_for_status()


@pytest.mark.parametrize(
    ("rail", "short", "enough", "parts"),
    [
        ("x402", "0.329999", "0.33", "$0.32 and the image uploads $0.01, together $0.33"),
        ("mpp", "0.369999", "0.37", "$0.32, the image uploads $0.03 and the network's fee up to $0.02, together $0.37"),
    ],
)
async def test_a_callers_limit_includes_upload_and_network_fees(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path,
    rail: str, short: str, enough: str, parts: str,
) -> None:  # fmt: skip
    sandbox = make_sandbox(rails=(rail,), faults=("stuck_job",))
    async with open_host(sandbox, funded_key, tmp_path) as client:
        picture = make_picture()
        asked = {"image": str(picture), "prompt": "x", "max_price_usd": short}
        quote = facts(await client.call_tool("quote_price", asked))
        refused = await buy(client, picture, max_price_usd=short)
        paid = await settlements(sandbox)
        await start(client, picture, max_price_usd=enough)

    assert (quote["allowed"], quote["cost_usd"]) == (False, enough)
    assert parts in quote["refused_because"]
    assert said(refused).startswith("price_too_high:")
    assert parts in said(refused)
    assert paid == []
    assert await amounts(sandbox) == [10_000, 320_000]


async def test_the_owners_cap_on_one_video_includes_its_upload(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox = make_sandbox(faults=("stuck_job",))
    async with open_host(sandbox, funded_key, tmp_path, SEEDANCE_MAX_PRICE_PER_VIDEO="0.32") as client:
        picture = make_picture()
        refused = await buy(client, picture)
        paid = await settlements(sandbox)
        await client.call_tool("upload_image", {"image": str(picture)})
        await start(client, picture)

    assert "together $0.33, above the $0.32 that is allowed for one video" in said(refused)
    assert paid == []
    assert await amounts(sandbox) == [10_000, 320_000]


async def test_a_person_is_asked_where_only_the_upload_lifts_the_cost_above_the_threshold(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    async with open_host(sandbox, funded_key, tmp_path, SEEDANCE_ASK_ABOVE="0.325") as client:
        picture = make_picture()
        quote = facts(await client.call_tool("quote_price", {"image": str(picture), "prompt": "x"}))
        refused = await buy(client, picture)

    assert (quote["needs_approval"], quote["allowed"]) == (True, False), "this host cannot ask"
    assert "A cost of $0.33, above $0.325, needs a person's approval" in quote["refused_because"]
    assert "A cost of $0.33, above $0.325, needs" in said(refused)
    assert await settlements(sandbox) == []


async def test_an_upload_above_one_cent_is_refused(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox = make_sandbox(faults=("tampered_offer=price_x2",))
    async with open_host(sandbox, funded_key, tmp_path) as client:
        image = str(make_picture())
        quote = facts(await client.call_tool("quote_price", {"image": image, "prompt": "x"}))
        answers = [
            await client.call_tool("upload_image", {"image": image}),
            await client.call_tool("animate_image", {"image": image, "prompt": "x"}),
        ]

    assert not quote["allowed"]
    for text in (quote["refused_because"], *map(said, answers)):
        assert "The price is $0.02, above the $0.01 that one image upload may cost." in text
    assert await settlements(sandbox) == []


async def hold_payments(folder: Path, count: int) -> None:
    """Write payments that are not over into the ledger of this folder's sandbox profile."""
    file = folder / "data" / "sandbox" / "ledger.sqlite3"
    file.parent.mkdir(parents=True)
    ledger = await SQLiteLedger.open(file)
    for number in range(count):
        async with ledger.lock_budget() as transaction:
            payment = await transaction.reserve(
                write_request(str(number)), write_offer(), wallet="0x" + "a" * 40, hold_until=int(NOW) + 60, now=NOW,
                fee_micro_usdc=number * 100,
            )  # fmt: skip
        await sign(ledger, payment)
    await ledger.close()


async def test_the_held_payments_and_what_is_not_listed_add_up_to_what_counts_as_spent(
    make_sandbox: MakeSandbox, funded_key: str, tmp_path: Path
) -> None:
    await hold_payments(tmp_path, HELD)
    sandbox = make_sandbox()
    async with open_host(sandbox, funded_key, tmp_path) as client:
        status = facts(await client.call_tool("wallet_status", {}))

    listed = status["unfinished_payments"]
    assert (len(listed), status["more_unfinished"]) == (20, HELD - 20)
    assert [one["fee_usd"] for one in listed[:3]] == ["0.00", "0.0001", "0.0002"]
    total = sum(40_000 + number * 100 for number in range(HELD))
    rest = sum(40_000 + number * 100 for number in range(20, HELD))
    assert sum(Decimal(one["amount_usd"]) + Decimal(one["fee_usd"]) for one in listed) * 10**6 == total - rest
    assert Decimal(status["held_usd"]) * 10**6 == Decimal(status["spent_total_usd"]) * 10**6 == total


# ── the balance ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_upload_is_bought_for_a_video_that_the_wallet_cannot_pay(
    make_sandbox: MakeSandbox, make_picture: Draw, tmp_path: Path
) -> None:
    key, address = make_wallet()
    sandbox = make_sandbox(rails=("x402",), faults=("stuck_job",))
    await fund(sandbox, address, 329_999)
    async with open_host(sandbox, key, tmp_path) as client:
        picture = make_picture()
        quote = facts(await client.call_tool("quote_price", {"image": str(picture), "prompt": "x"}))
        refused = await buy(client, picture)
        paid = await settlements(sandbox)
        await fund(sandbox, address, 1)
        await start(client, picture)

    assert not quote["allowed"]
    for text in (quote["refused_because"], said(refused)):
        assert f"The wallet {address} holds too little: $0.33 is needed for the video and its image upload" in text
        assert "$0.329999 of Sandbox USDC on eip155:402402 is there" in text
        assert "POST /_sandbox/fund" in text
    assert said(refused).startswith("insufficient_balance:")
    assert paid == []
    assert await amounts(sandbox) == [10_000, 320_000], "funding is seen at once"


async def test_the_fees_of_upload_and_video_are_looked_for_in_the_wallet(
    make_sandbox: MakeSandbox, make_picture: Draw, tmp_path: Path
) -> None:
    key, address = make_wallet()
    sandbox = make_sandbox(rails=("mpp",))
    await fund(sandbox, address, 360_000, rail="mpp")
    async with open_host(sandbox, key, tmp_path) as client:
        refused = await buy(client, make_picture())

    assert "$0.37 with the network fee ($0.04 at most) is needed for the video and its image upload" in said(refused)
    assert await settlements(sandbox) == []


async def test_a_balance_that_no_chain_tells_blocks_no_purchase(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox = make_sandbox(rails=("x402",), faults=("slow_chain=20", "stuck_job"))
    async with open_host(sandbox, funded_key, tmp_path) as client:
        picture = make_picture()
        quote = facts(await client.call_tool("quote_price", {"image": str(picture), "prompt": "x"}))
        await start(client, picture)

    assert quote["allowed"]
    assert await amounts(sandbox) == [10_000, 320_000]


def make_wallet() -> tuple[str, str]:
    """A new key and its address."""
    from eth_account import Account  # half a second to load: only once a wallet is made

    account: Any = Account.create()  # pyright: ignore[reportUnknownMemberType]  # untyped there
    return "0x" + bytes(account.key).hex(), account.address
