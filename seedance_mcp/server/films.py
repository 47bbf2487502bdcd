"""Films over MCP: the question to a person, the order, the wait, the price and the end of a film."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Elicit, ElicitationResult

from seedance_mcp.app.film_rendering import find_progress, show_film, show_film_quote
from seedance_mcp.app.results import FilmResult, QuoteResult
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.next_steps import join_steps
from seedance_mcp.generation.film_request import FilmRequest
from seedance_mcp.server.call_context import (
    Ctx,
    Progress,
    begin_question,
    find_runtime,
    read_deadlines,
    telling_progress,
)
from seedance_mcp.server.film_parameters import Shots, take_storyboard
from seedance_mcp.server.price_approval import Question, can_ask, read_answer

if TYPE_CHECKING:
    from seedance_mcp.core.films import Film


@take_storyboard
async def approve_film(ctx: Ctx, shots: Shots, request: FilmRequest, wait_seconds: int) -> Question | Elicit[Question]:
    """Ask the person at the host about the sum of a film above `ask_above`; may run twice."""
    del shots
    runtime = find_runtime(ctx)
    settings = await runtime.settings()
    ask_above = settings.limits.ask_above_micro_usdc
    if settings.limits.problem is not None or ask_above is None:
        return Question(approve=True)
    async with telling_progress(ctx, "Reading the pictures and asking the price"):
        services = await runtime.services()
        with read_deadlines(wait_seconds).bounding("Reading the pictures and asking the price"):
            quote = await services.films.quote(request)
            await services.films.check(quote)
    if quote.cost_micro_usdc <= ask_above or not can_ask(ctx):  # the order refuses what no one can be asked about
        return Question(approve=True)
    from seedance_mcp.core.limits import Cost
    from seedance_mcp.generation.questions import Proposal, describe_question  # loaded with the services

    first = request.shots[0]
    proposal = Proposal(
        image=first.image,
        last_image=first.last_image,
        references=first.references,
        prompt=first.prompt,
        video=f"film of {len(request.shots)} shots, image uploads and network fees included",
        cost=Cost(price_micro_usdc=quote.cost_micro_usdc),
        recipients=quote.recipients,
    )
    begin_question(proposal)
    return Elicit(describe_question([proposal], proposal.cost, play_money=settings.profile.pins.play_money), Question)


async def order_film(
    ctx: Ctx, request: FilmRequest, answer: ElicitationResult[Question], wait_seconds: int
) -> FilmResult:
    """Order a film that a person need not be asked about, or has agreed to.

    Raises:
        SeedanceError: Nothing was bought.
    """
    agreed = read_answer(answer)
    async with telling_progress(ctx, "Reading the pictures and asking the price") as progress:
        services = await find_runtime(ctx).services()
        deadlines = read_deadlines(wait_seconds)
        with deadlines.bounding("Reading the pictures and asking the price"):
            quote = await services.films.quote(request)
            await services.films.check(quote)
        film = await services.films.order(
            quote,
            agreed_micro_usdc=0 if agreed is None else agreed.cost.total_micro_usdc,
            agreed_recipients=None if agreed is None else agreed.recipients,
            deadline=deadlines.job,
            report=_report_to(progress),
        )
    return show_film(film, services.links)


async def quote_film(ctx: Ctx, request: FilmRequest, wait_seconds: int) -> QuoteResult:
    """Return what a film would cost, and whether the limits allow it."""
    async with telling_progress(ctx, "Reading the pictures and asking the price"):
        runtime = find_runtime(ctx)
        services, limits = await runtime.quote_services(), (await runtime.settings()).limits
        with read_deadlines(wait_seconds).bounding("Reading the pictures and asking the price"):
            quote = await services.film_quoter.quote(request)
        problem: SeedanceError | None = quote.wallet_problem
        try:
            await services.film_quoter.check(quote)
        except SeedanceError as exc:
            problem = exc
        left = (await services.wallet_status.read()).day_left_micro_usdc
    return show_film_quote(
        quote,
        refusal=None if problem is None else join_steps(problem.what, problem.next_step),
        left_micro_usdc=left,
        max_micro_usdc=limits.max_price_per_video_micro_usdc,
    )


async def get_film(ctx: Ctx, film_id: str, wait_seconds: int, *, cancel: bool) -> FilmResult:
    """Wait for a film, or end it."""
    async with telling_progress(ctx, "Reading the film") as progress:
        services = await find_runtime(ctx).services()
        if cancel:
            return show_film(await services.films.cancel(film_id), services.links)
        film = await services.films.get(film_id, deadline=read_deadlines(wait_seconds).job, report=_report_to(progress))
    return show_film(film, services.links)


def _report_to(progress: Progress) -> "Callable[[Film], Awaitable[None]]":
    async def report(film: Any) -> None:
        made = sum(shot.job_id is not None for shot in film.shots)
        message = f"{made} of {len(film.shots)} shots bought"
        if message != progress.message:
            progress.message = message
            await progress.send(float(find_progress(film)))

    return report
