"""Wallet: the only package that sees a private key.

Signs what `policy` allowed and `wire` built, and nothing else. Signing is deterministic (RFC 6979): the same payment
gives the same bytes, so the ledger need not keep a signature in order to send the same credential again.

`eth_account` takes half a second to load, so it loads when a key is first used, in a thread; `pytempo`, which takes
another one, when a charge is first signed.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio.to_thread

from seedance_mcp.adapters.wallet.key_files import is_key, is_locked, read_key, read_key_file
from seedance_mcp.adapters.wallet.keychain import describe_keychain, read_keychain
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.mpp import (
    NONCE_KEY,
    SPONSORED_TIP_MAX,
    Charge,
    MppPins,
    credential_header,
    encode_credential,
    read_charge,
)
from seedance_mcp.core.wire.offers import Credential
from seedance_mcp.core.wire.x402 import (
    PAYMENT_SIGNATURE_HEADER,
    TokenDomain,
    build_typed_data,
    encode_payment,
    read_authorization,
)

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


class Wallet:
    """A private key that signs payments and sign-ins.

    Attributes:
        address: The EIP-55 checksummed address.
        problem: Why the owner has no wallet, where this is a throwaway one in its place; None for the owner's own.
    """

    def __init__(self, account: LocalAccount, *, problem: ConfigError | None = None) -> None:
        self._account = account
        self.address: str = account.address
        self.problem = problem

    def __repr__(self) -> str:
        return f"Wallet({self.address})"

    async def sign_payment(self, payment: Json, domain: TokenDomain) -> Credential:
        """Sign a prepared x402 payment.

        Args:
            payment: What `wire.x402.build_payment` made.
            domain: The pinned token.

        Returns:
            The credential; the same bytes for the same payment, every time.
        """
        typed_data = build_typed_data(read_authorization(payment), domain)
        signature = await anyio.to_thread.run_sync(self._sign_typed_data, typed_data)
        return Credential(header=PAYMENT_SIGNATURE_HEADER, value=encode_payment(payment, signature))

    @property
    def can_charge(self) -> bool:
        """Whether the libraries of the Tempo rail are installed: the `tempo` extra."""
        return all(find_spec(library) is not None for library in ("pytempo", "mpp"))

    async def sign_charge(self, document: Json, pins: MppPins) -> tuple[Credential, str | None]:
        """Sign a prepared Tempo charge.

        Args:
            document: What `wire.mpp.build_charge` made.
            pins: The pinned chain and dollars.

        Returns:
            The credential, the same bytes for the same document every time, and its transaction's hash; None where a
            sponsor will sign it, too, and so decide its hash. The credential of a pushed charge holds nothing but that
            hash, and the transaction beside it.

        Raises:
            ConfigError: The document is not for the pinned chain and dollars, or not for this wallet.
        """
        charge = read_charge(document)
        pinned = charge.chain_id == pins.chain_id and charge.currency.lower() in pins.currencies
        if not pinned or charge.payer != self.address:
            raise ConfigError("A stored payment is for another chain, token or wallet than this profile's.")
        header = credential_header(document)
        signed, transaction_hash = await anyio.to_thread.run_sync(self._sign_transaction, charge)
        if charge.pushed and transaction_hash is not None:
            payload = {"type": "hash", "hash": transaction_hash}
            value = await anyio.to_thread.run_sync(encode_credential, document, payload)
            return Credential(header=header, value=value, raw_transaction=signed), transaction_hash
        payload = {"type": "transaction", "signature": signed}
        value = await anyio.to_thread.run_sync(encode_credential, document, payload)
        return Credential(header=header, value=value), transaction_hash

    async def sign_in(self, message: str) -> str:
        """Sign an EIP-4361 text by EIP-191; `0x` and 130 hexadecimal digits."""
        return await anyio.to_thread.run_sync(self._sign_text, message)

    def _sign_typed_data(self, typed_data: dict[str, object]) -> str:
        return "0x" + self._account.sign_typed_data(full_message=typed_data).signature.hex().removeprefix("0x")

    def _sign_transaction(self, charge: Charge) -> tuple[str, str | None]:
        """The signed 0x76 transaction and its hash, or the 0x78 envelope for a sponsor.

        Source: Tempo transaction; `mpp.methods.tempo`.
        """
        # A second to load, with web3 behind it: only once a payment is made on this rail.
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
        from eth_account.messages import encode_defunct  # loaded already, by whoever made the account

        return "0x" + self._account.sign_message(encode_defunct(text=message)).signature.hex().removeprefix("0x")


async def open_wallet(
    key: str | None,
    file: Path,
    password_file: Path | None = None,
    keychain: str | None = None,
    *,
    sandbox: bool = False,
) -> Wallet:
    """Open the owner's wallet: a key from the environment, else from the keychain, else from a key file.

    Args:
        key: 32 bytes in hexadecimal, or None.
        file: A file with that, plain or as JSON with `private_key`, or an encrypted keystore (version 3).
        password_file: A file with the keystore's password.
        keychain: Name of the entry in the operating system's keychain, or None to leave the keychain alone.
        sandbox: Whether it is the sandbox's wallet: what is said where there is none.

    Raises:
        ConfigError: No wallet, not a key, or a file that others can read. Never says the key.
    """
    found, where = await anyio.to_thread.run_sync(_find_key, key, file, password_file, keychain, sandbox)
    return await _load(found, where)


def find_key(
    key: str | None,
    file: Path,
    password_file: Path | None = None,
    keychain: str | None = None,
    *,
    sandbox: bool = False,
) -> str:
    """The key that `open_wallet` would sign with, in its usual spelling; for moving it, and nothing else.

    Raises:
        ConfigError: As `open_wallet`.
    """
    return read_key(_find_key(key, file, password_file, keychain, sandbox)[0])


def _find_key(
    key: str | None, file: Path, password_file: Path | None, keychain: str | None, sandbox: bool
) -> tuple[str, str]:
    """The key, first come first, and where it is from."""
    if key is not None:
        return key, "SEEDANCE_WALLET_KEY"
    found = None if keychain is None else read_keychain(keychain)
    if found is not None:
        return found, describe_keychain(str(keychain))
    return read_key_file(file, password_file, sandbox=sandbox), str(file)


async def open_throwaway_wallet(problem: ConfigError | None = None) -> Wallet:
    """Open a wallet with a random key that is kept nowhere: good for asking, never for paying.

    Args:
        problem: Why the owner's own cannot be opened.
    """
    return await _load(secrets.token_hex(32), "The throwaway wallet", problem=problem)


async def _load(key: str, where: str, *, problem: ConfigError | None = None) -> Wallet:
    if not is_key(key):
        raise ConfigError(f"{where} does not hold a private key: 64 hexadecimal digits, with or without 0x.")

    def make() -> Wallet:
        from eth_account import Account  # half a second to load: only once a key is used

        return Wallet(cast("LocalAccount", Account.from_key(key.strip())), problem=problem)

    try:
        return await anyio.to_thread.run_sync(make)
    except ValueError:
        # Without `from exc`: the library's text may quote the key.
        raise ConfigError(f"{where} does not hold a usable private key.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """A place that a key may come from.

    Attributes:
        state: What is there, without the key.
        used: Whether it is the one that signs.
        is_file: Whether it is the wallet file.
        problem: Why it cannot be used, or None.
    """

    name: str
    state: str
    used: bool
    is_file: bool = False
    problem: ConfigError | None = None


def list_sources(
    key: str | None, file: Path, password_file: Path | None = None, keychain: str | None = None
) -> list[KeySource]:
    """Where a key may come from, first come first: what `open_wallet` does, told without a key."""
    first = KeySource(name="SEEDANCE_WALLET_KEY", state="not set" if key is None else "set", used=key is not None)
    chain = _look_into_keychain(keychain, taken=first.used)
    state, problem = "a key", None
    try:
        if is_locked(file):
            state = "an encrypted keystore, " + (
                "which needs SEEDANCE_WALLET_PASSWORD_FILE"
                if password_file is None
                else "opened by SEEDANCE_WALLET_PASSWORD_FILE"
            )
        else:
            read_key(read_key_file(file))
    except ConfigError as exc:
        state, problem = exc.what, exc
    found = os.path.lexists(file)
    second = KeySource(
        name=str(file) if found else "SEEDANCE_WALLET_FILE",
        state=state if found else "not there",
        is_file=True,
        used=not first.used and not (chain is not None and chain.used) and found,
        problem=problem if found else None,
    )
    return [first, *([] if chain is None else [chain]), second]


def _look_into_keychain(account: str | None, *, taken: bool) -> KeySource | None:
    """The keychain's place in the list, where the owner switched it on."""
    if account is None:
        return None
    problem: ConfigError | None = None
    found: str | None = None
    try:
        found = read_keychain(account)
        if found is not None:
            read_key(found)
    except ConfigError as exc:
        problem = exc
    state = problem.what if problem is not None else "not there" if found is None else "a key"
    used = not taken and (found is not None or problem is not None)
    return KeySource(name=describe_keychain(account), state=state, used=used, problem=problem)
