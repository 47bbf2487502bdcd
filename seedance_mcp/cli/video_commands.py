"""Video commands: `quote`, `upload`, `animate` and `get`, with the tools' own arguments.

The same `Services` does the work as behind the tools, in this process. Nothing is forgotten when it ends: a purchase
has an identity, and the same command goes on where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import anyio
import typer

from seedance_mcp.cli import exit_codes
from seedance_mcp.cli.console import AsJson, Sandbox, is_person_there, put, read_environ, run, say, words
from seedance_mcp.cli.output import OutputOptions, plan_output, take_output
from seedance_mcp.cli.video_options import Arguments, take_arguments
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.image_names import is_path

if TYPE_CHECKING:
    from seedance_mcp.app.results import FilmResult, JobResult
    from seedance_mcp.app.runtime import Runtime
    from seedance_mcp.cli.batch_input import Shot
    from seedance_mcp.cli.batch_quote import BatchQuote
    from seedance_mcp.config.settings import Settings

WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX = 1800, 24 * 3600

Images = Annotated[list[str] | None, typer.Argument(help="Pictures: paths or https URLs.", show_default=False)]
Image = Annotated[str, typer.Argument(help="A path or an https URL.")]
From = Annotated[Path | None, typer.Option("--from", "-f", help="Rows of a .csv (with a header) or .jsonl file.")]
WhatFits = Annotated[
    bool, typer.Option("--what-fits", help="If your limits do not allow all of it, buy what fits without asking.")
]
WaitSeconds = Annotated[
    int,
    typer.Option(
        "--wait-seconds",
        "-w",
        min=0,
        max=WAIT_SECONDS_MAX,
        help="How long to wait for the videos; the work goes on after it.",
    ),
]


def upload(image: Image, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Host a picture at the studio ($0.01, once a picture); `animate` does it by itself."""
    from seedance_mcp.app.upload_rendering import show_upload
    from seedance_mcp.cli.words import dump_result

    environ = read_environ(sandbox)
    _check_files([_absolute(image)], environ)

    async def work(runtime: Runtime) -> dict[str, Any]:
        services = await runtime.services()
        return dump_result(show_upload(await services.generation.upload(_absolute(image))))

    result = run(environ, work)
    if as_json:
        say(result)
    else:
        words.print(f"{result['media_type']}, {result['size_bytes']} bytes, ${result['price_usd']}")
        put(result["image_url"])


