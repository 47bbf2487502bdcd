"""The ledger's file: check whether the path still leads to the file that this process has open.

A file that was moved or deleted stays usable for the process that has it open. But the next process makes or finds
another one at the path, with other records of what was paid: two processes would then buy the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seedance_mcp.core.error_base import PaymentState
from seedance_mcp.core.errors import LedgerError


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file as it was when it was opened.

    Attributes:
        path: Where it was.
        identity: Its device and its number there.
    """

    path: Path
    identity: tuple[int, int]

    @classmethod
    def remember(cls, path: Path) -> OpenFile:
        """Look at a file that is about to be opened.

        Raises:
            OSError: It is not there.
        """
        return cls(path, _identify(path))

    def check(
        self, *, payment_state: PaymentState = "none", amount_micro_usdc: int = 0, payment_id: int | None = None
    ) -> None:
        """Raise where the path does not lead to this file any more.

        Args:
            payment_state: What the error says of money: that of a payment which is being looked into.
            amount_micro_usdc: Its amount.
            payment_id: Its number.

        Raises:
            LedgerError: The file was moved, deleted or replaced.
        """
        try:
            now = _identify(self.path)
        except FileNotFoundError:
            now = None
        if now != self.identity:
            what = "moved or deleted" if now is None else "replaced by another file"
            raise LedgerError(
                f"The ledger {self.path} was {what} while this process was using it.",
                "Nothing is signed without it. Put the file back where it was, or restart this server or command.",
                payment_state=payment_state,
                amount_micro_usdc=amount_micro_usdc,
                payment_id=payment_id,
            )


def _identify(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
