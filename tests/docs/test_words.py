"""The word list of scripts/check_words: it finds the words that the glossary replaces, and accepts the others."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.programs import ROOT

SCRIPT = ROOT / "scripts" / "check_words"
check_file = runpy.run_path(str(SCRIPT))["check_file"]


def write(folder: Path, name: str, text: str) -> Path:
    """Write a file below a folder."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("name", "line", "word", "better"),
    [
        ("page.md", "Nobody asks whoever pays.", "Nobody", "no one"),
        ("page.md", "Call `Buyer.buy` once.", "Buyer", "PaymentExecutor"),
        ("code.py", "fingerprint = 1", "fingerprint", "idempotency_key"),
        ("code.py", "def make_clip(): ...", "make_clip", "video"),
        ("code.py", "def test_nobody_pays_twice(): ...", "nobody", "no one"),
        ("seedance_mcp/code.py", 'TEXT = "The clip is saved."', "clip", "video"),
    ],
)
def test_word_of_the_glossary_is_found(tmp_path: Path, name: str, line: str, word: str, better: str) -> None:
    assert (2, word, better) in check_file(write(tmp_path, name, f"\n{line}\n"))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("page.md", "Your clip is saved. The column `fingerprint` holds the idempotency key. Funds arrive."),
        ("code.py", 'SQL = "SELECT fingerprint FROM payments"'),
        ("seedance_mcp/code.py", 'ROUTE = "/clips/{name}"'),
        ("CHANGELOG.md", "## [Unreleased]\n\nNews.\n\n## [0.1.0]\n\nNobody reads this."),
    ],
)
def test_other_words_are_accepted(tmp_path: Path, name: str, line: str) -> None:
    assert check_file(write(tmp_path, name, line)) == []


def test_script_prints_place_and_word_and_fails(tmp_path: Path) -> None:
    bad = write(tmp_path, "bad.md", "Nobody pays.\n")
    good = write(tmp_path, "good.md", "No one pays.\n")

    found = subprocess.run([sys.executable, str(SCRIPT), str(good), str(bad)], capture_output=True, text=True)
    clean = subprocess.run([sys.executable, str(SCRIPT), str(good)], capture_output=True, text=True)

    assert (found.returncode, found.stdout) == (1, f"{bad}:1: 'Nobody': write 'no one'\n")
    assert (clean.returncode, clean.stdout) == (0, "")
