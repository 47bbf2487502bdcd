"""URLs and identifiers by their spelling, and other text."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.wire.kinds import URL_CHARACTERS_MAX, is_identifier, is_url, show_identifier, show_url

HOST = "https://a.test/"


@pytest.mark.parametrize(
    "text", [HOST, "HTTP://127.0.0.1:4020/x?y=%20#z", HOST + "x" * (URL_CHARACTERS_MAX - len(HOST)), "https://[::1]/"]
)
def test_url_is_shown_as_it_is(text: str) -> None:
    assert is_url(text)
    assert show_url(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "ftp://a.test/", "javascript:alert(1)", "data:text/html,x", "https://", "https:///x", "//a.test/",
        "https://a.test/a b", "https://a.test/\n", "https://a.test/é", "https://a.test/\u202e", "https://[::1/",
        " https://a.test/", HOST + "x" * URL_CHARACTERS_MAX, "file:///etc/passwd", "https://a.test/\x7f",
    ],
)  # fmt: skip
def test_other_text_is_quoted(text: str) -> None:
    assert not is_url(text)
    assert show_url(text).startswith("«")


@pytest.mark.parametrize(("text", "good"), [("a", True), ("A-z_9" * 25, True), ("a" * 129, False), ("", False),
                                            ("a b", False), ("a\n", False), ("é", False), ("a.b", False)])  # fmt: skip
def test_identifier_is_recognised_by_its_characters(text: str, good: bool) -> None:
    assert is_identifier(text) == good
    assert (show_identifier(text) == text) == good


@given(st.text())
def test_shown_text_is_printable_and_bounded(text: str) -> None:
    for shown in (show_url(text), show_identifier(text)):
        assert shown.isprintable()
        assert len(shown) <= URL_CHARACTERS_MAX
    if is_identifier(text):
        assert set(text) <= set(string.ascii_letters + string.digits + "-_")
