"""Where nothing may be skipped, a test that needs a missing tool fails and names it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SKIPPED = """
import pytest

def test_needs_a_tool():
    pytest.skip("the tool is not installed")
"""


@pytest.mark.parametrize(("value", "code"), [("1", 1), ("", 0)])
def test_a_missing_tool_fails_the_run_where_nothing_may_be_skipped(tmp_path: Path, value: str, code: int) -> None:
    file = tmp_path / "test_tool.py"
    file.write_text(SKIPPED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-p", "no:cacheprovider", "-rs", str(file)]
    environ = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # it needs no other plugin, and they load for seconds
        "SEEDANCETEST_SKIP_NOTHING": value,
    }
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout
    assert "the tool is not installed" in done.stdout
