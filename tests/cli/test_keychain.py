"""A key in the operating system's keychain, by the `keyring` library and a backend of its own that keeps it in a file;
and, where the machine has one, in a real Secret Service."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seedance_mcp.core.installation import describe_install
from tests.cli.conftest import Ended, Person
from tests.cli.test_wallet import ADDRESS, KEY, private
from tests.forks import build_command

BACKEND = {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring"}
ON = {**BACKEND, "SEEDANCE_WALLET_KEYCHAIN": "on"}
SCRYPT_N_MIN = 1 << 18
"""What a guess of a password costs at least. Source: Web3 Secret Storage, as geth writes it."""
SECRET_SERVICE = all(shutil.which(program) for program in ("dbus-run-session", "gnome-keyring-daemon"))


def test_a_key_is_kept_in_the_keychain_and_comes_before_the_file(person: Person) -> None:
    done = person.run("wallet", "import", "-", "--keychain", "--json", typed=KEY + "\n", **BACKEND)
    person.run("wallet", "create")
    shown = person.run("wallet", "show", "--json", **ON).json
    off = person.run("wallet", "show", "--json", **BACKEND).json

    assert done.json == {"address": ADDRESS, "keychain": "live"}
    assert shown["address"] == ADDRESS
    assert [(source["name"], source["used"]) for source in shown["sources"]] == [
        ("SEEDANCE_WALLET_KEY", False),
        ("the keychain (seedance-mcp, live)", True),
        (str(person.data_dir / "live" / "wallet.json"), False),
    ]
    assert off["address"] != ADDRESS
    assert len(off["sources"]) == 2


def test_the_keychains_key_is_never_overwritten_and_never_printed(person: Person) -> None:
    made = person.run("wallet", "create", "--keychain", **BACKEND)
    again = person.run("wallet", "import", "-", "--keychain", typed=KEY + "\n", **BACKEND)
    shown = person.run("wallet", "show", **ON)
    doctor = person.run("doctor", "--json", **ON)

    assert made.code == 0
    assert "SEEDANCE_WALLET_KEYCHAIN=on" in made.err
    assert again.code == 2
    assert "There is already a wallet in the keychain" in again.one_line
    assert made.out.strip() == shown.out.strip()
    assert made.out.strip() in doctor.out
    assert not (person.data_dir / "live" / "wallet.json").exists()


def test_a_key_of_the_keychain_is_exported_into_a_keystore(person: Person) -> None:
    person.run("wallet", "import", "-", "--keychain", typed=KEY + "\n", **BACKEND)
    password = private(person.folder / "password", "correct horse")
    done = person.run("wallet", "export", "out.json", "--password-file", str(password), **ON)
    assert done.code == 0, done.err
    keystore = json.loads((person.folder / "out.json").read_text())
    assert keystore["address"].lower() == ADDRESS[2:].lower()
    assert keystore["crypto"]["kdf"] == "scrypt"
    assert keystore["crypto"]["kdfparams"]["n"] >= SCRYPT_N_MIN


def test_an_empty_keychain_leaves_the_file_to_sign(person: Person) -> None:
    made = person.run("wallet", "create")
    assert person.run("wallet", "show", **ON).out == made.out


@pytest.mark.parametrize(
    ("backend", "says"),
    [("keyring.backends.fail.Keyring", "no keychain that can be used"), (None, describe_install("keychain"))],
)
def test_a_machine_without_a_keychain_says_what_to_do(
    person: Person, backend: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"SEEDANCE_WALLET_KEYCHAIN": "on", "PYTHON_KEYRING_BACKEND": backend or ""}
    if backend is None:  # the library is not there
        monkeypatch.setitem(sys.modules, "keyring", None)

    def run(*words: str) -> Ended:
        if backend is None:
            return person.run(*words, **environ)
        return person.run_apart(*words, afresh=False, **environ)  # the library keeps the backend that it found first

    for command in (("create", "--keychain"), ("show",)):
        answer = run("wallet", *command)
        assert answer.code == 2
        assert says in answer.one_line
    assert run("doctor").code in (1, 2)


def test_play_money_has_no_business_with_the_keychain(person: Person) -> None:
    answer = person.run("wallet", "create", "--keychain", "--sandbox", **BACKEND)
    assert answer.code == 2
    assert "play money" in answer.one_line
    shown = person.run("wallet", "show", "--sandbox", "--json", **ON)
    assert "keychain" not in shown.out


@pytest.mark.skipif(not SECRET_SERVICE, reason="no D-Bus and no gnome-keyring on this machine")
def test_a_real_secret_service_keeps_the_key(person: Person, tmp_path: Path) -> None:
    script = tmp_path / "session.sh"
    command = shlex.join(build_command("seedance_mcp", "wallet"))
    script.write_text(
        "echo unused | gnome-keyring-daemon --unlock --components=secrets >/dev/null\n"
        f"echo {KEY} | {command} import - --keychain && {command} show\n"
    )
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SEEDANCE_WALLET_KEYCHAIN": "on"}
    done = subprocess.run(
        ["dbus-run-session", "--", "sh", str(script)], capture_output=True, text=True, timeout=60, env=environ
    )
    assert done.stdout.split() == [ADDRESS, ADDRESS], done.stderr
