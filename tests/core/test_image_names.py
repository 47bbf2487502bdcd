"""Image names: what people, shells and models write for a picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.image_names import (
    DATA_URI_CHARACTERS_MAX,
    find_upload_id,
    find_url,
    has_chat_scheme,
    is_data_uri,
    is_in_chat,
    is_path,
    is_upload,
    list_variants,
    name_in_wsl,
    normalise_name,
    read_data_uri,
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"/home/a/My\ Photo\ \(1\).png", "/home/a/My Photo (1).png"),
        ("'/home/a/cat.png'", "/home/a/cat.png"),
        ('"/home/a/cat.png"', "/home/a/cat.png"),
        ("  /home/a/cat.png\n", "/home/a/cat.png"),
        ("@/home/a/cat.png", "/home/a/cat.png"),
        ("</home/a/cat.png>", "/home/a/cat.png"),
        ("`cat.png`", "cat.png"),
        (r"C:\Users\a\cat.png", "/mnt/c/Users/a/cat.png"),
        ("D:/photos/cat.png", "/mnt/d/photos/cat.png"),
    ],
)
def test_a_decorated_path_has_the_plain_one_among_its_variants(written: str, meant: str) -> None:
    assert meant in list_variants(written)


@pytest.mark.parametrize("written", ["/home/a/cat.png", "cat.png", "~/cat.png"])
def test_a_plain_path_has_no_variants(written: str) -> None:
    assert list_variants(written) == []


@pytest.mark.parametrize("written", ["<https://x.test/a.png>", " https://x.test/a.png\n", "@https://x.test/a.png"])
def test_a_url_is_found_without_what_surrounds_it(written: str) -> None:
    assert find_url(written) == "https://x.test/a.png"


@pytest.mark.parametrize(
    ("written", "in_chat", "by_scheme"),
    [
        ("/mnt/user-data/uploads/cat.png", True, False),
        ("sandbox:/mnt/data/cat.png", True, True),
        ("attachment://cat.png", True, True),
        ("/home/a/cat.png", False, False),
    ],
)
def test_a_name_inside_a_chat_is_recognised(written: str, in_chat: bool, by_scheme: bool) -> None:
    assert (is_in_chat(written), has_chat_scheme(written)) == (in_chat, by_scheme)


UPLOAD_ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("written", "upload_id"),
    [
        (f"upload:{UPLOAD_ID}", UPLOAD_ID),
        (f' "Upload:{UPLOAD_ID.upper()}" ', UPLOAD_ID),
        ("upload:../../ledger.sqlite3", None),
        ("upload:" + "0" * 31, None),
        ("upload:", None),
    ],
)
def test_name_of_a_given_picture_has_a_safe_id_or_none(written: str, upload_id: str | None) -> None:
    assert is_upload(written)
    assert not is_path(written)
    assert find_upload_id(written) == upload_id


def test_path_is_what_has_no_other_form() -> None:
    names = (
        "cat.png",
        "~/cat.png",
        "uploads/cat.png",
        "https://a.test/b",
        "data:,a",
        "attachment://a",
        "/mnt/data/a.png",
    )
    assert [name for name in names if is_path(name)] == ["cat.png", "~/cat.png", "uploads/cat.png"]


def test_names_are_equal_whatever_their_blanks_and_accents_are_made_of() -> None:
    assert normalise_name("Bild\u202f1 a\u0308.png") == normalise_name("Bild 1 \u00e4.png")
    assert normalise_name("a\u00a0b") == normalise_name("a b")
    assert normalise_name("a.png") != normalise_name("A.png")


@pytest.mark.parametrize(
    ("uri", "data"),
    [
        ("data:image/png;base64,aGk=", b"hi"),
        ("data:image/png;base64,aG k\n=", b"hi"),
        ("data:;base64,aGk", b"hi"),
        ("DATA:image/png;charset=x;BASE64,_-8=", b"\xff\xef"),
        ("data:,a%20b", b"a b"),
    ],
)
def test_a_data_uri_is_read(uri: str, data: bytes) -> None:
    assert is_data_uri(uri)
    assert read_data_uri(uri) == data


@pytest.mark.parametrize(
    "uri", ["data:image/png;base64", "data:image/png;base64,***", "data:," + "x" * DATA_URI_CHARACTERS_MAX]
)
def test_a_broken_data_uri_is_an_error_that_does_not_repeat_it(uri: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_data_uri(uri)
    assert len(str(caught.value)) < 300


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    for read in (find_upload_id, find_url, is_in_chat, is_path, name_in_wsl, normalise_name):
        read(text)
    assert text not in list_variants(text)


@given(st.text())
def test_any_data_uri_is_bytes_or_our_error(text: str) -> None:
    try:
        assert isinstance(read_data_uri("data:" + text), bytes)
    except ImageError:
        return
