"""Start of commands: how much processor time does each command take to start, against an older checkout?

Usage: python benchmarks/cli_startup.py [--baseline FOLDER] [--runs 15] [--only jobs] [--json]

Runs each command of this checkout and of the baseline's in turn, in the same Python and an empty home, and shows the
median processor time (user and system) of each, with the ratio. `--version`, `--help`, the help of every command,
completion and commands that run must take at most half of the baseline's time. The help of a command that the baseline
does not have is compared with the baseline's `jobs --help`.
Without a baseline, the ratio is to a program of Typer that has one empty command: what no command of Typer can do
without.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # figures are shared by the benchmarks

from benchmarks.figures import RAW, add_json_option, finish, report

RATIO_MAX = 0.5
"""Against a baseline, commands take at most this part of its time."""
ROOT = Path(__file__).resolve().parents[1]
COMPLETING = "_SEEDANCE_MCP_COMPLETE"
BARE = "import typer\napp = typer.Typer(rich_markup_mode=None)\n@app.command()\ndef main() -> None: ...\napp()\n"
KNOWN_TO_ALL = ["jobs", "--help"]
"""What is compared with a command that the baseline does not have."""
USAGE = 2
"""Exit code of a command that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of the program.

    Attributes:
        name: Its name in the table.
        words: The command line, without the program's name.
        environ: Variables of its own.
    """

    name: str
    words: list[str]
    environ: dict[str, str] = field(default_factory=dict[str, str])


def list_starts() -> list[Start]:
    """Return what is measured: the help of each command, completions, and commands that run."""
    sys.path.insert(0, str(ROOT))
    from seedance_mcp.cli.commands import COMMANDS

    nested = ["wallet show", "wallet fund", "wallet limits set", "callers add", "ledger open"]
    helps = [Start(name=f"{name} --help", words=[*name.split(), "--help"]) for name in [*COMMANDS, *nested]]
    completions = [
        Start(name=f"TAB after {typed!r}", words=[], environ={
            COMPLETING: "complete_bash", "COMP_WORDS": f"seedance-mcp {typed}", "COMP_CWORD": str(typed.count(" ") + 1),
        })
        for typed in ("un", "wallet ex", "jobs --st")
    ]  # fmt: skip
    running = ["jobs", "wallet limits", "wallet payments", "wallet show", "quote missing.jpg --prompt x"]
    return [
        Start(name="--version", words=["--version"]),
        Start(name="--help", words=["--help"]),
        *helps,
        *completions,
        *(Start(name=line, words=line.split()) for line in running),
    ]


def measure(python_code: str, words: list[str], environ: dict[str, str]) -> tuple[float, int]:
    """Return the milliseconds of processor time of one process, and its exit code."""
    with tempfile.TemporaryDirectory(prefix="cli-startup-") as home:
        process = subprocess.Popen(
            [sys.executable, "-c", python_code, *words],
            cwd=home,
            env={
                **environ_with_byte_code(),
                "HOME": home,
                "SEEDANCE_DATA_DIR": home,
                **environ,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return (usage.ru_utime + usage.ru_stime) * 1000, process.returncode


def environ_with_byte_code() -> dict[str, str]:
    """Return the environment in which Python keeps compiled modules, as an installed program has them."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run_module(folder: Path) -> str:
    """Return what runs the command of a checkout, whatever else is installed."""
    return (
        f"import sys; sys.path.insert(0, {str(folder)!r}); sys.argv[0] = 'seedance-mcp'; "
        "import seedance_mcp.__main__ as program; program.main()"
    )


def compare(start: Start, baseline: Path | None, runs: int) -> dict[str, object]:
    """Return both medians and their ratio, measured in turns."""
    ours: list[float] = []
    theirs: list[float] = []
    words = start.words
    is_help = words[-1:] == ["--help"]
    if baseline is not None and is_help and measure(run_module(baseline), words, start.environ)[1] == USAGE:
        words = KNOWN_TO_ALL
    for _ in range(runs + 1):  # the first of each writes its byte code
        ours.append(measure(run_module(ROOT), start.words, start.environ)[0])
        if baseline is None:
            theirs.append(measure(BARE, ["--help"], {})[0])
        else:
            theirs.append(measure(run_module(baseline), words, start.environ)[0])
    mine, other = statistics.median(ours[1:]), statistics.median(theirs[1:])
    return {
        "command": start.name,
        "milliseconds": round(mine, 1),
        "baseline_milliseconds": round(other, 1),
        "ratio": round(mine / other, 2),
        "ratio_max": None if baseline is None else RATIO_MAX,
    }


def print_row(row: dict[str, object], other: str) -> None:
    """Print a line of the table."""
    bound = "" if row["ratio_max"] is None else f" (at most {row['ratio_max']})"
    print(
        f"{row['command']:28} {row['milliseconds']:>7} ms, {other} {row['baseline_milliseconds']:>7} ms, "
        f"ratio {row['ratio']:.2f}{bound}",
        flush=True,
    )


def is_slow(row: dict[str, object]) -> bool:
    """Return True if a row is above its bound."""
    return row["ratio_max"] is not None and float(str(row["ratio"])) > RATIO_MAX


def main() -> int:
    """Measure and show; 1 if a ratio is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--only", default="", help="only commands whose line in the table has this in it")
    add_json_option(parser)
    arguments = parser.parse_args()
    baseline: Path | None = arguments.baseline
    rows: list[dict[str, object]] = []
    for start in list_starts():
        if arguments.only in start.name:
            rows.append(compare(start, baseline, arguments.runs))
            if arguments.json != RAW:
                print_row(rows[-1], "bare Typer" if baseline is None else "baseline")
    slow = [str(row["command"]) for row in rows if is_slow(row)]
    if arguments.json == RAW:
        print(json.dumps(rows))
    elif baseline is not None:
        print(f"above {RATIO_MAX}: {', '.join(slow) or 'none'}")
    found = {str(row["command"]): row for row in rows}
    reported = [
        report(name, float(str(row["ratio"])), f"{row['baseline_milliseconds']} ms")
        for name, command in (("cli_startup.version", "--version"), ("cli_startup.help", "--help"))
        if baseline is None and (row := found.get(command)) is not None
    ]
    return finish(reported, arguments.json) or int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
