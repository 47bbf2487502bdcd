"""A token's transfers in a node's event log."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.errors import ChainError
from seedance_mcp.core.wire.transfers import Transfer, build_transfer_query, read_transfers
from tests.core.wire.hostile import VALUES, mangled

PAYER, PAY_TO = "0x" + "aB" * 20, "0x" + "cD" * 20
LOG: dict[str, Any] = {
    "address": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
    "topics": [],
    "data": "0x" + f"{320_000:064x}",
    "blockNumber": "0x10",
    "blockTimestamp": "0x65",
    "transactionHash": "0x" + "Ef" * 32,
}


def test_query_names_token_and_both_addresses() -> None:
    [query] = build_transfer_query(token=LOG["address"], payer=PAYER, pay_to=PAY_TO, first_block=1, last_block=255)

    assert query == {
        "address": LOG["address"],
        "topics": [
            "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
            "0x" + "0" * 24 + "ab" * 20,
            "0x" + "0" * 24 + "cd" * 20,
        ],
        "fromBlock": "0x1",
        "toBlock": "0xff",
    }


def test_reads_transfers_with_and_without_a_time() -> None:
    old_node = {name: value for name, value in LOG.items() if name != "blockTimestamp"}

    assert read_transfers([LOG, old_node]) == [
        Transfer(transaction="0x" + "ef" * 32, amount_micro_usdc=320_000, block_number=16, time=time)
        for time in (101, None)
    ]


@given(VALUES | st.lists(mangled(LOG), max_size=2))
def test_reads_hostile_logs_or_refuses_them(logs: Any) -> None:
    try:
        found = read_transfers(json.loads(json.dumps(logs)))
    except ChainError:
        return
    assert all(transfer.amount_micro_usdc >= 0 for transfer in found)


def test_refuses_an_answer_that_is_no_list() -> None:
    with pytest.raises(ChainError, match="not a list of events"):
        read_transfers({"logs": []})
