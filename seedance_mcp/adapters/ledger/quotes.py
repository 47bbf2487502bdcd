"""Quotes that bind for some minutes, as rows, so that any replica knows them (PostgreSQL alone)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from seedance_mcp.adapters.ledger.driver import Queries, bind_keys
from seedance_mcp.adapters.ledger.rows import read_json
from seedance_mcp.core.wire.json import Json

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"


class QuoteQueries(Queries):
    """Remember and find quoted prices."""

    async def remember_quote(self, key: str, price_micro_usdc: int, said: Json, *, seconds: float) -> None:
        """Write what a request was quoted at, and for how long that binds; a later quote replaces it.

        Args:
            key: The idempotency key of the request.
            price_micro_usdc: The price.
            said: All that was said of it.
            seconds: How long that binds.
        """
        async with self._driver.transaction() as session:
            await session.execute(
                f"""INSERT INTO quotes (key, price_micro_usdc, said, until)
                    VALUES (:key, :price, :said, {_NOW} + :seconds)
                    ON CONFLICT (key) DO UPDATE SET price_micro_usdc = excluded.price_micro_usdc,
                                                    said = excluded.said, until = excluded.until""",  # noqa: S608 - ours
                {"key": key, "price": price_micro_usdc, "said": json.dumps(said), "seconds": seconds},
            )

    async def find_quote(self, keys: Sequence[str]) -> tuple[str, Json] | None:
        """Return the key and the words of the latest quote of a request that binds; None if there is none."""
        marks, parameters = bind_keys(keys)
        row = await self._one(
            f"""SELECT key, said FROM quotes WHERE key IN ({marks}) AND until > {_NOW}
                ORDER BY until DESC LIMIT 1""",  # noqa: S608 - marks and a constant
            **parameters,
        )
        return None if row is None else (str(row["key"]), read_json(row["said"]))

    async def drop_old_quotes(self) -> int:
        """Delete the quotes that bind no more; returns their number."""
        async with self._driver.transaction() as session:
            return await session.execute(f"DELETE FROM quotes WHERE until <= {_NOW}")  # noqa: S608 - our own SQL
