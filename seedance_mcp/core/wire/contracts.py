"""A route's contract in the ledger's format, and the assumed contract if none was read."""

from __future__ import annotations

from seedance_mcp.core.wire.json import Json, find_list, find_object
from seedance_mcp.core.wire.routes import CEILING_MICRO_USDC_DEFAULT, RouteContract

ASSUMED = RouteContract(
    dialect="current", ceiling_micro_usdc=CEILING_MICRO_USDC_DEFAULT, fields=frozenset(), choices={}
)
"""The assumed contract of a studio whose contract was never read: the dialect of the live service.

A studio of another dialect answers such a body with a ceiling that we do not know. So on this assumption the client
signs only the exact price of the price table: that price shows that the studio understood the body.
"""


def write_contract(contract: RouteContract) -> Json:
    """Return a contract as plain JSON with the ledger's field names, which do not depend on the class."""
    return {
        "dialect": contract.dialect,
        "ceiling_micro_usdc": contract.ceiling_micro_usdc,
        "fields": sorted(contract.fields),
        "choices": {name: list(values) for name, values in sorted(contract.choices.items())},
        "upload_types": list(contract.upload_types),
    }


def read_contract(document: Json) -> RouteContract | None:
    """Read the result of `write_contract`; return None for any other document."""
    dialect, ceiling = document.get("dialect"), document.get("ceiling_micro_usdc")
    if dialect not in ("classic", "current") or not isinstance(ceiling, int):
        return None
    choices = find_object(document, "choices")
    return RouteContract(
        dialect=dialect,
        ceiling_micro_usdc=type(CEILING_MICRO_USDC_DEFAULT)(ceiling),
        fields=frozenset(map(str, find_list(document, "fields"))),
        choices={name: tuple(map(str, find_list(choices, name))) for name in choices},
        upload_types=tuple(map(str, find_list(document, "upload_types"))),
    )
