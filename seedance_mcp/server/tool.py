"""Money tool: a tool that refuses unknown arguments, and reports every failure as one text with a code.

The SDK ignores unknown arguments: on a paying tool a misspelt limit would be lost. And its text for an unexpected
exception does not mention the money.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from seedance_mcp.core.error_base import SeedanceError, show_payment_state
from seedance_mcp.core.errors import InternalError
from seedance_mcp.core.redaction import redact
from seedance_mcp.core.texts import quote_text
from seedance_mcp.server.arguments import read_arguments
from seedance_mcp.server.call_context import begin_call, find_state, keep_notes
from seedance_mcp.server.schemas import compact_arguments, describe_result

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

log = logging.getLogger("seedance_mcp")

ERROR_KEY = "seedance-mcp/error"
"""Key of a failed result's `_meta` with its code and its payment state, for programs."""
PROBLEMS_MAX = 5
NAME_CHARACTERS_MAX = 60


class MoneyTool(Tool):
    """A tool with checked arguments and complete errors; see the module."""

    @classmethod
    def make(
        cls,
        fn: Callable[..., Awaitable[Any]],
        *,
        title: str,
        annotations: ToolAnnotations,
        result: type,
    ) -> "MoneyTool":
        """Build a tool from a function that returns a `CallToolResult`.

        Args:
            fn: The function; its docstring is the description for the host.
            title: The title for people.
            annotations: Hints for the host about reading, spending and repeating.
            result: The class of its structured content, of `app.results`.
        """
        # Without a model of the SDK's for the result: building and applying it costs more than it shows.
        tool = cast("MoneyTool", cls.from_function(fn, title=title, annotations=annotations, structured_output=False))
        tool.parameters = compact_arguments(tool.parameters)
        tool.fn_metadata.output_schema = describe_result(result)
        return tool

    async def run(self, arguments: dict[str, Any], context: Any, convert_result: bool = False) -> Any:
        """Run the tool; a failure has a code, what failed, what happened to the money, and the next step."""
        begin_call()
        try:
            find_state(context).check_call(self.name)
            read = read_arguments(arguments, self.parameters)
            problems = self._list_problems(read.values)
            if problems:
                return _fail("request", f"{'; '.join(problems)}. Nothing was paid.", **show_payment_state("none"))
            keep_notes(read.notes)
            return await super().run(read.values, context, convert_result)
        except SeedanceError as exc:  # of the arguments; those of the tool arrive as a `ToolError`
            return self._fail_as_known(exc)
        except ToolError as exc:
            cause = exc.__cause__
            if isinstance(cause, SeedanceError):
                return self._fail_as_known(cause)
            if isinstance(exc, UnexpectedToolError):
                log.error("%s failed unexpectedly", self.name, exc_info=exc.__cause__, extra={"tool": self.name})
                broken = InternalError(f"{self.name} failed unexpectedly.", payment_state="held")
                return _fail(broken.code, str(broken), **show_payment_state(broken.payment_state))
            raise

    def _list_problems(self, values: dict[str, Any]) -> list[str]:
        """Return what is wrong with the arguments of a call. The SDK's own model ignores unknown ones."""
        known = list(self.parameters["properties"])
        problems = [_describe_unknown(name, known) for name in values if name not in known]
        try:
            self.fn_metadata.validate_arguments(values)
        except ValidationError as exc:
            problems += [_describe_invalid(error) for error in exc.errors(include_url=False)]
        return problems[:PROBLEMS_MAX]

    def _fail_as_known(self, exc: SeedanceError) -> CallToolResult:
        """Log and build the result of one of our own errors."""
        money = {
            **show_payment_state(exc.payment_state),
            "amount_micro_usdc": exc.amount_micro_usdc,
            "payment_id": exc.payment_id,
        }  # without the video's URL, which may contain a secret: it is for the caller, not for the log
        log.info("%s failed: %s", self.name, exc.code, extra={"tool": self.name, "code": exc.code, **money})
        return _fail(exc.code, str(exc), **exc.list_facts())


def _fail(code: str, text: str, **facts: object) -> CallToolResult:
    """Build a failed result: one text for the model, and its code for programs."""
    return CallToolResult(
        content=[TextContent(type="text", text=redact(f"{code}: {text}"))],
        is_error=True,
        _meta={ERROR_KEY: {"code": code, **facts}},
    )


def _describe_unknown(name: str, known: Sequence[str]) -> str:
    """Describe an argument that a tool does not have, with the nearest that it has."""
    shown = name if len(name) <= NAME_CHARACTERS_MAX else quote_text(name, NAME_CHARACTERS_MAX)
    from difflib import get_close_matches  # seldom needed

    nearest = get_close_matches(shown.lower(), known, n=1)
    return f"{shown}: there is no such argument" + (f"; the nearest is {nearest[0]}" if nearest else "")


def _describe_invalid(error: "ErrorDetails") -> str:
    """Describe one missing or invalid argument."""
    from seedance_mcp.core.value_problems import describe_problem  # seldom needed

    name = ".".join(str(part) for part in error["loc"])
    value = "" if error["type"] == "missing" else f", not {_quote(error['input'])}"
    return f"{name}: {describe_problem(error)}{value}"


def _quote(value: object) -> str:
    try:
        return quote_text(value, 40)
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "a number of thousands of digits"
