"""The `film` command: one file of many shots, from a story file; one price and one yes for all of it.

The film is made by the same service as behind the tool. This module only reads the story, asks, shows and copies.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from seedance_mcp.cli import exit_codes
from seedance_mcp.cli.console import AsJson, Sandbox, is_person_there, put, read_environ, run, say, words
from seedance_mcp.cli.film_input import Story, read_story
from seedance_mcp.cli.tables import cut_text, join_cells, measure_columns
from seedance_mcp.cli.video_commands import WAIT_SECONDS_DEFAULT, WaitSeconds
from seedance_mcp.core.errors import FilmError, PolicyError, RequestError
from seedance_mcp.core.money import format_usdc, parse_usdc
from seedance_mcp.generation.film_request import FilmRequest, build_shot

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from seedance_mcp.app.runtime import Runtime
    from seedance_mcp.core.films import Film
    from seedance_mcp.generation.films import FilmQuote, FilmService

SUFFIXES = (".mp4", ".gif", ".webp")

StoryFile = Annotated[Path, typer.Argument(help="A .yaml or .json file with the shots.", metavar="STORY")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Also write the film to this file: .mp4, .gif or .webp.", show_default=False),
]
QuoteOnly = Annotated[bool, typer.Option("--quote", help="Show what it would cost, and buy nothing.")]


@dataclass(frozen=True, slots=True)
class _Made:
    """What the command has done: the film, and the quote where nothing was bought."""

    quote: FilmQuote
    film: Film | None
    output: Path | None


def film(
    story: StoryFile,
    output: Output = None,
    quote_only: QuoteOnly = False,
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Make a film of many shots within your limits. SPENDS MONEY, once for each distinct shot.

    Shows the price of each shot and the sum, and asks once at a terminal. Run the same command again to go on after
    Ctrl-C, a failure, or a change of a shot: what was bought is found, never bought twice.
    """
    from seedance_mcp.cli.batch import make_bars

    read = read_story(story)
    _check_output(output, read)

    async def work(runtime: Runtime) -> _Made:
        deadline = anyio.current_time() + wait_seconds
        service = None if quote_only else (await runtime.services()).films
        quoter = (await runtime.quote_services()).film_quoter if service is None else service.quoter
        quote = await quoter.quote(build_request(read))
        if not as_json:
            show_quote(quote)
        await quoter.check(quote)
        if service is None:
            return _Made(quote, None, None)
        agreed = _ask(quote, play_money=(await runtime.settings()).profile.pins.play_money)
        with make_bars() as bars:
            made = await service.order(
                quote,
                agreed_micro_usdc=quote.cost_micro_usdc if agreed else 0,
                agreed_recipients=quote.recipients if agreed else None,
                deadline=deadline,
                report=_Bars(bars, service, quote).report,
            )
        target = None
        if made.state == "complete" and made.file is not None and output is not None:
            target = await _write_output(service, made, read, output)
        return _Made(quote, made, target)

    made = run(read_environ(sandbox), work)
    if as_json:
        say(_dump(made))
    elif made.film is not None:
        show_film(made.film, made.output)
    if made.film is not None and made.film.state != "complete":
        raise typer.Exit(exit_codes.UNFINISHED if made.film.state == "running" else exit_codes.FAILED)


def build_request(story: Story) -> FilmRequest:
    """Return the request of a story."""
    options = dict(story.options)
    most = options.pop("max_price_usd", None)
    return FilmRequest(
        shots=tuple(build_shot(shot) for shot in story.shots),
        options=options,
        max_price_micro_usdc=None if most is None else parse_usdc(str(most)),
    )


def _check_output(output: Path | None, story: Story) -> None:
    """Raise before anything is bought where the film could not be written as it was asked for.

    Raises:
        RequestError: The name ends with another format, or a cross-fade has no name to go to.
    """
    if output is not None and output.suffix.lower() not in SUFFIXES:
        raise RequestError(f"{output.name} does not end with a film's format.", f"End it with {', '.join(SUFFIXES)}.")
    if output is None and story.crossfade_seconds:
        raise RequestError("A cross-fade is made in a file of your own.", "Name it with -o.")


def _ask(quote: FilmQuote, *, play_money: bool) -> bool:
    """Return True if a person at the terminal agreed to the sum; False where no one is there, or nothing is to buy.

    Raises:
        PolicyError: The person did not agree.
    """
    if not quote.cost_micro_usdc or not is_person_there():
        return False
    for recipient in quote.recipients:
        if recipient.replaces:
            words.print(f"WARNING: the studio's recipient has changed to {recipient.address}.")
    money = "play money (sandbox)" if play_money else "real USDC"
    from seedance_mcp.cli.batch import confirm

    if confirm(f"Buy this film for at most ${format_usdc(quote.cost_micro_usdc)} of {money}?"):
        return True
    raise PolicyError("You did not agree to the price.", "Run the same command again to buy it.")


