"""A batch: some orders bought together, with bars while they run and one table in the end."""

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from seedance_mcp.commands.budget import Fit, find_fit
from seedance_mcp.commands.console import show_error, shown, words
from seedance_mcp.commands.phrases import rephrase
from seedance_mcp.engine import Engine
from seedance_mcp.errors import BudgetExceededError, PriceTooHighError, SeedanceError
from seedance_mcp.money import format_usdc
from seedance_mcp.results import show_animation
from seedance_mcp.shots import Shot

AT_ONCE_MAX = 4
"""So many clips of a batch are bought and awaited at the same time."""
WHAT_FITS = (
    "Raise the limit, give fewer pictures or rows, or buy what fits with --what-fits, and the rest later with the same "
    "command: what was bought before costs nothing."
)


class Batch:
    """Some orders that are bought together: checked first, then bought a few at a time, each with its own end.

    Args:
        engine: Opens what is needed.
        shots: What is wanted.
        deadline: Unix seconds at which to stop waiting.
        alone: Whether it is one order whose failure the command tells, not the batch.
        what_fits: Whether to buy what fits without asking, where the budget has no room for all of it.
    """

    def __init__(
        self, *, engine: Engine, shots: list[Shot], deadline: float, alone: bool = False, what_fits: bool = False
    ) -> None:
        self._engine = engine
        self._shots = shots
        self._deadline = deadline
        self._alone = alone
        self._what_fits = what_fits
        self.failures: list[SeedanceError] = []

    async def buy(self) -> list[dict[str, Any]]:
        """Check all, then buy all; one result for each, in order."""
        animator = await self._engine.animator()
        settings = await self._engine.settings()
        words.print(f"Reading {count_clips(len(self._shots))} and asking the price …")
        quotes = await quote_all(animator, self._shots)
        total = sum(found.price_micro_usdc or 0 for found in quotes)
        uploads = sum(found.upload_micro_usdc for found in quotes)
        words.print(
            f"At most ${format_usdc(total)}, and ${format_usdc(uploads)} for uploads; what was bought before costs "
            f"nothing. ${format_usdc(quotes[0].day_left_micro_usdc)} is left today."
        )
        chosen = self._choose(await find_fit(animator, settings, self._shots, quotes))
        agreed = await self._ask(animator, chosen, settings.limits.ask_above_micro_usdc)
        results: list[dict[str, Any]] = [{"row": shot.where, "image": shot.order.image} for shot in self._shots]
        limiter = anyio.CapacityLimiter(AT_ONCE_MAX)
        with make_bars() as bars:
            async with anyio.create_task_group() as tasks:
                for number, shot in enumerate(self._shots):
                    if number in chosen:
                        price = agreed.get(number, 0)
                        tasks.start_soon(self._buy_one, animator, limiter, bars, shot, price, results[number])
                    else:
                        results[number]["error"] = show_error(self.failures[0])
        return results

    async def _buy_one(
        self,
        animator: Any,
        limiter: anyio.CapacityLimiter,
        bars: Progress,
        shot: Shot,
        agreed_micro_usdc: int,
        result: dict[str, Any],
    ) -> None:
        async with limiter:
            task = bars.add_task(label(result), total=100, status="buying")
            try:
                animation = await animator.animate_image(
                    shot.order,
                    max_price_micro_usdc=shot.max_price_micro_usdc,
                    agreed_micro_usdc=agreed_micro_usdc,
                    deadline=self._deadline,
                    report=report_to(bars, task),
                )
                result |= show_animation(animation, (await self._engine.settings()).profile).model_dump(mode="json")
                ended = f"{result['status']}, ${result['price_usd'] or '?'}"
                words.print(f"{label(result)}: {ended}{_reason(result)}", markup=False)
                for note in animation.notes:
                    words.print(f"{label(result)}: {rephrase(note)}", markup=False)
            except SeedanceError as exc:
                self.failures.append(exc)
                result["error"] = show_error(exc)
                if not self._alone:
                    words.print(f"{label(result)}: {rephrase(exc)}", style="red", markup=False)
            finally:
                bars.remove_task(task)

    def _choose(self, fit: Fit) -> list[int]:
        """The places of what is to be bought or waited for; where not all of it fits, a person decides about the rest.

        Raises:
            BudgetExceededError: Nothing of it; nothing was signed.
        """
        if fit.whole:
            return list(range(len(self._shots)))
        fits = (
            f"{fit.new or 'none'} of them {'fit' if fit.new > 1 else 'fits'}" if fit.wanted > 1 else "it does not fit"
        )
        text = (
            f"Up to ${format_usdc(fit.cost_micro_usdc)} is needed for {count_clips(fit.wanted)}, uploads and all, and "
            f"${format_usdc(fit.room_micro_usdc)} is left of your {fit.budget}: {fits}."
        )
        question = f"{rephrase(text)} Buy what fits now, and leave the rest for later?"
        agreed = fit.new > 0 and (self._what_fits or (words.is_terminal and _confirm(question)))
        chosen = fit.fitting if agreed else fit.begun
        if not chosen:
            raise BudgetExceededError(text, WHAT_FITS if fit.new else "")
        words.print(rephrase(text), markup=False)
        left = "Left for later: there is no room for it in what is left of the budget."
        self.failures.append(BudgetExceededError(left, WHAT_FITS if fit.new and not agreed else ""))
        return chosen

    async def _ask(self, animator: Any, chosen: list[int], ask_above: int | None) -> dict[int, int]:
        """Put prices above the owner's threshold before the person at the terminal; where nobody is there, refuse.

        Returns:
            What the person said yes to, in micro-USDC, by the place of its order.
        """
        if ask_above is None:
            return {}
        prices = {number: await animator.price_to_ask(self._shots[number].order) for number in chosen}
        above = {number: price for number, price in prices.items() if price is not None and price > ask_above}
        if not above:
            return {}
        total = format_usdc(sum(above.values()))
        question = f"Pay ${total} for {count_clips(len(above))} above ${format_usdc(ask_above)} each?"
        if not words.is_terminal or not _confirm(question):
            raise PriceTooHighError(
                f"{count_clips(len(above))} cost more than the ${format_usdc(ask_above)} that needs a person's yes.",
                "Say yes at a terminal, or change SEEDANCE_ASK_ABOVE.",
            )
        return above


