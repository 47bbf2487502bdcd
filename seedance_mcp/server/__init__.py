"""The MCP server: tools, prompts and resources. It starts without a wallet, a ledger or a network.

This module loads nothing itself: the greeter answers a host while `assembly` loads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedance_mcp.server.assembly import INSTRUCTIONS, State, assemble_server, build_server, guard

__all__ = ["INSTRUCTIONS", "State", "assemble_server", "build_server", "guard"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("seedance_mcp.server.assembly"), name)
