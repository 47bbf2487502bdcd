"""The modules of the pages: joined to one script, formatted, and of valid types."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from seedance_mcp.app.web.modules import ROOT as LOCAL_PAGES
from seedance_mcp.app.web.modules import join_modules
from seedance_mcp.server.ui_page import PACKAGE
from tests.compat.conftest import need_switch

ROOT = Path(__file__).parents[2]
CHECK_SECONDS = 300
DECLARED = re.compile(r"^(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)
LOCAL = ("gallery/page.js", "picker/page.js")
PAGES = (*((page, LOCAL_PAGES) for page in LOCAL), ("server/page/page.js", PACKAGE))


@pytest.mark.parametrize(("entry", "package"), PAGES)
def test_page_is_one_script_whose_names_are_unique(entry: str, package: str) -> None:
    script = join_modules(entry, package)
    names = DECLARED.findall(script)

    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


@pytest.mark.parametrize("entry", LOCAL)
def test_each_module_follows_those_that_it_imports(entry: str) -> None:
    script = join_modules(entry)

    assert script.count("function byId(") == 1
    assert script.index("function byId(") < script.index("function openDropZone(") < script.index('byId("data")')


@pytest.mark.compat
def test_modules_are_formatted_and_have_valid_types() -> None:
    need_switch()
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/check_pages", "--required"],
        capture_output=True,
        text=True,
        check=False,
        timeout=CHECK_SECONDS,
    )

    assert done.returncode == 0, done.stdout + done.stderr
