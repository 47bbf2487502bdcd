"""A route's contract as the ledger keeps it, and what is taken for granted where none was ever read."""

from __future__ import annotations

from seedance_mcp.core.wire.generation import CEILING_MICRO_USDC_DEFAULT, RouteContract
from seedance_mcp.core.wire.json import Json, find_list, find_object

ASSUMED = RouteContract(
    dialect="current", ceiling_micro_usdc=CEILING_MICRO_USDC_DEFAULT, fields=frozenset(), choices={}
)
"""What is assumed of a studio whose contract nobody here has ever read: the dialect of the live service.

A studio that speaks another one answers such a body with a ceiling that we do not know. So nothing is signed on this
assumption but the price table's own price, to the micro: that price shows that the body was understood.
"""


def write_contract(contract: RouteContract) -> Json:
    """Return a contract as plain JSON; the names are those of the ledger, whatever the class calls them."""
    return {
        "dialect": contract.dialect,
        "ceiling_micro_usdc": contract.ceiling_micro_usdc,
        "fields": sorted(contract.fields),
        "choices": {name: list(values) for name, values in sorted(contract.choices.items())},
    }


def read_contract(document: Json) -> RouteContract | None:
    """Read what `write_contract` wrote; None where it is not that."""
    dialect, ceiling = document.get("dialect"), document.get("ceiling_micro_usdc")
    if dialect not in ("classic", "current") or not isinstance(ceiling, int):
        return None
    choices = find_object(document, "choices")
    return RouteContract(
        dialect=dialect,
        ceiling_micro_usdc=type(CEILING_MICRO_USDC_DEFAULT)(ceiling),
        fields=frozenset(map(str, find_list(document, "fields"))),
        choices={name: tuple(map(str, find_list(choices, name))) for name in choices},
    )
