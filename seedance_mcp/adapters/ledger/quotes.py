"""Quotes that bind for some minutes, as rows, so that any replica knows them (PostgreSQL alone)."""

from __future__ import annotations

from seedance_mcp.adapters.ledger.driver import Queries

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"


class QuoteQueries(Queries):
    """Remember and find quoted prices."""

    async def remember_quote(self, key: str, price_micro_usdc: int, *, seconds: float) -> None:
        """Write what a request was quoted at, and for how long that binds; a later quote replaces it."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"""INSERT INTO quotes (key, price_micro_usdc, until) VALUES (:key, :price, {_NOW} + :seconds)
                    ON CONFLICT (key) DO UPDATE SET price_micro_usdc = excluded.price_micro_usdc,
                                                    until = excluded.until""",  # noqa: S608 - our own SQL
                {"key": key, "price": price_micro_usdc, "seconds": seconds},
            )

    async def find_quote(self, key: str) -> int | None:
        """Return the price that a request was quoted at, in micro-USDC; None if there is none that binds."""
        query = f"SELECT price_micro_usdc FROM quotes WHERE key = :key AND until > {_NOW}"  # noqa: S608 - a constant
        row = await self._one(query, key=key)
        return None if row is None else int(row["price_micro_usdc"])

    async def drop_old_quotes(self) -> int:
        """Delete the quotes that bind no more; returns their number."""
        async with self._driver.transaction() as session:
            return await session.execute(f"DELETE FROM quotes WHERE until <= {_NOW}")  # noqa: S608 - our own SQL