@take_arguments
def quote(
    images: Images = None,
    *,
    arguments: Arguments,
    from_file: From = None,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Show what `animate` would cost with the same arguments, and what of it your limits and the wallet allow. Free.

    Ends with the code that `animate` would end with now.
    """
    environ = read_environ(sandbox)
    shots = _gather(images, from_file, arguments, environ)
    single = from_file is None and len(shots) == 1
    from seedance_mcp.cli import batch_quote  # loads the engine
    from seedance_mcp.cli.batch import quote_all

    async def work(runtime: Runtime) -> tuple[BatchQuote, Settings]:
        services = await runtime.quote_services()
        quotes = await quote_all(services, shots, can_ask=is_person_there())
        settings = await runtime.settings()
        return await batch_quote.add_up_quotes(quotes, settings), settings

    batch, settings = run(environ, work)
    results = batch_quote.list_results(batch, shots)
    if as_json:
        say(results[0] if single else {"results": results})
    else:
        batch_quote.print_quotes(results)
        if not single:
            batch_quote.print_sum(batch, settings)
        elif batch.wallet_problem is not None:
            words.print(batch_quote.describe_wallet(batch, settings))
        words.print(f"Left today: ${results[0]['left_today_usd']}.")
    if batch.exit_code:
        raise typer.Exit(batch.exit_code)


@take_arguments
@take_output
def animate(
    images: Images = None,
    *,
    arguments: Arguments,
    from_file: From = None,
    what_fits: WhatFits = False,
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
    target: OutputOptions,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Buy a video of each picture within your limits, and wait for them. SPENDS MONEY, once for each distinct request.

    Every row is checked before the first is bought, and all of them against what your limits leave. Run the same
    command again to go on after Ctrl-C or a failure: what was bought is found, never bought twice.
    """
    environ = read_environ(sandbox)
    shots = _gather(images, from_file, arguments, environ)
    single = from_file is None and len(shots) == 1
    from seedance_mcp.cli.batch import Batch, show_table  # loads the engine

    plan = plan_output(target, videos=len(shots))
    failures: list[SeedanceError] = []
    paid = ""

    async def work(runtime: Runtime) -> list[dict[str, Any]]:
        nonlocal paid
        deadline = anyio.current_time() + wait_seconds
        batch = Batch(runtime=runtime, shots=shots, deadline=deadline, alone=single, what_fits=what_fits)
        results = await batch.buy()
        failures.extend(batch.failures)
        paid = batch.say_paid(results)
        return results

    results = run(environ, work)
    if single and failures:
        raise failures[0]
    is_copied = plan.copy_and_open(results)
    if as_json:
        alone = {name: value for name, value in results[0].items() if name not in ("row", "image")}
        say(alone if single else {"results": results})
    elif single:
        if results[0]["file"]:
            put(results[0].get("output") or results[0]["file"])
    else:
        show_table(results, shots, paid=paid)
    codes = [exit_codes.find_exit_code(exc) for exc in failures] + [_code_of(result) for result in results]
    code = exit_codes.gravest([*codes, exit_codes.OK if is_copied else exit_codes.UNFINISHED])
    if code:
        raise typer.Exit(code)


@take_output
def get(
    job_id: Annotated[str, typer.Argument(help="What `animate`, `film` or `jobs` called it.")],
    *,
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
    cancel: Annotated[bool, typer.Option("--cancel", help="Buy nothing more for a film.")] = False,
    target: OutputOptions,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Read a job or a film, wait for it, and save its video. Free, except that a film goes on with its own sum."""
    from seedance_mcp.app.film_rendering import show_film
    from seedance_mcp.app.rendering import show_job
    from seedance_mcp.cli.batch import make_bars, report_to, say_reason
    from seedance_mcp.cli.words import dump_result, for_person
    from seedance_mcp.core.films import FILM_PREFIX

    plan = plan_output(target)
    is_film = job_id.startswith(FILM_PREFIX)
    if cancel and not is_film:
        raise RequestError("Only a film can be cancelled.", "A video that was paid for is made in any case.")

    async def work(runtime: Runtime) -> JobResult | FilmResult:
        services = await runtime.services()
        if cancel:
            return show_film(await services.films.cancel(job_id))
        if is_film:
            return show_film(await services.films.get(job_id, deadline=anyio.current_time() + wait_seconds))
        with make_bars() as bars:
            task = bars.add_task(job_id, total=100, status="")
            job = await services.jobs.get(
                job_id, deadline=anyio.current_time() + wait_seconds, report=report_to(bars, task)
            )
        return show_job(job, (await runtime.settings()).profile)

    result = dump_result(run(read_environ(sandbox), work))
    is_copied = plan.copy_and_open([result])
    if as_json:
        say(result)
    else:
        paid = f", ${result['price_usd']} was paid" if result["status"] == "failed" and result["price_usd"] else ""
        reason = f"{say_reason(result['error'])} " if result["error"] else ""
        ended = f"{result['status']}{paid}. {reason}{for_person(result['next_step'])}"
        words.print(f"{result['job_id']}: {ended}")
        for note in result["notes"]:
            words.print(note)
        if result["file"]:
            put(result.get("output") or result["file"])
    code = _code_of(result) or (exit_codes.OK if is_copied else exit_codes.UNFINISHED)
    if code:
        raise typer.Exit(code)


def _gather(
    images: list[str] | None, from_file: Path | None, arguments: Arguments, environ: Mapping[str, str]
) -> list[Shot]:
    """Return the requests of a command line.

    Raises:
        RequestError: None, or one that cannot be understood.
        ImageError: The only picture is not there.
    """
    from seedance_mcp.cli.batch_input import build_shot, read_shots

    if from_file is not None:
        if images:
            raise RequestError("Pictures and --from are both given.", "Put the pictures into the file.")
        return read_shots(from_file, arguments)
    if not images and not arguments["references"] and not arguments["text_only"]:
        raise RequestError("No picture was named.", "Name a picture, or --from a .csv or .jsonl file.")
    if arguments["prompt"] is None:
        raise RequestError("No --prompt was given.", 'Say what moves, such as --prompt "The waves roll in".')
    if len(images or []) <= 1:  # of several, all that is wrong with them is named at once, once they are read
        frames = [*(images or []), cast("str | None", arguments["last_image"])]
        references = cast("Sequence[str] | None", arguments["references"]) or ()
        _check_files(filter(None, [*frames, *references]), environ)
    return [
        build_shot(image or "the video", {**arguments, "image": image}, folder=Path.cwd(), typed=True)
        for image in images or [None]
    ]


def _check_files(names: Iterable[str], environ: Mapping[str, str]) -> None:
    """Check that files are there before what checks all other arguments is loaded, and the engine.

    Raises:
        ImageError: One is missing, is not a file, or may not be read.
    """
    from seedance_mcp.adapters.media.files import check_file
    from seedance_mcp.config.settings import read_settings

    image_dirs = read_settings(environ, blocking=True).image_dirs  # as what comes later reads them
    for name in filter(is_path, names):
        check_file(name, image_dirs)


def _absolute(image: str) -> str:
    return str(Path.cwd() / Path(image).expanduser()) if is_path(image) else image


def _code_of(result: dict[str, Any]) -> int:
    """Return the exit code of one result that was no error."""
    from seedance_mcp.app.rendering import ELSEWHERE, PRUNED

    if "status" not in result:
        return exit_codes.OK  # an error, which has a code of its own
    if result["status"] == "failed":
        return exit_codes.FAILED
    is_elsewhere = any(place in str(result["next_step"]) for place in (PRUNED, ELSEWHERE))
    return exit_codes.OK if result["file"] or is_elsewhere else exit_codes.UNFINISHED
