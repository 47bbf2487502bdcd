"""A quote of a batch: its sum, what of it fits, and the exit code that `animate` would end with for the same rows."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import Ended, Person
from tests.integration.host import Bench
from tests.integration.test_custom_profile import write_profile

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

ROWS = "image,prompt\na.png,x\na.png,x\ncopy.png, x \na.png,y\nb.png,x\n"
"""Five rows, three videos, two pictures: the second and the third row ask for the first row's video."""


def write_rows(person: Person, rows: str = ROWS) -> tuple[str, ...]:
    """Draw the pictures, write the rows, and return what names them on the command line."""
    person.draw("a.png")
    person.draw("b.png")
    shutil.copy(person.folder / "a.png", person.folder / "copy.png")
    (person.folder / "shots.csv").write_text(rows)
    return ("--from", "shots.csv")


def compare(person: Person, *words: str, **environ: str) -> tuple[Ended, Ended]:
    """The quote, and then the purchase of the same."""
    return person.run("quote", *words, **environ), person.run("animate", *words, **environ)


def spent(person: Person) -> int:
    return person.run("wallet", "limits", "--json").json["spent_total_micro_usdc"]


def test_a_batch_quote_adds_up_what_its_purchase_costs(customer: Person) -> None:
    words = write_rows(customer)
    before = spent(customer)
    quoted = customer.run("quote", *words)
    facts = customer.run("quote", *words, "--json").json
    assert spent(customer) == before
    bought = customer.run("animate", *words)

    assert (quoted.code, bought.code) == (0, 0), quoted.err + bought.err
    assert "$0.98 in all for 5 rows: $0.96 for the videos, $0.02 for uploads." in quoted.err
    assert "5 of 5 rows can be bought now." in quoted.err
    assert quoted.out.count("the same video as shots.csv line 2") == 2
    batch = facts[0]["batch"]
    assert (batch["price_usd"], batch["price_micro_usdc"], batch["uploads_micro_usdc"]) == ("0.98", 980_000, 20_000)
    assert (batch["rows"], batch["purchases"], batch["fitting_rows"]) == (5, 3, 5)
    assert [row["same_as"] for row in facts] == [None, "shots.csv line 2", "shots.csv line 2", None, None]
    assert "At most $0.98, uploads and all;" in bought.err
    assert spent(customer) - before == 980_000


def test_a_bought_batch_is_quoted_at_nothing_and_names_its_jobs(customer: Person) -> None:
    words = write_rows(customer)
    bought = customer.run("animate", *words, "--json").json
    quoted = customer.run("quote", *words, SEEDANCE_MAX_PER_DAY="0.01")
    facts = customer.run("quote", *words, "--json", SEEDANCE_MAX_PER_DAY="0.01").json

    assert quoted.code == 0, quoted.err
    assert "$0.00 in all for 5 rows" in quoted.err
    assert "Nothing is to be paid from the wallet." in quoted.err
    assert f"job {bought[0]['job_id']} (complete) answers it, and it costs nothing." in quoted.out
    assert [row["job_id"] for row in facts] == [row["job_id"] for row in bought]
    assert {row["price_micro_usdc"] for row in facts} == {facts[0]["batch"]["price_micro_usdc"]} == {0}
    assert customer.run("quote", "a.png", "--prompt", "x", "--take", "2", "--json").json["job_id"] is None


def test_a_batch_quote_says_how_much_fits_each_limit(customer: Person) -> None:
    words = write_rows(customer)
    limits = {"SEEDANCE_MAX_PER_DAY": "0.70", "SEEDANCE_MAX_TOTAL": "0.34"}
    quoted, bought = compare(customer, *words, **limits)
    facts: list[dict[str, Any]] = customer.run("quote", *words, "--json", **limits).json

    assert quoted.code == bought.code == 3
    assert (
        "4 of 5 rows fit into the $0.70 that is left of your budget for 24 hours (SEEDANCE_MAX_PER_DAY)." in quoted.err
    )
    assert "3 of 5 rows fit into the $0.34 that is left of your total budget (SEEDANCE_MAX_TOTAL)." in quoted.err
    assert "3 of 5 rows can be bought now." in quoted.err
    assert [row["fits"] for row in facts] == [True, True, True, False, False]
    assert [(one["left_micro_usdc"], one["fitting_rows"]) for one in facts[0]["batch"]["limits"]] == [
        (700_000, 4), (340_000, 3),
    ]  # fmt: skip
    assert facts[0]["batch"]["exit_code"] == 3


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"SEEDANCE_MAX_PRICE_PER_VIDEO": "0.10"}, 3),
        ({"SEEDANCE_ASK_ABOVE": "0.10"}, 3),
        ({"SEEDANCE_MODELS": "seedance"}, 3),
        ({"SEEDANCE_RECIPIENTS": "0x" + "11" * 20}, 3),
        ({"SEEDANCE_MAX_PER_DAY": "much"}, 2),
        ({"SEEDANCE_WALLET_KEY": "0x12"}, 2),
    ],
    ids=["price", "yes", "model", "recipient", "setting", "key"],
)
def test_a_batch_quote_ends_with_the_code_of_its_purchase(customer: Person, environ: dict[str, str], code: int) -> None:
    words = write_rows(customer, "image,prompt\na.png,x\nb.png,x\n")
    quoted, refused = compare(customer, *words, **environ)

    assert quoted.code == refused.code == code, quoted.err + refused.err


