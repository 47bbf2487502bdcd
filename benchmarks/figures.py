"""Figures: what the benchmarks measure and promise, in one table; the common shape of their results.

Each benchmark reports its figures by name, `--json FILE` writes them, and `benchmarks/run_all` puts those of one run
into the table of README. A figure that depends on the machine is a ratio to something bare beside it. One without a
target is only shown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RAW = "-"
"""What `--json` without a file is."""
RESULTS = Path(__file__).with_name("results.json")
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- Written by benchmarks/run_all; a change here is lost. -->", "<!-- The end of the table. -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A row of the table.

    Attributes:
        text: What is measured.
        unit: Its unit; "times" for a ratio.
        at_most: The largest value that keeps the promise.
        at_least: The smallest one.
        beside: What the figure is compared with, or what is measured in the same run.
    """

    text: str
    unit: str = "times"
    at_most: float | None = None
    at_least: float | None = None
    beside: str = ""

    @property
    def target(self) -> str:
        """Return the target for people; empty if the figure is only shown."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"

    def is_kept(self, value: float) -> bool | None:
        """Return True if a value keeps the promise, and None if there is none."""
        if self.at_most is not None:
            return value <= self.at_most
        return None if self.at_least is None else value >= self.at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure.

    Attributes:
        name: The benchmark, a full stop, and a name of its own.
        value: The value.
        unit: Its unit.
        target: The target for people.
        passed: Whether it is met; None if the figure is only shown.
        beside: The value of what is beside it, for people.
    """

    name: str
    value: float
    unit: str
    target: str
    passed: bool | None
    beside: str


