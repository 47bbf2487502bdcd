"""Webhooks of callers and their messages (PostgreSQL alone).

A trigger writes a message when a job is over. Any replica claims it and sends it; the claim of a killed one lapses, so
that the message is sent again under the same id. Nothing here knows a secret, only its sealed form.
"""

from __future__ import annotations

from collections.abc import Collection

from seedance_mcp.adapters.ledger.driver import Queries, Row, Session
from seedance_mcp.adapters.ledger.rows import make_storable
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.webhooks import WebhookMessage

WEBHOOKS_CHANNEL = "seedance_webhooks"
"""Channel on which a trigger announces a new message."""
SEND_CLAIM_SECONDS = 30
"""How long a claim lasts; an attempt takes less."""
KEEP_SECONDS = 7 * 24 * 3600
"""How long messages are kept."""
MISSED_SECONDS = 2 * 24 * 3600
"""How old a job may be whose message is missing; less than messages are kept, so that none is written twice."""

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
_CLAIM = f"""
    UPDATE webhook_messages SET claim_owner = :owner, claim_until = {_NOW} + {SEND_CLAIM_SECONDS},
                                attempts = attempts + 1
    WHERE id = (
        SELECT webhook_messages.id FROM webhook_messages
        JOIN webhooks ON webhooks.caller = webhook_messages.caller
        JOIN callers ON callers.id = webhook_messages.caller
        WHERE webhook_messages.ended_at IS NULL AND webhook_messages.due_at <= {_NOW}
              AND webhook_messages.claim_until <= {_NOW} AND callers.revoked_at IS NULL
              AND webhook_messages.caller <> ALL(:busy)
        ORDER BY webhook_messages.due_at LIMIT 1 FOR UPDATE OF webhook_messages SKIP LOCKED)
    RETURNING id"""  # noqa: S608 - our own SQL
_MESSAGE = """
    SELECT webhook_messages.id, webhook_messages.caller, webhook_messages.event, webhook_messages.created_at,
           webhook_messages.attempts, jobs.job_id, jobs.status, jobs.error, payments.amount_micro_usdc, webhooks.url,
           webhooks.sealed_secret
    FROM webhook_messages JOIN webhooks ON webhooks.caller = webhook_messages.caller
    JOIN jobs ON jobs.job_id = webhook_messages.job_id JOIN payments ON payments.id = jobs.payment_id
    WHERE webhook_messages.id = :id"""
_MISSED = f"""
    INSERT INTO webhook_messages (caller, job_id, event, created_at, due_at)
    SELECT jobs.caller, jobs.job_id, CASE WHEN jobs.status = 'failed' THEN 'job.failed' ELSE 'job.completed' END,
           {_NOW}, {_NOW}
    FROM jobs JOIN webhooks ON webhooks.caller = jobs.caller
    WHERE jobs.created_at > {_NOW} - {MISSED_SECONDS} AND is_job_over(jobs)
          AND coalesce(jobs.ended_at, jobs.created_at) >= webhooks.created_at
    ON CONFLICT DO NOTHING"""  # noqa: S608 - our own SQL


