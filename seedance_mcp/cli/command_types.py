"""Command types: commands and groups of Typer's that check only what was typed.

Typer loads pydantic to find that a default is valid, or that `--help` was not given. That takes longer than most
commands do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

Context = Any
"""Typer has its own copy of Click's classes, at a private place."""
_PLAIN: tuple[Any, ...] = (NoneType, bool, float, int, str, tuple)
"""Types of defaults that a command takes as they are."""


@dataclass(frozen=True, slots=True)
class _Processing:
    """What a parameter does with its value: a default is passed on as it is.

    Attributes:
        parameter: An argument or an option.
        check: What Typer does with a value.
    """

    parameter: Any
    check: Callable[[Context, Any], Any]

    def __call__(self, ctx: Context, value: Any) -> Any:
        """Return what the command gets for the value that was typed, or for the default."""
        one, source = self.parameter, ctx.get_parameter_source(self.parameter.name)
        if one.required or source is None or source.name != "DEFAULT" or not isinstance(value, _PLAIN):
            return self.check(ctx, value)
        if value is None and (one.multiple or one.nargs == -1):
            value = ()
        return value if one.callback is None else one.callback(ctx, one, value)


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Context) -> list[Any]:
        """Return the arguments and options, `--help` among them."""
        return _leave_defaults(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Context) -> list[Any]:
        """Return the options, `--help` among them."""
        return _leave_defaults(super().get_params(ctx))


def _leave_defaults(parameters: list[Any]) -> list[Any]:
    for one in parameters:  # Typer makes them, and has no setting for their class
        if not isinstance(one.process_value, _Processing):
            one.process_value = _Processing(one, one.process_value)
    return parameters


def make_group(summary: str) -> typer.Typer:
    """Return an empty group, which shows its list if no command is given."""
    return typer.Typer(help=summary, cls=Group, no_args_is_help=True, rich_markup_mode=None, add_completion=False)
