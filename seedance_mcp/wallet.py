"""The wallet: the one room that ever sees a private key.

Signs what `policy` allowed and `wire` built, and nothing else. Signing is deterministic (RFC 6979): the same payment
gives the same bytes, so the ledger need not keep a signature in order to send the same credential again.

`eth_account` takes half a second to load, so it loads when a key is first used, in a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio.to_thread

from seedance_mcp.errors import ConfigError
from seedance_mcp.wire.encoding import Json
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

    async def sign_in(self, message: str) -> str:
        """Sign an EIP-4361 text by EIP-191; `0x` and 130 hexadecimal digits."""
        return await anyio.to_thread.run_sync(self._sign_text, message)

    def _sign_typed_data(self, typed_data: dict[str, object]) -> str:
        return "0x" + self._account.sign_typed_data(full_message=typed_data).signature.hex().removeprefix("0x")

    def _sign_text(self, message: str) -> str:
        from eth_account.messages import encode_defunct  # loaded already, by whoever made the account

        return "0x" + self._account.sign_message(encode_defunct(text=message)).signature.hex().removeprefix("0x")


async def open_wallet(key: str | None, file: Path) -> Wallet:
    """Open the owner's wallet: a key from the environment, else a key file.

    Args:
        key: 32 bytes in hexadecimal, or None.
        file: A file with that, plain or as JSON with `private_key`.

    Raises:
        ConfigError: No wallet, not a key, or a file that others can read. Never says the key.
    """
    if key is not None:
        return await _load(key, "SEEDANCE_WALLET_KEY")
    return await _load(await anyio.to_thread.run_sync(read_key_file, file), str(file))


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


def read_key_file(file: Path) -> str:
    """Read a key file.

    Raises:
        ConfigError: Missing, unreadable, not a plain file, another user's, readable by others, or without a key.
    """
    try:
        # Never waits for the writer of a pipe; what is judged is what was opened.
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(descriptor, "rb") as opened:
            _check_key_file(os.fstat(descriptor), file)
            data = opened.read(KEY_FILE_BYTES_MAX + 1)
        if len(data) > KEY_FILE_BYTES_MAX:
            raise ConfigError(f"The wallet file {file} is larger than {KEY_FILE_BYTES_MAX} bytes.")
        text = data.decode("utf-8-sig").strip()
    except FileNotFoundError:
        raise ConfigError(
            "No wallet is set.",
            f"Set SEEDANCE_WALLET_KEY, or put a key into {file} (mode 0600). "
            "To try everything without money, set SEEDANCE_PROFILE=sandbox.",
        ) from None
    except OSError as exc:
        raise ConfigError(f"The wallet file {file} cannot be read: {exc.strerror or type(exc).__name__}.") from None
    except UnicodeDecodeError:
        # Without `from exc`, here and below: the library's error holds the file's content.
        raise ConfigError(f"The wallet file {file} is not text.") from None
    if not text.startswith("{"):
        return text
    try:
        document = cast("object", json.loads(text))
    except (ValueError, RecursionError):
        raise ConfigError(f"The wallet file {file} is not JSON.") from None
    found = cast("Json", document).get("private_key") if isinstance(document, dict) else None
    if not isinstance(found, str):
        raise ConfigError(
            f"The wallet file {file} has no private_key.",
            "It holds the key as plain text, or as JSON with private_key; an encrypted keystore cannot be used.",
        )
    return found


def _check_key_file(status: os.stat_result, file: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"The wallet file {file} is not a file.")
    if os.name != "posix":
        return
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"The wallet file {file} belongs to another user.", "Make a copy that is yours, mode 0600.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigError(f"The wallet file {file} can be read by others.", f"Run: chmod 600 {file}")


def create_key_file(file: Path) -> None:
    """Make a new random key in a file that only its owner can read; the file appears whole or not at all.

    Raises:
        ConfigError: The file is there already, or cannot be written.
    """
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump({"private_key": "0x" + secrets.token_hex(32)}, opened)
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
