"""Schemas: describe arguments and results to an MCP client in few tokens.

Every conversation pays for the list of tools, so a schema has only what a caller cannot guess. Omitted rules are still
checked, and a refusal explains them. A value that may be null is an `anyOf`, never a list of types: several frameworks
cannot read such a list. A result's field without a type is text, or null while it is unknown.
"""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from seedance_mcp.core.next_steps import NextStep

Schema = dict[str, Any]

_TOLD = ("type", "items", "description", "enum", "default")


def compact_arguments(schema: Schema) -> Schema:
    """Return the schema of a tool's arguments: closed, with optional ones not required.

    Bounds are in the descriptions alone, because some hosts drop them here.
    An optional argument without a default may also be null: a host that converts schemas to its model's strict mode
    makes every argument required, and a model that must invent a seed would be refused.
    """
    properties: dict[str, Schema] = {}
    for name, part in cast("dict[str, Schema]", schema.get("properties", {})).items():
        whole = _merge(part, schema.get("$defs", {}))
        kept = {key: whole[key] for key in _TOLD if whole.get(key)}  # false and an empty list need no words
        kept.pop("items", None)
        if "items" in whole:
            kept["items"] = _describe_item(whole["items"], schema.get("$defs", {}))
        properties[name] = _allow_null(kept) if _may_be_null(part) else kept
    compacted: Schema = {"type": "object", "properties": properties}
    if schema.get("required"):
        compacted["required"] = schema["required"]
    return {**compacted, "additionalProperties": False}


def _describe_item(item: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return the schema of a list's objects: their arguments alone; what may be null may also be left out."""
    whole = _merge(item, definitions)
    if "properties" not in whole:
        return {key: whole[key] for key in _TOLD if whole.get(key)}
    properties = {name: _merge(part, definitions) for name, part in whole["properties"].items()}
    return {
        "type": "object",
        "properties": {name: {key: part[key] for key in _TOLD if part.get(key)} for name, part in properties.items()},
        "required": whole["required"],
    }


def describe_result(result: type) -> Schema:
    """Return the schema of a tool's result. Every field is present; contents of lists are left out.

    Args:
        result: A class of `app.results`.
    """
    properties = {name: _describe_field(kind) for name, kind in result.__annotations__.items()}
    return {"type": "object", "properties": properties}


def _describe_field(annotation: Any) -> Schema:
    kind, *words = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    choices = [choice for choice in get_args(kind) if choice is not NoneType] if get_origin(kind) is UnionType else []
    value = _describe_type(choices[0] if choices else kind)
    described: Schema = {"description": words[0]} if words else {}
    if value == {}:
        return described
    return described | ({"anyOf": [value, {"type": "null"}]} if choices else value)


def _describe_type(kind: Any) -> Schema:
    """Return the schema of a type; empty for text."""
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind)), "type": "string"}
    if kind in (str, NextStep):
        return {}
    return {"type": {int: "integer", bool: "boolean", list: "array"}.get(get_origin(kind) or kind, "object")}


def _allow_null(schema: Schema) -> Schema:
    """Return the schema of a value that may also be null; its description stays outside."""
    described = {key: value for key, value in schema.items() if key == "description"}
    value = {key: value for key, value in schema.items() if key != "description"}
    return {"anyOf": [value, {"type": "null"}], **described}


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
