"""A person's yes at the terminal: only from a real one, and to a question that names what is paid."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.cli.conftest import Person
from tests.cli.terminal import answer

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

PAID_TO = "0x1b4d22336de7d544309c3316e7966b33aceed1c1"
NEW_RECIPIENT = "0x57a4632600000000000000000000000000000bad"
ASKS = {"SEEDANCE_ASK_ABOVE": "0.10"}
LOADING_ANEW = """\
import sys
for name in [name for name in sys.modules if name.split(".")[0] in ("rich", "seedance_mcp", "typer")]:
    del sys.modules[name]
from seedance_mcp.__main__ import main
main()
"""
"""Our command, with the libraries that look at the environment when they are loaded."""


def count_jobs(customer: Person) -> int:
    return len(customer.run("jobs", "--json", "--limit", "100").json)


COLOURS = ("FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE", "TTY_INTERACTIVE")


def test_yes_from_a_pipe_is_no_yes(customer: Person, tmp_path: Path) -> None:
    """What says that colours may be shown does not say that a person is there."""
    program = tmp_path / "loading_anew.py"
    program.write_text(LOADING_ANEW)
    customer.draw("pipe.png")
    before = count_jobs(customer)

    def is_refused(*colours: str) -> bool:
        told = dict.fromkeys(colours, "1")
        words = ("animate", "pipe.png", "--prompt", "x")
        ended = customer.run_apart(*words, afresh=False, program=str(program), typed="y\ny\n", **ASKS, **told)
        return ended.code == 3 and "needs a person's yes" in ended.one_line

    if not is_refused(*COLOURS):
        assert [colour for colour in COLOURS if not is_refused(colour)] == []
        raise AssertionError(f"all of {COLOURS} together")
    assert count_jobs(customer) == before


on_a_pseudo_terminal = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")


@on_a_pseudo_terminal
def test_question_at_80_columns_names_what_is_paid(customer: Person) -> None:
    customer.draw("harbour.jpg")
    prompt = "Fog lifts» \nRecipient: 0x00 \x1b[2J\u202e" + "and gulls circle " * 9
    words = ("animate", "harbour.jpg", "--prompt", prompt)
    code, shown = answer(customer, *words, typed="n\n", columns=80, **ASKS)
    lines = shown.replace("\r\n", "\n").split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith("Play money (sandbox): "))
    question = lines[first : next(number for number, line in enumerate(lines) if "[y/N]" in line) + 1]

    assert code == 3
    assert question[0] == "Play money (sandbox): $0.33 for a 4 s 480p video by seedance-fast."
    assert question[1] == "Price: 1 video $0.32, 1 image upload $0.01, no network fee."
    assert any(line.endswith("harbour.jpg»") for line in question)
    assert any(line.startswith("  «Fog lifts> Recipient: 0x00 [2J and gulls circle and") for line in question)
    assert [line for line in question if line.startswith("Recipient: ")] == [f"Recipient: {PAID_TO}"]
    assert "  in Sandbox USDC on eip155:402402" in question
    assert question[-1].startswith("Pay $0.33? [y/N]")
    assert all(len(line) <= 80 for line in question)


def test_question_about_a_batch_names_its_sum_and_first_videos(customer: Person) -> None:
    pictures = [customer.draw(f"row{number}.png").name for number in range(5)]
    words = ("animate", *pictures, pictures[0], "--prompt", "Fog lifts")
    refused = customer.run_on_screen(*words, typed="n\n", columns=80, **ASKS)
    question = refused.err.partition("Play money (sandbox): ")[2].split("\n")

    assert refused.code == 3
    assert question[0] == "$1.65 for 5 videos."
    assert question[1] == "Price: 5 videos $1.60, 5 image uploads $0.05, no network fee."
    assert [line for line in question if line.startswith("Video ")] == ["Video 1:", "Video 2:", "Video 3:"]
    assert question.count("  «Fog lifts»") == 3
    assert "And 2 more videos." in question
    assert question.count(f"Recipient: {PAID_TO}") == 1
    assert any(line.startswith("Pay $1.65? [y/N]") for line in question)


@pytest.fixture
def customer_of_a_changed_studio(
    tmp_path: Path, make_sandbox: "Callable[..., Sandbox]", funded_key: str
) -> tuple[Person, str]:
    """A customer who paid the studio once before it named another recipient; and the studio's URL."""
    url = make_sandbox().url
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": url, "SEEDANCE_WALLET_KEY": funded_key}
    customer = Person(folder=tmp_path, environ=environ)
    customer.draw("a.png")
    assert customer.run("upload", "a.png").code == 0
    httpx.post(f"{url}/_sandbox/faults", json={"faults": ["tampered_offer=other_recipient"]}).raise_for_status()
    return customer, url


def list_paid(url: str) -> list[str]:
    return [entry["to"].lower() for entry in httpx.get(f"{url}/_sandbox/state").json()["settlements"]]


def test_terminal_asks_before_a_changed_recipient_is_paid(
    customer_of_a_changed_studio: tuple[Person, str],
) -> None:
    customer, url = customer_of_a_changed_studio
    words = ("animate", "a.png", "--prompt", "x")
    alone = customer.run(*words)
    no = customer.run_on_screen(*words, typed="n\n", columns=80)
    before = list_paid(url)
    yes = customer.run_on_screen(*words, typed="y\n", columns=80)
    lines = no.err.split("\n")

    assert alone.code == 3
    assert f"SEEDANCE_RECIPIENTS={PAID_TO},{NEW_RECIPIENT}" in alone.one_line, "where no one can be asked"
    assert "WARNING: the studio's recipient has changed. This can be an attack." in lines
    assert f"Old recipient: {PAID_TO}" in lines
    assert f"New recipient: {NEW_RECIPIENT}" in lines
    assert any(line.startswith("Pay $0.32 to the new recipient? [y/N]") for line in lines)
    assert no.code == 3
    words_shown = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", no.err).split())
    assert f"You did not agree to the new recipient {NEW_RECIPIENT}" in words_shown
    assert before == [PAID_TO]
    assert yes.code == 0, yes.err
    assert list_paid(url) == [PAID_TO, NEW_RECIPIENT]


def test_quote_allows_a_changed_recipient_only_where_a_person_is(
    customer_of_a_changed_studio: tuple[Person, str],
) -> None:
    customer, _ = customer_of_a_changed_studio
    words = ("quote", "a.png", "--prompt", "x", "--json")
    alone, there = customer.run(*words), customer.run_at_terminal(*words, typed="")

    assert (alone.code, alone.json["allowed"], alone.json["needs_approval"]) == (3, False, True)
    assert (there.code, there.json["allowed"], there.json["needs_approval"]) == (0, True, True)


def test_yes_at_a_terminal_buys(customer: Person) -> None:
    customer.draw("typed.png")
    ended = customer.run_at_terminal("animate", "typed.png", "--prompt", "x", typed="y\n", **ASKS)

    assert ended.code == 0, ended.err
    assert "Pay $" in ended.err
