"""Doctor, callers: what each caller of a shared server has spent, and what is left of its caps."""

from __future__ import annotations

from seedance_mcp.app.opening import open_shared_ledger
from seedance_mcp.cli.doctor.finding import Finding, build_problem
from seedance_mcp.cli.spending import list_usage, write_usage
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.closings import Closing
from seedance_mcp.core.error_base import SeedanceError

CALLERS_MAX = 50
"""How many callers are named one by one."""


async def check_callers(settings: Settings) -> list[Finding]:
    """Report the sums and caps of each caller; nothing for a ledger in a file."""
    if settings.database_url is None:
        return []
    try:
        callers = (await list_usage(settings))[1:]
        async with open_shared_ledger(settings) as ledger:
            closing = await ledger.find_closing()
    except SeedanceError as exc:
        return [build_problem("callers", exc)]
    findings = [] if closing is None else [_describe_closing(closing)]
    findings += [
        Finding(topic="caller", health="ok" if one.usage.freeze is None else "note", text=write_usage(one))
        for one in callers[:CALLERS_MAX]
    ]
    more = len(callers) - CALLERS_MAX
    if more > 0:
        findings.append(Finding(topic="caller", health="ok", text=f"{more} more; run: seedance-mcp budget"))
    return findings


def _describe_closing(closing: Closing) -> Finding:
    """Report a closed ledger: nothing is broken, and nothing is bought."""
    text = f"{closing.describe()} {closing.describe_reading()}"
    return Finding(topic="ledger", health="note", text=text, advice="Leave a server running: it opens the ledger.")
