"""The wallet: the one room that ever sees a private key.

Signs what `policy` allowed and `wire` built, and nothing else. Signing is deterministic (RFC 6979): the same payment
gives the same bytes, so the ledger need not keep a signature in order to send the same credential again.

`eth_account` takes half a second to load, so it loads when a key is first used, in a thread; `pytempo`, which takes
another one, when a charge is first signed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
import stat
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio.to_thread

from seedance_mcp.errors import ConfigError
from seedance_mcp.wire.encoding import Json
from seedance_mcp.wire.mpp import (
    NONCE_KEY,
    SPONSORED_TIP_MAX,
    Charge,
    MppPins,
    credential_header,
    encode_credential,
    read_charge,
)
from seedance_mcp.wire.offers import Credential
from seedance_mcp.wire.x402 import (
    PAYMENT_SIGNATURE_HEADER,
    TokenDomain,
    build_typed_data,
    encode_payment,
    read_authorization,
)

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

KEY_FILE_BYTES_MAX = 64 * 1024

_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class Wallet:
    """A private key that signs payments and sign-ins.

    Attributes:
        address: The EIP-55 checksummed address.
    """

    def __init__(self, account: LocalAccount) -> None:
        self._account = account
        self.address: str = account.address

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
            sponsor will sign it, too, and so decide its hash.

        Raises:
            ConfigError: The document is not for the pinned chain and dollars, or not for this wallet.
        """
        charge = read_charge(document)
        pinned = charge.chain_id == pins.chain_id and charge.currency.lower() in pins.currencies
        if not pinned or charge.payer != self.address:
            raise ConfigError("A stored payment is for another chain, token or wallet than this profile's.")
        transaction, transaction_hash = await anyio.to_thread.run_sync(self._sign_transaction, charge)
        value = await anyio.to_thread.run_sync(encode_credential, document, transaction)
        return Credential(header=credential_header(document), value=value), transaction_hash

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


async def open_wallet(key: str | None, file: Path, password_file: Path | None = None) -> Wallet:
    """Open the owner's wallet: a key from the environment, else a key file.

    Args:
        key: 32 bytes in hexadecimal, or None.
        file: A file with that, plain or as JSON with `private_key`, or an encrypted keystore (version 3).
        password_file: A file with the keystore's password.

    Raises:
        ConfigError: No wallet, not a key, or a file that others can read. Never says the key.
    """
    if key is not None:
        return await _load(key, "SEEDANCE_WALLET_KEY")
    return await _load(await anyio.to_thread.run_sync(read_key_file, file, password_file), str(file))


async def open_throwaway_wallet() -> Wallet:
    """A wallet with a random key that is kept nowhere: good for asking, never for paying."""
    return await _load(secrets.token_hex(32), "The throwaway wallet")


async def _load(key: str, where: str) -> Wallet:
    if _KEY.fullmatch(key.strip()) is None:
        raise ConfigError(f"{where} does not hold a private key: 64 hexadecimal digits, with or without 0x.")

    def make() -> Wallet:
        from eth_account import Account  # half a second to load: only once a key is used

        return Wallet(cast("LocalAccount", Account.from_key(key.strip())))

    try:
        return await anyio.to_thread.run_sync(make)
    except ValueError:
        # Without `from exc`: the library's text may quote the key.
        raise ConfigError(f"{where} does not hold a usable private key.") from None


