"""The local chain behind the interface that the official facilitator code expects.

This module translates calls and receipts. The chain executes them.

Source: x402 Python SDK, `x402.mechanisms.evm.signer.FacilitatorEvmSigner`.
"""

from typing import Any

from x402.mechanisms.evm.types import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    TransactionReceipt,
)

from seedance_mcp.sandbox.chains.local_chain import (
    CHAIN_ID,
    TOKEN_ADDRESS,
    TOKEN_DECIMALS,
    TOKEN_NAME,
    TOKEN_VERSION,
    Authorization,
    LocalChain,
    RevertError,
    build_transfer_log,
)

# The account that pays for gas. It holds no tokens and signs nothing: this chain's blocks need no signature.
FACILITATOR_ADDRESS = "0x402402000000000000000000000000000000Fac1"

_UINT256_MAX = 2**256 - 1


class ChainSigner:
    """A `FacilitatorEvmSigner` on the local chain."""

    def __init__(self, chain: LocalChain) -> None:
        self._chain = chain

    def get_addresses(self) -> list[str]:
        """Return the facilitator's own addresses."""
        return [FACILITATOR_ADDRESS]

    def get_chain_id(self) -> int:
        """Return the chain's id."""
        return CHAIN_ID

    def get_code(self, address: str) -> bytes:
        """Return a stand-in for the token's bytecode; no other address has code."""
        return b"\x60\x80" if _is_token(address) else b""

    def get_balance(self, address: str, token_address: str) -> int:
        """Return a balance in micro-USDC."""
        return self._chain.balance_of(address) if _is_token(token_address) else 0

    def verify_typed_data(self, *_: Any, **__: Any) -> bool:
        """Return False: only smart wallets and Permit2 need this, and this chain has neither."""
        return False

    def read_contract(self, address: str, abi: list[dict[str, Any]], function_name: str, *args: Any) -> Any:
        """Answer an `eth_call` to the token.

        Raises:
            RevertError: For another contract, an unknown function, or a transfer that would fail.
        """
        del abi  # the token knows its own functions
        if not _is_token(address):
            raise RevertError("call to an address without code")
        match function_name, args:
            case "balanceOf", (owner,):
                return self._chain.balance_of(str(owner))
            case "authorizationState", (authorizer, nonce):
                return self._chain.authorization_state(str(authorizer), bytes(nonce))
            case "name", ():
                return TOKEN_NAME
            case "version", ():
                return TOKEN_VERSION
            case "decimals", ():
                return TOKEN_DECIMALS
            case "transferWithAuthorization", _:
                self._chain.check_transfer(*_read_transfer(args))
                return None
            case _:
                raise RevertError(f"the token has no function {function_name}")

    def write_contract(
        self,
        address: str,
        abi: list[dict[str, Any]],
        function_name: str,
        *args: Any,
        data_suffix: str | None = None,
    ) -> str:
        """Send a transfer to the token and return its transaction hash.

        Raises:
            RevertError: If the token refuses it.
        """
        del abi, data_suffix
        if not _is_token(address) or function_name != "transferWithAuthorization":
            raise RevertError(f"no such call: {function_name}")
        return self._chain.transfer(*_read_transfer(args))

    def send_transaction(self, to: str, data: bytes) -> str:
        """Refuse: this chain has no contracts to deploy.

        Raises:
            RevertError: Always.
        """
        del to, data
        raise RevertError("this chain runs no other contracts")

    def wait_for_transaction_receipt(self, tx_hash: str) -> TransactionReceipt:
        """Return a transfer's receipt with its Transfer log; this chain needs no waiting.

        Raises:
            LookupError: If there is no such transaction.
        """
        settlement = self._chain.find_settlement(tx_hash)
        if settlement is None:
            raise LookupError(f"no transaction {tx_hash}")
        return TransactionReceipt(
            status=1,
            block_number=settlement.block_number,
            tx_hash=tx_hash,
            logs=[build_transfer_log(settlement)],
        )


def _read_transfer(args: tuple[Any, ...]) -> tuple[Authorization, bytes]:
    """Read the arguments of either overload of `transferWithAuthorization` (v, r, s or one bytes value)."""
    payer, recipient, value, valid_after, valid_before, nonce, *rest = args
    signature = bytes(rest[1]) + bytes(rest[2]) + bytes([rest[0]]) if len(rest) == 3 else bytes(rest[0])
    if not all(0 <= number <= _UINT256_MAX for number in (value, valid_after, valid_before)):
        raise RevertError("a number does not fit uint256")
    return (
        Authorization(
            payer=str(payer),
            recipient=str(recipient),
            amount_micro_usdc=value,
            valid_after=valid_after,
            valid_before=valid_before,
            nonce=bytes(nonce),
        ),
        signature,
    )


def _is_token(address: str) -> bool:
    return address.lower() == TOKEN_ADDRESS.lower()
