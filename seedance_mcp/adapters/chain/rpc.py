"""Chain RPC: JSON-RPC calls to the nodes in the owner's settings. It must not interpret a chain's answers.

Source: JSON-RPC 2.0; Ethereum execution API.
"""

from __future__ import annotations

from collections.abc import Mapping

from seedance_mcp.adapters.http.transport import Client, exchange
from seedance_mcp.core.errors import ChainError, StudioError
from seedance_mcp.core.wire.json import Json, encode_json, parse_json_object
from seedance_mcp.core.wire.offers import Rail
from seedance_mcp.core.wire.responses import describe_answer


class ChainRpc:
    """The nodes of both rails' chains.

    Args:
        client: The HTTP client of the calls; its owner closes it.
        urls: The nodes' URLs by rail, preferred first. A URL often contains a key, so it is in no error.
    """

    def __init__(self, client: Client, urls: Mapping[Rail, tuple[str, ...]]) -> None:
        self._client = client
        self._urls = dict(urls)

    def count_nodes(self, rail: Rail) -> int:
        """Return the number of nodes of a rail's chain."""
        return len(self._urls.get(rail, ()))

    async def call(
        self, method: str, parameters: list[object], *, rail: Rail = "x402", node: int | None = None
    ) -> object:
        """Make one call to one node of a rail's chain, by its index, or to the first node that answers.

        Returns:
            The `result`; None if no node is set.

        Raises:
            ChainError: No answer, or an error.
        """
        urls = self._urls.get(rail, ())
        failure: ChainError | None = None
        for url in urls if node is None else urls[node : node + 1]:
            try:
                return await self._ask_node(url, method, parameters)
            except ChainError as exc:
                failure = exc
        if failure is not None:
            raise failure
        return None

    async def _ask_node(self, url: str, method: str, parameters: list[object]) -> object:
        body = encode_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
        try:
            response = await exchange(self._client, "POST", url, body=body)
            document: Json = parse_json_object(response.body, "The chain's answer") if response.status == 200 else {}
        except StudioError:
            # Without `from exc`: a provider's URL often contains its key, also in its path.
            raise ChainError(f"The chain's RPC address did not answer {method}.", "Try again.") from None
        if "result" not in document or document.get("error") is not None:
            raise ChainError(f"The chain did not answer {method}: {describe_answer(response)}.")
        return document["result"]