@pytest.mark.parametrize("rows", ["image,prompt\na.png,x\ngone.png,x\n", "image,prompt\na.png,x\na.png\n"])
def test_a_row_that_cannot_be_carried_out_ends_a_quote_like_a_purchase(customer: Person, rows: str) -> None:
    words = write_rows(customer, rows)
    quoted, refused = compare(customer, *words)

    assert quoted.code == refused.code == 2
    assert "shots.csv line 3" in quoted.one_line


def test_a_frozen_wallet_ends_a_quote_like_a_purchase(customer: Person) -> None:
    words = write_rows(customer)
    customer.run("freeze", "lost")
    quoted, refused = compare(customer, *words)

    assert quoted.code == refused.code == 3
    assert "0 of 5 rows can be bought now." in quoted.err


def test_a_failed_job_ends_a_quote_like_a_purchase(
    make_sandbox: Callable[..., "Sandbox"], funded_key: str, person: Person
) -> None:
    words = write_rows(person, "image,prompt\na.png,x\na.png,x\n")
    studio = make_sandbox(faults=("failed_job",)).url
    person.environ = {
        "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio, "SEEDANCE_WALLET_KEY": funded_key,
    }  # fmt: skip
    person.run("animate", *words)
    quoted, again = compare(person, *words)

    assert quoted.code == again.code == 1
    assert "(failed) answers it" in quoted.out


@pytest.mark.parametrize(("cents", "rows"), [(0, 0), (34, 3), (66, 4), (98, 5)])
def test_a_batch_quote_says_how_many_rows_the_wallet_covers(
    standing_sandbox: "Sandbox", funded_key: str, funded_address: str, person: Person, cents: int, rows: int
) -> None:
    words = write_rows(person)
    standing_sandbox.chain.mint(funded_address, cents * 10_000)
    standing_sandbox.tempo.mint(funded_address, cents * 10_000)
    studio = standing_sandbox.url
    person.environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio, "SEEDANCE_WALLET_KEY": funded_key}
    quoted = person.run("quote", *words)
    facts = person.run("quote", *words, "--json").json
    # Between these, rows that are bought at once race for the last cents, and a refused payment ends with 4.
    bought = person.run("animate", *words) if rows in (0, 5) else quoted

    assert quoted.code == bought.code == (0 if rows == 5 else 3), quoted.err + bought.err
    assert f"The wallet covers {rows} of 5 rows: it holds ${cents / 100:.2f} of" in quoted.err
    assert (facts[0]["batch"]["wallet_fitting_rows"], facts[0]["batch"]["fitting_rows"]) == (rows, rows)


def test_a_quote_without_a_wallet_says_so_and_compares_nothing(
    studio_server: "Sandbox", person: Person, tmp_path: Path
) -> None:
    words = write_rows(person)
    bench = Bench(sandbox=studio_server, wallet_file=tmp_path / "none.json", address="", folder=tmp_path)
    person.environ = write_profile(bench, tmp_path)
    alone = person.run("quote", "a.png", "--prompt", "x")
    quoted, refused = compare(person, *words)
    dear = person.run("quote", *words, SEEDANCE_MAX_PRICE_PER_VIDEO="0.10")

    assert (alone.code, quoted.code, refused.code, dear.code) == (2, 2, 2, 2), quoted.err + refused.err
    for ended in (alone, quoted, dear):
        assert "No wallet is set. The cost is compared with no balance." in ended.err
        assert "too little" not in ended.out + ended.err
    assert "no: No wallet is set." in alone.out
    assert "$0.98 in all for 5 rows" in quoted.err
    assert "5 of 5 rows fit into the $5.00 that is left of your budget for 24 hours" in quoted.err
    assert "0 of 5 rows can be bought now." in quoted.err
    assert "(SEEDANCE_MAX_PRICE_PER_VIDEO)" in dear.out
