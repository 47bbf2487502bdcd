"""Wallet: the only package that reads a private key.

It signs only payments that `policy` allowed and `wire` built. Signing with a key of our own is deterministic (RFC
6979): the same payment gives the same bytes, so the same credential can be sent again without a signature in the
ledger. `signers` says what happens with another signer.

`eth_account` takes half a second to load, so it loads in a thread when a key is first used. `pytempo` takes as long,
and loads when a charge is first signed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio.to_thread

from seedance_mcp.adapters.wallet.key_files import is_key, is_locked, read_key, read_key_file
from seedance_mcp.adapters.wallet.keychain import describe_keychain, read_keychain
from seedance_mcp.adapters.wallet.signers import LocalSigner, Signer
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.mpp import (
    PinnedChargeTerms,
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
    """Signs payments and sign-ins with one key.

    Attributes:
        address: The EIP-55 checksummed address.

    Args:
        signer: Has the key.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.address = signer.address

    def __repr__(self) -> str:
        return f"Wallet({self.address})"

    async def sign_payment(self, payment: Json, domain: TokenDomain) -> Credential:
        """Sign a prepared x402 payment.

        Args:
            payment: The result of `wire.x402.build_payment`.
            domain: The pinned token.

        Returns:
            The credential; always the same bytes for the same payment, if the signer is deterministic.
        """
        typed_data = build_typed_data(read_authorization(payment), domain)
        signature = await self._signer.sign_typed_data(typed_data)
        return Credential(header=PAYMENT_SIGNATURE_HEADER, value=encode_payment(payment, signature))

    async def sign_charge(self, document: Json, pins: PinnedChargeTerms) -> tuple[Credential, str | None]:
        """Sign a prepared Tempo charge.

        Args:
            document: The result of `wire.mpp.build_charge`.
            pins: The pinned chain and tokens.

        Returns:
            The credential, always the same bytes for the same document, and its transaction's hash. The hash is None if
            a sponsor will sign it, too, which determines the hash. The credential of a client-broadcast charge contains
            only that hash, and `raw_transaction` the transaction.

        Raises:
            ConfigError: The document is not for the pinned chain and tokens, or not for this wallet.
        """
        charge = read_charge(document)
        pinned = charge.chain_id == pins.chain_id and charge.currency.lower() in pins.currencies
        if not pinned or charge.payer != self.address:
            raise ConfigError("A stored payment is for another chain, token or wallet than this profile's.")
        header = credential_header(document)
        signed, transaction_hash = await self._signer.sign_transaction(charge)
        if charge.pushed and transaction_hash is not None:
            payload = {"type": "hash", "hash": transaction_hash}
            value = await anyio.to_thread.run_sync(encode_credential, document, payload)
            return Credential(header=header, value=value, raw_transaction=signed), transaction_hash
        payload = {"type": "transaction", "signature": signed}
        value = await anyio.to_thread.run_sync(encode_credential, document, payload)
        return Credential(header=header, value=value), transaction_hash

    async def sign_in(self, message: str) -> str:
        """Sign an EIP-4361 text by EIP-191; return `0x` and 130 hexadecimal digits."""
        return await self._signer.sign_text(message)


def can_charge() -> bool:
    """Return True if the libraries of the Tempo rail, the `tempo` extra, are installed."""
    return all(find_spec(library) is not None for library in ("pytempo", "mpp"))


async def open_wallet(
    key: str | None,
    file: Path,
    password_file: Path | None = None,
    keychain: str | None = None,
    group_readable: bool = False,
    *,
    sandbox: bool = False,
) -> Wallet:
    """Open the owner's wallet, with the first key from the environment, the keychain or a key file.

    Args:
        key: 32 bytes in hexadecimal, or None.
        file: A file with the key, plain or as JSON with `private_key`, or an encrypted keystore (version 3).
        password_file: A file with the keystore's password.
        keychain: Name of the entry in the operating system's keychain, or None to not use the keychain.
        group_readable: True if the owner accepts that the group of these files can read them.
        sandbox: True for the sandbox's wallet; it changes the error text if there is none.

    Raises:
        ConfigError: No wallet, not a key, or a file that others can read. The text never contains the key.
    """
    found, where = await anyio.to_thread.run_sync(
        _find_key, key, file, password_file, keychain, group_readable, sandbox
    )
    return await _load(found, where)


def find_key(
    key: str | None,
    file: Path,
    password_file: Path | None = None,
    keychain: str | None = None,
    group_readable: bool = False,
    *,
    sandbox: bool = False,
) -> str:
    """Return the key that `open_wallet` would use, in canonical form; only for moving it.

    Raises:
        ConfigError: As `open_wallet`.
    """
    return read_key(_find_key(key, file, password_file, keychain, group_readable, sandbox)[0])


def _find_key(
    key: str | None,
    file: Path,
    password_file: Path | None,
    keychain: str | None,
    group_readable: bool,
    sandbox: bool,
) -> tuple[str, str]:
    """Return the first key that is found, and a description of its source."""
    if key is not None:
        return key, "SEEDANCE_WALLET_KEY"
    found = None if keychain is None else read_keychain(keychain)
    if found is not None:
        return found, describe_keychain(str(keychain))
    return read_key_file(file, password_file, sandbox=sandbox, group_readable=group_readable), str(file)


async def _load(key: str, where: str) -> Wallet:
    if not is_key(key):
        raise ConfigError(f"{where} does not hold a private key: 64 hexadecimal digits, with or without 0x.")

    def make() -> Wallet:
        from eth_account import Account  # takes half a second to load: only once a key is used

        return Wallet(LocalSigner(cast("LocalAccount", Account.from_key(key.strip()))))

    try:
        return await anyio.to_thread.run_sync(make)
    except ValueError:
        # Without `from exc`: the library's text may quote the key.
        raise ConfigError(f"{where} does not hold a usable private key.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """A possible source of the key.

    Attributes:
        state: A description of its content, without the key.
        used: True if its key signs.
        is_file: True for the wallet file.
        problem: Why it cannot be used, or None.
    """

    name: str
    state: str
    used: bool
    is_file: bool = False
    problem: ConfigError | None = None


def list_sources(
    key: str | None,
    file: Path,
    password_file: Path | None = None,
    keychain: str | None = None,
    group_readable: bool = False,
) -> list[KeySource]:
    """Return the possible sources of the key in the order of `open_wallet`, without the key."""
    first = KeySource(name="SEEDANCE_WALLET_KEY", state="not set" if key is None else "set", used=key is not None)
    chain = _look_into_keychain(keychain, taken=first.used)
    state, problem = "a key", None
    try:
        if is_locked(file, group_readable=group_readable):
            state = "an encrypted keystore, " + (
                "which needs SEEDANCE_WALLET_PASSWORD_FILE"
                if password_file is None
                else "opened by SEEDANCE_WALLET_PASSWORD_FILE"
            )
        else:
            read_key(read_key_file(file, group_readable=group_readable))
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
    """Return the keychain as a source, or None unless the owner has switched it on."""
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
