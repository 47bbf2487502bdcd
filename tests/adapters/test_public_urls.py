"""Connections to the hosts of public URLs: which are used again, and by whom."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from seedance_mcp.adapters.http import public_urls
from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher
from tests.servers import Asked, build_answer, serve_raw


@asynccontextmanager
async def fetching(*hosts: str) -> AsyncGenerator[list[int]]:
    """Fetch from each host name in turn; yields the ports that the requests came from."""
    seen: list[int] = []

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[1])
        writer.write(build_answer(200, b"x", connection="keep-alive"))

    fetcher = PublicUrlFetcher()
    async with serve_raw(answer, keeps_open=True) as server:
        for host in hosts:
            async with fetcher.stream(f"http://{host}:{server.port}/", loopback_allowed=True) as response:
                assert await response.aread() == b"x"
        yield seen
        await fetcher.aclose()


async def test_requests_to_one_host_share_a_connection_and_other_names_do_not() -> None:
    async with fetching("127.0.0.1", "localhost", "127.0.0.1", "localhost") as seen:
        assert seen[0] == seen[2] != seen[1] == seen[3]


async def test_only_some_hosts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_urls, "HOSTS_KEPT_MAX", 1)
    async with fetching("127.0.0.1", "localhost", "localhost", "127.0.0.1") as seen:
        assert (seen[0] == seen[3], len(set(seen))) == (True, 3)


async def test_idle_host_gives_way_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_urls, "HOSTS_KEPT_MAX", 1)
    monkeypatch.setattr(public_urls, "HOST_IDLE_SECONDS", -1)
    async with fetching("127.0.0.1", "localhost", "localhost", "127.0.0.1") as seen:
        assert len(set(seen)) == 4