PROMISES: Mapping[str, Promise] = {
    "startup.tools": Promise(
        text="Spawn to the answer of `tools/list`, without any setting", at_most=0.25, beside="a bare server of the SDK"
    ),
    "startup.memory": Promise(text="Memory once it has loaded", at_most=1.05, beside="a bare server of the SDK"),
    "startup.call": Promise(text="Answer of the first call", at_most=1.1, beside="the server without its greeter"),
    "startup.uncompiled": Promise(text="How much later the tools come without compiled files", unit="s", at_most=0.5),
    "peers.fastest": Promise(text="Spawn to the answer of `tools/list`", at_most=1, beside="the fastest peer"),
    "agent_cost.tools": Promise(text="`tools/list` with seven tools", unit="tokens", at_most=2700),
    "agent_cost.instructions": Promise(text="Instructions", unit="words", at_most=149),
    "agent_cost.calls": Promise(text="Calls for a video of more than a minute, with a quote", unit="calls", at_most=5),
    "cli_startup.version": Promise(text="Processor time of `--version`", beside="a bare Typer program"),
    "cli_startup.help": Promise(text="Processor time of `--help`", beside="a bare Typer program"),
    "overhead.cpu": Promise(
        text="Processor time of a warm server for one video",
        unit="ms",
        at_most=50,
        beside="a script of its unpaid steps",
    ),
    "overhead.time": Promise(text="Time from the call to the file", beside="a script of its unpaid steps"),
    "downloads.cpu": Promise(
        text="Processor time of saving 10 MB", unit="ms", at_most=60, beside="a bare httpx loop that writes a file"
    ),
    "downloads.ratio": Promise(text="The same", beside="a bare httpx loop that writes a file"),
    "downloads.memory": Promise(text="Memory of a download, four at a time", unit="MiB", at_most=16),
    "downloads.link": Promise(text="Share of a link of 50 MB/s", unit="", at_least=0.9, beside="50 MB/s"),
    "reservations.ratio": Promise(
        text="A reservation among 100,000 payments", at_most=2, beside="one among 1,000 payments"
    ),
    "polling.requests": Promise(text="Requests a minute and wallet, for any number of jobs", unit="", at_most=20),
    "polling.lag_1": Promise(text="Median lag of one job", unit="s", at_most=1.5, beside="a loop per job"),
    "polling.lag_100": Promise(text="Median lag of 100 jobs", unit="s", at_most=3, beside="a loop per job"),
    "polling.lag_1000": Promise(text="Median lag of 1,000 jobs", unit="s", at_most=3, beside="a loop per job"),
    "polling.lag_p95": Promise(text="95th percentile of the lag, at the worst number of jobs", unit="s", at_most=8),
    "polling.memory": Promise(text="Memory of 10,000 jobs", unit="MiB", at_most=100, beside="the idle process"),
    "polling.core": Promise(text="Part of a core that 10,000 jobs take", unit="", at_most=0.05),
    "hosted.reservations": Promise(
        text="Reservations in PostgreSQL, at the worst number of writers", at_least=0.6, beside="a bare psycopg loop"
    ),
    "hosted.tools": Promise(
        text="`tools/list` through `serve`, with all checks", at_least=0.8, beside="a bare server of the SDK"
    ),
    "hosted.orders": Promise(text="Whole orders per second of a replica's processor time", unit="orders"),
    "hosted.memory": Promise(text="Memory of a replica at most", unit="MB"),
    "hosted_chaos.broken": Promise(text="Broken promises of replicas that keep stopping", unit="", at_most=0),
    "kill_matrix.broken": Promise(
        text="Videos of killed servers that were paid twice, lost, overspent or stuck", unit="", at_most=0
    ),
    "kill_matrix.films": Promise(
        text="Films of killed servers that were paid twice, lost, overspent or stuck", unit="", at_most=0
    ),
}
"""Every figure, in the order of the table."""


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json [FILE]`."""
    text = "write the figures to FILE; without FILE, print raw data instead of a table"
    parser.add_argument("--json", nargs="?", const=RAW, metavar="FILE", help=text)


def report(name: str, value: float, beside: str = "") -> Figure:
    """Return a figure with its target.

    Args:
        name: One of `PROMISES`.
        value: What was measured.
        beside: The value beside it, with its unit.
    """
    promise = PROMISES[name]
    return Figure(
        name=name,
        value=round(value, 3),
        unit=promise.unit,
        target=promise.target,
        passed=promise.is_kept(value),
        beside=beside,
    )


def finish(figures: Sequence[Figure], file: str | None) -> int:
    """Write the figures where the owner wants them; return the exit code of the benchmark.

    Args:
        figures: What was measured.
        file: The value of `--json`.
    """
    if file not in (None, RAW):
        Path(str(file)).write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", "utf-8")
    return int(any(figure.passed is False for figure in figures))


def read_results(file: Path = RESULTS) -> dict[str, Any]:
    """Return the last run; an empty one if there is none."""
    return json.loads(file.read_text("utf-8")) if file.exists() else {"figures": []}


def render_table(results: Mapping[str, Any], commands: Mapping[str, str]) -> str:
    """Return the table of README.

    Args:
        results: What `run_all` wrote.
        commands: The command of each benchmark, by the first part of a figure's name, or of one figure, by its name.
    """
    measured, missing = {figure["name"]: figure for figure in results["figures"]}, results.get("missing", ())
    lines = ["| figure | target | measured | beside it | command |", "|---|---|---|---|---|"]
    for name, promise in PROMISES.items():
        command = commands.get(name) or commands.get(name.partition(".")[0])
        if command is None:
            continue
        figure = measured.get(name)
        beside = promise.beside
        if figure is not None and figure["beside"]:
            beside = f"{beside}: {figure['beside']}" if beside else figure["beside"]
        cells = (
            promise.text,
            " ".join(filter(None, (promise.target, promise.unit if promise.target else ""))) or "only shown",
            _show(figure) if figure is not None else "**not measured**" if name in missing else "not yet",
            beside,
            f"`{command}`",
        )
        lines.append("| " + " | ".join(cells) + " |")
    when = results.get("measured_at")
    told = f"Measured on {when}, {results['machine']}." if when else "There is no run of `benchmarks/run_all` yet."
    return "\n".join([BEGIN, "", *lines, "", told, "", END])


def _show(figure: Mapping[str, Any]) -> str:
    text = " ".join(filter(None, (f"{figure['value']:g}", figure["unit"])))
    return f"**{text}, missed**" if figure["passed"] is False else text


def replace_table(readme: str, table: str) -> str:
    """Return README with another table between its marks."""
    before, rest = readme.split(BEGIN, 1)
    return before + table + rest.split(END, 1)[1]
