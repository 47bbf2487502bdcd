"""The balances of one token. Every method may be called from any thread."""

import threading
import time
from collections.abc import Callable, Mapping

from eth_utils.address import is_address, to_checksum_address

AMOUNT_MICRO_USDC_MAX = 1_000_000_000_000_000


class Balances:
    """The balances of one token's contract.

    Args:
        funded: Micro-USDC minted at the start, by address.
        clock: Unix seconds.
    """

    def __init__(self, funded: Mapping[str, int] | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._born_at = int(clock())
        self._balances: dict[str, int] = {}
        for address, amount in (funded or {}).items():
            self.mint(address, amount)

    def let_pass(self, seconds: float) -> None:
        """Move the chain's clock forward."""
        clock = self._clock
        self._clock = lambda: clock() + seconds

    def mint(self, address: str, amount_micro_usdc: int) -> None:
        """Create new tokens for an address.

        Raises:
            ValueError: If the address is not one, or the amount is not between 0 and a billion USDC.
        """
        if not is_address(address):
            raise ValueError(f"not an address: {address!r}")
        if not 0 <= amount_micro_usdc <= AMOUNT_MICRO_USDC_MAX:
            raise ValueError(f"not an amount in micro-USDC: {amount_micro_usdc!r}")
        with self._lock:
            self._balances[address.lower()] = self.balance_of(address) + amount_micro_usdc

    def balance_of(self, address: str) -> int:
        """Return an address's balance in micro-USDC."""
        with self._lock:
            return self._balances.get(address.lower(), 0)

    def balances(self) -> dict[str, int]:
        """Return every known address, checksummed, with its balance in micro-USDC."""
        with self._lock:
            return {to_checksum_address(address): amount for address, amount in self._balances.items()}

    def supply(self) -> int:
        """Return the sum of all balances in micro-USDC."""
        with self._lock:
            return sum(self._balances.values())
