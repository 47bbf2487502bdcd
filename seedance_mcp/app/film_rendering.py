"""Film rendering: films as the interfaces show them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from seedance_mcp.app.results import FilmResult, JobLine, QuoteResult, ShotResult
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import Call, NextStep, RaiseTake, Repeat, Show

if TYPE_CHECKING:  # these load with the first call
    from seedance_mcp.app.video_links import VideoLinks
    from seedance_mcp.core.films import Film
    from seedance_mcp.generation.films import FilmQuote
from seedance_mcp.app.rendering import PROMPT_CHARACTERS_MAX, PRUNED, format_amount
from seedance_mcp.core.texts import quote_text, write_time

Status = Literal["pending", "loading", "complete", "failed"]


def show_film(film: "Film", links: "VideoLinks | None" = None) -> FilmResult:
    """Return a film as the interfaces show it.

    Args:
        film: What is known of it.
        links: Makes links to films that replicas share; None where films are files of this machine.
    """
    link = None if links is None else links.sign(film)
    waits = [film.note] if film.note is not None and film.state == "running" else []
    return FilmResult(
        job_id=film.film_id,
        status=find_status(film),
        progress=find_progress(film),
        file=_find_file(film),
        video_url=None if link is None else link.url,
        video_url_expires_at=None if link is None else write_time(link.expires_at),
        price_usd=format_usdc(film.price_micro_usdc),
        price_micro_usdc=film.price_micro_usdc,
        shots=[
            ShotResult(job_id=shot.job_id, price_usd=format_amount(shot.price_micro_usdc), error=shot.error)
            for shot in film.shots
        ],
        error=film.problem,
        notes=[*waits, "The price is that of the videos bought so far; image uploads and network fees come on top."],
        next_step=_find_step(film, has_link=link is not None),
    )


def show_film_line(film: "Film") -> JobLine:
    """Return a film as one entry of a list."""
    made = sum(shot.job_id is not None for shot in film.shots)
    return JobLine(
        job_id=film.film_id,
        status=find_status(film),
        progress=find_progress(film),
        file=_find_file(film),
        price_usd=format_usdc(film.price_micro_usdc),
        prompt=quote_text(f"Film, {made} of {len(film.shots)} shots bought", PROMPT_CHARACTERS_MAX),
        created_at=write_time(film.created_at),
    )


def merge_films(lines: list[JobLine], films: "Sequence[Film]") -> list[JobLine]:
    """Return a list of jobs with films, newest first; a film's shots are in the film's entry alone."""
    shots = {shot.job_id for film in films for shot in film.shots}
    merged = [line for line in lines if line["job_id"] not in shots] + [show_film_line(film) for film in films]
    return sorted(merged, key=lambda line: line["created_at"], reverse=True)


def find_status(film: "Film") -> Status:
    """Return a film's state in the words of a job's."""
    if film.state == "complete":
        return "complete"
    if film.state in ("stopped", "cancelled"):
        return "failed"
    return "loading" if any(shot.job_id for shot in film.shots) else "pending"


def find_progress(film: "Film") -> int:
    """Return how far a film is, in percent of its shots."""
    if film.state == "complete":
        return 100
    return 99 * sum(shot.job_id is not None for shot in film.shots) // len(film.shots)


def _find_file(film: "Film") -> str | None:
    from seedance_mcp.adapters.media.videos import is_missing  # loaded by now

    return None if film.pruned_at is not None or is_missing(film.file) else film.file


def _find_step(film: "Film", *, has_link: bool) -> NextStep:
    if film.state == "running":
        return NextStep("Still being made. {0}.", Call("get_job", film.film_id))
    if film.state == "cancelled":
        return NextStep("Nothing more is bought. To go on after all, {0}.", Repeat())
    if film.state == "complete":
        if film.pruned_at is not None:
            return NextStep("{0} To buy the same film again, {1}.", PRUNED, RaiseTake())
        place = "video_url" if has_link else _find_file(film)
        return NextStep("Done. {0}.", Show(place)) if place else NextStep("{0} to join it again.", Repeat())
    return NextStep(
        "Change the prompt or the picture of the shot that failed, or {0}: the other shots are kept and not bought "
        "again.",
        Repeat(),
    )


def show_film_quote(
    quote: "FilmQuote", *, refusal: NextStep | None, left_micro_usdc: int, max_micro_usdc: int
) -> QuoteResult:
    """Return the price of a film as the interfaces show it.

    Args:
        quote: What was found.
        refusal: Why it would be refused now, or None.
        left_micro_usdc: What is left of the budget for 24 hours.
        max_micro_usdc: The owner's limit for one video.
    """
    cost = quote.cost_micro_usdc
    shots = ", ".join(f"${format_usdc(share)}" for share in quote.shares_micro_usdc)
    return QuoteResult(
        exact=quote.exact,
        price_usd=format_usdc(cost),
        price_micro_usdc=cost,
        upload_price_usd=format_usdc(0),
        cost_usd=format_usdc(cost),
        offers=[],
        allowed=refusal is None,
        needs_approval=False,
        refused_because=refusal,
        warning=None,
        notes=[f"Each shot with its uploads and network fees: {shots}. What was bought before costs nothing."],
        max_price_per_video_usd=format_usdc(max_micro_usdc),
        left_today_usd=format_usdc(left_micro_usdc),
        job_id=quote.plan.film_id if cost == 0 else None,
        next_step=NextStep("{0} with the same arguments to make it.", Call("animate_storyboard"))
        if refusal is None
        else NextStep("Do not buy it as it is."),
    )
