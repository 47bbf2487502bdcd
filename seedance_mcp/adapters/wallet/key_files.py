"""Key files: reading, encrypting and writing. Only their owner may read them, and no error shows their content."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
import stat
from pathlib import Path
from typing import cast

from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.wire.json import Json

KEY_FILE_BYTES_MAX = 64 * 1024

_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


def read_key_file(
    file: Path, password_file: Path | None = None, *, sandbox: bool = False, group_readable: bool = False
) -> str:
    """Read a key file; decrypt an encrypted one with the password in `password_file`.

    Args:
        file: The key file.
        password_file: The file with its password, or None.
        sandbox: True for the sandbox's, which another command creates.
        group_readable: True if the owner accepts that its group can read it, and the password.

    Raises:
        ConfigError: Missing, unreadable, not a plain file, another user's, readable by others, without a key, or
            locked.
    """
    text = _read_private(file, "wallet", sandbox=sandbox, group_readable=group_readable)
    if not text.startswith("{"):
        return text
    document = _read_document(text, file)
    if _is_keystore(document):
        if password_file is None:
            raise ConfigError(
                f"The wallet file {file} is locked with a password.",
                "Set SEEDANCE_WALLET_PASSWORD_FILE to a file (mode 0600) that holds it.",
            )
        hint = f"The file {password_file} holds another password: name the right one in SEEDANCE_WALLET_PASSWORD_FILE."
        return _decrypt(document, read_password(password_file, group_readable=group_readable), file, hint)
    found = document.get("private_key", document.get("privateKey"))  # the second is AgentCash's spelling
    if not isinstance(found, str):
        raise ConfigError(
            f"The wallet file {file} has no private_key.",
            "It holds the key as plain text, as JSON with private_key, or as an encrypted keystore (version 3).",
        )
    return found


def read_password(file: Path, *, group_readable: bool = False) -> str:
    """Read the password from a file.

    Raises:
        ConfigError: Missing, unreadable, not a plain file, another user's, or readable by others.
    """
    return _read_private(file, "password", group_readable=group_readable)


def is_key(text: str) -> bool:
    """Return True for a private key: 64 hexadecimal digits, with or without 0x."""
    return _KEY.fullmatch(text.strip()) is not None


def read_key(text: str) -> str:
    """Return a private key in canonical form.

    Raises:
        ConfigError: Not 64 hexadecimal digits. The text never contains the input.
    """
    if not is_key(text):
        raise ConfigError("That is not a private key: 64 hexadecimal digits, with or without 0x.", "Nothing changed.")
    return "0x" + text.strip().lower().removeprefix("0x")


def make_key() -> str:
    """Return a new random key."""
    return "0x" + secrets.token_hex(32)


def is_locked(file: Path, *, group_readable: bool = False) -> bool:
    """Return True if a wallet file is a keystore that needs a password; False if it cannot be read."""
    try:
        text = _read_private(file, "wallet", group_readable=group_readable)
        return text.startswith("{") and _is_keystore(_read_document(text, file))
    except ConfigError:
        return False


def unlock(file: Path, password: str, *, hint: str = "Run the same command again, and type the right one.") -> str:
    """Return the key of an encrypted keystore.

    Args:
        file: The keystore.
        password: The password.
        hint: The next step if the password is wrong.

    Raises:
        ConfigError: It cannot be read, or the password is wrong.
    """
    return _decrypt(_read_document(_read_private(file, "wallet"), file), password, file, hint)


def lock(key: str, password: str) -> str:
    """Return a key as an encrypted keystore, version 3 (scrypt): the JSON text of a wallet file."""
    from eth_account import Account  # half a second to load: only once a key is used

    return json.dumps(Account.encrypt(bytes.fromhex(key.removeprefix("0x")), password))


def _is_keystore(document: Json) -> bool:
    return document.get("version") == 3 and isinstance(document.get("crypto", document.get("Crypto")), dict)


def _decrypt(document: Json, password: str, file: Path, hint: str) -> str:
    from eth_account import Account  # half a second to load: only once a key is used

    try:
        return "0x" + bytes(Account.decrypt(dict(document), password)).hex()
    except ValueError:
        # Without `from exc`, here and below: the library's text may contain a secret.
        raise ConfigError(f"The password does not open the wallet file {file}.", hint) from None
    except (KeyError, TypeError, NotImplementedError, MemoryError):
        raise ConfigError(f"The wallet file {file} is not a keystore that can be read.") from None


def _read_document(text: str, file: Path) -> Json:
    try:
        document = cast("object", json.loads(text))
    except (ValueError, RecursionError):
        # Without `from exc`: the library's error contains the file's content.
        raise ConfigError(f"The wallet file {file} is not JSON.") from None
    return cast("Json", document) if isinstance(document, dict) else {}


def _read_private(file: Path, kind: str, *, sandbox: bool = False, group_readable: bool = False) -> str:
    """Return the text of a file that only its owner can read."""
    try:
        # Never waits for the writer of a pipe; the checks are of the opened file.
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(descriptor, "rb") as opened:
            _check_key_file(os.fstat(descriptor), file, kind, group_readable=group_readable)
            data = opened.read(KEY_FILE_BYTES_MAX + 1)
        if len(data) > KEY_FILE_BYTES_MAX:
            raise ConfigError(f"The {kind} file {file} is larger than {KEY_FILE_BYTES_MAX} bytes.")
        return data.decode("utf-8-sig").strip()
    except FileNotFoundError:
        if kind == "password":
            raise ConfigError(
                "The password file does not exist.",
                "Name one in SEEDANCE_WALLET_PASSWORD_FILE, or in the command's own option.",
            ) from None
        make = "wallet create --sandbox" if sandbox else "wallet create"
        free = "" if sandbox else " To try everything without money: --sandbox, or SEEDANCE_PROFILE=sandbox in a host."
        raise ConfigError(
            "No wallet is set.",
            f"Run: seedance-mcp {make}. Or set SEEDANCE_WALLET_KEY, or SEEDANCE_WALLET_FILE to a file (mode 0600) that "
            f"holds a key.{free}",
        ) from None
    except OSError as exc:
        name = (
            f"{file} " if os.path.lexists(file) else ""
        )  # a path that does not exist may be a secret in the wrong setting
        raise ConfigError(f"The {kind} file {name}cannot be read: {exc.strerror or type(exc).__name__}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"The {kind} file {file} is not text.") from None


def _check_key_file(status: os.stat_result, file: Path, kind: str, *, group_readable: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"The {kind} file {file} is not a file.")
    if os.name != "posix":
        return
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"The {kind} file {file} belongs to another user.", "Make a copy that is yours, mode 0600.")
    allowed = stat.S_IRGRP if group_readable else 0
    if stat.S_IMODE(status.st_mode) & 0o077 & ~allowed:
        raise ConfigError(f"The {kind} file {file} can be read by others.", f"Run: chmod 600 {shlex.quote(str(file))}")


def create_key_file(file: Path, content: str | None = None) -> None:
    """Write a key to a file that only its owner can read; the file is written completely or not at all.

    Args:
        file: The file, which must not exist.
        content: A key's JSON, or a keystore; a new random key if omitted.

    Raises:
        ConfigError: The file exists, or cannot be written.
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
            os.fsync(descriptor)  # the owner may send money to it at once
        os.link(partial, file)
    except FileExistsError as exc:  # the file, or a file in place of its folder
        raise ConfigError(
            f"There is already a file at {exc.filename2 or exc.filename}.", "It was not changed; name another file."
        ) from None
    except OSError as exc:
        raise ConfigError(
            f"The wallet file {file} cannot be written: {exc.strerror or type(exc).__name__}.", "Name another place."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
