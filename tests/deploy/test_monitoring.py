"""Alert rules and dashboard: valid by Prometheus's own tool, and about metrics and labels that a server really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.server import metrics
from tests.deploy.containers import ROOT, read_documents

FOLDER = ROOT / "deploy/monitoring"
FUNCTIONS = {
    "and", "by", "count", "histogram_quantile", "increase", "label_values", "max", "min", "or", "rate", "sum", "unless",
    "vector",
}  # fmt: skip
OF_PROMETHEUS = {"instance", "job", "le", "up"}


def read_rules() -> list[dict[str, Any]]:
    return [rule for group in read_documents("deploy/monitoring/alerts.yaml")[0]["groups"] for rule in group["rules"]]


def read_dashboard() -> dict[str, Any]:
    return json.loads((FOLDER / "dashboard.json").read_text())


def list_queries() -> list[str]:
    panels = [target["expr"] for panel in read_dashboard()["panels"] for target in panel["targets"]]
    return [*panels, *(rule["expr"] for rule in read_rules())]


def find_names(query: str) -> set[str]:
    """Return the metrics and labels that a query names."""
    bare = re.sub(r'"[^"]*"|\[\w+\]|\d+\.?\d*(e\d+)?|\$\w+', " ", query)
    return {name for name in re.findall(r"[a-zA-Z_]\w*", bare) if name not in FUNCTIONS}


def find_known_names() -> set[str]:
    """Return what a metric or a label may be called, by the source that makes them."""
    source = Path(metrics.__file__).read_text()
    named = set(re.findall(r'"([a-z_]+)"', source))
    counters = {f"{name}_total" for name in named} | {
        f"{name}_{part}" for name in named for part in ("bucket", "sum", "count")
    }
    return named | counters | OF_PROMETHEUS


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool on this machine (Debian: prometheus)")
    return found


@pytest.mark.parametrize(("command", "file"), [("check", "alerts.yaml"), ("test", "alerts_test.yaml")])
def test_alert_rules_pass_the_tool_of_prometheus(promtool: str, command: str, file: str) -> None:
    done = subprocess.run([promtool, command, "rules", file], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_explained() -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    tested = (FOLDER / "alerts_test.yaml").read_text()
    for rule in read_rules():
        assert f"alertname: {rule['alert']}, exp_alerts: [{{" in tested, rule["alert"]
        assert f"| `{rule['alert']}` |" in page, rule["alert"]


def test_queries_name_only_metrics_and_labels_that_exist() -> None:
    known = find_known_names()
    for query in list_queries():
        assert find_names(query) <= known, (query, find_names(query) - known)


def test_alerts_name_only_error_codes_that_exist() -> None:
    codes = {"exception", *(one.code for one in list_errors(SeedanceError))}
    named = re.findall(r'error_type=~"([a-z_|]+)"', "".join(list_queries()))
    assert named
    assert {code for codes_named in named for code in codes_named.split("|")} <= codes


def list_errors(root: type[SeedanceError]) -> list[type[SeedanceError]]:
    return [root, *(one for child in root.__subclasses__() for one in list_errors(child))]


def test_the_dashboard_is_about_all_that_the_ledger_tells() -> None:
    shown = {name for query in list_queries() for name in find_names(query)}
    told = set(re.findall(r'"(seedance_[a-z_]+)"', Path(metrics.__file__).read_text()))
    assert {name for name in told if not any(one.startswith(name) for one in shown)} == set()
    panels = read_dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
