"""The doctor: finds what is wrong, says what to do, and works where nothing else does."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.people.conftest import Ended, Person

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox


def find(ended: Ended, topic: str) -> dict[str, Any]:
    return next(finding for finding in ended.json["findings"] if finding["topic"] == topic)


def test_it_works_without_a_key_and_without_a_network(person: Person) -> None:
    ended = person.run("doctor", "--json", HTTPS_PROXY="http://127.0.0.1:9")
    assert ended.code == 1, ended.err
    assert find(ended, "wallet")["advice"].startswith("Run: seedance-mcp wallet create")
    assert (find(ended, "studio")["health"], find(ended, "studio")["remote"]) == ("wrong", True)
    assert not person.data_dir.exists()


def test_a_rehearsal_is_well(person: Person) -> None:
    ended = person.run("doctor", "--sandbox")
    assert ended.code == 0, ended.out
    assert "✓ sandbox: installed" in ended.out


def test_a_healthy_installation_says_dialect_price_clock_and_balance(customer: Person) -> None:
    ended = customer.run("doctor", "--json")
    assert ended.code == 0, ended.out
    assert "speaks the current dialect" in find(ended, "studio")["text"]
    assert find(ended, "clock")["health"] == "ok"
    assert "in the wallet" in find(ended, "chain x402")["text"]
    assert find(ended, "request")["health"] in ("ok", "unknown")


def test_an_unclear_payment_is_told_with_what_to_do(make_sandbox: Callable[..., "Sandbox"], customer: Person) -> None:
    customer.environ["SEEDANCE_STUDIO_URL"] = make_sandbox(faults=("drop_after_settle", "jobs_down")).url
    customer.draw("a.png")
    customer.run("animate", "a.png", "--prompt", "x", "--wait-seconds", "1")
    ended = customer.run("doctor", "--json")
    assert "holds budget" in find(ended, "payment")["text"] or "was paid" in find(ended, "payment")["text"]


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