def show_quote(quote: FilmQuote) -> None:
    """Print what each shot costs, and the sum, on stderr."""
    rows = [
        (
            str(number),
            cut_text(shot.request.prompt),
            _name_start(quote, number),
            f"${format_usdc(share)}" if share else "bought",
        )
        for number, (shot, share) in enumerate(zip(quote.plan.shots, quote.shares_micro_usdc, strict=True), 1)
    ]
    widths = measure_columns(rows)
    for row in rows:
        words.print(join_cells(row, widths))
    if not quote.cost_micro_usdc:
        words.print("All shots were bought before; the film costs nothing more.")
        return
    words.print(f"At most ${format_usdc(quote.cost_micro_usdc)} for the whole film, uploads and all.")
    if not quote.exact:
        words.print("A price that is not yet known is estimated; the film stops before it costs more than this sum.")
    if quote.wallet_problem is not None:
        words.print(f"{quote.wallet_problem.what} The sum is compared with no balance.")


def _name_start(quote: FilmQuote, number: int) -> str:
    shot = quote.plan.shots[number - 1]
    if shot.is_chained:
        return f"from the end of {number - 1}"
    if shot.request.image is None:
        return "from references" if shot.request.references else "from its prompt"
    return f"from {cut_text(Path(shot.request.image).name)}"


class _Bars:
    """One progress bar for each shot that is not over."""

    def __init__(self, bars: Progress, service: FilmService, quote: FilmQuote) -> None:
        self._bars, self._service = bars, service
        self._tasks: list[TaskID] = [
            bars.add_task(f"{number}  {cut_text(shot.request.prompt)}", total=100, status="waits")
            for number, shot in enumerate(quote.plan.shots, 1)
        ]

    async def report(self, film: Film) -> None:
        """Move the bars to where the shots are."""
        for task, shot in zip(self._tasks, film.shots, strict=True):
            job = None if shot.job_id is None else await self._service.ledger.find_job(shot.job_id)
            if job is not None:
                self._bars.update(task, completed=100 if job.finished else job.progress, status=job.status)
            elif shot.error is not None:
                self._bars.update(task, status="failed")


async def _write_output(service: FilmService, film: Film, story: Story, output: Path) -> Path:
    """Write the film where it was asked for.

    Raises:
        FilmError: It cannot be written; the film is in the videos folder all the same.
    """
    from seedance_mcp.adapters.media.films import copy_film, export_animation, join_videos  # with what they load

    output = Path(await (await anyio.Path(output).expanduser()).absolute())
    source, made = Path(film.file or ""), None
    if story.crossfade_seconds:
        made = output.with_name(f".{output.stem[:40]}.{secrets.token_hex(4)}.mp4")
        jobs = [await service.ledger.find_job(shot.job_id or "") for shot in film.shots]
        files = [Path(job.file) for job in jobs if job is not None and job.file is not None]
        if len(files) < len(film.shots):
            raise FilmError("A shot of the film is not on this machine any more.", "Leave the cross-fade out.")
        titles = [cut_text(str(shot["prompt"])) for shot in story.shots]
        await join_videos(files, made, titles=titles, crossfade_seconds=story.crossfade_seconds)
        source = made
    try:
        if output.suffix.lower() == ".mp4":
            await copy_film(source, output)
        else:
            await export_animation(source, output)
    finally:
        if made is not None:
            with suppress(OSError):
                made.unlink(missing_ok=True)
    return output


def show_film(film: Film, output: Path | None) -> None:
    """Print how each shot ended on stderr, and the film's file on stdout."""
    for number, shot in enumerate(film.shots, 1):
        if shot.error is not None:
            price = f" ${format_usdc(shot.price_micro_usdc)} was paid for it." if shot.price_micro_usdc else ""
            words.print(f"Shot {number}: {shot.error}{price}", style="red")
    if film.state == "complete":
        words.print(f"{len(film.shots)} shots, ${format_usdc(film.price_micro_usdc)} in all.")
        put(str(output or film.file))
        return
    done = sum(shot.job_id is not None and shot.error is None for shot in film.shots)
    words.print(f"{film.film_id}: {film.state}, {done} of {len(film.shots)} shots are bought.")
    if film.problem is not None:
        words.print(film.problem)
    if film.state == "running":
        words.print("Run the same command again to wait for it; nothing is bought twice.")
    else:
        words.print("Change what failed and run the same command again: only what was not bought is bought.")


def _dump(made: _Made) -> dict[str, Any]:
    """Return the result as data."""
    quote, film = made.quote, made.film
    shots: list[dict[str, Any]] = []
    for number, (planned, share) in enumerate(zip(quote.plan.shots, quote.shares_micro_usdc, strict=True)):
        known = None if film is None else film.shots[number]
        shots.append(
            {
                "prompt": planned.request.prompt,
                "starts_from": "last frame" if planned.is_chained else planned.request.image,
                "references": list(planned.request.references),
                "text_only": planned.request.text_only,
                "max_price_micro_usdc": share,
                "job_id": None if known is None else known.job_id,
                "price_micro_usdc": None if known is None else known.price_micro_usdc,
                "error": None if known is None else known.error,
            }
        )
    return {
        "job_id": quote.plan.film_id,
        "status": "quoted" if film is None else film.state,
        "price_usd": format_usdc(quote.cost_micro_usdc if film is None else film.price_micro_usdc),
        "exact": quote.exact,
        "file": None if film is None else film.file,
        "output": None if made.output is None else str(made.output),
        "problem": None if film is None else film.problem,
        "shots": shots,
    }
