"""Every benchmark has its rows in the table, its section, and the options that `benchmarks/run_all` uses."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import PROMISES, README, finish, read_results, render_table, report

BENCHMARKS = README.parent
RUN_ALL = BENCHMARKS / "run_all"


def list_benchmarks() -> list[str]:
    """The scripts that measure something; the others are parts of them."""
    scripts = sorted(BENCHMARKS.glob("*.py"))
    return [script.stem for script in scripts if "\ndef main()" in script.read_text("utf-8")]


def test_each_benchmark_has_figures_and_a_section() -> None:
    readme = README.read_text("utf-8")
    measured = {name.partition(".")[0] for name in PROMISES}
    assert set(list_benchmarks()) <= measured
    for name in list_benchmarks():
        assert f"## `{name}.py`" in readme
        assert f"`python benchmarks/{name}.py" in readme


def test_the_table_is_that_of_the_last_run() -> None:
    done = subprocess.run([sys.executable, RUN_ALL, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_table_names_what_could_not_be_measured() -> None:
    table = render_table({"figures": [], "missing": ["polling.core"]}, {"polling": "run"})
    cells = {row.split(" | ")[0]: row.split(" | ")[2] for row in table.splitlines() if row.endswith("`run` |")}

    assert cells.pop(f"| {PROMISES['polling.core'].text}") == "**not measured**"
    assert set(cells.values()) == {"not yet"}


def test_the_last_run_kept_todays_promises() -> None:
    """A target that was changed since is measured again, or the table says that it is missed."""
    for figure in read_results()["figures"]:
        promise = PROMISES[figure["name"]]
        assert (figure["target"], figure["passed"]) == (promise.target, promise.is_kept(figure["value"]))


@pytest.mark.parametrize("name", list_benchmarks())
def test_help_names_the_file_of_figures(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("downloads.cpu", 60, 0), ("downloads.cpu", 60.1, 1), ("downloads.link", 0.9, 0), ("downloads.link", 0.8, 1)],
)
def test_a_missed_target_is_an_exit_code(name: str, value: float, code: int, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert finish((report(name, value), report("downloads.ratio", 99)), str(file)) == code
    assert f'"passed": {"false" if code else "true"}' in file.read_text("utf-8")
