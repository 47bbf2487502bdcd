"""Check an equal JSON schema once per process: the SDK's client has those of our tools checked in each session."""

import json
from typing import Any

from jsonschema import Draft202012Validator

_check = Draft202012Validator.check_schema
_checked: set[str] = set()


def _check_once(schema: Any, format_checker: Any = None) -> None:
    assert format_checker is None, "only what the SDK's client asks for"
    text = json.dumps(schema, sort_keys=True)
    if text not in _checked:
        _check(schema)
        _checked.add(text)


def check_schemas_once() -> None:
    """Let every session of this process use what an earlier one has checked."""
    Draft202012Validator.check_schema = staticmethod(_check_once)
