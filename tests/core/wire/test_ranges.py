"""Ranges: only a strong name of a whole content is resumed, and only by the rest that was requested."""

import pytest

from seedance_mcp.core.wire.ranges import Resume, Version, is_requested_range, read_version

ETAG = '"0f1e"'
RESUME = Resume(Version(ETAG, 200), 100)
HONEST = {"content-range": "bytes 100-199/200", "content-length": "100", "etag": ETAG}


def test_the_rest_is_requested_under_the_name_of_the_content() -> None:
    assert RESUME.build_headers() == {"range": "bytes=100-", "if-range": ETAG}


@pytest.mark.parametrize(
    "change",
    [
        {"etag": 'W/"0f1e"'},
        {"etag": "0f1e"},
        {"etag": '""'},
        {"etag": '"a", "b"'},
        {"etag": f'"{"x" * 201}"'},
        {"etag": '"é"'},
        {"etag": ""},
        {"content-length": ""},
        {"content-length": "0"},
        {"content-length": "-5"},
        {"content-length": "200, 200"},
        {"accept-ranges": "none"},
        {"accept-ranges": "None"},
    ],
)
def test_a_content_without_a_strong_name_is_not_resumed(change: dict[str, str]) -> None:
    headers = {"etag": ETAG, "content-length": "200"}
    assert read_version(headers) == RESUME.version
    assert read_version({**headers, **change}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"content-range": ""},
        {"content-range": "bytes 0-199/200"},
        {"content-range": "bytes 100-198/200"},
        {"content-range": "bytes 100-199/201"},
        {"content-range": "bytes 100-199/*"},
        {"content-range": "bytes */200"},
        {"content-range": "items 100-199/200"},
        {"content-range": "bytes 100-199/200, bytes 0-9/200"},
        {"content-length": "99"},
        {"etag": '"other"'},
    ],
)
def test_another_range_is_not_the_rest(change: dict[str, str]) -> None:
    assert is_requested_range(HONEST, RESUME)
    assert is_requested_range({"content-range": HONEST["content-range"]}, RESUME)
    assert not is_requested_range({**HONEST, **change}, RESUME)
