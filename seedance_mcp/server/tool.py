"""Money tool: a tool that refuses unknown arguments, and reports every failure as one text with a code.

The SDK ignores unknown arguments: on a paying tool a misspelt limit would be lost. And its text for an unexpected
exception does not mention the money.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, ValidationError

from seedance_mcp.core.error_base import SeedanceError, show_payment_state
from seedance_mcp.core.errors import InternalError
from seedance_mcp.core.redaction import redact
from seedance_mcp.core.texts import quote_text
from seedance_mcp.server.arguments import read_arguments
from seedance_mcp.server.call_context import begin_call, keep_notes
from seedance_mcp.server.schemas import compact_arguments, compact_result

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
        result: type[BaseModel],
    ) -> "MoneyTool":
        """Build a tool from a function whose result is `Annotated[CallToolResult, result]`.

        Args:
            fn: The function; its docstring is the description for the host.
            title: The title for people.
            annotations: Hints for the host about reading, spending and repeating.
            result: The model of its structured content.
        """
        tool = cast("MoneyTool", cls.from_function(fn, title=title, annotations=annotations))
        model = tool.fn_metadata.arg_model
        model.model_config["extra"] = "forbid"
        model.model_rebuild(force=True)
        tool.parameters = compact_arguments(model.model_json_schema(by_alias=True))
        tool.fn_metadata.output_schema = compact_result(result.model_json_schema(mode="serialization"))
        return tool

    async def run(self, arguments: dict[str, Any], context: Any, convert_result: bool = False) -> Any:
        """Run the tool; a failure has a code, what failed, what happened to the money, and the next step."""
        begin_call()
        try:
            read = read_arguments(arguments, self.parameters)
            keep_notes(read.notes)
            return await super().run(read.values, context, convert_result)
        except SeedanceError as exc:  # of the arguments; those of the tool arrive as a `ToolError`
            return self._fail_as_known(exc)
        except ToolError as exc:
            cause = exc.__cause__
            if isinstance(cause, ValidationError):
                text = _describe_arguments(cause, list(self.parameters["properties"]))
                return _fail("request", f"{text} Nothing was paid.", **show_payment_state("none"))
            if isinstance(cause, SeedanceError):
                return self._fail_as_known(cause)
            if isinstance(exc, UnexpectedToolError):
                log.error("%s failed unexpectedly", self.name, exc_info=exc.__cause__, extra={"tool": self.name})
                broken = InternalError(f"{self.name} failed unexpectedly.", payment_state="held")
                return _fail(broken.code, str(broken), **show_payment_state(broken.payment_state))
            raise

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


def _describe_arguments(exc: ValidationError, known: Sequence[str]) -> str:
    """Describe the invalid arguments, without the validator's links."""
    return "; ".join(_describe_argument(error, known) for error in exc.errors(include_url=False)[:PROBLEMS_MAX]) + "."


def _describe_argument(error: "ErrorDetails", known: Sequence[str]) -> str:
    """Describe one invalid argument; of an unknown one, name the nearest that there is."""
    where = ".".join(str(part) for part in error["loc"])
    name = where if len(where) <= NAME_CHARACTERS_MAX else quote_text(where, NAME_CHARACTERS_MAX)
    if error["type"] == "extra_forbidden":
        nearest = get_close_matches(name.lower(), known, n=1)
        return f"{name}: there is no such argument" + (f"; the nearest is {nearest[0]}" if nearest else "")
    value = "" if error["type"] == "missing" else f", not {_quote(error['input'])}"
    return f"{name}: {error['msg']}{value}"


def _quote(value: object) -> str:
    try:
        return quote_text(value, 40)
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "a number of thousands of digits"
