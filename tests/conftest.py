"""Fixtures for every test: a home of its own, real sandboxes, real pictures, and an https server on this machine.

No test can touch the real home, wallet or ledger of anyone who runs it (`_own_home`), or trust anybody on the internet.
"""

import gc
import itertools
import os
import re
import signal
import ssl
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.forks import find_decoders, forget_missing, share_forks
from tests.servers import Asked, RawServer, build_answer, serve_raw
from tests.skips import pytest_runtest_makereport
from tests.workers import share_workers

if TYPE_CHECKING:
    import asyncio

    import trustme

    from seedance_mcp.sandbox import Sandbox
    from tests.shelves import Shelf

__all__ = ["pytest_runtest_makereport"]
FUNDED_MICRO_USDC = 100_000_000
_DRAWN: dict[tuple[str, tuple[int, int], str], bytes] = {}
"""Pictures of `make_picture` by their suffix, size and mode: to encode one again takes longer than to write it."""
TEST_HOSTS = ("127.0.0.1", "localhost", "pictures.test")
"""Names in the certificate of `https_server`."""
NAME_CHARACTERS = 30
_numbers = itertools.count()

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of our children would compile all of us anew
sys.dont_write_bytecode = False  # else pytest would rewrite every test anew
os.environ.setdefault("SEEDANCETEST_SMALL_VIDEOS", "1")  # rendered in a tenth of the time
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: our children would be deaf, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
gc.disable()  # until all tests are collected: what they load stays

forget_missing()


def pytest_configure(config: pytest.Config) -> None:
    """Start one process that forks for all workers, and one that forks the workers; or prepare to run tests here."""
    if config.getoption("dist", "no") == "no" or hasattr(config, "workerinput"):
        _prepare()
    elif os.name == "posix":
        from tests.postgres import share_initial_data

        share_initial_data()
        share_forks()
        # coverage would not see what is imported before a worker begins; a Mac's libraries may not bear a fork
        if sys.platform == "linux" and "coverage" not in sys.modules:
            share_workers(config)


