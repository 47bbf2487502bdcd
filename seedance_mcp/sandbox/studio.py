"""The studio's working parts, put together once per server and shared by its routes.

Nothing here is global: two studios in one process have two of everything.
"""

import threading
from collections import Counter

from anyio import Event

from seedance_mcp.sandbox.blob import BlobStore
from seedance_mcp.sandbox.chain import LocalChain
from seedance_mcp.sandbox.contract import build_generate_routes
from seedance_mcp.sandbox.faults import FaultBoard
from seedance_mcp.sandbox.jobs import JobBoard
from seedance_mcp.sandbox.media import MediaReader
from seedance_mcp.sandbox.paywall import Paywall
from seedance_mcp.sandbox.settings import SandboxSettings
from seedance_mcp.sandbox.signin import Doorkeeper
from seedance_mcp.sandbox.x402_rail import X402Rail


class Studio:
    """Chain, paywall, doorkeeper, store and jobs of one sandbox."""

    def __init__(self, settings: SandboxSettings, chain: LocalChain) -> None:
        self.settings = settings
        self.chain = chain
        self.stopping = Event()
        self.faults = FaultBoard(settings.faults)
        self.routes = build_generate_routes(settings.contract)
        self.doorkeeper = Doorkeeper()
        self.blobs = BlobStore()
        self.media = MediaReader(self.blobs)
        self.jobs = JobBoard(self.faults, job_seconds=settings.job_seconds, result_seconds=settings.result_seconds)
        rails = {"x402": lambda: X402Rail(chain, self.faults, pay_to=settings.pay_to)}
        self.paywall = Paywall([rails[name]() for name in settings.rails], self.faults, self.stopping)
        self._counted = threading.Lock()
        self._requests: Counter[str] = Counter()

    def count(self, method: str, template: str) -> None:
        """Count one request to a route."""
        with self._counted:
            self._requests[f"{method} {template}"] += 1

    def requests(self) -> dict[str, int]:
        """Return how often each route was asked."""
        with self._counted:
            return dict(self._requests)

    async def close(self) -> None:
        """Let go of connections and of what is being rendered."""
        self.stopping.set()
        self.jobs.stop()
        await self.media.close()
