"""The chain's JSON-RPC: the methods that a payer needs to determine the outcome of an authorization.

Source: JSON-RPC 2.0 (envelope and error codes); Ethereum execution API (methods, hex quantities).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from seedance_mcp.sandbox.chains.local_chain import (
    CHAIN_ID,
    TOKEN_ADDRESS,
    TOKEN_DECIMALS,
    TOKEN_NAME,
    TOKEN_VERSION,
    LocalChain,
    Settlement,
    build_transfer_log,
    build_use_log,
)

C = TypeVar("C")

BATCH_MAX = 50

INVALID_PARAMS, REVERTED = -32602, 3
_PARSE_ERROR, _INVALID_REQUEST, _NO_METHOD = -32700, -32600, -32601
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,16}")
_DATA = re.compile(r"0x([0-9a-fA-F]{2})*")


class RpcError(Exception):
    """A JSON-RPC error, sent as the answer's `error` member."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def answer_rpc(chain: LocalChain, request: Any) -> Any:
    """Answer one decoded JSON-RPC request to the local chain, or a batch of them."""
    return answer_with(_METHODS, chain, request)


def answer_with(methods: Mapping[str, Callable[[C, list[Any]], Any]], chain: C, request: Any) -> Any:
    """Answer one decoded JSON-RPC request, or a batch of them, with these methods of a chain."""
    if isinstance(request, list):
        if not 0 < len(request) <= BATCH_MAX:  # pyright: ignore[reportUnknownArgumentType]  # any JSON
            return _build_error(None, RpcError(_INVALID_REQUEST, "invalid batch"))
        return [_answer_one(methods, chain, single) for single in request]  # pyright: ignore[reportUnknownVariableType]  # any JSON
    return _answer_one(methods, chain, request)


def build_parse_error() -> dict[str, Any]:
    """Build the answer to a body that is not JSON."""
    return _build_error(None, RpcError(_PARSE_ERROR, "parse error"))


def _answer_one(methods: Mapping[str, Callable[[C, list[Any]], Any]], chain: C, request: Any) -> dict[str, Any]:
    match request:
        case {"jsonrpc": "2.0", "method": str(method)}:
            identity = request.get("id")
            params: Any = request.get("params", [])
        case _:
            return _build_error(None, RpcError(_INVALID_REQUEST, "invalid request"))
    find = methods.get(method)
    try:
        if find is None:
            raise RpcError(_NO_METHOD, f"the method {method} does not exist/is not available")
        if not isinstance(params, list):
            raise RpcError(INVALID_PARAMS, "params must be an array")
        return {"jsonrpc": "2.0", "id": identity, "result": find(chain, cast("list[Any]", params))}
    except RpcError as error:
        return _build_error(identity, error)


