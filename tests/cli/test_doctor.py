"""The doctor: finds what is wrong, says what to do, and works where nothing else does."""

import json
import re
import time
from typing import Any

import pytest

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.config.profiles import SANDBOX_CHARGES, SANDBOX_TOKEN
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.responses import Refused
from tests.adapters.ledger.rows import reserve, settle, sign, write_offer, write_request
from tests.cli.conftest import Ended, Person
from tests.cli.nodes import serve_node
from tests.ledgers import work_on


def find(ended: Ended, topic: str, words: str = "") -> dict[str, Any]:
    return next(one for one in ended.json["findings"] if one["topic"] == topic and words in one["text"])


def test_it_works_without_a_key_and_without_a_network(person: Person) -> None:
    ended = person.run("doctor", "--json", HTTPS_PROXY="http://127.0.0.1:9")
    assert ended.code == 1, ended.err
    assert find(ended, "wallet")["advice"].startswith("Run: seedance-mcp wallet create")
    assert (find(ended, "studio")["health"], find(ended, "studio")["remote"]) == ("wrong", True)
    assert not person.data_dir.exists()


def test_a_sandbox_run_is_well(person: Person) -> None:
    ended = person.run("doctor", "--sandbox")
    assert ended.code == 0, ended.out
    assert "✓ sandbox: installed" in ended.out


def test_finding_that_is_broken_goes_on_below_its_text(person: Person) -> None:
    shown = person.run_on_screen("doctor", "--sandbox", columns=60).out.splitlines()
    starts = {re.sub(r"\x1b\[[0-9;]*m", "", line)[:2] for line in shown}
    assert {"✓ ", "  "} <= starts <= {"✓ ", "! ", "? ", "  "}


def test_a_sandbox_run_names_no_setting_that_no_one_set(person: Person) -> None:
    bare = find(person.run("doctor", "--sandbox", "--json"), "settings")["text"]
    assert "SEEDANCE_PROFILE" not in bare
    assert "SEEDANCE_WALLET_FILE" not in bare
    assert "SEEDANCE_DATA_DIR (environment)" in bare
    own = find(person.run("doctor", "--sandbox", "--json", SEEDANCE_MAX_TOTAL="3"), "settings")["text"]
    assert "SEEDANCE_MAX_TOTAL (environment)" in own
    named = find(person.run("doctor", "--json", SEEDANCE_PROFILE="sandbox"), "settings")["text"]
    assert "SEEDANCE_PROFILE (environment)" in named


def test_a_request_that_no_picture_is_uploaded_for_is_not_told_like_a_fault(customer: Person) -> None:
    request = find(customer.run("doctor", "--json"), "request")
    assert (request["health"], request["advice"]) == ("unknown", "")
    assert request["text"].startswith("not tried: ")
    assert "400" not in request["text"]


def test_a_healthy_installation_says_dialect_price_clock_and_balance(customer: Person) -> None:
    ended = customer.run("doctor", "--json")
    assert ended.code == 0, ended.out
    assert "speaks the current dialect" in find(ended, "studio")["text"]
    assert find(ended, "clock")["health"] == "ok"
    assert "in the wallet" in find(ended, "chain x402")["text"]
    assert find(ended, "request")["health"] in ("ok", "unknown")


@pytest.mark.parametrize(
    ("second", "health", "text"),
    [
        ("rpc", "ok", "eip155:402402 answers at 2 addresses"),
        ("tempo/rpc", "wrong", "RPC address 2 of 2 is of eip155:4024217, not of eip155:402402."),
        ("no-one", "wrong", "RPC address 2 of 2: "),
    ],
)
def test_each_of_several_rpc_addresses_is_looked_at(customer: Person, second: str, health: str, text: str) -> None:
    studio = customer.environ["SEEDANCE_STUDIO_URL"]
    profile = customer.folder / "profile.toml"
    profile.write_text(
        f'studio_url = "{studio}"\nblob_url = "{studio}/api/blob/"\nallow_loopback_http = true\n[x402]\n'
        f'network = "{SANDBOX_TOKEN.network}"\nasset = "{SANDBOX_TOKEN.asset}"\nname = "Sandbox USDC"\nversion = "1"\n'
    )
    settings = {"SEEDANCE_PROFILE": "custom", "SEEDANCE_PROFILE_FILE": str(profile), "SEEDANCE_STUDIO_URL": ""}
    chain = find(
        customer.run("doctor", "--json", **settings, SEEDANCE_RPC_URL=f"{studio}/rpc, {studio}/{second}"), "chain x402"
    )
    assert chain["health"] == health
    assert chain["text"].startswith(text)


