"""Value problems: what is wrong with a value, in our words instead of those of the validation library.

It is pure: it reads what the library found, and loads nothing.
"""

from collections.abc import Mapping
from typing import Any

_WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "float_parsing": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": "must be an object",
    "string_too_long": "must have at most {most} characters",
    "string_type": "must be a text",
    "too_long": "must have at most {most} entries",
    "tuple_type": "must be a list",
}
"""What a value must be, by pydantic's type of the error, with the names of its context."""
_RULE_PREFIX = "Value error, "
"""The library writes it before the words of a rule of ours."""


def describe_problem(error: Mapping[str, Any]) -> str:
    """Return what is wrong with one value, without its name and without a full stop.

    Args:
        error: One of `ValidationError.errors()`.
    """
    words = _WORDS.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix(_RULE_PREFIX)
    facts = error.get("ctx", {})
    return words.format(**facts, most=facts.get("max_length"))
