"""The routes of a hosted server for pictures and videos, on a real port, without MCP before them."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from seedance_mcp.adapters.storage.store import ObjectStore
from seedance_mcp.app.hosted_picker import HostedPicker
from seedance_mcp.app.video_links import VideoLinks, derive_keys
from seedance_mcp.app.web import uploads, videos
from seedance_mcp.app.web.door import open_door, serving
from seedance_mcp.core.callers import Caller
from seedance_mcp.core.records import Job
from seedance_mcp.generation.slots import SlotPictures
from tests.shelves import Shelf

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

STATE_KEYS = (b"a" * 32, b"b" * 32)
READER = frozenset({"read", "spend"})
CALLERS: Mapping[str, Caller] = {
    "Bearer ann": Caller("ann", "ann", READER),
    "Bearer bob": Caller("bob", "bob", READER),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One process of a hosted server, as far as pictures and videos go.

    Attributes:
        origin: Where it is served.
        ledger: Of all callers.
        store: Of all replicas.
        links: Those that it signs.
    """

    origin: str
    ledger: "PostgresLedger"
    store: ObjectStore
    links: VideoLinks

    def pictures(self, caller: str = "ann") -> SlotPictures:
        """Return a caller's pictures."""
        return SlotPictures(self.ledger.for_caller(caller), self.store)

    def picker(self, caller: str = "ann", *, link_seconds: float = 900) -> HostedPicker:
        """Return a caller's picker."""
        return HostedPicker(pictures=self.pictures(caller), public_url=self.origin, link_seconds=900)


@asynccontextmanager
async def open_routes(url: str, shelf: Shelf, *, bodies_max: int = 8) -> AsyncGenerator[Replica]:
    """Serve the routes of one replica."""
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    async def authenticate(request: Request) -> Caller | Response:
        caller = CALLERS.get(request.headers.get("authorization", ""))
        return caller or PlainTextResponse("no token", 401, {"www-authenticate": "Bearer"})

    async with AsyncExitStack() as stack:
        ledger = await PostgresLedger.open(url)
        stack.push_async_callback(ledger.close)
        store = await shelf.open()
        door, origin = open_door(0, name="The test")
        links = VideoLinks(public_url=origin, keys=derive_keys(STATE_KEYS), seconds=900)

        async def find_job(job_id: str, caller: Caller | None) -> Job | None:
            return await (ledger if caller is None else ledger.for_caller(caller.id)).find_job(job_id)

        routes = [
            *uploads.build_routes(SlotPictures(ledger, store), profile="sandbox", bodies_max=bodies_max),
            *videos.build_routes(links, store, authenticate=authenticate, find_job=find_job),
        ]
        await stack.enter_async_context(serving(Starlette(routes=routes), door))
        yield Replica(origin=origin, ledger=ledger, store=store, links=links)
