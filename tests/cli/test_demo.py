"""What the demo leaves: its video, and nothing of the throwaway wallet and ledger."""

import os
from pathlib import Path
from typing import Any

import pytest

from seedance_mcp.app.local_sandbox import start_sandbox
from seedance_mcp.cli.demo import clear_run
from seedance_mcp.core.errors import ConfigError
from tests.cli.conftest import Ended, Person

EXAMPLE_CLIP = b"the clip of an earlier demo"


def run_demo(*words: str) -> Ended:
    """Run it in this process, its server in another; tests/integration has one in a process of its own."""
    return Person(Path.cwd(), {}).run("demo", "--json", "--job-seconds", "0.2", *words)


def list_left() -> list[Path]:
    """Every file in the data folder."""
    return sorted(path for path in Path(os.environ["SEEDANCE_DATA_DIR"]).rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_demo_leaves_its_video_and_keeps_those_of_earlier_ones() -> None:
    folder = Path(os.environ["SEEDANCE_DATA_DIR"]) / "demo"
    earlier = folder / "20260101-000000-a1b2c3d4-cmw1.mp4"
    folder.mkdir(parents=True)
    earlier.write_bytes(EXAMPLE_CLIP)

    video = Path(run_demo().json["file"])

    assert video != earlier
    assert list_left() == sorted([earlier, video])
    assert video.parent == folder
    assert video.read_bytes()[4:8] == b"ftyp"
    assert earlier.read_bytes() == EXAMPLE_CLIP


def test_a_demo_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "no-picture.png").write_text("no picture")

    failed = run_demo(str(tmp_path / "no-picture.png"))

    assert failed.code == 2
    assert set(failed.json) == {"error"}
    assert "picture" in failed.one_line
    assert failed.one_line.startswith("seedance-mcp: ")
    assert list_left() == []


def test_a_demo_where_nothing_can_be_written_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").write_text("")  # a file, where the folder should be
    monkeypatch.setenv("SEEDANCE_DATA_DIR", str(tmp_path))

    failed = run_demo()

    assert failed.code == 2
    [line] = failed.err.strip().splitlines()
    assert f"{tmp_path / 'demo'} cannot be written: File exists." in line
    assert line.endswith("Name another folder in SEEDANCE_DATA_DIR.")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rails": ("paypal",)}, "unknown rails 'paypal'; choose from: x402, mpp"),
        ({"faults": ("bad_luck",)}, "unknown fault 'bad_luck'; choose from: "),
    ],
)
def test_an_option_that_no_sandbox_knows_is_told_as_an_option(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        start_sandbox(wallet="0x" + "1" * 40, **options)
    assert caught.value.what.startswith(f"The sandbox cannot be started: {text}")
    assert str(caught.value.next_step) == "Correct that option."


def test_the_folder_of_a_demo_that_was_broken_off_stays_where_a_video_is_in_it(tmp_path: Path) -> None:
    for name in ("with", "without"):
        (tmp_path / name / "sandbox" / "videos").mkdir(parents=True)
        (tmp_path / name / "wallet.json").write_text("{}")
    video = tmp_path / "with" / "sandbox" / "videos" / "clip.mp4"
    video.write_bytes(b"a clip")

    clear_run(tmp_path / "with")
    clear_run(tmp_path / "without")

    assert video.read_bytes() == b"a clip"
    assert not (tmp_path / "without").exists()
