"""Asked: what the command line of this process asks for, as far as failures and texts depend on it."""

from contextvars import ContextVar

json_asked: ContextVar[bool] = ContextVar("json_asked", default=False)
"""True if the command has `--json`; it then reports a failure on stdout, too."""
sandbox_asked: ContextVar[bool] = ContextVar("sandbox_asked", default=False)
"""True if the command has `--sandbox`; the commands that it names then have it, too."""
may_pay: ContextVar[bool] = ContextVar("may_pay", default=False)
"""True if the command can spend money, so that a failure says what was paid."""
