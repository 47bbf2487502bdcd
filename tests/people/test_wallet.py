"""The wallet from the command line: made, locked, moved and filled without a key ever being shown."""

import json
import re
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from seedance_mcp.ledger.sqlite import SQLiteLedger
from seedance_mcp.wire.exchange import Refused
from tests.ledger.rows import reserve, sign
from tests.people.conftest import Person

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

KEY = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
PASSWORD = "correct horse"


def private(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_new_wallet_is_the_owners_alone_and_is_never_overwritten(person: Person) -> None:
    made = person.run("wallet", "create")
    assert made.code == 0
    assert re.fullmatch(r"0x[0-9a-fA-F]{40}\n", made.out)
    file = person.data_dir / "live" / "wallet.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = person.run("wallet", "create")
    assert again.code == 2
    assert "There is a wallet at" in again.one_line
    shown = person.run("wallet", "show")
    assert (shown.code, shown.out) == (0, made.out)
    assert json.loads(file.read_text())["private_key"] not in made.out + made.err + shown.out + shown.err


@pytest.mark.parametrize(
    "content", [KEY, json.dumps({"private_key": KEY}), json.dumps({"privateKey": KEY, "address": ADDRESS})]
)
def test_a_key_is_imported_from_what_others_write(content: str, person: Person) -> None:
    source = private(person.folder / "source.json", content)
    done = person.run("wallet", "import", str(source), "--sandbox", "--json")
    assert done.json["address"] == ADDRESS
    assert KEY[2:] not in done.out + done.err
    assert source.read_text() == content


def test_a_locked_wallet_goes_out_and_comes_in_with_its_password(person: Person) -> None:
    password = private(person.folder / "password", PASSWORD + "\n")
    made = person.run("wallet", "import", "-", "--password-file", str(password), "--json", typed=KEY + "\n")
    assert (made.json["address"], made.json["locked"]) == (ADDRESS, True)
    assert KEY[2:] not in (person.data_dir / "live" / "wallet.json").read_text()
    environ = {"SEEDANCE_WALLET_PASSWORD_FILE": str(password)}
    assert person.run("wallet", "show", **environ).out.strip() == ADDRESS
    out = person.folder / "out.json"
    assert person.run("wallet", "export", str(out), **environ).code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    other = Person(folder=person.folder, environ={"SEEDANCE_DATA_DIR": str(person.folder / "other")})
    back = other.run("wallet", "import", str(out), "--source-password-file", str(password), "--json")
    assert (back.json["address"], back.json["locked"]) == (ADDRESS, False)


def test_what_is_wrong_with_a_wallet_is_one_line_and_changes_nothing(person: Person) -> None:
    password = private(person.folder / "password", PASSWORD)
    wrong = private(person.folder / "wrong", "something else")
    short = private(person.folder / "short", "abc")
    locked = person.folder / "locked.json"
    file = person.data_dir / "live" / "wallet.json"
    assert person.run("wallet", "import", "-", typed="my key\n").one_line.endswith(
        "with or without 0x. Nothing was paid. Nothing changed."
    )
    assert "shorter than 8" in person.run("wallet", "create", "--password-file", str(short)).one_line
    assert "no terminal" in person.run("wallet", "create", "--encrypt").one_line
    assert not file.exists()
    person.run("wallet", "create")
    person.run("wallet", "export", str(locked), "--password-file", str(password))
    environ = {"SEEDANCE_WALLET_FILE": str(locked)}
    opened = person.run("wallet", "show", SEEDANCE_WALLET_PASSWORD_FILE=str(wrong), **environ)
    assert (opened.code, opened.out) == (2, "")
    assert "The password does not open the wallet file" in opened.one_line
    assert "SEEDANCE_WALLET_PASSWORD_FILE" in person.run("wallet", "export", "x.json", **environ).one_line
    assert not (person.folder / "x.json").exists()
    assert "already" in person.run("wallet", "export", str(locked), "--password-file", str(password)).one_line
    file.chmod(0o644)
    assert (
        f"Run: chmod 600 {file}" in person.run("wallet", "export", "y.json", "--password-file", str(password)).one_line
    )


def test_show_tells_the_order_of_the_sources(person: Person) -> None:
    person.run("wallet", "create")
    both = person.run("wallet", "show", "--json", SEEDANCE_WALLET_KEY=KEY).json
    assert both["address"] == ADDRESS
    assert [(source["name"], source["used"]) for source in both["sources"]] == [
        ("SEEDANCE_WALLET_KEY", True), (str(person.data_dir / "live" / "wallet.json"), False),
    ]  # fmt: skip


def test_limits_need_neither_a_key_nor_a_network(person: Person) -> None:
    limits = person.run("wallet", "limits", "--json", SEEDANCE_MAX_PER_DAY="2.5").json
    assert (limits["max_per_day_micro_usdc"], limits["spent_last_day_micro_usdc"]) == (2_500_000, 0)


def test_fund_says_where_and_waits_for_the_deposit(make_sandbox: Callable[..., "Sandbox"], person: Person) -> None:
    studio = make_sandbox()
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio.url, "SEEDANCE_WALLET_KEY": KEY}
    told = person.run("wallet", "fund", **environ)
    assert told.out.strip() == ADDRESS
    assert "Sandbox USDC on eip155:402402" in told.err
    assert "Sandbox dollar on eip155:4024217" in told.err
    assert told.err.count("$0.00 there") == 2

    ended = threading.Event()

    def pay() -> None:
        while not ended.wait(0.3):
            httpx.post(f"{studio.url}/_sandbox/fund", json={"address": ADDRESS, "amount_micro_usdc": 5_000_000})

    payer = threading.Thread(target=pay)
    payer.start()
    try:
        waited = person.run("wallet", "fund", "--wait", "--wait-seconds", "30", "--json", **environ)
    finally:
        ended.set()
        payer.join()
    assert waited.code == 0, waited.err
    [base, tempo] = waited.json["deposits"]
    assert (base["rail"], tempo["rail"]) == ("x402", "mpp")
    assert base["balance_micro_usdc"] >= 5_000_000
    assert waited.json["arrived"]


