"""The Tempo chain's JSON-RPC, over HTTP and in this process for the official SDK.

The methods are those that the official server-side code calls, and those that a payer needs to choose a fee, to read
its balance and to determine the outcome of its transaction.

Source: JSON-RPC 2.0; Ethereum execution API; `eth_sendRawTransactionSync` (EIP-7966).
"""

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from seedance_mcp.sandbox.chains.local_chain import RevertError
from seedance_mcp.sandbox.chains.rpc import (
    INVALID_PARAMS,
    RpcError,
    answer_with,
    call_token,
    match_topics,
    read_address,
    read_log_filter,
    select_function,
)
from seedance_mcp.sandbox.chains.tempo import (
    CHAIN_ID,
    GAS_PRICE,
    GAS_USED,
    TOKEN_ADDRESS,
    TOKEN_DECIMALS,
    TempoChain,
    TempoSettlement,
    build_logs,
)

IN_PROCESS_URL = "http://tempo.invalid/"
"""URL that the SDK is given for the chain in this process. No server listens on it."""
TRANSACTION_REJECTED = -32003

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,16}")
_DATA = re.compile(r"0x([0-9a-fA-F]{2})+")


def answer_tempo(chain: TempoChain, request: Any) -> Any:
    """Answer one decoded JSON-RPC request, or a batch of them."""
    return answer_with(_METHODS, chain, request)


class TempoTransport(httpx.AsyncBaseTransport):
    """Connects the official SDK's HTTP client to the chain in this process, without a network connection."""

    def __init__(self, chain: TempoChain) -> None:
        self._chain = chain

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        return httpx.Response(200, json=answer_tempo(self._chain, json.loads(await request.aread())), request=request)


def build_tempo_receipt(settlement: TempoSettlement) -> dict[str, Any]:
    """Build the receipt of a settlement as a node's JSON shows it."""
    return {
        "status": "0x1",
        "type": "0x76",
        "transactionHash": settlement.transaction,
        "blockNumber": hex(settlement.block_number),
        "blockHash": _hash_block(settlement.block_number),
        "from": settlement.payer,
        "to": TOKEN_ADDRESS,
        "gasUsed": hex(GAS_USED),
        "effectiveGasPrice": hex(settlement.gas_price),
        "feePayer": settlement.fee_payer,
        "feeToken": TOKEN_ADDRESS,
        "logs": build_logs(settlement),
    }


def _send(chain: TempoChain, params: list[Any]) -> TempoSettlement:
    match params:
        case [str(text), *_] if _DATA.fullmatch(text):
            raw = bytes.fromhex(text[2:])
        case _:
            raise RpcError(INVALID_PARAMS, "expected a signed transaction in hex")
    try:
        return chain.include(raw)
    except RevertError as exc:
        raise RpcError(TRANSACTION_REJECTED, exc.reason) from exc


def _get_receipt(chain: TempoChain, params: list[Any]) -> dict[str, Any] | None:
    match params:
        case [str(transaction)]:
            settlement = chain.find_settlement(transaction)
            return None if settlement is None else build_tempo_receipt(settlement)
        case _:
            raise RpcError(INVALID_PARAMS, "expected a transaction hash")


def _simulate(chain: TempoChain, params: list[Any]) -> dict[str, Any]:
    """Simulate a call for a sponsor: check that the payer has what the call transfers."""
    match params:
        case [{"blockStateCalls": [{"calls": [{"from": str(payer), "data": str(data)}]}]}, *_] if _DATA.fullmatch(data):
            pass
        case _:
            raise RpcError(INVALID_PARAMS, "expected one call to simulate")
    enough = chain.balance_of(payer) >= int(data[74:138] or "0", 16)
    call = {"status": "0x1"} if enough else {"status": "0x0", "error": {"message": "InsufficientBalance"}}
    return {"blocks": [{"calls": [call]}]}


def _get_logs(chain: TempoChain, params: list[Any]) -> list[dict[str, Any]]:
    """Return the token's events with the wanted topics."""
    first, last, address, topics = read_log_filter(params, chain.block_number())
    found = [log for one in chain.settlements() if first <= one.block_number <= last for log in build_logs(one)]
    return [log for log in found if address.lower() == TOKEN_ADDRESS.lower() and match_topics(topics, log["topics"])]


def _get_block(chain: TempoChain, params: list[Any]) -> dict[str, Any] | None:
    match params:
        case [("latest" | "safe" | "finalized" | "pending"), *_]:
            number = chain.block_number()
        case [str(text), *_] if _QUANTITY.fullmatch(text):
            number = int(text, 16)
        case _:
            raise RpcError(INVALID_PARAMS, "expected a block number or tag")
    timestamp = chain.block_timestamp(number)
    if timestamp is None:
        return None
    return {
        "number": hex(number),
        "hash": _hash_block(number),
        "timestamp": hex(timestamp),
        "baseFeePerGas": hex(GAS_PRICE),
        "transactions": [one.transaction for one in chain.settlements() if one.block_number == number],
    }


def _call(chain: TempoChain, params: list[Any]) -> str:
    return call_token(TOKEN_ADDRESS, _FUNCTIONS, chain, params)


def _hash_block(number: int) -> str:
    return "0x" + keccak(text=f"{CHAIN_ID}/{number}").hex()


_FUNCTIONS: dict[bytes, Callable[[TempoChain, bytes], bytes]] = {
    select_function("balanceOf(address)"): lambda chain, data: encode(
        ["uint256"], [chain.balance_of(read_address(data, 0))]
    ),
    select_function("decimals()"): lambda _, __: encode(["uint8"], [TOKEN_DECIMALS]),
}

_METHODS: dict[str, Callable[[TempoChain, list[Any]], Any]] = {
    "eth_chainId": lambda _, __: hex(CHAIN_ID),
    "eth_gasPrice": lambda _, __: hex(GAS_PRICE),
    "eth_blockNumber": lambda chain, _: hex(chain.block_number()),
    "eth_getBlockByNumber": _get_block,
    "eth_getTransactionReceipt": _get_receipt,
    "eth_getLogs": _get_logs,
    "eth_call": _call,
    "eth_sendRawTransaction": lambda chain, params: _send(chain, params).transaction,
    "tempo_simulateV1": _simulate,
    "eth_sendRawTransactionSync": lambda chain, params: build_tempo_receipt(_send(chain, params)),
}
