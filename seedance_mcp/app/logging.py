"""Logging: records on stderr, as text for people or as JSON lines for programs, always without secrets."""

import json
import logging
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

from seedance_mcp.core.redaction import REDACTED, SECRET, redact

FIELDS = (
    "tool", "code", "payment_state", "charge", "amount_micro_usdc", "payment_id", "job_id", "status", "rail",
    "price_micro_usdc", "caller", "request_id", "route", "http_status", "seconds",
)  # fmt: skip
"""What a call site may say of a record, as `extra`, beside its message."""


@dataclass(slots=True)
class RequestFacts:
    """What every record that is written during a request over HTTP says of it.

    Attributes:
        request_id: Of the proxy, or made here.
        caller: Name of the caller, once it is known.
    """

    request_id: str
    caller: str | None = None


current_request: ContextVar[RequestFacts | None] = ContextVar("current_request", default=None)
"""The request over HTTP in which this code runs, or that started this background task."""


def add_request(record: logging.LogRecord) -> bool:
    """Add the caller and the id of the current request to a record; keeps every record."""
    facts = current_request.get()
    if facts is not None:
        record.caller, record.request_id = facts.caller, facts.request_id
    return True


class RedactingFormatter(logging.Formatter):
    """Formats a record, then takes out whatever looks like a key, a signature, a credential or an upload token.

    It works on the finished text, traceback included, so that no call site and no library can forget it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text without secrets."""
        return _redact_all(super().format(record))


class LineFormatter(RedactingFormatter):
    """Formats a record as one JSON object on one line, and redacts like its parent.

    A text is redacted before it becomes JSON, which a replacement could break. Then the finished line is looked at
    once more; where it still holds what looks like a secret, nothing of the record but its place is told.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON without secrets."""
        place = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname,
            "logger": record.name,
        }
        told: dict[str, object] = {**place, "message": record.getMessage()}
        told |= {name: record.__dict__[name] for name in FIELDS if record.__dict__.get(name) is not None}
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = record.stack_info
        line = json.dumps({name: _redact(value) for name, value in told.items()})
        return json.dumps({**place, "message": REDACTED}) if SECRET.search(line) else line


def _redact(value: object) -> object:
    """Return a number as it is, and everything else as text without secrets."""
    return value if isinstance(value, int | float) else _redact_all(str(value))


def _redact_all(text: str) -> str:
    """Return a text without secrets, and without the hashes that errors and results keep."""
    return SECRET.sub(REDACTED, redact(text))


def configure_logging(level: str, *, lines: bool = False) -> None:
    """Send logs to stderr, quiet by default; before `MCPServer` exists, which would otherwise choose for us.

    Args:
        level: Of our own loggers.
        lines: Whether each record is a line of JSON, for programs; text for people otherwise.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(add_request)
    plain = RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(LineFormatter() if lines else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("seedance_mcp").setLevel(level)
    if level == "DEBUG":
        logging.getLogger().setLevel(logging.DEBUG)
