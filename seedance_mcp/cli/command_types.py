"""Command types: commands and groups of Typer's that check only what was typed.

Typer loads pydantic to find that a default is valid, or that `--help` was not given. That takes longer than most
commands do.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from types import NoneType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from seedance_mcp.core.errors import ConfigError

Context = Any
"""Typer has its own copy of Click's classes, at a private place."""
_PLAIN: tuple[Any, ...] = (NoneType, bool, float, int, str, tuple)
"""Types of defaults that a command takes as they are."""
_COMPLETION = ("install_completion", "show_completion")


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


@dataclass(frozen=True, slots=True)
class _TypeName:
    """What help calls the type of an option: a bounded number is a number, since its bounds stand beside it.

    Attributes:
        find: What Typer calls it.
    """

    find: Callable[[Context], str | None]

    def __call__(self, ctx: Context) -> str | None:
        """Return the name."""
        name = self.find(ctx)
        return None if name is None else name.replace(" range>", ">")


@dataclass(frozen=True, slots=True)
class _Completion:
    """What `--show-completion` and `--install-completion` do, with our words for a shell that Typer does not know.

    Attributes:
        complete: What Typer does; it ends the command.
    """

    complete: Callable[[Context, Any, Any], Any]

    def __call__(self, ctx: Context, parameter: Any, value: Any) -> Any:
        """Show or install the completion.

        Raises:
            ConfigError: There is none for this shell.
        """
        told = io.StringIO()
        try:
            with redirect_stdout(told), redirect_stderr(told):
                return self.complete(ctx, parameter, value)
        except typer.Exit as exc:
            raise ConfigError(
                "There is no completion for the shell that started this command.",
                "Run it in bash, zsh, fish or PowerShell.",
            ) from exc
        except SystemExit:
            typer.echo(told.getvalue(), nl=False)
            raise


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Context) -> list[Any]:
        """Return the arguments and options, `--help` among them."""
        parameters = _leave_defaults(super().get_params(ctx))
        for one in parameters:
            if one.param_type_name == "argument":
                _name_argument(one)
            elif not isinstance(find_type := getattr(one, "display_type_rich", _hide_type), _TypeName):
                one.display_type_rich = _TypeName(find_type)
        return parameters

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Return the pieces of the line of usage, as the documentation writes them: NAME, or [NAME] if left out."""
        arguments = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        names = [f"{one.metavar}{'...' if one.nargs != 1 else ''}" for one in arguments]
        pieces = [name if one.required else f"[{name}]" for name, one in zip(names, arguments, strict=True)]
        return [*pieces, *([self.options_metavar] if self.options_metavar else [])]


class Group(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Context) -> list[Any]:
        """Return the options, `--help` among them."""
        parameters = _leave_defaults(super().get_params(ctx))
        for one in parameters:
            if one.name in _COMPLETION and not isinstance(one.callback, _Completion):
                one.callback = _Completion(one.callback)
        return parameters


def _leave_defaults(parameters: list[Any]) -> list[Any]:
    for one in parameters:  # Typer makes them, and has no setting for their class
        if not isinstance(one.process_value, _Processing):
            one.process_value = _Processing(one, one.process_value)
    return parameters


def _name_argument(argument: Any) -> None:
    """Give an argument its name in capital letters, without its type: its help says what it is."""
    if argument.metavar is None:
        argument.metavar = argument.name.upper()
    argument.display_type_rich = _hide_type


def _hide_type(ctx: Context) -> None:
    """Return no name of a type."""
    del ctx


def make_group(summary: str) -> typer.Typer:
    """Return an empty group, which shows its list if no command is given."""
    return typer.Typer(help=summary, cls=Group, no_args_is_help=True, rich_markup_mode=None, add_completion=False)