class WebhookQueries(Queries):
    """Set and end webhooks, and claim their messages."""

    async def set_webhook(self, caller: str, url: str, sealed_secret: str) -> None:
        """Set where a caller is told of its jobs from now on; what was not delivered yet goes there, too.

        Raises:
            ConfigError: The caller has ended.
        """
        async with self._driver.transaction() as session:
            is_set = await session.execute(
                f"""INSERT INTO webhooks (caller, url, sealed_secret, created_at)
                    SELECT id, :url, :sealed_secret, {_NOW} FROM callers WHERE id = :caller AND revoked_at IS NULL
                    ON CONFLICT (caller) DO UPDATE SET url = excluded.url, sealed_secret = excluded.sealed_secret""",  # noqa: S608 - a constant
                {"caller": caller, "url": url, "sealed_secret": sealed_secret},
            )
            if not is_set:
                raise ConfigError("The caller was ended in the meantime.", "Run: seedance-mcp callers list")

    async def end_webhook(self, caller: str, *, url: str | None = None) -> bool:
        """End a caller's webhook; returns False if there is none.

        Args:
            caller: Its id.
            url: Leave another one alone, which was set meanwhile.
        """
        async with self._driver.transaction() as session:
            found = await session.fetch_one(
                """SELECT 1 FROM webhooks WHERE caller = :caller AND url = coalesce(CAST(:url AS TEXT), url)
                   FOR UPDATE""",
                {"caller": caller, "url": url},
            )
            if found is not None:
                await forget_webhook(session, caller)
        return found is not None

    async def list_sealed_secrets(self) -> dict[str, str]:
        """Return the sealed secret of each caller with a webhook."""
        return {row["caller"]: row["sealed_secret"] for row in await self._all("SELECT * FROM webhooks")}

    async def replace_sealed_secret(self, caller: str, before: str, after: str) -> None:
        """Write the same secret as another key seals it; one that was set meanwhile stays."""
        async with self._driver.transaction() as session:
            await session.execute(
                "UPDATE webhooks SET sealed_secret = :after WHERE caller = :caller AND sealed_secret = :before",
                {"caller": caller, "before": before, "after": after},
            )

    async def claim_message(self, owner: str, *, busy: Collection[str] = ()) -> WebhookMessage | None:
        """Claim the message that is due for longest and not claimed; returns None if there is none.

        Args:
            owner: Our name in claims.
            busy: Callers whose messages must wait.
        """
        async with self._driver.transaction() as session:
            claimed = await session.fetch_one(_CLAIM, {"owner": owner, "busy": list(busy)})
            row = None if claimed is None else await session.fetch_one(_MESSAGE, {"id": claimed["id"]})
        return None if row is None else _read_message(row)

    async def end_message(self, message_id: str, owner: str, *, is_delivered: bool, problem: str | None) -> None:
        """Write that a message was delivered, or is given up; does nothing once the claim is another's."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"""UPDATE webhook_messages SET ended_at = {_NOW}, outcome = :outcome, problem = :problem,
                                                claim_owner = '', claim_until = 0
                    WHERE id = :id AND claim_owner = :owner AND ended_at IS NULL""",  # noqa: S608 - a constant
                {
                    "id": message_id,
                    "owner": owner,
                    "outcome": "delivered" if is_delivered else "given_up",
                    "problem": make_storable(problem),
                },
            )

    async def postpone_message(
        self, message_id: str, owner: str, *, seconds: float, problem: str, was_sent: bool = True
    ) -> None:
        """Write when a message is tried again, and why; an attempt in which nothing was sent does not count."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"""UPDATE webhook_messages SET due_at = {_NOW} + :seconds, problem = :problem,
                                                attempts = attempts - :unsent, claim_owner = '', claim_until = 0
                    WHERE id = :id AND claim_owner = :owner AND ended_at IS NULL""",  # noqa: S608 - a constant
                {
                    "id": message_id,
                    "owner": owner,
                    "seconds": float(seconds),
                    "problem": make_storable(problem),
                    "unsent": 0 if was_sent else 1,
                },
            )

    async def tidy_messages(self) -> None:
        """Write messages that a trigger could not write, and delete old ones."""
        async with self._driver.transaction() as session:
            await session.execute(_MISSED)
        async with self._driver.transaction() as session:
            await session.execute(f"DELETE FROM webhook_messages WHERE created_at < {_NOW} - {KEEP_SECONDS}")  # noqa: S608 - constants


async def forget_webhook(session: Session, caller: str) -> None:
    """Delete a caller's webhook and what was not delivered."""
    await session.execute("DELETE FROM webhooks WHERE caller = :caller", {"caller": caller})
    await session.execute(
        "DELETE FROM webhook_messages WHERE caller = :caller AND ended_at IS NULL", {"caller": caller}
    )


def _read_message(row: Row) -> WebhookMessage:
    return WebhookMessage(**{name: row[name] for name in WebhookMessage.__dataclass_fields__})