def write_tempo_profile(customer: Person, *currencies: str) -> dict[str, str]:
    """The settings of a studio that takes these dollars on the sandbox's Tempo chain."""
    studio = customer.environ["SEEDANCE_STUDIO_URL"]
    profile = customer.folder / "profile.toml"
    profile.write_text(
        f'studio_url = "{studio}"\nblob_url = "{studio}/api/blob/"\nallow_loopback_http = true\n[mpp]\n'
        f"chain_id = {SANDBOX_CHARGES.chain_id}\ncurrencies = {list(currencies)}\n"
        f'rpc_url = "{studio}/tempo/rpc"\n'
    )
    return {"SEEDANCE_PROFILE": "custom", "SEEDANCE_PROFILE_FILE": str(profile), "SEEDANCE_STUDIO_URL": ""}


def test_every_dollar_of_a_rail_is_asked_for(customer: Person) -> None:
    empty, full = "0x20c0000000000000000000000000000000000000", SANDBOX_CHARGES.currencies[0]
    settings = write_tempo_profile(customer, empty, full)
    none = (200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": "0x" + "0" * 64}).encode())

    def answer(question: bytes) -> tuple[int, bytes] | None:
        return none if empty.encode() in question else None

    with serve_node(f"{customer.environ['SEEDANCE_STUDIO_URL']}/tempo/rpc", answer) as url:
        ended = customer.run("doctor", "--json", **settings, SEEDANCE_TEMPO_RPC_URL=url)

    assert find(ended, "chain mpp")["text"] == (
        "eip155:4024217 answers; $0.00 pathUSD, $100.00 Sandbox dollar in the wallet"
    )
    assert "balance" not in [finding["topic"] for finding in ended.json["findings"]]


def test_the_tempo_chains_advice_names_its_own_setting(customer: Person) -> None:
    settings = write_tempo_profile(customer, SANDBOX_CHARGES.currencies[0])
    base = f"{customer.environ['SEEDANCE_STUDIO_URL']}/rpc"

    chain = find(customer.run("doctor", "--json", **settings, SEEDANCE_TEMPO_RPC_URL=base), "chain mpp")

    assert chain["text"] == "The RPC address is of eip155:402402, not of eip155:4024217."
    assert chain["advice"] == "Correct SEEDANCE_TEMPO_RPC_URL."


@pytest.mark.parametrize(
    ("limits", "health", "left", "advice"),
    [
        ({"MAX_PER_DAY": "50"}, "ok", "$38.42 left of your budget for 24 hours (SEEDANCE_MAX_PER_DAY)", ""),
        ({"MAX_PER_DAY": "50", "MAX_TOTAL": "20"}, "ok", "$8.42 left of your total budget (SEEDANCE_MAX_TOTAL)", ""),
        (
            {"MAX_PER_DAY": "50", "MAX_TOTAL": "11.60"},
            "note",
            "$0.02 left of your total budget (SEEDANCE_MAX_TOTAL)",
            "raise SEEDANCE_MAX_TOTAL",
        ),
        (
            {"MAX_PER_DAY": "11.59", "MAX_TOTAL": "11.60"},
            "note",
            "$0.01 left of your budget for 24 hours (SEEDANCE_MAX_PER_DAY)",
            "raise SEEDANCE_MAX_TOTAL",
        ),
        ({"MAX_PER_DAY": "50", "MAX_PER_WEEK": "20"}, "ok", "$8.42 left of your budget for 7 days", ""),
        (
            {"MAX_PER_DAY": "11.60", "MAX_PER_MONTH": "11.59"},
            "note",
            "$0.01 left of your budget for 30 days (SEEDANCE_MAX_PER_MONTH)",
            "it frees by itself, or raise SEEDANCE_MAX_PER_MONTH",
        ),
        (
            {"MAX_PER_DAY": "11.59", "MAX_TOTAL": "50"},
            "note",
            "$0.01 left of your budget for 24 hours (SEEDANCE_MAX_PER_DAY)",
            "it frees by itself, or raise SEEDANCE_MAX_PER_DAY",
        ),
    ],
)
def test_what_is_left_is_what_the_tightest_limit_leaves(
    person: Person, limits: dict[str, str], health: str, left: str, advice: str
) -> None:
    now = time.time()

    async def spend(ledger: SQLiteLedger) -> None:
        await settle(ledger, await sign(ledger, await reserve(ledger, 11_580_000, now=now), now=now), now=now)

    work_on(person.data_dir / "sandbox" / "ledger.sqlite3", spend)
    environ = {f"SEEDANCE_{name}": value for name, value in limits.items()}

    budget = find(person.run("doctor", "--sandbox", "--json", **environ), "ledger")
    told = person.run("doctor", "--sandbox", **environ).out

    assert budget["health"] == health
    week = ", $11.58 in 7 days" if "MAX_PER_WEEK" in limits else ""
    month = ", $11.58 in 30 days" if "MAX_PER_MONTH" in limits else ""
    assert f"$11.58 in the last 24 hours{week}{month}, $11.58 in all; {left}" in told
    assert advice in budget["advice"]
    assert bool(advice) == bool(budget["advice"])


def test_a_refused_payment_is_told_while_its_hold_stands(person: Person) -> None:
    now = time.time()

    async def refuse(ledger: SQLiteLedger) -> Payment:
        payment = await sign(ledger, await reserve(ledger, 320_000, now=now), now=now)
        return await ledger.conclude(payment, Refused(reason="no"), now=now)

    payment = work_on(person.data_dir / "sandbox" / "ledger.sqlite3", refuse)

    held = find(person.run("doctor", "--sandbox", "--json"), "payment")

    assert held["text"].startswith(
        f"Payment {payment.id} of $0.32 is refused, and holds budget; its credential ends at"
    )
    assert "once its credential is over" in held["advice"]


@pytest.mark.parametrize(
    ("studio", "proxy", "why"),
    [
        ("https://127.0.0.1:9", "", "no connection."),
        ("https://127.0.0.1:9", "http://127.0.0.1:9", "no connection."),
        ("https://no-one.invalid", "", "no connection, or its name cannot be resolved."),
    ],
)
def test_why_a_studio_cannot_be_reached_is_said_in_words(studio: str, proxy: str, why: str, person: Person) -> None:
    profile = person.folder / "nowhere.toml"
    profile.write_text(
        f'studio_url = "{studio}"\nblob_url = "{studio}/blob/"\n[x402]\nnetwork = "{SANDBOX_TOKEN.network}"\n'
        f'asset = "{SANDBOX_TOKEN.asset}"\nname = "Sandbox USDC"\nversion = "1"\n'
    )
    settings = {"SEEDANCE_PROFILE": "custom", "SEEDANCE_PROFILE_FILE": str(profile), "HTTPS_PROXY": proxy}

    assert find(person.run("doctor", "--json", **settings), "studio")["text"].endswith(f" cannot be reached: {why}")


def test_an_unclear_payment_is_told_with_what_to_do(customer: Person, funded_address: str) -> None:
    now = time.time()

    async def pay(ledger: SQLiteLedger) -> None:
        async with ledger.lock_budget() as transaction:
            payment = await transaction.reserve(
                write_request(), write_offer(), wallet=funded_address, hold_until=int(now) + 60, now=now
            )
        await sign(ledger, payment, now=now)

    work_on(customer.data_dir / "sandbox" / "ledger.sqlite3", pay)
    ended = customer.run("doctor", "--json")
    assert ended.code == 0
    assert "of $0.04 is signed, and holds budget" in find(ended, "payment")["text"]
    assert find(ended, "payment")["advice"]


def test_settings_and_files_that_are_wrong_are_named(person: Person) -> None:
    broken = person.run("doctor", "--json", SEEDANCE_MAX_PER_DAY="much")
    assert broken.code == 2
    assert "SEEDANCE_MAX_PER_DAY" in find(broken, "settings")["text"]
    person.run("wallet", "create", "--sandbox")
    (person.data_dir / "sandbox" / "wallet.json").chmod(0o644)
    (person.data_dir / "sandbox" / "ledger.sqlite3").write_text("not a database, far from it" * 100)
    ended = person.run("doctor", "--sandbox", "--json")
    assert ended.code == 2
    assert find(ended, "wallet")["advice"].startswith("Run: chmod 600")
    assert find(ended, "ledger")["health"] == "wrong"


def test_jobs_that_a_new_ledger_lacks_are_explained(customer: Person) -> None:
    command = ("animate", str(customer.draw("cat.png")), "--prompt", "x")
    customer.run(*command)
    new = {"SEEDANCE_DATA_DIR": str(customer.folder / "new")}
    work_on(customer.folder / "new" / "sandbox" / "ledger.sqlite3", lambda ledger: ledger.find_freeze())
    unread = find(customer.run("doctor", "--json", **new), "ledger", "never compared")
    customer.run("animate", str(customer.draw("dog.png")), "--prompt", "y", **new)
    lacking = find(customer.run("doctor", "--json", **new), "ledger", "It lacks jobs")
    assert "found, not paid again" in unread["advice"]
    assert "1 in all" in lacking["text"]
    assert "seedance-mcp get cm" in lacking["advice"]
