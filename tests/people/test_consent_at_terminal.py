"""A person's yes at the terminal: only from a real one, and to a question that names what is paid."""

import pytest

from tests.people.conftest import Person

ASKS = {"SEEDANCE_ASK_ABOVE": "0.10"}


def count_jobs(customer: Person) -> int:
    return len(customer.run("jobs", "--json", "--limit", "100").json)


@pytest.mark.parametrize("colour", ["FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE", "TTY_INTERACTIVE"])
def test_yes_from_a_pipe_is_no_yes(customer: Person, colour: str) -> None:
    """What says that colours may be shown does not say that a person is there."""
    customer.draw("pipe.png", 121)
    before = count_jobs(customer)
    words = ("animate", "pipe.png", "--prompt", "x")
    ended = customer.run_apart(*words, typed="y\ny\n", **ASKS, **{colour: "1"})

    assert ended.code == 3
    assert "needs a person's yes" in ended.one_line
    assert count_jobs(customer) == before


def test_yes_at_a_terminal_buys(customer: Person) -> None:
    customer.draw("typed.png", 122)
    ended = customer.run_at_terminal("animate", "typed.png", "--prompt", "x", typed="y\n", **ASKS)

    assert ended.code == 0, ended.err
    assert "Pay $" in ended.err
