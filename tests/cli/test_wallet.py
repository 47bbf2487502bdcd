"""The wallet from the command line: made, locked, moved and filled without a key ever being shown."""

import json
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.adapters.wallet.key_files import unlock
from seedance_mcp.app.runtime import Runtime
from seedance_mcp.cli.console import run
from seedance_mcp.cli.wallet import funding
from seedance_mcp.config.profiles import SANDBOX_CHARGES
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.records import Payment
from seedance_mcp.core.texts import format_clock
from seedance_mcp.core.wire.responses import Refused
from seedance_mcp.payments.wallet_status import WalletStatus
from tests.adapters.ledger.rows import reserve, settle, sign
from tests.cli.conftest import KEYSTORE_ITERATIONS, Ended, Person, write_keystore
from tests.cli.nodes import serve_node
from tests.ledgers import work_on

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
    assert "There is already a wallet at" in again.one_line
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


def test_a_locked_wallet_goes_out_and_comes_in_with_its_password(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With keystores that are quick to open; tests/cli/test_keychain.py sees how strong ours are."""
    work = {"scrypt": KEYSTORE_ITERATIONS}
    monkeypatch.setattr("eth_keyfile.keyfile.get_default_work_factor_for_kdf", work.__getitem__)
    password = private(person.folder / "password", PASSWORD + "\n")
    made = person.run("wallet", "import", "-", "--password-file", str(password), "--json", typed=KEY + "\n")
    assert (made.json["address"], made.json["locked"]) == (ADDRESS, True)
    wallet = person.data_dir / "live" / "wallet.json"
    assert KEY[2:] not in wallet.read_text()
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
    locked = write_keystore(person.folder / "locked.json", KEY, PASSWORD)
    file = person.data_dir / "live" / "wallet.json"
    assert person.run("wallet", "import", "-", typed="my key\n").one_line.endswith(
        "with or without 0x. Nothing changed."
    )
    assert "shorter than 8" in person.run("wallet", "create", "--password-file", str(short)).one_line
    assert "no terminal" in person.run("wallet", "create", "--encrypt").one_line
    assert not file.exists()
    person.run("wallet", "create")
    environ = {"SEEDANCE_WALLET_FILE": str(locked)}
    opened = person.run("wallet", "show", SEEDANCE_WALLET_PASSWORD_FILE=str(wrong), **environ)
    assert (opened.code, opened.out) == (2, "")
    assert "The password does not open the wallet file" in opened.one_line
    assert f"The file {wrong} holds another password" in opened.one_line
    assert "SEEDANCE_WALLET_PASSWORD_FILE" in opened.one_line
    brought = person.run(
        "wallet", "import", str(locked), "--source-password-file", str(wrong), SEEDANCE_WALLET_FILE="w"
    )
    assert brought.one_line.endswith(f"{wrong} holds another password: name the right one with --source-password-file.")
    with pytest.raises(ConfigError, match=r"Run the same command again, and type the right one\.$"):
        unlock(locked, "something else")
    assert "SEEDANCE_WALLET_PASSWORD_FILE" in person.run("wallet", "export", "x.json", **environ).one_line
    assert not (person.folder / "x.json").exists()
    again = person.run("wallet", "export", str(locked), "--password-file", str(password)).one_line
    assert f"There is already a file at {locked}." in again
    assert again.endswith("name another file.")
    password.chmod(0o644)
    seen = person.run("wallet", "export", "z.json", "--password-file", str(password)).one_line
    assert f"The password file {password} can be read by others." in seen
    password.chmod(0o600)
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


@pytest.mark.parametrize(("option", "command"), [((), "wallet create"), (("--sandbox",), "wallet create --sandbox")])
def test_show_without_a_wallet_fails_and_names_the_command_that_makes_it(
    option: tuple[str, ...], command: str, person: Person
) -> None:
    told, read = person.run("wallet", "show", *option), person.run("wallet", "show", "--json", *option)
    assert (told.code, told.out, read.code) == (2, "", 2)
    assert told.one_line.endswith(f"Run: seedance-mcp {command}")
    assert (read.json["address"], read.json["error"]["hint"]) == (None, f"Run: seedance-mcp {command}")
    assert [source["state"] for source in read.json["sources"]] == ["not set", "not there"]


def test_a_wallet_of_the_sandbox_names_the_next_command_for_the_sandbox(person: Person) -> None:
    assert "Next: seedance-mcp wallet fund --sandbox\n" in person.run("wallet", "create", "--sandbox").err
    assert person.run("wallet", "create", "--sandbox").one_line.endswith("Run: seedance-mcp wallet show --sandbox")
    assert "Next: seedance-mcp wallet fund\n" in person.run("wallet", "create").err


def test_a_failed_sandbox_run_names_the_next_command_for_the_sandbox(person: Person) -> None:
    failed = person.run("wallet", "write-off", "99", "--sandbox").one_line
    assert failed.endswith("Run: seedance-mcp wallet payments --sandbox")
    assert person.run("wallet", "write-off", "99").one_line.endswith("Run: seedance-mcp wallet payments")


def test_only_who_is_not_in_the_sandbox_is_told_of_it(person: Person) -> None:
    live = person.run("wallet", "export", "x.json").one_line
    assert "Run: seedance-mcp wallet create." in live
    assert "without money: --sandbox, or SEEDANCE_PROFILE=sandbox in a host." in live
    there = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": "http://127.0.0.1:9"}
    for words in (("export", "x.json"), ("fund",)):
        sandbox = person.run("wallet", *words, **there).one_line
        assert "Run: seedance-mcp wallet create --sandbox." in sandbox
        assert "without money" not in sandbox


def test_limits_need_neither_a_key_nor_a_network(person: Person) -> None:
    limits = person.run("wallet", "limits", "--json", SEEDANCE_MAX_PER_DAY="2.5").json
    assert (limits["max_per_day_micro_usdc"], limits["spent_last_day_micro_usdc"]) == (2_500_000, 0)


def test_fund_names_only_tokens_that_this_copy_can_pay_with(
    make_sandbox: Callable[..., "Sandbox"], person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pytempo", None)
    url = make_sandbox().url
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": url, "SEEDANCE_WALLET_KEY": KEY}
    told = person.run("wallet", "fund", **environ)
    assert told.code == 0
    assert "Sandbox USDC" in told.err
    assert "Sandbox dollar" not in told.err
    assert "To pay on Tempo, too, install its library. " in told.err
    refused = person.run("wallet", "fund", **environ, SEEDANCE_RAILS="mpp")
    assert refused.code == 2
    assert "tempo" in refused.err.splitlines()[-1]


def test_fund_says_where_and_waits_for_the_deposit(make_sandbox: Callable[..., "Sandbox"], person: Person) -> None:
    studio = make_sandbox()
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio.url, "SEEDANCE_WALLET_KEY": KEY}
    told = person.run("wallet", "fund", **environ)
    assert told.out.strip() == ADDRESS
    assert "Sandbox USDC on eip155:402402" in told.err
    assert "Sandbox dollar on eip155:4024217" in told.err
    assert told.err.count("balance $0.00") == 2

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


def test_money_that_was_there_while_its_chain_was_silent_did_not_arrive(
    make_sandbox: Callable[..., "Sandbox"], person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = make_sandbox()
    money = {"address": ADDRESS, "amount_micro_usdc": 7_000_000, "rail": "mpp"}
    httpx.post(f"{studio.url}/_sandbox/fund", json=money)
    monkeypatch.setattr(funding, "FUND_POLL_SECONDS", 0.2)
    profile = person.folder / "profile.toml"
    environ = {"SEEDANCE_PROFILE": "custom", "SEEDANCE_PROFILE_FILE": str(profile), "SEEDANCE_WALLET_KEY": KEY}

    def fund() -> Ended:
        """With a chain that answers from the second question on."""
        silent = iter([(503, b"")])
        with serve_node(f"{studio.url}/tempo/rpc", lambda _: next(silent, None)) as rpc_url:
            profile.write_text(
                f'studio_url = "{studio.url}"\nblob_url = "{studio.url}/api/blob/"\nallow_loopback_http = true\n[mpp]\n'
                f'chain_id = {SANDBOX_CHARGES.chain_id}\ncurrencies = ["{SANDBOX_CHARGES.currencies[0]}"]\n'
                f'rpc_url = "{rpc_url}"\n'
            )
            return person.run("wallet", "fund", "--wait", "--wait-seconds", "2", **environ)

    was_there = fund()
    assert was_there.code == 5, was_there.err
    assert "balance unknown, the chain does not answer" in was_there.err
    assert was_there.one_line == "Nothing arrived yet."

    ended = threading.Event()

    def pay() -> None:
        while not ended.wait(0.3):
            httpx.post(f"{studio.url}/_sandbox/fund", json=money)

    payer = threading.Thread(target=pay)
    payer.start()
    try:
        arrived = fund()
    finally:
        ended.set()
        payer.join()
    assert arrived.code == 0, arrived.err
    assert "It arrived." in arrived.err


NO_CHAIN = {"SEEDANCE_RPC_URL": "https://127.0.0.1:9/"}
"""No one answers there."""


@pytest.fixture
def open_payment(person: Person) -> int:
    """A payment that the studio refused, whose credential is over, and about which no chain was asked."""
    folder = person.data_dir / "live"
    folder.mkdir(parents=True)
    return refuse(folder / "ledger.sqlite3", ago=300).id


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
    assert "your limits leave out what it cost" in done.err
    assert again.code == 2
    assert "nothing to write off" in again.one_line
    assert person.run("wallet", "payments").err.strip() == "No payment is pending."


def test_a_settled_payment_is_written_off_once_its_credential_is_over(person: Person) -> None:
    before_expiry = time.time() - 300

    async def pay(ledger: SQLiteLedger) -> Payment:
        reserved = await reserve(ledger, 320_000, now=before_expiry)
        return await settle(ledger, await sign(ledger, reserved, now=before_expiry))

    payment = work_on(person.data_dir / "live" / "ledger.sqlite3", pay)
    before = person.run("wallet", "limits", "--json").json
    unsaid = person.run_at_terminal("wallet", "write-off", str(payment.id), typed="n\n", **NO_CHAIN)
    done = person.run_at_terminal("wallet", "write-off", str(payment.id), typed="y\n", **NO_CHAIN)
    again = person.run_at_terminal("wallet", "write-off", str(payment.id), typed="y\n", **NO_CHAIN)
    after = person.run("wallet", "limits", "--json").json

    assert (unsaid.code, done.code) == (2, 0)
    assert (before["spent_last_day_micro_usdc"], after["spent_last_day_micro_usdc"]) == (320_000, 0)
    assert again.code == 2
    assert "nothing to write off" in again.one_line


def test_a_payment_that_can_still_settle_is_not_written_off(person: Person) -> None:
    async def pay(ledger: SQLiteLedger) -> Payment:
        return await sign(ledger, await reserve(ledger, now=time.time()), now=time.time())

    payment = work_on(person.data_dir / "live" / "ledger.sqlite3", pay)
    answer = person.run("wallet", "write-off", str(payment.id))
    assert answer.code == 2
    assert "can still be used" in answer.one_line
    assert person.run("wallet", "limits", "--json").json["spent_last_day_micro_usdc"] == 40_000


def refuse(ledger_file: Path, *, ago: float = 0) -> Payment:
    """A payment that was signed and refused some seconds ago; its hold lasts for three minutes."""
    now = time.time() - ago

    async def work(ledger: SQLiteLedger) -> Payment:
        payment = await sign(ledger, await reserve(ledger, 320_000, now=now), now=now)
        return await ledger.conclude(payment, Refused(reason="no"), now=now)

    return work_on(ledger_file, work)


def test_an_agent_sees_a_refused_payment_while_its_hold_stands(customer: Person) -> None:
    payment = refuse(customer.data_dir / "sandbox" / "ledger.sqlite3")

    async def look(runtime: Runtime) -> WalletStatus:
        return await (await runtime.services()).wallet_status.read()

    standing = run({**os.environ, **customer.environ}, look)

    assert [one.id for one in standing.unfinished] == [payment.id]
    assert standing.spend.last_day_micro_usdc == 320_000


def test_a_refused_payment_is_listed_while_its_hold_stands(person: Person) -> None:
    payment = refuse(person.data_dir / "live" / "ledger.sqlite3")

    told = person.run("wallet", "payments")
    [listed] = person.run("wallet", "payments", "--json").json
    written_off = person.run("wallet", "write-off", str(payment.id))

    assert (listed["payment_id"], listed["state"], listed["hold_until"]) == (payment.id, "refused", payment.hold_until)
    assert told.out.startswith(f"payment {payment.id}: $0.32 for generation, refused, on ")
    assert f", held at least until {format_clock(payment.hold_until)}\n" in told.out
    assert "No payment is pending" not in told.err
    assert (written_off.code, "can still be used" in written_off.one_line) == (2, True)


def test_what_is_no_payment_is_not_written_off(person: Person) -> None:
    answer = person.run("wallet", "write-off", "7")
    assert answer.code == 2
    assert "There is no payment 7" in answer.one_line
