"""Skipped tests: on a machine that must skip nothing, such as CI's, a skip is a failure."""

import os
from collections.abc import Generator
from typing import Any

import pytest

VARIABLE = "SEEDANCETEST_SKIP_NOTHING"
SKIP_NOTHING = os.environ.get(VARIABLE) == "1"  # read at import: a fixture takes our variables away


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[Any]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure that says what is missing."""
    del item, call
    report = yield
    if SKIP_NOTHING and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Skipped, though {VARIABLE}=1: {reason}"
    return report
