"""The state of one studio, shared by its routes.

Nothing here is global: two studios in one process share nothing.
"""

import threading
from collections import Counter

from anyio import Event

from seedance_mcp.sandbox.api.contract import UPLOAD_TYPES, GenerateRoute, build_generate_routes, build_upload_schema
from seedance_mcp.sandbox.api.schema import Schema
from seedance_mcp.sandbox.api.sign_in import SignInVerifier
from seedance_mcp.sandbox.chains.local_chain import LocalChain
from seedance_mcp.sandbox.chains.tempo import TempoChain
from seedance_mcp.sandbox.faults import FaultSwitches
from seedance_mcp.sandbox.jobs import JobStore
from seedance_mcp.sandbox.payments.paywall import Paywall, Rail
from seedance_mcp.sandbox.payments.x402 import X402Rail
from seedance_mcp.sandbox.settings import SandboxSettings
from seedance_mcp.sandbox.storage.blob import BlobStore
from seedance_mcp.sandbox.storage.media import MediaReader


class SandboxState:
    """The chains, paywall, sign-in verifier, blob store and jobs of one sandbox."""

    def __init__(self, settings: SandboxSettings, chain: LocalChain, tempo: TempoChain) -> None:
        self.settings = settings
        self.chain = chain
        self.tempo = tempo
        self.stopping = Event()
        self.faults = FaultSwitches(settings.faults)
        self.routes = build_generate_routes(settings.contract)
        self.sign_in = SignInVerifier()
        self.blobs = BlobStore()
        self.media = MediaReader(self.blobs)
        self.jobs = JobStore(
            self.faults,
            job_seconds=settings.job_seconds,
            result_seconds=settings.result_seconds,
            small_videos=settings.small_videos,
            keeps_sound=settings.keeps_sound,
        )
        self.paywall = Paywall([self._build_rail(name) for name in settings.rails], self.faults, self.stopping)
        self._counted = threading.Lock()
        self._requests: Counter[str] = Counter()

    def _build_rail(self, name: str) -> Rail:
        if name == "x402":
            return X402Rail(self.chain, pay_to=self.settings.pay_to)
        from seedance_mcp.sandbox.payments.mpp import (
            MppRail,
        )  # takes half a second to load, so only where it is offered

        return MppRail(
            self.tempo,
            pay_to=self.settings.pay_to,
            sponsors=self.settings.sponsors_fees,
            client_broadcast=self.settings.takes_pushed,
        )

    def find_routes(self) -> tuple[GenerateRoute, ...]:
        """Return the generate routes in the current dialect."""
        if self.faults.take("other_dialect") is None:
            return self.routes
        return build_generate_routes("classic" if self.settings.contract == "current" else "current")

    def find_upload_schema(self) -> Schema:
        """Return the schema of a body that buys an upload."""
        if self.faults.take("only_pictures") is None:
            return build_upload_schema()
        return build_upload_schema([one for one in UPLOAD_TYPES if one.startswith("image/")])

    def count(self, method: str, template: str) -> None:
        """Count one request to a route."""
        with self._counted:
            self._requests[f"{method} {template}"] += 1

    def requests(self) -> dict[str, int]:
        """Return the number of requests to each route."""
        with self._counted:
            return dict(self._requests)

    async def close(self) -> None:
        """Close connections and cancel running renderings."""
        self.stopping.set()
        self.jobs.stop()
        await self.media.close()
        await self.paywall.close()
