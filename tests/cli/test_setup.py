"""The guided set-up, at a real pseudo-terminal and without one, with the real sandbox."""

import json
import os
import stat
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.hosts import has_entry
from seedance_mcp.cli.viewing import name_program
from seedance_mcp.core.wire.payment_uri import build_payment_uri
from tests.cli.conftest import Person, write_keystore
from tests.cli.conversation import CTRL_C, converse
from tests.cli.installed import add_host, drop_variables

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
WITHOUT_STUDIO = ("--skip", "money", "--skip", "doctor", "--skip", "quote")

on_a_pseudo_terminal = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")


@pytest.fixture(autouse=True)
def _no_host_variables(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    drop_variables(monkeypatch)


@pytest.fixture
def newcomer(person: Person, studio_server: "Sandbox") -> Person:
    """A person with nothing, and a persistent sandbox."""
    return Person(person.folder, {"SEEDANCE_STUDIO_URL": studio_server.url})


def read_limits(person: Person) -> dict[str, object]:
    return tomllib.loads((person.data_dir / "settings.toml").read_text())


def read_key(person: Person) -> str:
    return json.loads((person.data_dir / "sandbox" / "wallet.json").read_text())["private_key"]


@on_a_pseudo_terminal
def test_leads_from_nothing_to_a_price_at_a_terminal(person: Person) -> None:
    add_host("cursor")
    person.draw("harbour.png")
    answers = [
        ("Install for Cursor? [y/N]:", "perhaps"),
        ("Error: type y for yes, or n for no.\r\nInstall for Cursor? [y/N]:", "y"),
        ("import a key, or skip [create]:", ""),
        ("one video, in dollars [1.50]:", "0.60"),
        ("24 hours, in dollars [5.00]:", "lots"),
        ("24 hours, in dollars [5.00]:", "$2"),
        ("will you send, in dollars [5.00]:", "0"),
        ("will you send, in dollars [5.00]:", "3"),
        ("Path of a picture", "gone.png"),
        ("Path of a picture", "harbour.png"),
    ]
    code, shown = converse(person, "setup", "--sandbox", answers=answers)

    assert code == 0, shown
    assert has_entry(HOSTS["cursor"], HOSTS["cursor"].find_file())
    assert read_limits(person) == {"max_price_per_video": "0.60", "max_per_day": "2.00"}
    assert "█▀" in shown  # the code
    assert "balance $3.00" in shown.replace("\n", "")
    assert "limits: $0.60 a video, $2.00 a day" in shown
    assert "$0.32" in shown.partition("[6/6]")[2]
    assert "seedance-mcp gallery --sandbox" in shown
    assert "Error: The amount is zero." in shown
    assert "Error: there is no file gone.png." in shown
    assert read_key(person).removeprefix("0x") not in shown


@on_a_pseudo_terminal
def test_password_of_a_locked_wallet_is_asked_once(person: Person) -> None:
    write_keystore(person.data_dir / "sandbox" / "wallet.json", "0x" + "1" * 64, "correct horse")
    answers = [
        ("wallet.json: ", "correct horse"),
        ("will you send, in dollars [5.00]:", "3"),
        ("Path of a picture", ""),
    ]
    code, shown = converse(person, "setup", "--sandbox", "--skip", "hosts", "--skip", "limits", answers=answers)
    assert code == 0, shown
    assert shown.count("Password of") == 1


def test_a_second_run_keeps_the_wallet_and_the_limits(person: Person) -> None:
    assert person.run("setup", "--sandbox", "--wallet", "new", "--max-per-day", "2", *WITHOUT_STUDIO).code == 0
    key, limits = read_key(person), read_limits(person)
    questions = ["one video, in dollars [1.50]:", "24 hours, in dollars [2.00]:", "will you send", "Path of a picture"]
    again = person.run_on_screen("setup", "--sandbox", typed="\n" * len(questions), columns=80)
    shown = " ".join((again.out + again.err).split())

    assert again.code == 0, shown
    assert [question for question in questions if question not in shown] == []
    assert "It is kept:" in shown
    assert read_key(person) == key
    assert read_limits(person) == {**limits, "max_price_per_video": "1.50"}


@on_a_pseudo_terminal
def test_ctrl_c_ends_the_set_up_and_keeps_what_is_done(person: Person) -> None:
    answers = [("import a key, or skip [create]:", ""), ("one video, in dollars [1.50]:", CTRL_C)]
    code, shown = converse(person, "setup", "--sandbox", answers=answers)

    assert code == 130
    assert "Interrupted. Run the same command again" in shown
    assert "Traceback" not in shown
    assert read_key(person)


def test_does_what_the_options_say_without_a_terminal(newcomer: Person) -> None:
    add_host("cursor")
    words = ("--host", "cursor", "--wallet", "new", "--max-price-per-video", "0.50", "--max-per-day", "1.00")
    elsewhere = str(newcomer.folder)  # the example of the quote is in no folder that the owner names
    done = newcomer.run("setup", "--sandbox", *words, SEEDANCE_IMAGE_DIRS=elsewhere)

    assert done.code == 0, done.err
    assert has_entry(HOSTS["cursor"], HOSTS["cursor"].find_file())
    assert read_limits(newcomer) == {"max_price_per_video": "0.50", "max_per_day": "1.00"}
    assert "It arrived." in done.err
    assert "$0.32 (table)" in done.out
    assert read_key(newcomer).removeprefix("0x") not in done.out + done.err
    assert newcomer.run("wallet", "fund", "--sandbox", "--json").json["deposits"][0]["balance_micro_usdc"] == 5_000_000
    again = newcomer.run("setup", "--sandbox", "--wait-seconds", "600", "--skip", "doctor", "--skip", "quote")
    assert again.code == 0
    assert "The wallet holds $5.00." in again.err


def test_asks_for_nothing_without_a_terminal(person: Person) -> None:
    add_host("cursor")
    done = person.run("setup", "--sandbox", *WITHOUT_STUDIO)

    assert done.code == 0, done.err
    assert done.out.startswith("seedance-mcp install cursor --sandbox")
    assert "Name --wallet new or --wallet FILE" in done.err
    assert not has_entry(HOSTS["cursor"], HOSTS["cursor"].find_file())
    assert not (person.data_dir / "settings.toml").exists()


def test_a_step_that_fails_is_reported_and_the_next_ones_follow(person: Person) -> None:
    """The studio is at a port where nothing listens, so that the price cannot be read, either."""
    words = ("setup", "--sandbox", "--wallet", "nowhere.json", "--max-per-day", "3", "--skip", "doctor")
    done = person.run(*words, SEEDANCE_STUDIO_URL="http://127.0.0.1:9")

    assert done.code == 2
    wrong = done.err.partition("[3/5]")[0]
    assert f"There is no file {person.folder / 'nowhere.json'}.\n" in wrong
    assert "Nothing was paid" not in done.err
    assert read_limits(person) == {"max_per_day": "3"}
    assert "No wallet is set" in done.err.partition("[4/5]")[2]
    assert "cannot be reached" in done.err.partition("[5/5]")[2]
    assert "Not everything is ready" in done.one_line


def test_imports_a_key_and_never_shows_it(person: Person) -> None:
    file = person.folder / "key"
    file.touch(0o600)
    file.write_text(KEY)
    done = person.run("setup", "--sandbox", "--wallet", str(file), *WITHOUT_STUDIO)

    assert done.code == 0, done.err
    assert read_key(person).removeprefix("0x") == KEY
    assert KEY not in done.out + done.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--max-per-day", "lots"), "--max-per-day is wrong"),
        (("--skip", "money", "--skip", "fun"), "--skip names 'fun', which is not a step."),
        (("--host", "paint"), "'paint' is not a known host."),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    person: Person, words: tuple[str, ...], text: str
) -> None:
    done = person.run("setup", "--sandbox", "--wallet", "new", *words)

    assert done.code == 2
    assert text in done.one_line
    assert not (person.data_dir / "sandbox").exists()