def _prepare() -> None:
    """Set up what all tests of this process share; heavy, and without use in a process that only starts workers."""
    from hypothesis import HealthCheck, settings

    from tests.decoders import fork_decoders
    from tests.fresh_ledgers import share_fresh_ledgers
    from tests.schemas import build_templates_once, check_schemas_once

    check_schemas_once()
    build_templates_once()
    share_fresh_ledgers()
    if os.name == "posix":
        fork_decoders(find_decoders)
    settings.register_profile(
        "seedance",
        max_examples=100 if os.environ.get("SEEDANCETEST_SKIP_NOTHING") else 15,  # set in CI; they take longest
        deadline=None,  # a busy machine is no failure
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("seedance")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the workers begin with what takes long: files with slow tests, then those with many; no one waits at the end.

    They take whole files, in this order (`--dist loadfile --no-loadscope-reorder`).
    """
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        sizes = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path not in slow, -sizes[item.path]))


def pytest_collection_finish() -> None:
    """Leave what is loaded to itself: no collection of garbage need look at it any more."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def authority() -> "trustme.CA":
    """A certificate authority that only these tests trust."""
    import trustme

    return trustme.CA()


@pytest.fixture(scope="session")
def authority_file(authority: "trustme.CA", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority's certificate in a file."""
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture(autouse=True)
def _own_authority(request: pytest.FixtureRequest, authority_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    """Trust `authority` and no one else, in this process and its children; only `compat` may download something.

    To read the certificates of a whole machine takes longer than most of what a test does.
    """
    if request.node.get_closest_marker("compat") is None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority_file))
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test, where pytest makes its own, which reads the names of all folders for the next number."""
    return _make_folder(tmp_path_factory, re.sub(r"\W", "_", request.node.name))


def _make_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    folder = tmp_path_factory.getbasetemp() / f"{next(_numbers):05}_{name}"[:NAME_CHARACTERS]
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    """Point the home, the XDG folders and our own data folder at a temporary one; forget the owner's settings."""
    for name in list(os.environ):
        if name.upper().startswith("SEEDANCE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = _make_folder(tmp_path_factory, "home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(home / name.lower()))
    monkeypatch.setenv("SEEDANCE_DATA_DIR", str(home / "seedance"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def funded_key() -> str:
    """A throwaway private key of this test; its wallet holds $100 in every sandbox of these fixtures.

    Of one test alone: a wallet that another ledger bought with is not a new one.
    """
    return "0x" + os.urandom(32).hex()


@pytest.fixture
def funded_address(funded_key: str) -> str:
    from eth_account import Account  # heavy: only for tests that ask

    return Account.from_key(funded_key).address


@pytest.fixture(scope="session")
def standing_sandbox() -> Generator["Sandbox"]:
    """One sandbox for the whole session; tests ask for `studio_server`."""
    with _build_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def studio_server(standing_sandbox: "Sandbox", funded_address: str) -> "Sandbox":
    """The session's sandbox, without faults; for tests that leave nothing strange behind."""
    standing_sandbox.chain.mint(funded_address, FUNDED_MICRO_USDC)
    standing_sandbox.tempo.mint(funded_address, FUNDED_MICRO_USDC)
    return standing_sandbox


@pytest.fixture
def make_sandbox(funded_address: str) -> Generator[Callable[..., "Sandbox"]]:
    """Start sandboxes with any `SandboxSettings`, `make_sandbox(contract="classic", faults=("not_json",))`."""
    started: list[Sandbox] = []

    def make(**settings: Any) -> "Sandbox":
        sandbox = _build_sandbox(funded_address, **settings)
        sandbox.start()
        started.append(sandbox)
        return sandbox

    yield make
    for sandbox in started:
        sandbox.stop()


def _build_sandbox(*funded: str, **settings: Any) -> "Sandbox":
    from seedance_mcp.sandbox import Sandbox, SandboxSettings  # heavy: only for tests that ask

    chosen: dict[str, Any] = {"job_seconds": 0.2, "funded": dict.fromkeys(funded, FUNDED_MICRO_USDC), **settings}
    return Sandbox(SandboxSettings(**chosen))


@pytest.fixture
def make_picture(tmp_path: Path) -> Callable[..., Path]:
    """Draw a picture into `tmp_path`: `make_picture("cat.png", size=(640, 360), mode="RGB", **save_options)`."""
    from PIL import Image

    assert not any(part.startswith(".") for part in tmp_path.parts), "a hidden folder is refused by media"

    def make(name: str = "picture.png", *, size: tuple[int, int] = (640, 360), mode: str = "RGB", **save: Any) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        drawn = _DRAWN.get((file.suffix, size, mode))
        if drawn is None or save:
            Image.new(mode, size, "teal" if mode != "CMYK" else (90, 10, 20, 30)).save(file, **save)
        else:
            file.write_bytes(drawn)
        if not save:
            _DRAWN.setdefault((file.suffix, size, mode), file.read_bytes())
        return file

    return make


@pytest.fixture(params=["folder", "bucket"])
async def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator["Shelf"]:
    """An empty place for objects of replicas: a folder, and in another test a bucket."""
    from tests.shelves import open_shelf

    async with open_shelf(request.param, tmp_path / "shared" / "objects") as shelf:
        yield shelf


@pytest.fixture(scope="session")
def server_tls(authority: "trustme.CA") -> ssl.SSLContext:
    """The server half, for `serve_raw(..., tls=server_tls)`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*TEST_HOSTS).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # pyOpenSSL
    return context


class HttpsServer:
    """Real https on this machine: `add` bytes or a redirect under a path, get its URL."""

    def __init__(self, raw: RawServer, answers: dict[str, bytes]) -> None:
        self.raw = raw
        self._answers = answers

    @property
    def url(self) -> str:
        return self.raw.url

    def add(self, path: str, body: bytes = b"", *, status: int = 200, **headers: str) -> str:
        """Serve this from now on; underscores in header names stand for hyphens."""
        self._answers[path] = build_answer(status, body, **headers)
        return self.url + path

    def redirect(self, path: str, to: str) -> str:
        return self.add(path, status=302, location=to)


@pytest.fixture
async def https_server(server_tls: ssl.SSLContext) -> AsyncGenerator[HttpsServer]:
    """An https server for pictures and redirects; reachable where loopback is allowed, trusted by SSL_CERT_FILE."""
    answers: dict[str, bytes] = {}

    async def answer(asked: Asked, writer: "asyncio.StreamWriter") -> None:
        writer.write(answers.get(asked.target) or build_answer(404))

    async with serve_raw(answer, tls=server_tls) as raw:
        yield HttpsServer(raw, answers)
