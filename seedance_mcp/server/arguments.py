"""Arguments: from what models write to the canonical form that the schemas show.

It changes only a spelling whose meaning is certain, so that every spelling of one purchase has one idempotency key. It
never changes a duration, and refuses a price limit that is not clearly an amount.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.next_steps import Argument, NextStep, Repeat
from seedance_mcp.core.texts import quote_text
from seedance_mcp.server.parameters import JOBS_MAX, WAIT_SECONDS_MAX

IGNORED = frozenset({"wait_for_previous"})
"""Names that a host adds to every call for itself (Gemini CLI), in exactly this spelling."""
_CLAMPED = {"wait_seconds": (0, WAIT_SECONDS_MAX), "limit": (1, JOBS_MAX)}
_NAMES = frozenset({"model", "upscale"})
"""Arguments with a name that the schema does not list."""
_SYNONYMS = {"adaptive": "auto"}
_RATIO = re.compile(r"([0-9]{1,2})\s*[x\u00d7/:]\s*([0-9]{1,2})")
_AMOUNT = re.compile(r"\$? ?([0-9]{1,9}(?:\.[0-9]{1,6})?)")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_VALUE_CHARACTERS_MAX = 40


@dataclass(frozen=True, slots=True)
class Arguments:
    """The canonical arguments of a call, and what was changed that its caller should know."""

    values: dict[str, Any]
    notes: tuple[str, ...]


def read_arguments(given: Mapping[str, Any], schema: Mapping[str, Any]) -> Arguments:
    """Return a call's arguments in canonical form. What cannot be understood is left for the validation.

    Args:
        given: The arguments as the host sent them.
        schema: The tool's JSON schema.

    Raises:
        RequestError: `max_price_usd` is not clearly an amount.
    """
    known, required = schema["properties"], schema.get("required", ())
    values: dict[str, Any] = {}
    notes: list[str] = []
    for name, value in given.items():
        if name not in known:
            values |= {} if name in IGNORED else {name: value}
        elif name in required or not _is_left_out(name, value):
            values[name], note = _read_value(name, value, known[name])
            notes += note
    return Arguments(values, tuple(notes))


def _is_left_out(name: str, value: object) -> bool:
    """Return True if an optional argument's value means that it has none. An empty price limit is not one of these."""
    if value is None:
        return True
    if name == "seed":
        return _find_integer(value) == -1 or _is_blank(value)
    return name != "max_price_usd" and _is_blank(value)


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def _read_value(name: str, value: object, schema: Mapping[str, Any]) -> tuple[object, list[str]]:
    """Return a value in canonical form, and a note if it was changed to another one."""
    if name in _NAMES:
        return (_read_name(value) if isinstance(value, str) else value), []
    if schema.get("type") == "array" and isinstance(value, str) and not value.lstrip().startswith("["):
        return [value], []
    if name == "max_price_usd":
        return _read_amount(value), []
    if name in _CLAMPED:
        return _clamp(name, value)
    choices = schema.get("enum", ())
    return (_read_choice(value, choices) if choices else value), []


def _read_name(text: str) -> str:
    """Return a name in the case and with the hyphens of the studio."""
    return text.strip().casefold().replace("_", "-")


def _read_choice(value: object, choices: Sequence[str]) -> object:
    if not isinstance(value, str):
        return value
    plain = _read_name(value)
    ratio = _RATIO.fullmatch(plain)
    plain = f"{ratio[1]}:{ratio[2]}" if ratio else _SYNONYMS.get(plain, plain)
    return plain if plain in choices else value


def _read_amount(value: object) -> str:
    """Return a price limit as digits. A doubtful one is refused: it could be read as a larger one, or as none."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**9
    written = str(value) if number else value if isinstance(value, str) else ""
    found = _AMOUNT.fullmatch(written.strip())
    if found is not None:
        return found[1]
    shown = f" {quote_text(written, _VALUE_CHARACTERS_MAX)}" if written else ""
    raise RequestError(
        f"The value{shown} of max_price_usd is not an amount in US dollars.",
        NextStep('Write {0} with digits and at most six decimals, such as "0.50", then {1}.',
                 Argument("max_price_usd"), Repeat(changed=True)),
    )  # fmt: skip


def _clamp(name: str, value: object) -> tuple[object, list[str]]:
    low, high = _CLAMPED[name]
    number = _find_integer(value)
    if number is None or low <= number <= high:
        return value, []
    used, which = (low, "least") if number < low else (high, "most")
    return used, [f"{name}: {used} was used, the {which} that is possible."]


def _find_integer(value: object) -> int | None:
    """Return a whole number in any of the forms that the validation takes, or None."""
    if isinstance(value, str):
        return int(value) if _INTEGER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None
