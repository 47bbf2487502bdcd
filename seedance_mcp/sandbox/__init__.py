"""A stand-in for the studio, to rehearse with: real HTTP, real signatures, real clips, worthless money.

This package is another house on the same lot. It imports nothing from the rest of `seedance_mcp` and speaks
to the client only over HTTP, so the client's mistakes are never verified by the client's own code.
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
