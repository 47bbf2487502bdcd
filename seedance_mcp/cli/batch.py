"""Batch: run many requests of one command, with progress bars and a table of the results."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import typer

from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.app.rendering import show_generation
from seedance_mcp.app.runtime import Runtime
from seedance_mcp.cli.batch_budget import BudgetFit, add_costs, find_fit
from seedance_mcp.cli.batch_input import Shot, join_problems
from seedance_mcp.cli.console import ask_yes_no, is_person_there, show_error, words
from seedance_mcp.cli.tables import file_name, print_table
from seedance_mcp.cli.words import CommandWords, dump_result, for_person
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    BudgetExceededError,
    ImageError,
    LedgerError,
    PolicyError,
    PriceTooHighError,
    RecipientChangedError,
    RequestError,
)
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.texts import write_count
from seedance_mcp.generation.questions import describe_question
from seedance_mcp.payments import policy

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from seedance_mcp.core.records import Job
    from seedance_mcp.generation.questions import Proposal
    from seedance_mcp.generation.quotes import Quote

AT_ONCE_MAX = 4
"""So many videos of a batch are bought and awaited at the same time."""
WHAT_FITS = (
    "Raise the limit, give fewer pictures or rows, or buy what fits with --what-fits, and the rest later with the same "
    "command: what was bought before costs nothing."
)


class Batch:
    """Some requests that are bought together: all are checked first, then a few at a time are bought.

    Args:
        runtime: Opens what is needed.
        shots: What is wanted.
        deadline: The moment of the event loop's clock at which to stop waiting.
        alone: True for a single request, whose failure the command reports.
        what_fits: Whether to buy what fits without asking, where the budget has no room for all of it.
    """

    def __init__(
        self, *, runtime: Runtime, shots: list[Shot], deadline: float, alone: bool = False, what_fits: bool = False
    ) -> None:
        self._runtime = runtime
        self._shots = shots
        self._deadline = deadline
        self._alone = alone
        self._what_fits = what_fits
        self._bought: dict[str, tuple[dict[str, Any], Job]] = {}
        self.failures: list[SeedanceError] = []
        self.paid_micro_usdc: int | None = None
        """What was paid since this batch began; None where the ledger does not say."""

    async def buy(self) -> list[dict[str, Any]]:
        """Check all, then buy all; one result for each, in order."""
        began = time.time()
        settings = await self._runtime.settings()
        policy.check_settings(settings.limits)
        services = await self._runtime.services()
        words.print(f"Reading {write_count(len(self._shots), 'video')} and asking the price …")
        quotes = await quote_all(services, self._shots)
        fit = await find_fit(settings, self._shots, quotes)
        if fit.cost_micro_usdc or all(quote.error is None for quote in quotes):
            words.print(
                f"At most ${format_usdc(fit.cost_micro_usdc)}, uploads and all; what was bought before costs nothing. "
                f"${format_usdc(quotes[0].day_left_micro_usdc)} is left today."
            )
        if len(self._shots) > 1:
            stop = settings.profile.name_command("freeze")
            words.print(f"Ctrl-C ends it; {stop} from elsewhere stops what has not begun. The same command goes on.")
        chosen = self._choose(fit)
        waiting = [number for number in chosen if quotes[number].needs_approval]
        agreed = await self._ask(services, waiting, settings)
        results: list[dict[str, Any]] = [{"row": shot.where, "image": shot.request.image} for shot in self._shots]
        limiter = anyio.CapacityLimiter(AT_ONCE_MAX)
        with make_bars() as bars:
            async with anyio.create_task_group() as tasks:
                for number in chosen:
                    proposal = agreed.get(number)
                    tasks.start_soon(
                        self._buy_one, services, limiter, bars, self._shots[number], proposal, results[number]
                    )
                for number in set(range(len(self._shots))).difference(chosen):
                    results[number]["error"] = show_error(self.failures[0])
        with contextlib.suppress(LedgerError):  # a sum that cannot be read is no reason to hide what was bought
            self.paid_micro_usdc = await _sum_payments(settings, [job for _, job in self._bought.values()], since=began)
        return results

    def say_paid(self, results: list[dict[str, Any]]) -> str:
        """Return a sentence about what was paid this time; empty if that is not known."""
        if self.paid_micro_usdc:
            return f"${format_usdc(self.paid_micro_usdc)} was paid for them this time, uploads included."
        unclear = any(failure.payment_state != "none" or failure.upload_micro_usdc for failure in self.failures)
        underway = any("status" in result and result["job_id"] is None for result in results)
        return "" if self.paid_micro_usdc is None or unclear or underway else "Nothing was paid this time."

    async def _buy_one(
        self,
        services: Any,
        limiter: anyio.CapacityLimiter,
        bars: Progress,
        shot: Shot,
        agreed: Proposal | None,
        result: dict[str, Any],
    ) -> None:
        async with limiter:
            task = bars.add_task(label(result), total=100, status="buying")
            try:
                generated = await services.generation.generate(
                    shot.request,
                    agreed_micro_usdc=0 if agreed is None else agreed.cost.total_micro_usdc,
                    agreed_recipients=None if agreed is None else agreed.recipients,
                    deadline=self._deadline,
                    report=report_to(bars, task),
                )
                result |= dump_result(show_generation(generated, (await self._runtime.settings()).profile))
                first = result
                if generated.job is not None:
                    first, _ = self._bought.setdefault(generated.job.job_id, (result, generated.job))
                if first is not result:
                    words.print(f"{label(result)}: the same video as {label(first)}.")
                    return
                words.print(f"{label(result)}: {_describe_end(result, shot, alone=self._alone)}")
                for note in result["notes"]:
                    words.print(f"{label(result)}: {note}")
            except SeedanceError as exc:
                self.failures.append(exc)
                result["error"] = show_error(exc)
                if not self._alone:
                    words.print(f"{label(result)}: {for_person(exc)}", style="red")
            finally:
                bars.remove_task(task)

    def _choose(self, fit: BudgetFit) -> list[int]:
        """Return the indexes of what is bought or waited for; if not all of it fits, a person decides about the rest.

        Raises:
            BudgetExceededError: Nothing of it; nothing was signed.
        """
        if fit.whole:
            return list(range(len(self._shots)))
        fits = (
            f"{fit.new or 'none'} of them {'fit' if fit.new > 1 else 'fits'}" if fit.wanted > 1 else "it does not fit"
        )
        wanted = write_count(fit.wanted, "video")
        text = (
            f"Up to ${format_usdc(fit.cost_micro_usdc)} is needed for {wanted}, uploads and all, and "
            f"${format_usdc(fit.remaining_micro_usdc)} is left of your {fit.budget}: {fits}."
        )
        question = f"{text} Buy what fits now, and leave the rest for later?"
        agreed = fit.new > 0 and (self._what_fits or (is_person_there() and confirm(question)))
        chosen = fit.fitting if agreed else fit.begun
        if not chosen:
            raise BudgetExceededError(text, WHAT_FITS if fit.new else "")
        words.print(text)
        left = "Left for later: there is no room for it in what is left of the budget."
        self.failures.append(BudgetExceededError(left, WHAT_FITS if fit.new and not agreed else ""))
        return chosen

    async def _ask(self, services: Any, waiting: list[int], settings: Settings) -> dict[int, Proposal]:
        """Put prices above the owner's threshold and changed recipients before the person at the terminal.

        Where no one is there, a price is refused here, and a changed recipient when it would be paid.

        Returns:
            What the person said yes to, by the place of its request.
        """
        found: dict[int, Proposal] = {}
        for number in waiting:
            shot = self._shots[number]
            with contextlib.suppress(PolicyError):  # it is refused when it is bought, whatever a person says
                proposal = await services.generation.find_proposal(shot.request)
                if proposal is not None:
                    found[number] = proposal
        above = sum(policy.needs_approval(settings.limits, proposal.cost) for proposal in found.values())
        if not found or not (above or is_person_there()):
            return {}
        proposals = {  # the same request is bought once, whatever each row allows for it
            replace(self._shots[number].request, max_price_usd=None): proposal for number, proposal in found.items()
        }
        play_money = settings.profile.pins.play_money
        question = describe_question([*proposals.values()], add_costs(proposals), play_money=play_money)
        if is_person_there() and confirm(question):
            return found
        raise _unapproved_error(found.values(), above, settings.limits.ask_above_micro_usdc or 0)


def _unapproved_error(proposals: Iterable[Proposal], above: int, ask_above_micro_usdc: int) -> PolicyError:
    """Build the refusal of what no person agreed to."""
    changed = [one for proposal in proposals for one in proposal.recipients if one.replaces]
    if changed and is_person_there():
        return RecipientChangedError(
            f"You did not agree to the new recipient {changed[0].address} on {changed[0].network}.",
            "Ask the studio whether it has a new address, and run the same command again.",
        )
    return PriceTooHighError(
        f"{write_count(above, 'video')} cost{'s' if above == 1 else ''} more than the "
        f"${format_usdc(ask_above_micro_usdc)} that needs a person's yes.",
        "Say yes at a terminal, or change SEEDANCE_ASK_ABOVE.",
    )


def confirm(question: str) -> bool:
    """Ask at the terminal, in the main thread: another one that waits for a line cannot be ended. Ctrl-C is a no."""
    event_loops = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return ask_yes_no(question)
    except typer.Abort:
        return False
    finally:
        signal.signal(signal.SIGINT, event_loops)


async def quote_all(services: Any, shots: list[Shot], *, can_ask: bool = True) -> list[Quote]:
    """Return the quotes of all requests. Requests that are invalid raise one error, with their rows in the text.

    The place of a picture that was typed alone goes without saying. What is wrong with the studio, the wallet or the
    ledger raises at once.

    Args:
        services: Quotes.
        shots: What is wanted.
        can_ask: Whether a person can be asked when it is bought.
    """
    quotes: list[Quote] = []
    problems: list[SeedanceError] = []
    for shot in shots:
        try:
            quotes.append(await services.generation.quote(shot.request, can_ask=can_ask))
        except SeedanceError as exc:
            if len(shots) == 1 and shot.typed:
                raise
            problem = exc.at(shot.where)
            if not isinstance(exc, ImageError | RequestError):
                raise problem from exc
            problems.append(problem)
    if problems:
        raise join_problems(problems)
    return quotes


def label(result: dict[str, Any]) -> str:
    """How a person finds a result: its picture, and its row where it has one."""
    if not result["image"]:
        return str(result["row"])
    name = Path(result["image"]).name
    return name if str(result["row"]).endswith(name) else f"{result['row']}, {name}"


def _describe_end(result: dict[str, Any], shot: Shot, *, alone: bool) -> str:
    """How it ended, what was paid, and where no file was saved, what to do now."""
    paid = f", ${result['price_usd']} was paid" if result["price_usd"] else ""
    sentences = [f"{result['status']}{paid}."]
    if result["error"]:
        sentences.append(say_reason(result["error"]))
    if not result["file"]:
        sentences.append(_say_next(result, shot, alone=alone))
    return " ".join(sentences)


def say_reason(error: str) -> str:
    """Why a job has no video, as a sentence; only what is quoted are the studio's words."""
    return f"The studio says: {error}." if error.startswith("«") else error


