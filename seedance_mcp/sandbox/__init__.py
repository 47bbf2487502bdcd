"""A local stand-in for the studio: real HTTP, real signatures, real videos, worthless money.

This package imports nothing from the rest of `seedance_mcp` and communicates with the client only over HTTP. So the
client's own code never verifies the client's mistakes.
"""

from pathlib import Path

from seedance_mcp.sandbox.chains.local_chain import LocalChain, Settlement
from seedance_mcp.sandbox.faults import FAULTS, OFFER_TAMPERINGS
from seedance_mcp.sandbox.server import Sandbox
from seedance_mcp.sandbox.settings import HOST, PAY_TO, PORT, SandboxSettings

EXAMPLE_IMAGE = Path(__file__).parent / "example.jpg"

__all__ = [
    "EXAMPLE_IMAGE",
    "FAULTS",
    "HOST",
    "OFFER_TAMPERINGS",
    "PAY_TO",
    "PORT",
    "LocalChain",
    "Sandbox",
    "SandboxSettings",
    "Settlement",
]