def test_nothing_that_arrives_in_time_is_not_finished(make_sandbox: Callable[..., "Sandbox"], person: Person) -> None:
    studio = make_sandbox()
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio.url, "SEEDANCE_WALLET_KEY": KEY}
    assert person.run("wallet", "fund", "--wait", "--wait-seconds", "1", **environ).code == 5


NO_CHAIN = {"SEEDANCE_RPC_URL": "https://127.0.0.1:9/"}
"""Nobody answers there."""


@pytest.fixture
def open_payment(person: Person) -> int:
    """A payment that the studio refused, whose credential is over, and about which no chain was asked."""
    folder = person.data_dir / "live"
    folder.mkdir(parents=True)
    ledger = SQLiteLedger(folder / "ledger.sqlite3")
    payment = sign(ledger, reserve(ledger, 320_000, now=time.time() - 300), now=time.time() - 300)
    ledger.conclude(payment, Refused(reason="no"), now=time.time() - 290)
    ledger.close()
    return payment.id


def test_an_open_payment_is_listed_and_written_off_by_its_owners_word_alone(person: Person, open_payment: int) -> None:
    [listed] = person.run("wallet", "payments", "--json").json
    before = person.run("wallet", "limits", "--json").json
    words = ("wallet", "write-off", str(open_payment))
    unseen = person.run(*words, typed="y\n", **NO_CHAIN)
    unsaid = person.run_at_terminal(*words, typed="n\n", **NO_CHAIN)
    done = person.run_at_terminal(*words, typed="y\n", **NO_CHAIN)
    again = person.run_at_terminal(*words, typed="y\n", **NO_CHAIN)
    after = person.run("wallet", "limits", "--json").json

    assert (listed["payment_id"], listed["state"], listed["amount_micro_usdc"]) == (open_payment, "refused", 320_000)
    assert before["spent_last_day_micro_usdc"] == 320_000
    assert (unseen.code, unsaid.code) == (2, 2)
    assert "Only a person at a terminal" in unseen.one_line
    assert (done.code, after["spent_last_day_micro_usdc"]) == (0, 0)
    assert "your limits do not know of it" in done.err
    assert again.code == 2
    assert "nothing to write off" in again.one_line
    assert person.run("wallet", "payments").err.strip() == "Every payment is over."


def test_a_payment_that_can_still_settle_is_not_written_off(person: Person) -> None:
    ledger = SQLiteLedger(person.data_dir / "live" / "ledger.sqlite3")
    payment = sign(ledger, reserve(ledger, now=time.time()), now=time.time())
    ledger.close()
    answer = person.run("wallet", "write-off", str(payment.id))
    assert answer.code == 2
    assert "can still be used" in answer.one_line
    assert person.run("wallet", "limits", "--json").json["spent_last_day_micro_usdc"] == 40_000


def test_what_is_no_payment_is_not_written_off(person: Person) -> None:
    answer = person.run("wallet", "write-off", "7")
    assert answer.code == 2
    assert "There is no payment 7" in answer.one_line
