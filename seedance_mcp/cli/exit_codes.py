"""Exit codes: the outcome of a command for a script, above all what happened to the money."""

from collections.abc import Iterator

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    ConfigError,
    ImageError,
    LedgerError,
    PaymentError,
    PolicyError,
    RequestError,
    StorageError,
    VideoUnsavedError,
)

OK, FAILED, YOURS, REFUSED, HELD, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

MEANINGS: dict[int, str] = {
    OK: "done",
    FAILED: "the studio or a check refused or did not answer; no payment is pending",
    YOURS: "yours to fix: an argument, a picture, a setting, the wallet or the ledger; nothing was signed",
    REFUSED: "your limits forbid it; nothing was signed",
    HELD: "the outcome of a payment is unknown, or it is held; the same command continues it and never pays twice",
    UNFINISHED: "not finished yet; the same command continues waiting",
    INTERRUPTED: "interrupted by Ctrl-C; the same command continues",
}
"""Every exit code; README and `--help` show this table."""

_GRAVITY = (HELD, REFUSED, YOURS, FAILED, UNFINISHED, OK)


def find_exit_code(exc: SeedanceError) -> int:
    """Return the exit code of a failure. Payments that may still settle come first."""
    kind = _find_kind(exc)
    if issubclass(kind, VideoUnsavedError):
        return UNFINISHED
    if issubclass(kind, PaymentError) or exc.payment_state == "held":
        return HELD
    if issubclass(kind, LedgerError) and (exc.payment_state == "settled" or exc.upload_micro_usdc):
        return HELD  # it was paid, and the ledger does not know
    if issubclass(kind, PolicyError):
        return REFUSED
    if issubclass(kind, ConfigError | ImageError | RequestError | LedgerError | StorageError):
        return YOURS
    return FAILED


def _find_kind(exc: SeedanceError) -> type[SeedanceError]:
    """Return the class of a failure; for the demo, the class of its tool's failure, whose text begins with its code."""
    if exc.code != "demo":
        return type(exc)
    told = exc.what.partition(":")[0]
    return next((kind for kind in _list_kinds(SeedanceError) if kind.code == told), type(exc))


def _list_kinds(root: type[SeedanceError]) -> Iterator[type[SeedanceError]]:
    yield root
    for child in root.__subclasses__():
        yield from _list_kinds(child)


def gravest(codes: list[int]) -> int:
    """Return the exit code of a batch."""
    return min(codes, key=_GRAVITY.index, default=OK)


EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items()) + "."
