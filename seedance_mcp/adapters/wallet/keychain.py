"""The keychain of the operating system: macOS Keychain, Windows Credential Manager, Secret Service, by `keyring`.

One entry a profile, under the service `seedance-mcp`. The library is an extra, and loads only where the owner asked
for a keychain.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType

from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.installation import describe_install

SERVICE = "seedance-mcp"


def read_keychain(account: str) -> str | None:
    """The key of a profile, or None where the keychain has none.

    Raises:
        ConfigError: No library, no keychain, or it stays locked. Never says the key.
    """
    with _opening() as keyring:
        return keyring.get_password(SERVICE, account)


def store_in_keychain(account: str, key: str) -> None:
    """Put a key into the keychain.

    Raises:
        ConfigError: There is one already, or it cannot be kept there.
    """
    with _opening() as keyring:
        if keyring.get_password(SERVICE, account) is not None:
            raise ConfigError(f"There is a wallet in {describe_keychain(account)} already.")
        keyring.set_password(SERVICE, account, key)


def describe_keychain(account: str) -> str:
    """The entry's place, as the keychain's own program shows it."""
    return f"the keychain ({SERVICE}, {account})"


@contextmanager
def _opening() -> Generator[ModuleType]:
    try:
        import keyring  # an extra, with a D-Bus client behind it
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
        # Without `from exc`: the library's text is not ours to vouch for.
        raise ConfigError(f"The keychain cannot be used ({type(exc).__name__}).") from None
