"""Start of commands: how much processor time do `--version`, `--help` and a completion take, against an older checkout?

Usage: python benchmarks/cli_startup.py [--baseline FOLDER] [--runs 15] [--json]

Runs each command of this checkout and of the baseline's in turn, in the same Python, and shows the median processor
time (user and system) of each, with the ratio. Without a baseline, the ratio is to a program of Typer that has one
empty command: what no command of Typer can do without.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RATIO_MAX = 0.5
"""Against a baseline, `JUDGED` take at most this part of their time."""
ROOT = Path(__file__).resolve().parents[1]
COMPLETING = {"_SEEDANCE_MCP_COMPLETE": "complete_bash", "COMP_WORDS": "seedance-mcp un", "COMP_CWORD": "1"}
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "--version": (["--version"], {}),
    "--help": (["--help"], {}),
    "completion": ([], COMPLETING),
    "animate --help": (["animate", "--help"], {}),
    "jobs": (["jobs"], {}),
}
JUDGED = ("--version", "--help", "completion")
BARE = "import typer\napp = typer.Typer(rich_markup_mode=None)\n@app.command()\ndef main() -> None: ...\napp()\n"


def measure(python_code: str, words: list[str], environ: dict[str, str]) -> float:
    """Return the milliseconds of processor time of one process."""
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
        return (usage.ru_utime + usage.ru_stime) * 1000


def environ_with_byte_code() -> dict[str, str]:
    """Return the environment in which Python keeps compiled modules, as an installed program has them."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run_module(folder: Path) -> str:
    """Return what runs the command of a checkout, whatever else is installed."""
    return (
        f"import sys; sys.path.insert(0, {str(folder)!r}); sys.argv[0] = 'seedance-mcp'; "
        "import seedance_mcp.__main__ as program; program.main()"
    )


def compare(name: str, baseline: Path | None, runs: int) -> dict[str, object]:
    """Return both medians and their ratio, measured in turns."""
    words, environ = COMMANDS[name]
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(runs + 1):  # the first of each writes its byte code
        ours.append(measure(run_module(ROOT), words, environ))
        if baseline is None:
            theirs.append(measure(BARE, ["--help"], {}))
        else:
            theirs.append(measure(run_module(baseline), words, environ))
    mine, other = statistics.median(ours[1:]), statistics.median(theirs[1:])
    return {
        "command": name,
        "milliseconds": round(mine, 1),
        "baseline_milliseconds": round(other, 1),
        "ratio": round(mine / other, 2),
    }


def main() -> int:
    """Measure and show; 1 if a ratio to a baseline is above `RATIO_MAX`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    baseline: Path | None = arguments.baseline
    rows = [compare(name, baseline, arguments.runs) for name in COMMANDS]
    if arguments.json:
        print(json.dumps(rows))
    else:
        other = "bare Typer" if baseline is None else "baseline"
        for row in rows:
            print(
                f"{row['command']:15} {row['milliseconds']:>7} ms, {other} {row['baseline_milliseconds']:>7} ms, "
                f"ratio {row['ratio']}"
            )
    judged = [row for row in rows if row["command"] in JUDGED]
    return int(baseline is not None and any(float(str(row["ratio"])) > RATIO_MAX for row in judged))


if __name__ == "__main__":
    sys.exit(main())
