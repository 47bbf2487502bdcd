"""Money tool: a tool that refuses unknown arguments, and reports every failure as one text with a code.

The SDK ignores unknown arguments: on a paying tool a misspelt limit would be lost. And its text for an unexpected
exception does not mention the money.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, ValidationError

from seedance_mcp.core.errors import InternalError, SeedanceError, quote_text, show_payment_state
from seedance_mcp.core.redaction import redact
from seedance_mcp.server.call_context import begin_call
from seedance_mcp.server.schemas import compact_arguments, compact_result

log = logging.getLogger("seedance_mcp")

ERROR_KEY = "seedance-mcp/error"
"""Key of a failed result's `_meta` with its code and its payment state, for programs."""
PROBLEMS_MAX = 5


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
            return await super().run(arguments, context, convert_result)
        except ToolError as exc:
            cause = exc.__cause__
            if isinstance(cause, ValidationError):
                return _fail("request", f"{_describe_arguments(cause)} Nothing was paid.", **show_payment_state("none"))
            if isinstance(cause, SeedanceError):
                money = {
                    **show_payment_state(cause.payment_state),
                    "amount_micro_usdc": cause.amount_micro_usdc,
                    "payment_id": cause.payment_id,
                }  # without the video's URL, which may contain a secret: it is for the caller, not for the log
                log.info("%s failed: %s", self.name, cause.code, extra={"tool": self.name, "code": cause.code, **money})
                return _fail(cause.code, str(cause), **cause.list_facts())
            if isinstance(exc, UnexpectedToolError):
                log.error("%s failed unexpectedly", self.name, exc_info=exc.__cause__, extra={"tool": self.name})
                broken = InternalError(f"{self.name} failed unexpectedly.", payment_state="held")
                return _fail(broken.code, str(broken), **show_payment_state(broken.payment_state))
            raise


def _fail(code: str, text: str, **facts: object) -> CallToolResult:
    """Build a failed result: one text for the model, and its code for programs."""
    return CallToolResult(
        content=[TextContent(type="text", text=redact(f"{code}: {text}"))],
        is_error=True,
        _meta={ERROR_KEY: {"code": code, **facts}},
    )


def _describe_arguments(exc: ValidationError) -> str:
    """Describe the invalid arguments, without the validator's links."""
    lines = [
        f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
        + (f", not {quote_text(error['input'], 40)}" if error["type"] not in ("missing", "extra_forbidden") else "")
        for error in exc.errors(include_url=False)[:PROBLEMS_MAX]
    ]
    return "; ".join(lines).replace("Extra inputs are not permitted", "there is no such argument") + "."
