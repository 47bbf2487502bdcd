"""Batch quote: the sum of all rows, what of it fits, and the exit code that `animate` would end with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seedance_mcp.app.rendering import show_quote
from seedance_mcp.cli import exit_codes
from seedance_mcp.cli.batch import label
from seedance_mcp.cli.batch_budget import Means, add_up, choose, read_remaining_budgets, sort_by_stage
from seedance_mcp.cli.batch_input import Shot
from seedance_mcp.cli.console import words
from seedance_mcp.cli.tables import print_table
from seedance_mcp.cli.words import dump_result, for_person
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import BudgetExceededError, ConfigError, InsufficientBalanceError
from seedance_mcp.core.limits import Cost, WalletBalances
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.texts import write_count
from seedance_mcp.generation.quotes import Quote
from seedance_mcp.payments.policy import RemainingBudget


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitFit:
    """One budget of the owner's, and how many rows fit into it.

    Attributes:
        name: Such as `budget for 24 hours (SEEDANCE_MAX_PER_DAY)`.
    """

    name: str
    left_micro_usdc: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchQuote:
    """The quotes of all rows, added up.

    Attributes:
        cost: What all rows cost at most: each purchase and each upload once, also of rows that would be refused.
        purchases: How many purchases they are.
        unpriced: How many rows have no known price.
        limits: Each budget.
        wallet_balances: What the wallet holds.
        wallet_rows: How many rows the wallet covers; None where its balance is not known or there is no wallet.
        wallet_problem: Why there is no wallet, or None.
        fitting: The places of the rows that could be bought together.
        exit_code: What `animate` would end with.
    """

    quotes: Sequence[Quote]
    cost: Cost
    purchases: int
    unpriced: int
    limits: tuple[LimitFit, ...]
    wallet_balances: WalletBalances
    wallet_rows: int | None
    wallet_problem: ConfigError | None
    fitting: frozenset[int]
    exit_code: int


async def add_up_quotes(quotes: Sequence[Quote], settings: Settings) -> BatchQuote:
    """Add up the quotes of a batch, and hold the sum against the budgets and the wallet.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    sequence = sort_by_stage(quotes)
    wallet_balances, remaining_budgets = _merge_balances(quotes), await read_remaining_budgets(settings)
    _, needs = choose(quotes, sequence)
    # A row that is refused for itself takes nothing from the others; one that is only too much counts for each limit.
    counted = [number for number in sequence if not _is_refused(quotes[number])]
    allowed = [number for number in sequence if quotes[number].error is None]
    fitting, _ = choose(
        quotes,
        allowed,
        fits=Means(remaining_micro_usdc=min(remaining_budgets).micro_usdc, wallet_balances=wallet_balances).take,
    )
    covered, _ = choose(quotes, counted, fits=Means(wallet_balances=wallet_balances).take)
    problem = next((quote.wallet_problem for quote in quotes if quote.wallet_problem is not None), None)
    return BatchQuote(
        quotes=quotes,
        cost=add_up(needs),
        purchases=sum(need.cost.total_micro_usdc > 0 for need in needs),
        unpriced=sum(quote.cost is None for quote in quotes),
        limits=tuple(_hold_against(quotes, counted, one) for one in remaining_budgets),
        wallet_balances=wallet_balances,
        wallet_rows=len(covered) if problem is None and wallet_balances.balances else None,
        wallet_problem=problem,
        fitting=frozenset(() if problem else fitting),
        exit_code=_find_exit_code(quotes, settings, problem, all_fit=len(fitting) == len(allowed)),
    )


def _hold_against(quotes: Sequence[Quote], sequence: Sequence[int], budget: RemainingBudget) -> LimitFit:
    rows, _ = choose(quotes, sequence, fits=Means(remaining_micro_usdc=budget.micro_usdc).take)
    return LimitFit(name=budget.name, left_micro_usdc=budget.micro_usdc, rows=len(rows))


def _is_refused(quote: Quote) -> bool:
    """Return True where a row would be refused for another reason than what is left of a budget or in the wallet."""
    return quote.error is not None and not isinstance(quote.error, BudgetExceededError | InsufficientBalanceError)


def _merge_balances(quotes: Sequence[Quote]) -> WalletBalances:
    """Return what the wallet holds, as the quotes of the rows were told."""
    merged = WalletBalances()
    for quote in quotes:
        seen = quote.payments.wallet_balances
        if quote.payments.ways:
            merged = WalletBalances(balances={**merged.balances, **seen.balances}, gas_price=seen.gas_price)
    return merged


