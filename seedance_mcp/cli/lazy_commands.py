"""Lazy commands: a group whose commands are loaded when they are used: loading one takes longer than running it.

A list of commands and a completion show the table's summaries, and load none.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import typer

from seedance_mcp.cli.command_types import Command, Context, Group


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command or a group of commands is.

    Attributes:
        place: Its module below `seedance_mcp.cli`, and after a colon the function, or the `typer.Typer` of a group.
        summary: Its line in the list of commands; short enough for a terminal of 80 columns.
    """

    place: str
    summary: str


@dataclass(slots=True)
class LoadedCommands(MutableMapping[str, Any]):
    """The commands of a table by name; looking one up loads it.

    Attributes:
        entries: The table.
    """

    entries: Mapping[str, Entry]
    _loaded: dict[str, Any] = field(default_factory=dict[str, Any])

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, self.entries[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def _load(name: str, entry: Entry) -> Any:
    """Build a command or a group as Typer does."""
    module, _, attribute = entry.place.partition(":")
    found = getattr(importlib.import_module(f"seedance_mcp.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        command, found = found, typer.Typer(add_completion=False, rich_markup_mode=None)
        found.command(name=name, cls=Command)(command)
    built: Any = typer.main.get_command(found)
    built.name = name
    return built


class LazyGroup(Group):
    """A group of the commands in a table."""

    entries: ClassVar[Mapping[str, Entry]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = LoadedCommands(self.entries)
        self._is_listing = False

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of all commands, in the order of the table, and load none of them."""
        return list(self.entries)

    def get_command(self, ctx: Context, cmd_name: str) -> Any:
        """Return a command, or None; while commands are listed, one that has only a summary."""
        if cmd_name not in self.entries:
            return None
        if self._is_listing:
            return Command(name=cmd_name, short_help=self.entries[cmd_name].summary, callback=None)
        return self.commands[cmd_name]

    def format_commands(self, ctx: Context, formatter: Any) -> None:
        """Write the list of commands."""
        self._is_listing = True
        try:
            super().format_commands(ctx, formatter)
        finally:
            self._is_listing = False

    def shell_complete(self, ctx: Context, incomplete: str) -> list[Any]:
        """Return the completions of a half-typed command."""
        self._is_listing = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self._is_listing = False