def test_sandbox_that_is_not_installed_ends_the_set_up(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    done = person.run("setup", "--sandbox", "--wallet", "new")

    assert done.code == 2
    assert "The sandbox studio is not installed (av missing)." in done.one_line
    assert "[1/6]" not in done.err
    assert not (person.data_dir / "sandbox").exists()


def test_a_limit_of_the_environment_wins_and_is_named(person: Person) -> None:
    words = ("setup", "--sandbox", "--max-per-day", "9", *WITHOUT_STUDIO)
    done = person.run(*words, SEEDANCE_MAX_PER_DAY="2.00")

    assert done.code == 0
    assert "2.00, from SEEDANCE_MAX_PER_DAY (environment), which wins." in done.err
    assert not (person.data_dir / "settings.toml").exists()


def test_limits_keep_the_rest_of_the_settings_file(person: Person) -> None:
    file = person.data_dir / "settings.toml"
    file.parent.mkdir(parents=True)
    file.write_text('# mine\nmodels = ["seedance-fast"] # cheap\nmax_per_day = "7"\n')
    file.chmod(0o640)
    assert person.run("setup", "--sandbox", "--max-per-day", "3", *WITHOUT_STUDIO).code == 0

    assert file.read_text() == '# mine\nmodels = ["seedance-fast"] # cheap\nmax_per_day = "3"\n'
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_code_of_a_payment_is_an_eip_681_uri(newcomer: Person) -> None:
    assert newcomer.run("setup", "--sandbox", "--wallet", "new", *WITHOUT_STUDIO).code == 0
    fund = newcomer.run("wallet", "fund", "--sandbox", "--amount", "2.50", "--json").json
    token = fund["deposits"][0]["token_address"]

    assert fund["payment_uri"] == f"ethereum:{token}@402402/transfer?address={fund['address']}&uint256=2500000"
    assert newcomer.run("wallet", "fund", "--sandbox", "--amount", "0").code == 2


def test_payment_uri_without_an_amount_leaves_it_to_the_payer() -> None:
    assert build_payment_uri("eip155:8453", "0xA", "0xB") == "ethereum:0xA@8453/transfer?address=0xB"
    with pytest.raises(ValueError, match="is not an EVM chain"):
        build_payment_uri("solana:5eykt4", "A", "B")


def test_settings_that_are_not_toml_are_left_alone(person: Person, tmp_path: Path) -> None:
    from seedance_mcp.cli.settings_file import write_settings
    from seedance_mcp.core.errors import ConfigError

    file = tmp_path / "settings.toml"
    file.write_text("max_per_day = [")
    with pytest.raises(ConfigError, match="is not TOML"):
        write_settings(file, {"max_per_day": "3"})
    assert file.read_text() == "max_per_day = ["


@pytest.mark.parametrize("is_found", [True, False])
def test_program_is_named_as_it_can_be_started_here(
    is_found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "seedance-mcp"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.setenv("PATH", str(program.parent if is_found else tmp_path))

    assert name_program() == ("seedance-mcp" if is_found else str(Path("bin", "seedance-mcp")))