def _say_next(result: dict[str, Any], shot: Shot, *, alone: bool = False) -> str:
    """Return what to do about a missing video; the option `--take` is for a whole batch and would buy it all again."""
    words = CommandWords()
    if not shot.typed:
        words = CommandWords(raise_take="write a higher take into its row")
    elif not alone:
        words = CommandWords(raise_take="give it alone and raise --take by one")
    return for_person(result["next_step"], words)


async def _sum_payments(settings: Settings, jobs: Sequence[Job], *, since: float) -> int:
    """Sum what was paid since a moment for some jobs and their uploads, fees included, each once.

    Asked of the ledger by the payments' own numbers, so that what other processes bought meanwhile is not in it.
    """
    async with open_existing_ledger(settings) as ledger:
        if ledger is None:
            return 0
        numbers = {job.payment_id for job in jobs if job.payment_id is not None}
        for job in jobs:
            references = cast("list[object]", job.arguments.get("references") or [])
            for sha256 in (job.arguments.get("image"), job.arguments.get("last_image"), *references):
                upload = await ledger.find_upload(str(sha256), studio=job.studio, wallet=job.wallet)
                if upload is not None:
                    numbers.add(upload.payment_id)
        payments = [await ledger.find_payment(number) for number in numbers]
        return sum(one.cost_micro_usdc for one in payments if one is not None and (one.signed_at or 0) >= since)


