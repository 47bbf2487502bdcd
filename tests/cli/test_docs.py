"""The pages for people: every command that they name in a sentence exists, with the options that it is shown with."""

import re
import shlex

import pytest

from tests.cli.conftest import Person
from tests.docs.test_blocks import PAGES, ROOT


def commands() -> list[str]:
    found: set[str] = set()
    for page in PAGES:
        if "reference/" not in page:  # written from the commands themselves
            found |= set(re.findall(r"`(seedance-mcp [^`]+)`", (ROOT / page).read_text()))
    return sorted(found)


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_pages_is_one(line: str, person: Person) -> None:
    words = shlex.split(line)[1:]
    named = words[:2] if words[0] == "wallet" else words[:1]
    told = person.run(*named, "--help")
    assert told.code == 0, line
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word)}\b", told.out), f"{line}: no {word}"
