"""`doctor`: what is well, what is not, and what to do about it."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import anyio
import typer

from seedance_mcp.cli import exit_codes
from seedance_mcp.cli.console import AsJson, Sandbox, read_environ, say, shown
from seedance_mcp.cli.streams import clean, wrap_words
from seedance_mcp.cli.words import for_person

if TYPE_CHECKING:
    from seedance_mcp.cli.doctor.finding import Finding

_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "wrong": ("✗", "red"), "unknown": ("?", "dim")}


def doctor(sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Look at everything that must be right, and say what to do. Spends and changes nothing; works offline."""
    from seedance_mcp.cli.doctor.checks import examine  # not loaded to show the help

    findings = anyio.run(partial(examine, read_environ(sandbox), given=os.environ))
    if as_json:
        say(
            {
                "findings": [{**asdict(finding), "advice": str(finding.advice)} for finding in findings],
                "exit_code": find_code(findings),
            }
        )
    else:
        print_findings(findings)
    if find_code(findings):
        raise typer.Exit(find_code(findings))


def print_findings(findings: list[Finding]) -> None:
    """Print each finding on stdout, with what to do about it."""
    from rich.text import Text

    for finding in findings:
        mark, style = _MARKS[finding.health]
        indented = wrap_words(f"  {clean(f'{finding.topic}: {finding.text}')}", shown.width)
        text = Text(f"{mark} {indented[2:]}")
        text.stylize(style, 0, len(mark))
        shown.print(text)
        if finding.advice:
            shown.print(f"    {for_person(finding.advice)}", style="dim")


def find_code(findings: list[Finding]) -> int:
    """Return the exit code of what was found."""
    return exit_codes.gravest(
        [exit_codes.FAILED if finding.remote else exit_codes.YOURS for finding in findings if finding.health == "wrong"]
    )
