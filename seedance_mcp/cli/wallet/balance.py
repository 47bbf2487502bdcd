"""The `balance` command: what the wallet holds, and what may still be spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seedance_mcp.cli.console import AsJson, Sandbox, put, read_environ, run, say, words
from seedance_mcp.core.errors import ConfigError

if TYPE_CHECKING:
    from seedance_mcp.app.results import WalletResult
    from seedance_mcp.app.runtime import Runtime


def balance(sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Show what the wallet holds, what may still be spent, and what is unfinished. Free."""
    from seedance_mcp.app.wallet_rendering import explain_no_purchase, show_wallet
    from seedance_mcp.cli.words import dump_result, for_person

    async def work(runtime: Runtime) -> WalletResult:
        try:
            services, problem = await runtime.services(), None
        except ConfigError as exc:
            services, problem = await runtime.quote_services(), explain_no_purchase(exc)
        return show_wallet(await services.wallet_status.read(), problem=problem)

    result = dump_result(run(read_environ(sandbox), work))
    if as_json:
        say(result)
        return
    for one in result["balances"]:
        amount = "unknown" if one["balance_usd"] is None else f"${one['balance_usd']}"
        name = one["token_name"] or one["token"]
        put(f"{amount:>10}  {name}" if one["network"] in name else f"{amount:>10}  {name} ({one['network']})")
    words.print(f"Wallet: {result['address'] or 'none'}")
    words.print(_describe_budget(result))
    if result["unfinished_payments"]:
        number = len(result["unfinished_payments"]) + result["more_unfinished"]
        words.print(f"${result['held_usd']} of it is held by unfinished payments: {number}. See: wallet payments")
    if not any(one["balance_micro_usdc"] for one in result["balances"]):
        words.print(for_person(result["next_step"]))


def _describe_budget(result: dict[str, Any]) -> str:
    spans = [("24 hours", result["spent_24h_usd"], result["max_per_day_usd"])]
    spans += [("7 days", result["spent_7d_usd"], result["max_per_week_usd"])]
    spans += [("30 days", result["spent_30d_usd"], result["max_per_month_usd"])]
    spans += [("total", result["spent_total_usd"], result["max_total_usd"])]
    spent = [f"${amount} of ${most} in {span}" for span, amount, most in spans if most is not None]
    return f"Spent {', '.join(spent)}. ${result['left_today_usd']} may be spent now."