def _find_exit_code(quotes: Sequence[Quote], settings: Settings, problem: ConfigError | None, *, all_fit: bool) -> int:
    """Return what `animate` would end with; it looks at the settings and the wallet first."""
    first = settings.limits.problem or problem
    if first is not None:
        return exit_codes.find_exit_code(first)
    codes = [exit_codes.find_exit_code(quote.error) for quote in quotes if quote.error is not None]
    codes += [exit_codes.FAILED for quote in quotes if quote.job is not None and quote.job.status == "failed"]
    return exit_codes.gravest(codes if all_fit else [*codes, exit_codes.REFUSED])


def list_results(batch: BatchQuote, shots: Sequence[Shot]) -> list[dict[str, Any]]:
    """Return one result for each row, for programs; each carries the sum of the batch."""
    facts = _show_batch(batch)
    results: list[dict[str, Any]] = []
    firsts: dict[str, int] = {}
    for number, (shot, quote) in enumerate(zip(shots, batch.quotes, strict=True)):
        first = firsts.setdefault(quote.key, number)
        place = {"row": shot.where, "image": shot.request.image}
        own = {"same_as": None if first == number else shots[first].where, "fits": number in batch.fitting}
        results.append({**place, **dump_result(show_quote(quote)), **own, "batch": facts})
    return results


def _show_batch(batch: BatchQuote) -> dict[str, Any]:
    total = batch.cost.total_micro_usdc
    return {
        "rows": len(batch.quotes),
        "purchases": batch.purchases,
        "unpriced_rows": batch.unpriced,
        "price_usd": format_usdc(total),
        "price_micro_usdc": total,
        "videos_micro_usdc": batch.cost.price_micro_usdc,
        "uploads_micro_usdc": batch.cost.upload_price_micro_usdc,
        "fees_micro_usdc": batch.cost.fees_micro_usdc,
        "fitting_rows": len(batch.fitting),
        "limits": [
            {"name": one.name, "left_usd": format_usdc(one.left_micro_usdc), "left_micro_usdc": one.left_micro_usdc,
             "fitting_rows": one.rows}
            for one in batch.limits
        ],
        "wallet_fitting_rows": batch.wallet_rows,
        "exit_code": batch.exit_code,
    }  # fmt: skip


def print_quotes(results: Sequence[dict[str, Any]]) -> None:
    """Print a table of the rows on stdout."""
    rows: list[tuple[str, str, str, str]] = []
    for result in results:
        price = "unknown" if result["price_usd"] is None else f"${result['price_usd']}"
        upload = f"${result['upload_price_usd']}"
        rows.append((label(result), price if result["exact"] else f"{price} (table)", upload, _say_verdict(result)))
    print_table(("video", "price", "upload", "allowed"), rows, below=1)


def _say_verdict(result: dict[str, Any]) -> str:
    if result["same_as"] is not None:
        return f"the same video as {result['same_as']}"
    if not result["allowed"]:
        return f"no: {for_person(result['refused_because'])}"
    if not result["fits"]:
        return "yes, but not with the rows before it"
    return " ".join(["yes", *(result["notes"] if result["cost_usd"] == "0.00" else ())])


def print_sum(batch: BatchQuote, settings: Settings) -> None:
    """Print on stderr what all rows cost together, and how many of them fit into each budget and the wallet."""
    rows = len(batch.quotes)
    words.print(_describe_sum(batch))
    for limit in batch.limits:
        left = format_usdc(limit.left_micro_usdc)
        words.print(f"{limit.rows} of {rows} rows fit into the ${left} that is left of your {limit.name}.")
    words.print(describe_wallet(batch, settings))
    words.print(f"{len(batch.fitting)} of {rows} rows can be bought now.")


def _describe_sum(batch: BatchQuote) -> str:
    cost = batch.cost
    parts = [f"${format_usdc(cost.price_micro_usdc)} for the videos"]
    parts += [f"${format_usdc(cost.upload_price_micro_usdc)} for uploads"] if cost.uploads else []
    parts += [f"up to ${format_usdc(cost.fees_micro_usdc)} for the network"] if cost.fees_micro_usdc else []
    unpriced = f" {batch.unpriced} of them have no known price." if batch.unpriced else ""
    total = format_usdc(cost.total_micro_usdc)
    return f"${total} in all for {write_count(len(batch.quotes), 'row')}: {', '.join(parts)}.{unpriced}"


def describe_wallet(batch: BatchQuote, settings: Settings) -> str:
    """Return how many rows the wallet covers, or why that cannot be told."""
    if batch.wallet_problem is not None:
        return f"{batch.wallet_problem.what} The cost is compared with no balance."
    if batch.wallet_rows is None:
        return "The wallet's balance is not known." if batch.purchases else "Nothing is to be paid from the wallet."
    names = settings.profile.pins.token_names
    held = [
        f"${format_usdc(amount)} of {names.get(key, key[1])}" for key, amount in batch.wallet_balances.balances.items()
    ]
    rows = write_count(len(batch.quotes), "row")
    return f"The wallet covers {batch.wallet_rows} of {rows}: it holds {' and '.join(held)}."