def read_key_file(file: Path, password_file: Path | None = None) -> str:
    """Read a key file; an encrypted one is unlocked with the password in `password_file`.

    Raises:
        ConfigError: Missing, unreadable, not a plain file, another user's, readable by others, without a key, or
            locked.
    """
    text = _read_private(file, "wallet")
    if not text.startswith("{"):
        return text
    document = _read_document(text, file)
    if _is_keystore(document):
        if password_file is None:
            raise ConfigError(
                f"The wallet file {file} is locked with a password.",
                "Set SEEDANCE_WALLET_PASSWORD_FILE to a file (mode 0600) that holds it.",
            )
        return _decrypt(document, _read_private(password_file, "password"), file)
    found = document.get("private_key", document.get("privateKey"))  # the second is how AgentCash spells it
    if not isinstance(found, str):
        raise ConfigError(
            f"The wallet file {file} has no private_key.",
            "It holds the key as plain text, as JSON with private_key, or as an encrypted keystore (version 3).",
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """A place that a key may come from.

    Attributes:
        state: What is there, without the key.
        used: Whether it is the one that signs.
        problem: Why it cannot be used, or None.
    """

    name: str
    state: str
    used: bool
    problem: ConfigError | None = None


def list_sources(key: str | None, file: Path, password_file: Path | None = None) -> list[KeySource]:
    """Where a key may come from, first come first: what `open_wallet` does, told without a key."""
    first = KeySource(name="SEEDANCE_WALLET_KEY", state="not set" if key is None else "set", used=key is not None)
    state, problem = "a key", None
    try:
        if is_locked(file):
            state = "an encrypted keystore, " + (
                "which needs SEEDANCE_WALLET_PASSWORD_FILE" if password_file is None else f"opened by {password_file}"
            )
        else:
            read_key(read_key_file(file))
    except ConfigError as exc:
        state, problem = exc.what, exc
    found = os.path.lexists(file)
    second = KeySource(
        name=str(file),
        state=state if found else "not there",
        used=key is None and found,
        problem=problem if found else None,
    )
    return [first, second]


def read_key(text: str) -> str:
    """A private key in its usual spelling.

    Raises:
        ConfigError: Not 64 hexadecimal digits. Never says the text.
    """
    if _KEY.fullmatch(text.strip()) is None:
        raise ConfigError("That is not a private key: 64 hexadecimal digits, with or without 0x.", "Nothing changed.")
    return "0x" + text.strip().lower().removeprefix("0x")


def make_key() -> str:
    """A new random key."""
    return "0x" + secrets.token_hex(32)


def is_locked(file: Path) -> bool:
    """Whether a wallet file is a keystore that needs a password; a file that cannot be read is not."""
    try:
        text = _read_private(file, "wallet")
        return text.startswith("{") and _is_keystore(_read_document(text, file))
    except ConfigError:
        return False


def unlock(file: Path, password: str) -> str:
    """The key of an encrypted keystore.

    Raises:
        ConfigError: It cannot be read, or the password is wrong.
    """
    return _decrypt(_read_document(_read_private(file, "wallet"), file), password, file)


def lock(key: str, password: str) -> str:
    """A key as an encrypted keystore, version 3 (scrypt): the JSON text of a wallet file."""
    from eth_account import Account  # half a second to load: only once a key is used

    return json.dumps(Account.encrypt(bytes.fromhex(key.removeprefix("0x")), password))


def _is_keystore(document: Json) -> bool:
    return document.get("version") == 3 and isinstance(document.get("crypto", document.get("Crypto")), dict)


def _decrypt(document: Json, password: str, file: Path) -> str:
    from eth_account import Account  # half a second to load: only once a key is used

    try:
        return "0x" + bytes(Account.decrypt(dict(document), password)).hex()
    except ValueError:
        # Without `from exc`, here and below: the library's text is not ours to vouch for.
        raise ConfigError(f"The password does not open the wallet file {file}.") from None
    except (KeyError, TypeError, NotImplementedError, MemoryError):
        raise ConfigError(f"The wallet file {file} is not a keystore that can be read.") from None


def _read_document(text: str, file: Path) -> Json:
    try:
        document = cast("object", json.loads(text))
    except (ValueError, RecursionError):
        # Without `from exc`: the library's error holds the file's content.
        raise ConfigError(f"The wallet file {file} is not JSON.") from None
    return cast("Json", document) if isinstance(document, dict) else {}


def _read_private(file: Path, kind: str) -> str:
    """The text of a file that only its owner can read."""
    try:
        # Never waits for the writer of a pipe; what is judged is what was opened.
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(descriptor, "rb") as opened:
            _check_key_file(os.fstat(descriptor), file, kind)
            data = opened.read(KEY_FILE_BYTES_MAX + 1)
        if len(data) > KEY_FILE_BYTES_MAX:
            raise ConfigError(f"The {kind} file {file} is larger than {KEY_FILE_BYTES_MAX} bytes.")
        return data.decode("utf-8-sig").strip()
    except FileNotFoundError:
        if kind == "password":
            raise ConfigError(f"The password file {file} does not exist.") from None
        raise ConfigError(
            "No wallet is set.",
            f"Run: seedance-mcp wallet create. Or set SEEDANCE_WALLET_KEY, or put a key into {file} (mode 0600). "
            "To try everything without money, set SEEDANCE_PROFILE=sandbox.",
        ) from None
    except OSError as exc:
        raise ConfigError(f"The {kind} file {file} cannot be read: {exc.strerror or type(exc).__name__}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"The {kind} file {file} is not text.") from None


def _check_key_file(status: os.stat_result, file: Path, kind: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"The {kind} file {file} is not a file.")
    if os.name != "posix":
        return
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"The {kind} file {file} belongs to another user.", "Make a copy that is yours, mode 0600.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigError(f"The {kind} file {file} can be read by others.", f"Run: chmod 600 {shlex.quote(str(file))}")


def create_key_file(file: Path, content: str | None = None) -> None:
    """Write a key into a file that only its owner can read; the file appears whole or not at all.

    Args:
        file: Must not be there yet.
        content: What to write: a key's JSON, or a keystore; a new random key where it is left out.

    Raises:
        ConfigError: The file is there already, or cannot be written.
    """
    if content is None:
        content = json.dumps({"private_key": make_key()})
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(descriptor)  # somebody may send money to it in a moment
        os.link(partial, file)
    except FileExistsError:
        raise ConfigError(f"There is a wallet at {file} already.") from None
    except OSError as exc:
        raise ConfigError(f"The wallet file {file} cannot be written: {exc.strerror or type(exc).__name__}.") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