def show_table(results: list[dict[str, Any]], shots: list[Shot], *, paid: str) -> None:
    """Print the results of a batch on stdout, and on stderr what they cost and what was paid this time."""
    rows: list[tuple[str, str, str, str]] = []
    videos: dict[str, dict[str, Any]] = {}
    for number, (result, shot) in enumerate(zip(results, shots, strict=True)):
        name = label(result)
        if "status" not in result:
            rows.append((name, result["error"]["code"], "", result["error"]["what"]))
            continue
        first = videos.setdefault(result["job_id"] or str(number), result)
        price = f"${result['price_usd']}" if result["price_usd"] else ""
        if first is not result:
            rows.append((name, result["status"], "", f"the same video as {label(first)}"))
        else:
            rows.append((name, result["status"], price, file_name(result) or _say_next(result, shot)))
    print_table(("video", "status", "price", "file"), rows, below=1)
    done = sum(bool(result.get("file")) for result in results)
    cost = sum(video["price_micro_usdc"] or 0 for video in videos.values())
    words.print(f"{done} of {write_count(len(results), 'video')} done, ${format_usdc(cost)} in all. {paid}".rstrip())
    for folder in sorted({str(Path(video["file"]).parent) for video in videos.values() if video["file"]}):
        words.print(f"The files are in {folder}")


def make_bars() -> Progress:
    """Progress bars on stderr; silent where no one looks."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[status]}"))
    return Progress(
        *columns, TimeElapsedColumn(), console=words.rich, transient=True, disable=not words.rich.is_terminal
    )


def report_to(bars: Progress, task: TaskID) -> Callable[[Any, float], Awaitable[None]]:
    """Return the callback with which the poller moves a bar."""

    async def report(job: Any, expected_seconds: float) -> None:
        bars.update(task, completed=job.progress, status=describe_status(job.status, expected_seconds))

    return report


def describe_status(status: str, expected_seconds: float) -> str:
    """Return the text of a bar: a line of 80 columns also has the name, the bar and the time so far."""
    return status if status in ("complete", "failed") else f"{status}; usually {expected_seconds:.0f} s"