def _confirm(question: str) -> bool:
    """Ask at the terminal, in the main thread: another one that waits for a line cannot be ended. Ctrl-C is a no."""
    event_loops = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False
    finally:
        signal.signal(signal.SIGINT, event_loops)


async def quote_all(animator: Any, shots: list[Shot]) -> list[Any]:
    """Quotes of all orders; the first that cannot be carried out ends it, with its place in the text."""
    quotes: list[Any] = []
    for shot in shots:
        try:
            quotes.append(await animator.quote_price(shot.order, max_price_micro_usdc=shot.max_price_micro_usdc))
        except SeedanceError as exc:
            if len(shots) > 1:
                exc.what = f"{shot.where}: {exc.what}"
            raise
    return quotes


def count_clips(number: int) -> str:
    """A number of clips, in words."""
    return "1 clip" if number == 1 else f"{number} clips"


def label(result: dict[str, Any]) -> str:
    """How a person finds a result: its picture, and its row where it has one."""
    name = Path(result["image"]).name
    return name if str(result["row"]).endswith(name) else f"{result['row']}, {name}"


def _reason(result: dict[str, Any]) -> str:
    return f". The studio says: {result['error']}" if result["error"] else ""


def file_name(result: dict[str, Any]) -> str:
    """The name of a saved clip, or nothing."""
    return Path(result["file"]).name if result["file"] else ""


def make_table(*columns: str) -> Table:
    """A plain table; ids, times and prices are never broken."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("job", "when", "price"))
    return table


def show_table(results: list[dict[str, Any]]) -> None:
    """Print the results of a batch on stdout, and their sum on stderr."""
    table = make_table("clip", "status", "price", "file")
    for result in results:
        if "status" in result:
            table.add_row(label(result), result["status"], f"${result['price_usd'] or '?'}", file_name(result))
        else:
            table.add_row(label(result), result["error"]["code"], "", rephrase(result["error"]["what"]))
    paid = sum(result.get("price_micro_usdc") or 0 for result in results)
    shown.print(table)
    done = sum(bool(result.get("file")) for result in results)
    folders = {str(Path(result["file"]).parent) for result in results if result.get("file")}
    words.print(f"{done} of {count_clips(len(results))} done, ${format_usdc(paid)} in all.")
    for folder in sorted(folders):
        words.print(f"The files are in {folder}", markup=False)


def make_bars() -> Progress:
    """Progress bars on stderr; silent where nobody looks."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[status]}"))
    return Progress(*columns, TimeElapsedColumn(), console=words, transient=True, disable=not words.is_terminal)


def report_to(bars: Progress, task: TaskID) -> Callable[[Any, float], Awaitable[None]]:
    """What the watcher calls to move a bar."""

    async def report(job: Any, expected_seconds: float) -> None:
        bars.update(task, completed=job.progress, status=f"{job.status}, about {expected_seconds:.0f} s")

    return report
