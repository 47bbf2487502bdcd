"""A host: talks to the real server with the SDK's own client, against a real sandbox.

The server runs in the test's process, or in one of its own where a test is about the process: how it starts, ends and
leaves, its streams, its environment, its children.
"""

import functools
import io
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.lowlevel
import anyio.to_thread
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult
from PIL import Image

from seedance_mcp.app.local_sandbox import resolve_sandbox
from seedance_mcp.sandbox import Sandbox
from seedance_mcp.server import build_server
from tests.forks import build_command
from tests.servers import ask_sandbox

CALL_SECONDS = 40
FILM_SECONDS = 200
"""Bound of a film: other tests encode beside it."""
ON_BOTH_RAILS = pytest.mark.parametrize("rail", ["x402", "mpp"])
"""For a journey that must end alike however the studio is paid."""


@dataclass
class Answer:
    """What a host gets of one call."""

    result: CallToolResult

    @property
    def failed(self) -> bool:
        """Whether the tool said that it failed."""
        return bool(self.result.is_error)

    @property
    def text(self) -> str:
        """The text half."""
        return " ".join(getattr(part, "text", "") for part in self.result.content)

    def __getitem__(self, name: str) -> Any:
        assert self.result.structured_content is not None, self.text
        return self.result.structured_content[name]


@dataclass
class Host:
    """One connection to one server."""

    client: Client
    progress: list[tuple[float, str | None]] = field(default_factory=list[tuple[float, str | None]])

    async def call(self, tool: str, **arguments: object) -> Answer:
        """Call a tool as a host does."""

        async def watch(progress: float, total: float | None, message: str | None) -> None:
            self.progress.append((progress, message))

        with anyio.fail_after(CALL_SECONDS):
            result = await self.client.call_tool(tool, arguments, progress_callback=watch)
        return Answer(result)

    async def order(self, **arguments: object) -> Answer:
        """Order a video until it has a job, however long the purchase takes."""
        answer = await self.call("animate_image", **arguments, wait_seconds=1)
        while not answer.failed and answer["job_id"] is None:
            answer = await self.call("animate_image", **arguments, wait_seconds=1)
        return answer

    async def animate_to_the_end(self, **arguments: object) -> Answer:
        """What a patient agent does: animate, then get_job until there is nothing to wait for."""
        answer = await self.call("animate_image", **arguments)
        for _ in range(10):
            if answer.failed or answer["status"] == "failed" or answer["file"]:
                break
            if answer["status"] == "complete" and answer["video_url_age_seconds"] is None:
                break  # saved, where there is no file
            again = ("get_job", {"job_id": answer["job_id"]}) if answer["job_id"] else ("animate_image", arguments)
            answer = await self.call(again[0], **again[1])
        return answer


@dataclass
class Bench:
    """A sandbox, a funded wallet and a data folder: what a journey needs."""

    sandbox: Sandbox
    wallet_file: Path
    address: str
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """Settings of a server that talks to this sandbox."""
        return {
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": self.sandbox.url,
            "SEEDANCE_WALLET_FILE": str(self.wallet_file),
            "SEEDANCE_DATA_DIR": str(self.folder / "data"),
        }

    @asynccontextmanager
    async def host(
        self, *, mode: Any = "auto", elicitation: Any = None, process: str | None = None, **environ: str
    ) -> AsyncGenerator[Host]:
        """A server on these settings, and a host connected to it.

        Args:
            mode: Of the SDK's client.
            elicitation: Who answers what the server asks.
            process: `forked`, where the server must be a process of its own.
            environ: Further settings.
        """
        plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
        given = {**plain, **self.environ, **environ}
        server: Any = build_server(given, resolve_sandbox=resolve_sandbox)
        if process is not None:
            command, *words = build_command("seedance_mcp")
            server = StdioServerParameters(command=command, args=words, env=given)
        failure: BaseException | None = None
        async with Client(server, mode=mode, elicitation_callback=elicitation) as client:
            try:
                yield Host(client)
            except BaseException as exc:  # carried past the client's task group, which would wrap it
                failure = exc
        if failure is not None:
            raise failure

    async def break_with(self, *faults: str) -> None:
        """Switch the sandbox's named faults on; none switches them off."""
        await ask_sandbox(self.sandbox.url, "/_sandbox/faults", {"faults": faults})

    async def state(self) -> Mapping[str, Any]:
        """The sandbox's own truth: settlements, jobs, uploads, balances."""
        return await ask_sandbox(self.sandbox.url, "/_sandbox/state")

    async def paid(self) -> list[int]:
        """The amounts that settled on the sandbox's chain, oldest first."""
        await anyio.lowlevel.checkpoint()
        settled = [*self.sandbox.chain.settlements(), *self.sandbox.tempo.settlements()]
        return [one.amount_micro_usdc for one in sorted(settled, key=lambda one: one.at)]


MakeBench = Callable[..., Any]


async def make_film(host: Host, **arguments: Any) -> Answer:
    """Order a film and wait until it has ended."""
    return await finish_film(host, await host.call("animate_storyboard", wait_seconds=20, **arguments))


async def finish_film(host: Host, answer: Answer) -> Answer:
    """Wait until a film has ended."""
    with anyio.fail_after(FILM_SECONDS):
        while not answer.failed and answer["status"] in ("pending", "loading"):
            answer = await host.call("get_job", job_id=answer["job_id"], wait_seconds=20)
    return answer


def draw(path: Path, size: tuple[int, int] = (640, 360), colour: tuple[int, int, int] = (40, 90, 160)) -> Path:
    """A small picture with something in it to see."""
    path.write_bytes(_encode_picture(Image.registered_extensions()[path.suffix.lower()], size, colour))
    return path


@functools.cache
def _encode_picture(kind: str, size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    picture = Image.new("RGB", size, colour)
    for x in range(0, size[0], 40):
        picture.paste((200, 180, 60), (x, size[1] // 3, x + 12, size[1] // 3 + 60))
    content = io.BytesIO()
    picture.save(content, kind)
    return content.getvalue()


async def run_in_thread(work: Callable[[], Any]) -> Any:
    """Blocking work of a test, off its event loop."""
    return await anyio.to_thread.run_sync(work)
