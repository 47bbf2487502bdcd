"""Balances: what the wallet holds, asked of the chains when the page opens. The ledger names the wallet: no key."""

from __future__ import annotations

from collections.abc import Callable

from seedance_mcp.app.opening import open_existing_ledger, open_studio
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import ConfigError


async def show_balances(settings: Settings) -> dict[str, object]:
    """Return the balances of the wallet that paid last, each None where its chain did not answer.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    async with open_existing_ledger(settings) as ledger:
        latest = [] if ledger is None else await ledger.recent_payments(1)
    fund = settings.profile.name_command("wallet fund")
    if not latest:
        return {"balances": [], "note": f"{fund} shows it before the first payment"}
    from seedance_mcp.adapters.chain.rpc import ChainRpc  # the HTTP client loads only where it is used
    from seedance_mcp.payments.balances import BalanceReader

    profile = settings.profile
    async with open_studio(settings, _refuse) as studio:
        rpc = ChainRpc(studio.http, {"x402": profile.rpc_urls, "mpp": profile.tempo_rpc_urls})
        reader = BalanceReader(rpc=rpc, pins=profile.pins, wallet=latest[0].wallet)
        found = [one for one in await reader.list_balances() if one.rail in settings.limits.rails]
    unknown = [profile.name_token(one.token) for one in found if one.amount_micro_usdc is None]
    return {
        "balances": [{"name": profile.name_token(one.token), "micro_usdc": one.amount_micro_usdc} for one in found],
        "note": f"{' and '.join(unknown)}: the chain does not answer" if unknown else "",
    }


async def _refuse(_: Callable[[str], str]) -> tuple[str, str]:
    """Sign in nowhere: a balance needs no sign-in.

    Raises:
        ConfigError: Always.
    """
    raise ConfigError("The gallery signs nothing.")
