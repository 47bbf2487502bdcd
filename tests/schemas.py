"""Build and check what is equal in each session once per process: the SDK does it for each server and each client."""

import functools
import json
from collections.abc import Callable
from typing import Any, cast

from jsonschema import Draft202012Validator
from mcp.server.mcpserver.resources import ResourceTemplate

_check = Draft202012Validator.check_schema
_checked: set[str] = set()
_build: Callable[..., Any] = ResourceTemplate.from_function


def _check_once(schema: Any, format_checker: Any = None) -> None:
    assert format_checker is None, "only what the SDK's client asks for"
    text = json.dumps(schema, sort_keys=True)
    if text not in _checked:
        _check(schema)
        _checked.add(text)


@functools.cache
def _build_once(fn: Callable[..., Any], **options: Any) -> Any:
    return _build(fn, **options)


def check_schemas_once() -> None:
    """Let every client of this process use what an earlier one has checked: the schemas of our tools."""
    Draft202012Validator.check_schema = staticmethod(_check_once)


def build_templates_once() -> None:
    """Let every server of this process use what an earlier one has built: the templates of our resources."""
    ResourceTemplate.from_function = staticmethod(cast("Any", _build_once))