def _build_error(identity: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": error.code, "message": str(error)}}


def _get_block(chain: LocalChain, params: list[Any]) -> dict[str, Any] | None:
    match params:
        case [("latest" | "safe" | "finalized" | "pending"), *_]:
            number = chain.block_number()
        case ["earliest", *_]:
            number = 0
        case [str(text), *_] if _QUANTITY.fullmatch(text):
            number = int(text, 16)
        case _:
            raise RpcError(INVALID_PARAMS, "expected a block number or tag")
    timestamp = chain.block_timestamp(number)
    if timestamp is None:
        return None
    transactions = [one.transaction for one in chain.settlements() if one.block_number == number]
    return {
        "number": hex(number),
        "hash": _hash_block(number),
        "parentHash": _hash_block(number - 1),
        "timestamp": hex(timestamp),
        "transactions": transactions,
    }


def _get_receipt(chain: LocalChain, params: list[Any]) -> dict[str, Any] | None:
    match params:
        case [str(transaction)]:
            settlement = chain.find_settlement(transaction)
            return None if settlement is None else build_receipt(settlement)
        case _:
            raise RpcError(INVALID_PARAMS, "expected a transaction hash")


def build_receipt(settlement: Settlement) -> dict[str, Any]:
    """Build the receipt of a settlement in a node's JSON form."""
    return {
        "status": "0x1",
        "transactionHash": settlement.transaction,
        "blockNumber": hex(settlement.block_number),
        "blockHash": _hash_block(settlement.block_number),
        "to": TOKEN_ADDRESS,
        "logs": [build_transfer_log(settlement), build_use_log(settlement)],
    }


def _get_logs(chain: LocalChain, params: list[Any]) -> list[dict[str, Any]]:
    first, last, address, topics = read_log_filter(params, chain.block_number())
    if address.lower() != TOKEN_ADDRESS.lower():
        return []
    found = [one for one in chain.settlements() if first <= one.block_number <= last]
    logs: list[dict[str, Any]] = [
        {**log, "blockTimestamp": hex(chain.block_timestamp(one.block_number) or 0)}  # as newer nodes send it
        for one in found
        for log in (build_transfer_log(one), build_use_log(one))
    ]
    return [log for log in logs if match_topics(topics, log["topics"])]


def read_log_filter(params: list[Any], head: int) -> tuple[int, int, str, list[Any]]:
    """Read a filter of `eth_getLogs`: first and last block, address, topics. Source: Ethereum execution API."""
    match params:
        case [{"address": str(address), "topics": [*topics], "fromBlock": str(first), "toBlock": str(last)}] if (
            _QUANTITY.fullmatch(first) and _QUANTITY.fullmatch(last)
        ):
            pass
        case _:
            raise RpcError(INVALID_PARAMS, "expected a filter with an address, topics and two block numbers")
    if int(last, 16) > head:
        raise RpcError(INVALID_PARAMS, "block range extends beyond the current head")
    return int(first, 16), int(last, 16), address, topics


def match_topics(wanted: list[Any], topics: list[str]) -> bool:
    """Return True if an event has the wanted topics; null matches anything."""
    if len(wanted) > len(topics):
        return False
    pairs = zip(wanted, topics, strict=False)
    return all(one is None or str(one).lower() == topic.lower() for one, topic in pairs)


def _call(chain: LocalChain, params: list[Any]) -> str:
    return call_token(TOKEN_ADDRESS, _FUNCTIONS, chain, params)


def call_token(token: str, functions: Mapping[bytes, Callable[[C, bytes], bytes]], chain: C, params: list[Any]) -> str:
    """Answer an `eth_call` to the one contract of a chain."""
    match params:
        case [{"to": str(to), **call}, *_]:
            data = call.get("data") or call.get("input")
        case _:
            raise RpcError(INVALID_PARAMS, "expected a call object with `to` and `data`")
    if not isinstance(data, str) or not _DATA.fullmatch(data):
        raise RpcError(INVALID_PARAMS, "call data must be hex")
    if to.lower() != token.lower():
        return "0x"  # as a node answers for an address without code
    raw = bytes.fromhex(data[2:])
    function = functions.get(raw[:4])
    if function is None:
        raise RpcError(REVERTED, "execution reverted")
    return "0x" + function(chain, raw[4:]).hex()


def _balance_of(chain: LocalChain, arguments: bytes) -> bytes:
    return encode(["uint256"], [chain.balance_of(read_address(arguments, 0))])


def _authorization_state(chain: LocalChain, arguments: bytes) -> bytes:
    used = chain.authorization_state(read_address(arguments, 0), _read_word(arguments, 1))
    return encode(["bool"], [used])


def read_address(arguments: bytes, index: int) -> str:
    """Read an address from a call's arguments."""
    word = _read_word(arguments, index)
    if any(word[:12]):
        raise RpcError(REVERTED, "execution reverted")
    return "0x" + word[12:].hex()


def _read_word(arguments: bytes, index: int) -> bytes:
    word = arguments[32 * index : 32 * index + 32]
    if len(word) != 32:
        raise RpcError(REVERTED, "execution reverted")
    return word


def _hash_block(number: int) -> str:
    return "0x" + keccak(text=f"{CHAIN_ID}/{number}").hex()


def select_function(signature: str) -> bytes:
    """Return the four bytes that select a function in a call."""
    return keccak(text=signature)[:4]


_FUNCTIONS: dict[bytes, Callable[[LocalChain, bytes], bytes]] = {
    select_function("balanceOf(address)"): _balance_of,
    select_function("authorizationState(address,bytes32)"): _authorization_state,
    select_function("decimals()"): lambda _, __: encode(["uint8"], [TOKEN_DECIMALS]),
    select_function("name()"): lambda _, __: encode(["string"], [TOKEN_NAME]),
    select_function("version()"): lambda _, __: encode(["string"], [TOKEN_VERSION]),
    select_function("symbol()"): lambda _, __: encode(["string"], ["USDC"]),
}

_METHODS: dict[str, Callable[[LocalChain, list[Any]], Any]] = {
    "eth_chainId": lambda _, __: hex(CHAIN_ID),
    "eth_blockNumber": lambda chain, _: hex(chain.block_number()),
    "eth_getBlockByNumber": _get_block,
    "eth_getTransactionReceipt": _get_receipt,
    "eth_getLogs": _get_logs,
    "eth_call": _call,
}
