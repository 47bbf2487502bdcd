"""A picker that runs while a test does."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio

from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.app.picker import Picker

SECONDS = 30


@asynccontextmanager
async def open_picker(received: ReceivedPictures, *, profile: str = "live", **options: Any) -> AsyncGenerator[Picker]:
    """Yield a picker whose server ends, at the latest, with the block."""
    async with anyio.create_task_group() as tasks:

        async def run(work: Callable[[], Awaitable[None]]) -> None:
            await work()

        yield Picker(received, start=lambda work: tasks.start_soon(run, work), profile=profile, **options)
        tasks.cancel_scope.cancel()


async def until_closed(url: str) -> None:
    """Wait until nothing listens where a link leads."""
    parts = urlsplit(url)
    with anyio.fail_after(SECONDS):
        while True:
            try:
                await (await anyio.connect_tcp(str(parts.hostname), parts.port or 0)).aclose()
            except OSError:
                return
            await anyio.sleep(0.02)
