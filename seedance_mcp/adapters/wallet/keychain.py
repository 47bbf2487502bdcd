"""The operating system's keychain: macOS Keychain, Windows Credential Manager or Secret Service, through `keyring`.

There is one entry per profile, under the service `seedance-mcp`. The library is an extra, and loads only if the owner
uses a keychain.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType

from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.installation import describe_install

SERVICE = "seedance-mcp"


def read_keychain(account: str) -> str | None:
    """Return the key of a profile, or None if the keychain has none.

    Raises:
        ConfigError: No library, no keychain, or it stays locked. The text never contains the key.
    """
    with _opening() as keyring:
        return keyring.get_password(SERVICE, account)


def store_in_keychain(account: str, key: str) -> None:
    """Put a key into the keychain.

    Raises:
        ConfigError: There is one already, or it cannot be stored.
    """
    with _opening() as keyring:
        if keyring.get_password(SERVICE, account) is not None:
            raise ConfigError(f"There is already a wallet in {describe_keychain(account)}.")
        keyring.set_password(SERVICE, account, key)


def describe_keychain(account: str) -> str:
    """Return the name of the entry, as the keychain's program shows it."""
    return f"the keychain ({SERVICE}, {account})"


@contextmanager
def _opening() -> Generator[ModuleType]:
    try:
        import keyring  # an extra, with a D-Bus client
        from keyring.errors import KeyringError, KeyringLocked, NoKeyringError
    except ImportError as exc:
        raise ConfigError("The library for the keychain is not installed.", describe_install("keychain")) from exc
    try:
        yield keyring
    except NoKeyringError:
        raise ConfigError(
            "This machine has no keychain that can be used.", "Keep the key in a file: seedance-mcp wallet create."
        ) from None
    except KeyringLocked:
        raise ConfigError("The keychain is locked.", "Unlock it, then try again.") from None
    except KeyringError as exc:
        # Without `from exc`: the library's text may contain a secret.
        raise ConfigError(f"The keychain cannot be used ({type(exc).__name__}).") from None
