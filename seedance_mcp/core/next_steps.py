"""Next steps: what an error or a result asks its reader to do, in no interface's own words.

A `NextStep` is text with parts such as "make the same request again" or "change this setting". Each interface renders
the parts: `ToolWords` for models, JSON and logs, the command line for people. Texts here must not name a command, a
tool or an option outside a part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from seedance_mcp.core.redaction import redact

Tool = Literal[
    "animate_image", "animate_storyboard", "get_job", "list_jobs", "quote_price", "upload_image", "wallet_status"
]

_PLACE = re.compile(r"\{(\d)\}")


@dataclass(frozen=True, slots=True)
class Repeat:
    """Make the request again: the same one, or with changed arguments."""

    changed: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """Call a tool, about a job where one is named."""

    tool: Tool
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class RaiseTake:
    """Ask for another video than the one that was bought: by the next `take`, or by the one that is named."""

    take: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Find out with the owner's help what is wrong."""


@dataclass(frozen=True, slots=True)
class OwnerOnly:
    """Leave to the owner what no one else can do.

    Attributes:
        action: A verb phrase, such as `raise a limit`.
        stop: Whether a model must stop and tell the owner now.
    """

    action: str
    stop: bool = False


@dataclass(frozen=True, slots=True)
class OwnerDo:
    """Have the owner do something; `action` is a verb phrase."""

    action: str


@dataclass(frozen=True, slots=True)
class AskUser:
    """Have the user do something; `action` is a verb phrase."""

    action: str


@dataclass(frozen=True, slots=True)
class Show:
    """Show the user a file."""

    file: str


@dataclass(frozen=True, slots=True)
class PickPicture:
    """Get a page on which a person gives a picture that no path or URL names."""


@dataclass(frozen=True, slots=True)
class Argument:
    """Name an argument, or give it a value."""

    name: str
    value: bool | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """Name one of the owner's settings by its name without prefix, or give it a value."""

    name: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """Name a command of ours, without the program's name.

    Attributes:
        line: The command and its arguments.
        in_sandbox_too: Whether the reader may use the sandbox, where the command needs `--sandbox`.
    """

    line: str
    in_sandbox_too: bool = False


Action: TypeAlias = Repeat | Call | RaiseTake | Report | OwnerOnly | OwnerDo | AskUser | Show | PickPicture
"""What begins a sentence with a capital letter where it stands first."""
Noun: TypeAlias = Argument | Setting | Command


class Words(Protocol):
    """The words of one interface."""

    def render_action(self, action: Action) -> str:
        """Return an imperative phrase without a full stop."""
        ...

    def render_noun(self, noun: Noun) -> str:
        """Return a name as the reader writes it."""
        ...


class ToolWords:
    """The words of the tools: for models, JSON output and logs."""

    def render_action(self, action: Action) -> str:
        """Return an imperative phrase without a full stop."""
        match action:
            case Repeat(changed):
                return "call again" if changed else "make the same call again"
            case Call(tool, job_id):
                return f"call {tool} with job_id {job_id}" if job_id else f"call {tool}"
            case RaiseTake(take):
                return "raise take by one" if take is None else f"call again with take {take}"
            case Report():
                return "tell the owner"
            case OwnerOnly(action=what, stop=stop):
                return f"{'stop and tell the owner. Only' if stop else 'only'} the owner can {what}"
            case OwnerDo(action=what):
                return f"tell the owner to {what}"
            case AskUser(action=what):
                return f"ask the user to {what}"
            case Show(file):
                return f"show the user {file}"
            case PickPicture():
                return "call upload_image without image for a link where the user can drop the picture"

    def render_noun(self, noun: Noun) -> str:
        """Return a name as a caller of the tools writes it."""
        match noun:
            case Argument(name, value):
                return name if value is None else f"{name}={'true' if value else 'false'}"
            case Setting(name, value):
                return f"SEEDANCE_{name}={value}" if value else f"SEEDANCE_{name}"
            case Command(line, in_sandbox_too):
                return f"seedance-mcp {line}{', in the sandbox with --sandbox' if in_sandbox_too else ''}"


TOOL_WORDS = ToolWords()


@dataclass(frozen=True, slots=True, init=False)
class NextStep:
    """Sentences with parts, one for each `{0}`, `{1}` and so on; without parts, plain text.

    A part that is text stays as it is.
    """

    template: str
    parts: tuple[Action | Noun | NextStep | str, ...]

    def __init__(self, template: str, *parts: Action | Noun | NextStep | str) -> None:
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "parts", parts)

    def __str__(self) -> str:
        """Return the text in the words of the tools."""
        return self.render(TOOL_WORDS)

    def __bool__(self) -> bool:
        """Return True if there is something to do."""
        return bool(self.template)

    def render(self, words: Words) -> str:
        """Return the text in the words of one interface, without secrets."""
        return redact(self._render(words))

    def _render(self, words: Words) -> str:
        if not self.parts:
            return self.template

        def fill(place: re.Match[str]) -> str:
            part = self.parts[int(place[1])]
            begins = not place.start() or self.template[: place.start()].endswith((". ", "! "))
            return _render_part(part, words, begins=begins)

        return _PLACE.sub(fill, self.template)


def _render_part(part: Action | Noun | NextStep | str, words: Words, *, begins: bool) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, NextStep):
        return part.render(words)
    if isinstance(part, Noun):
        return words.render_noun(part)
    text = words.render_action(part)
    return text[:1].upper() + text[1:] if begins else text


def join_steps(*steps: NextStep | str) -> NextStep:
    """Return several texts as one, with spaces between those that are not empty."""
    given = [step for step in steps if step]
    return NextStep(" ".join(f"{{{number}}}" for number in range(len(given))), *given)


def make_step(step: NextStep | str) -> NextStep:
    """Return a plain text as a next step; another one stays as it is."""
    return NextStep(step) if isinstance(step, str) else step
