"""Words: how the command line tells a person what to do next. `--json` keeps the words of the tools.

The reader is the owner, and runs commands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seedance_mcp.app.results import to_json
from seedance_mcp.cli.asked import sandbox_asked
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.next_steps import (
    Action,
    Argument,
    AskUser,
    Call,
    Command,
    NextStep,
    Noun,
    OwnerDo,
    OwnerOnly,
    PickPicture,
    RaiseTake,
    Repeat,
    Report,
    Setting,
    Show,
    Tool,
)

COMMANDS: dict[Tool, str] = {
    "animate_image": "animate",
    "animate_storyboard": "film",
    "get_job": "get",
    "list_jobs": "jobs --studio",
    "quote_price": "quote",
    "upload_image": "upload",
    "wallet_status": "wallet payments",
}
"""The command that does what a tool does."""

WITHOUT_SANDBOX = (
    "budget",
    "callers",
    "demo",
    "ledger",
    "migrate",
    "payments",
    "sandbox",
    "serve",
    "uninstall",
    "wallet limits set",
)
"""Commands and groups that have no option `--sandbox`."""

_NAMES = {"job_id": "id", "image_url": "its URL"}
"""Arguments that are no options of a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandWords:
    """The words of the command line.

    Attributes:
        raise_take: How the reader asks for another video of the same request.
        sandbox: Whether the commands that are named need `--sandbox`.
    """

    raise_take: str = "raise --take by one"
    sandbox: bool = field(default_factory=sandbox_asked.get)

    def render_action(self, action: Action) -> str:
        """Return an imperative phrase without a full stop."""
        match action:
            case Repeat(changed):
                return "run it again" if changed else "run the same command again"
            case Call(tool, job_id):
                return f"run {self._name(f'{COMMANDS[tool]} {job_id}'.rstrip())}"
            case RaiseTake(take):
                return self.raise_take if take is None else f"give --take {take}"
            case Report():
                return f"run {self._name('doctor')}"
            case OwnerOnly(action=what):
                return f"only you can {what}"
            case OwnerDo(action=what) | AskUser(action=what):
                return what
            case Show(file):
                return f"it is in {file}"
            case PickPicture():
                return f"drop it on the page of {self._name('gallery')}"

    def render_noun(self, noun: Noun) -> str:
        """Return a name as a person types it."""
        match noun:
            case Argument(name, value):
                option = name.replace("_", "-")
                return _NAMES.get(name) or (f"--no-{option}" if value is False else f"--{option}")
            case Setting(name, value):
                return f"SEEDANCE_{name}={value}" if value else f"SEEDANCE_{name}"
            case Command(line):
                return self._name(line)

    def _name(self, line: str) -> str:
        return name_command(line, sandbox=self.sandbox)


def name_command(line: str, *, sandbox: bool | None = None) -> str:
    """Return a command of ours as a person types it; with `--sandbox` if the command that names it has that."""
    asked = sandbox_asked.get() if sandbox is None else sandbox
    takes_it = not any(f"{line} ".startswith(f"{name} ") for name in WITHOUT_SANDBOX)
    return f"seedance-mcp {line}{' --sandbox' if asked and takes_it else ''}"


def dump_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as data, in which the next steps are not yet rendered; as JSON they are in the tools' words."""
    steps = {name: value for name, value in result.items() if isinstance(value, NextStep)}
    return to_json(result) | steps


def for_person(text: NextStep | SeedanceError | str, words: CommandWords | None = None) -> str:
    """Return a text for the person at the terminal."""
    return text if isinstance(text, str) else text.render(words or CommandWords())
