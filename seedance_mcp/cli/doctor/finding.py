"""Findings: what the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ChainError, StudioRejectedError, StudioUnreachableError
from seedance_mcp.core.next_steps import NextStep

Health = Literal["ok", "note", "wrong", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about one thing.

    Attributes:
        topic: The thing.
        health: `ok`; `note`, which works but should be known; `wrong`; `unknown`, which could not be looked at.
        text: What is so.
        advice: What to do, or empty.
        remote: Whether the fault, if it is one, is elsewhere.
    """

    topic: str
    health: Health
    text: str
    advice: NextStep | str = ""
    remote: bool = False


def build_problem(topic: str, exc: SeedanceError) -> Finding:
    """Return an error as a finding."""
    remote = isinstance(exc, ChainError | StudioUnreachableError | StudioRejectedError)
    return Finding(topic=topic, health="wrong", text=exc.what, advice=exc.next_step, remote=remote)
