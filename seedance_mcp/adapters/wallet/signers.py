"""Signers: what has the wallet's key and signs with it, in this process, in another one, or in a service.

A signer is asked for a signature over a whole document, so that one outside this process can judge what it signs.
Must not decide what is paid: `policy` has allowed it before.

A credential is sent again only if the same bytes can be made again. `LocalSigner` signs by RFC 6979, which makes them.
A signer that chooses its own randomness, as key services do, is safe, too: the ledger has the hash of the first
credential, so that another one is noticed and not sent. What became of the first one, the studio's list and the chain
say; a second payment for the same request is not signed before the first one's nonce can settle no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import anyio.to_thread

from seedance_mcp.core.wire.mpp import NONCE_KEY, SPONSORED_TIP_MAX, Charge

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


class Signer(Protocol):
    """Signs with the key of one address. What it cannot do, it says by raising a `ConfigError`."""

    @property
    def address(self) -> str:
        """Return the EIP-55 checksummed address."""
        ...

    async def sign_typed_data(self, typed_data: Mapping[str, object]) -> str:
        """Sign by EIP-712; return `0x` and 130 hexadecimal digits."""
        ...

    async def sign_text(self, message: str) -> str:
        """Sign by EIP-191; return `0x` and 130 hexadecimal digits."""
        ...

    async def sign_transaction(self, charge: Charge) -> tuple[str, str | None]:
        """Return the signed 0x76 transaction and its hash, or the 0x78 envelope for a sponsor.

        Source: Tempo transaction; `mpp.methods.tempo`.
        """
        ...


class LocalSigner:
    """The `Signer` protocol with a key in this process; each call works in a thread.

    Args:
        account: Has the key.
    """

    def __init__(self, account: LocalAccount) -> None:
        from eth_keys.datatypes import PrivateKey  # loaded already, with the account

        self._account = account
        # From bytes, each signature would compute the public key again, which takes as long as to sign.
        key = PrivateKey(bytes(account.key))
        self._find_key = lambda: key  # the `repr` of a `PrivateKey` is the key

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    @property
    def address(self) -> str:
        """Return the EIP-55 checksummed address."""
        return self._account.address

    async def sign_typed_data(self, typed_data: Mapping[str, object]) -> str:
        """Sign by EIP-712."""
        return await anyio.to_thread.run_sync(self._sign_typed_data, dict(typed_data))

    async def sign_text(self, message: str) -> str:
        """Sign by EIP-191."""
        return await anyio.to_thread.run_sync(self._sign_text, message)

    async def sign_transaction(self, charge: Charge) -> tuple[str, str | None]:
        """Sign a Tempo transaction."""
        return await anyio.to_thread.run_sync(self._sign_transaction, charge)

    def _sign_typed_data(self, typed_data: dict[str, object]) -> str:
        from eth_account import Account  # loaded already, with the account

        signed = Account.sign_typed_data(self._find_key(), full_message=typed_data)
        return "0x" + signed.signature.hex().removeprefix("0x")

    def _sign_transaction(self, charge: Charge) -> tuple[str, str | None]:
        """Return the signed 0x76 transaction and its hash, or the 0x78 envelope for a sponsor.

        Source: Tempo transaction; `mpp.methods.tempo`.
        """
        # Takes a second to load, with web3: only for a payment on this rail.
        from pytempo import Call, TempoTransaction  # pyright: ignore[reportMissingTypeStubs]  # typed, but not so marked

        tip = min(charge.gas_price, SPONSORED_TIP_MAX) if charge.sponsored else charge.gas_price
        transaction = TempoTransaction.create(
            chain_id=charge.chain_id,
            gas_limit=charge.gas_limit,
            max_fee_per_gas=charge.gas_price,
            max_priority_fee_per_gas=tip,
            nonce=0,
            nonce_key=NONCE_KEY,
            valid_before=charge.valid_before,
            fee_token=None if charge.sponsored else charge.currency,
            awaiting_fee_payer=charge.sponsored,
            calls=(Call.create(to=charge.currency, value=0, data=charge.call_data),),
        )
        signed = transaction.sign("0x" + bytes(self._account.key).hex())
        if charge.sponsored:
            from mpp.methods.tempo.fee_payer_envelope import encode_fee_payer_envelope

            return "0x" + encode_fee_payer_envelope(signed).hex(), None
        return "0x" + signed.encode().hex(), "0x" + signed.hash().hex()

    def _sign_text(self, message: str) -> str:
        from eth_account import Account  # loaded already, with the account
        from eth_account.messages import encode_defunct

        return "0x" + Account.sign_message(encode_defunct(text=message), self._find_key()).signature.hex().removeprefix(
            "0x"
        )
