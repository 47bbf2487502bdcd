"""The pages for people: every command in them exists, with the options that it is shown with."""

import re
import shlex
from pathlib import Path

import pytest

from tests.people.conftest import Person

DOCS = Path(__file__).parents[2] / "docs"


def commands() -> list[str]:
    found: set[str] = set()
    for page in ("first-clip.md", "connect.md"):
        text = (DOCS / page).read_text()
        blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL) + re.findall(r"`(seedance-mcp [^`]+)`", text)
        found |= {line for block in blocks for line in block.splitlines() if line.startswith("seedance-mcp ")}
    return sorted(found)


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_pages_is_one(line: str, person: Person) -> None:
    words = shlex.split(line.partition(" > ")[0])[1:]
    named = words[:2] if words[0] == "wallet" else words[:1]
    told = person.run(*named, "--help")
    assert told.code == 0, line
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word)}\b", told.out), f"{line}: no {word}"


def test_the_rehearsal_of_the_page_runs(person: Person) -> None:
    person.draw("harbour.jpg")
    line = next(line for line in commands() if line.startswith("seedance-mcp animate") and line.endswith("--sandbox"))
    done = person.run_apart(*shlex.split(line)[1:])
    assert done.code == 0, done.err


def test_the_rows_of_the_page_are_rows(customer: Person) -> None:
    block = re.search(r"```csv\n(.*?)```", (DOCS / "first-clip.md").read_text(), re.DOTALL)
    assert block is not None
    customer.draw("harbour.jpg")
    customer.draw("garden.jpg", 140)
    (customer.folder / "shots.csv").write_text(block[1])
    done = customer.run("quote", "--from", "shots.csv", "--json")
    assert [quote["price_usd"] for quote in done.json] == ["0.32", "0.48"]
