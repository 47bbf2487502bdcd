"""Schemas: describe arguments and results to an MCP client in few tokens.

Every conversation pays for the list of tools, so a schema has only what a caller cannot guess. Omitted rules are still
checked, and a refusal explains them. Two rules make it short: `quote_price` only names and types the arguments that
`animate_image` explains; and a result's field without a type is text, or null while it is unknown.
"""

from collections.abc import Mapping
from typing import Any, cast

Schema = dict[str, Any]

BIG = 2**31
"""Bounds above this are omitted: they do not help a caller."""
_TOLD = ("type", "description", "enum", "default")
_BOUNDS = ("minimum", "maximum")
_BRIEFLY = ("type",)


def compact_arguments(schema: Schema, *, brief: bool = False) -> Schema:
    """Return the schema of a tool's arguments: closed, with optional ones not required.

    An optional argument without a default may also be null: a host that converts schemas to its model's strict mode
    makes every argument required, and a model that must invent a seed would be refused.

    Args:
        schema: The schema from pydantic.
        brief: True for names and types only; another tool's schema has the rest.
    """
    properties: dict[str, Schema] = {}
    for name, part in cast("dict[str, Schema]", schema.get("properties", {})).items():
        whole = _merge(part, schema.get("$defs", {}))
        told = _BRIEFLY if brief else _TOLD
        kept = {key: whole[key] for key in told if whole.get(key) is not None}
        if _may_be_null(part):
            kept["type"] = [whole["type"], "null"]
        if not brief:
            kept |= {key: whole[key] for key in _BOUNDS if 1 < abs(whole.get(key, 0)) < BIG}
        properties[name] = kept
    compacted: Schema = {"type": "object", "properties": properties}
    if schema.get("required"):
        compacted["required"] = schema["required"]
    return {**compacted, "additionalProperties": False}


def compact_result(schema: Schema) -> Schema:
    """Return the schema of a tool's result. Every field is present; contents of lists and objects are left out."""
    properties: dict[str, Schema] = {}
    for name, part in cast("dict[str, Schema]", schema["properties"]).items():
        whole = _merge(part, schema.get("$defs", {}))
        kept = {key: whole[key] for key in ("description", "enum") if key in part and key in whole}
        if not _may_be_null(part):
            kept["type"] = whole["type"]
        elif whole["type"] != "string":
            kept["type"] = [whole["type"], "null"]
        properties[name] = kept
    return {"type": "object", "properties": properties}


def _merge(part: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return one value's schema with its reference resolved and its `X or null` merged."""
    others = [choice for choice in part.get("anyOf", [part]) if choice.get("type") != "null"]
    if len(others) != 1:
        raise ValueError("a value is of one type, or null")
    inner = others[0]
    found = definitions[inner["$ref"].rpartition("/")[2]] if "$ref" in inner else inner
    return {**found, **{key: value for key, value in part.items() if key != "anyOf"}}


def _may_be_null(part: Schema) -> bool:
    return any(choice.get("type") == "null" for choice in part.get("anyOf", ()))
