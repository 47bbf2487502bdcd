"""Checks of request bodies against JSON Schemas, with the error texts of the makers' framework.

The enforced schema is the one that the discovery document publishes, so the two cannot differ. Only the keywords that
our own schemas use are supported. This module knows no routes and no prices.

Source: Zod 4 issue objects, as sent by `@agentcash/router` 1.20.0 in 400 answers.
"""

import json
from typing import Any, cast
from urllib.parse import urlsplit

from seedance_mcp.sandbox.api.answers import RefusalError

Schema = dict[str, Any]
Issue = dict[str, Any]
Path = list[str | int]

ISSUES_MAX = 50


def read_json_object(raw: bytes) -> dict[str, Any] | None:
    """Read a JSON object, or return None when the bytes are anything else.

    Raises:
        RefusalError: 400 when the bytes are not JSON at all.
    """
    try:
        body: Any = json.loads(raw)
    except ValueError as exc:  # JSONDecodeError and UnicodeDecodeError are both ValueErrors
        raise RefusalError(400, "Invalid JSON", issues=[]) from exc
    except RecursionError as exc:
        raise RefusalError(400, "Invalid JSON", issues=[]) from exc
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None


def check_body(schema: Schema, body: Any) -> None:
    """Check a decoded body.

    Raises:
        RefusalError: 400 with the issues found.
    """
    issues = find_issues(schema, body)
    if issues:
        raise RefusalError(400, "Validation failed", issues=issues[:ISSUES_MAX])


def fill_defaults(schema: Schema, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with the schema's defaults for what was left out."""
    defaults = {name: field["default"] for name, field in schema["properties"].items() if "default" in field}
    return defaults | body


def find_issues(schema: Schema, value: Any, path: Path | None = None) -> list[Issue]:
    """Return all violations of a decoded value, in the order of the schema's fields."""
    path = path or []
    wanted: str = schema.get("type", "string")
    if "const" in schema or "enum" in schema:
        return _find_option_issues(schema, value, path)
    if _name_type(value) != wanted and not (wanted == "integer" and _is_whole(value)):
        return [_type_issue("number" if wanted == "integer" else wanted, value, path)]
    match wanted:
        case "object":
            return _find_object_issues(schema, value, path)
        case "array":
            bounds = _find_bound_issues("array", len(value), schema.get("minItems"), schema.get("maxItems"), path)
            inner = (find_issues(schema["items"], item, [*path, index]) for index, item in enumerate(value))
            return bounds + [issue for found in inner for issue in found]
        case "integer":
            return _find_bound_issues("number", value, schema.get("minimum"), schema.get("maximum"), path)
        case "string":
            found = _find_bound_issues("string", len(value), schema.get("minLength"), schema.get("maxLength"), path)
            if schema.get("format") == "uri" and not _is_url(value):
                found.append({"code": "invalid_format", "format": "url", "path": path, "message": "Invalid URL"})
            return found
        case _:
            return []


def _find_object_issues(schema: Schema, value: dict[str, Any], path: Path) -> list[Issue]:
    fields: dict[str, Schema] = schema["properties"]
    required: list[str] = schema.get("required", [])
    issues: list[Issue] = []
    for name, field in fields.items():
        if name in value:
            issues += find_issues(field, value[name], [*path, name])
        elif name in required:
            issues += find_issues(field, _UNDEFINED, [*path, name])
    unknown = [name for name in value if name not in fields]
    if unknown and schema.get("additionalProperties") is False:
        listed = ", ".join(json.dumps(name) for name in unknown)
        message = f"Unrecognized key{'s' if len(unknown) > 1 else ''}: {listed}"
        issues.append({"code": "unrecognized_keys", "keys": unknown, "path": path, "message": message})
    return issues


def _find_option_issues(schema: Schema, value: Any, path: Path) -> list[Issue]:
    options: list[str] = schema.get("enum") or [schema["const"]]
    if isinstance(value, str) and value in options:
        return []
    listed = "|".join(json.dumps(option) for option in options)
    message = f"Invalid option: expected one of {listed}" if len(options) > 1 else f"Invalid input: expected {listed}"
    return [{"code": "invalid_value", "values": options, "path": path, "message": message}]


def _find_bound_issues(origin: str, size: int, least: int | None, most: int | None, path: Path) -> list[Issue]:
    noun = {"string": " to have {} characters", "array": " to have {} items", "number": " to be {}"}[origin]
    if least is not None and size < least:
        message = f"Too small: expected {origin}{noun.format(f'>={least}')}"
        return [{"origin": origin, "code": "too_small", "minimum": least, "path": path, "message": message}]
    if most is not None and size > most:
        message = f"Too big: expected {origin}{noun.format(f'<={most}')}"
        return [{"origin": origin, "code": "too_big", "maximum": most, "path": path, "message": message}]
    return []


def _type_issue(expected: str, value: Any, path: Path) -> Issue:
    message = f"Invalid input: expected {expected}, received {_name_type(value)}"
    return {"expected": expected, "code": "invalid_type", "path": path, "message": message}


class _Undefined:
    """The value that JavaScript reads from a missing field."""


_UNDEFINED = _Undefined()


def _name_type(value: Any) -> str:
    """Return the type name that JavaScript gives a decoded JSON value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "undefined"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
