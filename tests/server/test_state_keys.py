"""State keys change while servers run: none restarts, and nothing that a client has in its hands becomes invalid."""

import os
from pathlib import Path

import pytest
from mcp.server.request_state import InvalidRequestState

from seedance_mcp.app.video_links import VideoLinks, derive_keys
from seedance_mcp.config.hosted import read_hosted_settings
from seedance_mcp.config.state_keys import StateKeys
from seedance_mcp.server.sealing import ReloadedCodec

OLD, NEW = "o" * 40, "n" * 40
JOB = "job"


class Server:
    """What a server does with the keys of a shared file, at a clock of its own."""

    def __init__(self, file: Path, data: Path) -> None:
        environ = {
            "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": "http://127.0.0.1:1", "SEEDANCE_DATA_DIR": str(data),
            "SEEDANCE_DATABASE_URL": "postgresql:///x", "SEEDANCE_STATE_KEYS_FILE": str(file),
        }  # fmt: skip
        self.passed = 0.0
        read = lambda: read_hosted_settings(environ).state_keys.current()  # noqa: E731 - as the settings do
        self.keys = StateKeys(read(), file, read, lambda: self.passed)
        self.codec = ReloadedCodec(self.keys.current)
        self.links = VideoLinks(
            public_url="http://x", keys=lambda: derive_keys(self.keys.current()), seconds=900, now=lambda: 0
        )

    def look(self) -> None:
        """Let a second pass."""
        self.passed += 1


def write(file: Path, *keys: str) -> None:
    """Replace the file, as a mounted secret is replaced."""
    other = file.with_name("next")
    other.write_text("".join(f"{key}\n" for key in keys))
    os.replace(other, file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(tmp_path / "keys", OLD)
    return tmp_path / "keys"


def test_keys_change_in_the_order_of_the_page_without_an_invalid_seal(file: Path, tmp_path: Path) -> None:
    """Each step reaches one server before the other, and what either has sealed is opened by both."""
    first, second = Server(file, tmp_path / "a"), Server(file, tmp_path / "b")
    for step in ((OLD, NEW), (NEW, OLD)):
        write(file, *step)
        for server in (first, second):
            sealed = [one.codec.seal(b"state") for one in (first, second)]
            server.look()
            for one in (first, second):
                assert [one.codec.unseal(token) for token in sealed] == [b"state"] * 2
    kept = first.codec.seal(b"state")
    write(file, NEW)
    first.look()
    assert first.codec.unseal(kept) == b"state", "it was sealed with the new key"
    assert callable(first.links.keys)
    assert first.links.keys() == derive_keys([NEW.encode()])


def test_a_key_that_was_taken_away_opens_nothing(file: Path, tmp_path: Path) -> None:
    server = Server(file, tmp_path)
    sealed = server.codec.seal(b"state")
    write(file, NEW)
    server.look()
    with pytest.raises(InvalidRequestState):
        server.codec.unseal(sealed)


@pytest.mark.parametrize("content", ["short", "", None])
def test_a_broken_file_leaves_the_keys_in_use(
    file: Path, tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(file, tmp_path)
    sealed = server.codec.seal(b"state")
    if content is None:
        file.unlink()
    else:
        write(file, content)
    server.look()
    assert server.codec.unseal(sealed) == b"state"
    assert "The earlier state keys stay in use" in caplog.text
    assert OLD not in caplog.text

    write(file, NEW, OLD)
    server.look()
    assert server.keys.current()[0] == NEW.encode()
