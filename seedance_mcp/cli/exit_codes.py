"""Exit codes: what a script can conclude from the end of a command, above all about money."""

from collections.abc import Iterator

from seedance_mcp.core.errors import (
    ConfigError,
    ImageError,
    LedgerError,
    PaymentError,
    PolicyError,
    RequestError,
    SeedanceError,
    VideoUnsavedError,
)

OK, FAILED, YOURS, REFUSED, HELD, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

MEANINGS: dict[int, str] = {
    OK: "done",
    FAILED: "the studio or a check said no, or did not answer; nothing is open",
    YOURS: "yours to mend: an argument, a picture, a setting, the wallet or the ledger; nothing was signed",
    REFUSED: "your limits forbid it; nothing was signed",
    HELD: "a payment is unclear or held; the same command takes it up and never pays twice",
    UNFINISHED: "not finished yet; the same command goes on waiting",
    INTERRUPTED: "interrupted by Ctrl-C; the same command goes on",
}
"""Every exit code; README and `--help` show this table."""

_GRAVITY = (HELD, REFUSED, YOURS, FAILED, UNFINISHED, OK)


def find_exit_code(exc: SeedanceError) -> int:
    """The exit code of a failure. What may still cost money comes before everything else."""
    kind = _find_kind(exc)
    if issubclass(kind, VideoUnsavedError):
        return UNFINISHED
    if issubclass(kind, PaymentError) or exc.payment_state == "held":
        return HELD
    if issubclass(kind, LedgerError) and (exc.payment_state == "settled" or exc.upload_micro_usdc):
        return HELD  # it was paid, and the ledger does not know
    if issubclass(kind, PolicyError):
        return REFUSED
    if issubclass(kind, ConfigError | ImageError | RequestError | LedgerError):
        return YOURS
    return FAILED


def _find_kind(exc: SeedanceError) -> type[SeedanceError]:
    """What failed; of the demo, what failed in the tool that it called: the tool's text begins with that code."""
    if exc.code != "demo":
        return type(exc)
    told = exc.what.partition(":")[0]
    return next((kind for kind in _list_kinds(SeedanceError) if kind.code == told), type(exc))


def _list_kinds(root: type[SeedanceError]) -> Iterator[type[SeedanceError]]:
    yield root
    for child in root.__subclasses__():
        yield from _list_kinds(child)


def gravest(codes: list[int]) -> int:
    """The exit code of a batch."""
    return min(codes, key=_GRAVITY.index, default=OK)


EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items()) + "."
