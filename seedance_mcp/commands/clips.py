"""Clips from the command line: `quote`, `upload`, `animate`, `get` and `jobs`, with the tools' own arguments.

The same `Animator` does the work as behind the tools, in this process. Nothing is forgotten when it ends: a purchase
has an identity, and the same command goes on where the last one stopped.
"""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from seedance_mcp.commands import exits
from seedance_mcp.commands.console import AsJson, Sandbox, read_environ, run, say, show_error, shown, words
from seedance_mcp.config import Settings, read_settings
from seedance_mcp.engine import Engine
from seedance_mcp.errors import PriceTooHighError, RequestError, SeedanceError
from seedance_mcp.ledger import Job
from seedance_mcp.money import format_usdc
from seedance_mcp.results import JobResult, show_animation, show_job, show_quote, show_upload
from seedance_mcp.shots import Shot, build_shot, read_shots

AT_ONCE_MAX = 4
"""So many clips of a batch are bought and awaited at the same time."""
WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX = 1800, 24 * 3600

Images = Annotated[list[str] | None, typer.Argument(help="Pictures: paths or https URLs.", show_default=False)]
Image = Annotated[str, typer.Argument(help="A path or an https URL.")]
Prompt = Annotated[str | None, typer.Option(help="What moves and how.")]
LastImage = Annotated[str | None, typer.Option(help="Picture of the last frame.")]
ModelName = Annotated[Literal["seedance-fast", "seedance"], typer.Option(help="Which model.")]
Duration = Annotated[int, typer.Option(min=4, max=15, help="Seconds.")]
Resolution = Annotated[Literal["480p", "720p", "1080p"], typer.Option(help="1080p: seedance only.")]
AspectRatio = Annotated[
    Literal["auto", "16:9", "9:16", "4:3", "3:4", "1:1", "21:9"], typer.Option(help="auto: the picture's own shape.")
]
CameraFixed = Annotated[bool | None, typer.Option(help="Lock the camera.")]
GenerateAudio = Annotated[bool | None, typer.Option(help="Native audio.")]
Seed = Annotated[int | None, typer.Option(help="Where the studio has seeds.")]
Take = Annotated[int, typer.Option(min=1, max=1000, help="Raise it to buy another take of the same request.")]
MaxPrice = Annotated[str | None, typer.Option(help="Refuse to pay more for one clip, e.g. 0.50.")]
From = Annotated[Path | None, typer.Option("--from", help="Rows of a .csv (with a header) or .jsonl file.")]
WaitSeconds = Annotated[
    int, typer.Option(min=0, max=WAIT_SECONDS_MAX, help="How long to wait for the clips; the work goes on after it.")
]


def upload(image: Image, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Host a picture at the studio ($0.01, once a picture); `animate` does it by itself."""

    async def work(engine: Engine) -> dict[str, Any]:
        animator = await engine.animator()
        return show_upload(await animator.upload_image(_absolute(image))).model_dump(mode="json")

    result = run(read_environ(sandbox), work, as_json=as_json)
    if as_json:
        say(result)
    else:
        words.print(f"{result['media_type']}, {result['size_bytes']} bytes, ${result['price_usd']}")
        typer.echo(result["image_url"])


def quote(
    images: Images = None,
    prompt: Prompt = None,
    last_image: LastImage = None,
    model: ModelName = "seedance-fast",
    duration: Duration = 4,
    resolution: Resolution = "480p",
    aspect_ratio: AspectRatio = "auto",
    camera_fixed: CameraFixed = None,
    generate_audio: GenerateAudio = None,
    seed: Seed = None,
    take: Take = 1,
    max_price_usd: MaxPrice = None,
    from_file: From = None,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Say what `animate` would cost with the same arguments, and whether your limits allow it. Free."""
    shots = _gather(
        images, from_file, prompt=prompt, last_image=last_image, model=model, duration=duration, resolution=resolution,
        aspect_ratio=aspect_ratio, camera_fixed=camera_fixed, generate_audio=generate_audio, seed=seed, take=take,
        max_price_usd=max_price_usd,
    )  # fmt: skip

    async def work(engine: Engine) -> list[dict[str, Any]]:
        animator = await engine.window_shopper()
        return [
            {"row": shot.where, "image": shot.order.image, **show_quote(found).model_dump(mode="json")}
            for shot, found in zip(shots, await _quote_all(animator, shots), strict=True)
        ]

    results = run(read_environ(sandbox), work, as_json=as_json)
    if as_json:
        say(results[0] if from_file is None and len(results) == 1 else results)
    else:
        table = _make_table("clip", "price", "upload", "allowed")
        for result in results:
            price = "unknown" if result["price_usd"] is None else f"${result['price_usd']}"
            verdict = "yes" if result["allowed"] else f"no: {result['refused_because']}"
            upload_price = f"${result['upload_price_usd']}"
            table.add_row(_label(result), price if result["exact"] else f"{price} (table)", upload_price, verdict)
        shown.print(table)
        words.print(f"Left today: ${results[0]['left_today_usd']}.")
    if not all(result["allowed"] for result in results):
        raise typer.Exit(exits.REFUSED)


def animate(
    images: Images = None,
    prompt: Prompt = None,
    last_image: LastImage = None,
    model: ModelName = "seedance-fast",
    duration: Duration = 4,
    resolution: Resolution = "480p",
    aspect_ratio: AspectRatio = "auto",
    camera_fixed: CameraFixed = None,
    generate_audio: GenerateAudio = None,
    seed: Seed = None,
    take: Take = 1,
    max_price_usd: MaxPrice = None,
    from_file: From = None,
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Buy a clip of each picture within your limits, and wait for them. SPENDS MONEY, once for each distinct request.

    Every row is checked before the first is bought. Run the same command again to go on after Ctrl-C or a failure:
    what was bought is found, never bought twice.
    """
    shots = _gather(
        images, from_file, prompt=prompt, last_image=last_image, model=model, duration=duration, resolution=resolution,
        aspect_ratio=aspect_ratio, camera_fixed=camera_fixed, generate_audio=generate_audio, seed=seed, take=take,
        max_price_usd=max_price_usd,
    )  # fmt: skip
    single = from_file is None and len(shots) == 1
    failures: list[SeedanceError] = []

    async def work(engine: Engine) -> list[dict[str, Any]]:
        batch = _Batch(engine=engine, shots=shots, deadline=time.time() + wait_seconds)
        results = await batch.buy()
        failures.extend(batch.failures)
        return results

    results = run(read_environ(sandbox), work, as_json=as_json)
    if as_json:
        say({name: value for name, value in results[0].items() if name not in ("row", "image")} if single else results)
    elif single:
        if results[0].get("file"):
            typer.echo(results[0]["file"])
    else:
        _show_table(results)
    if single and failures and not as_json:
        raise failures[0]
    code = exits.gravest([exits.find_exit_code(exc) for exc in failures] + [_code_of(result) for result in results])
    if code:
        raise typer.Exit(code)


def get(
    job_id: Annotated[str, typer.Argument(help="What `animate` or `jobs` called it.")],
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Read a job, wait for it, and save its video. Free."""

    async def work(engine: Engine) -> JobResult:
        animator = await engine.animator()
        with _make_bars() as bars:
            task = bars.add_task(job_id, total=100, status="")
            job = await animator.get_job(job_id, deadline=time.time() + wait_seconds, report=_report_to(bars, task))
        return show_job(job, (await engine.settings()).profile)

    result = run(read_environ(sandbox), work, as_json=as_json).model_dump(mode="json")
    if as_json:
        say(result)
    else:
        words.print(f"{result['job_id']}: {result['status']}. {result['error'] or result['next_step']}")
        if result["file"]:
            typer.echo(result["file"])
    code = _code_of(result)
    if code:
        raise typer.Exit(code)


def jobs(
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    studio: Annotated[bool, typer.Option("--studio", help="Ask the studio for its own list, too.")] = False,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """List your latest jobs: from the ledger, which needs neither a network nor a key. Free."""
    environ = read_environ(sandbox)
    settings = read_settings(environ)

    async def work(engine: Engine) -> list[Job]:
        recent = await (await engine.animator()).list_jobs(limit)
        for note in recent.notes:
            words.print(note, markup=False)
        return list(recent.jobs)

    latest = run(environ, work, as_json=as_json) if studio else _read_jobs(settings, limit)
    found: list[dict[str, Any]] = [
        {
            **show_job(job, settings.profile).model_dump(mode="json"),
            "created_at": job.created_at,
            "prompt": job.arguments.get("prompt"),
        }
        for job in latest
    ]
    if as_json:
        say(found)
        return
    table = _make_table("job", "when", "status", "price", "prompt", "file")
    for result in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(result["created_at"]))
        prompt = " ".join(str(result["prompt"] or "").split())[:40]
        price = f"${result['price_usd'] or '?'}"
        table.add_row(result["job_id"], when, result["status"], price, prompt, _file_name(result))
    if found:
        shown.print(table)
        words.print(f"The files are in {settings.videos_dir}")
    else:
        words.print("No jobs yet.")


def _read_jobs(settings: Settings, limit: int) -> list[Job]:
    from seedance_mcp.ledger.sqlite import SQLiteLedger  # with its database, only where it is read

    if not settings.ledger_file.exists():
        return []
    ledger = SQLiteLedger(settings.ledger_file)
    try:
        return ledger.recent_jobs(limit)
    finally:
        ledger.close()


# ── a batch ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Batch:
    """Some orders that are bought together: checked first, then bought a few at a time, each with its own end."""

    def __init__(self, *, engine: Engine, shots: list[Shot], deadline: float) -> None:
        self._engine = engine
        self._shots = shots
        self._deadline = deadline
        self.failures: list[SeedanceError] = []

    async def buy(self) -> list[dict[str, Any]]:
        """Check all, then buy all; one result for each, in order."""
        animator = await self._engine.animator()
        settings = await self._engine.settings()
        words.print(f"Reading {_count(len(self._shots))} and asking the price …")
        quotes = await _quote_all(animator, self._shots)
        total = sum(found.price_micro_usdc or 0 for found in quotes)
        uploads = sum(found.upload_micro_usdc for found in quotes)
        words.print(
            f"At most ${format_usdc(total)}, and ${format_usdc(uploads)} for uploads; what was bought before costs "
            f"nothing. ${format_usdc(quotes[0].day_left_micro_usdc)} is left today."
        )
        await self._ask(animator, settings.limits.ask_above_micro_usdc)
        results: list[dict[str, Any]] = [{} for _ in self._shots]
        limiter = anyio.CapacityLimiter(AT_ONCE_MAX)
        with _make_bars() as bars:
            async with anyio.create_task_group() as tasks:
                for number, shot in enumerate(self._shots):
                    tasks.start_soon(self._buy_one, animator, limiter, bars, shot, results[number])
        return results

    async def _buy_one(
        self, animator: Any, limiter: anyio.CapacityLimiter, bars: Progress, shot: Shot, result: dict[str, Any]
    ) -> None:
        result |= {"row": shot.where, "image": shot.order.image}
        async with limiter:
            task = bars.add_task(_label(result), total=100, status="buying")
            try:
                animation = await animator.animate_image(
                    shot.order,
                    max_price_micro_usdc=shot.max_price_micro_usdc,
                    deadline=self._deadline,
                    report=_report_to(bars, task),
                )
                result |= show_animation(animation, (await self._engine.settings()).profile).model_dump(mode="json")
                ended = f"{result['status']}, ${result['price_usd'] or '?'}"
                words.print(f"{_label(result)}: {ended}{_reason(result)}", markup=False)
            except SeedanceError as exc:
                self.failures.append(exc)
                result["error"] = show_error(exc)
                words.print(f"{_label(result)}: {exc}", style="red", markup=False)
            finally:
                bars.remove_task(task)

    async def _ask(self, animator: Any, ask_above: int | None) -> None:
        """Put prices above the owner's threshold before the person at the terminal; where nobody is there, refuse."""
        if ask_above is None:
            return
        prices = [await animator.price_to_ask(shot.order) for shot in self._shots]
        above = [price for price in prices if price is not None and price > ask_above]
        if not above:
            return
        question = f"Pay ${format_usdc(sum(above))} for {_count(len(above))} above ${format_usdc(ask_above)} each?"
        if not words.is_terminal or not await anyio.to_thread.run_sync(lambda: typer.confirm(question, err=True)):
            raise PriceTooHighError(
                f"{_count(len(above))} cost more than the ${format_usdc(ask_above)} that needs a person's yes.",
                "Say yes at a terminal, or let the owner change SEEDANCE_ASK_ABOVE.",
            )


async def _quote_all(animator: Any, shots: list[Shot]) -> list[Any]:
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


def _gather(images: list[str] | None, from_file: Path | None, **arguments: object) -> list[Shot]:
    """The orders of a command line.

    Raises:
        RequestError: None, or one that cannot be understood.
    """
    if from_file is not None:
        if images:
            raise RequestError("Pictures and --from are both given.", "Put the pictures into the file.")
        return read_shots(from_file, arguments)
    if not images:
        raise RequestError("No picture was named.", "Name a picture, or --from a .csv or .jsonl file.")
    if arguments["prompt"] is None:
        raise RequestError("No --prompt was given.", "Say what moves, such as --prompt 'The waves roll in'.")
    return [build_shot(image, {**arguments, "image": image}, folder=Path.cwd()) for image in images]


def _absolute(image: str) -> str:
    is_url = image.lower().startswith(("http://", "https://"))
    return image if is_url else str(Path.cwd() / Path(image).expanduser())


def _code_of(result: dict[str, Any]) -> int:
    """The exit code of one result that was no error."""
    if "status" not in result:
        return exits.OK  # an error, which has a code of its own
    if result["status"] == "failed":
        return exits.FAILED
    return exits.OK if result["file"] else exits.UNFINISHED


def _count(number: int) -> str:
    return "1 clip" if number == 1 else f"{number} clips"


def _label(result: dict[str, Any]) -> str:
    name = Path(result["image"]).name
    return name if str(result["row"]).endswith(name) else f"{result['row']}, {name}"


def _reason(result: dict[str, Any]) -> str:
    return f". The studio says: {result['error']}" if result["error"] else ""


def _file_name(result: dict[str, Any]) -> str:
    return Path(result["file"]).name if result["file"] else ""


def _make_table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("job", "when", "price"))
    return table


def _show_table(results: list[dict[str, Any]]) -> None:
    table = _make_table("clip", "status", "price", "file")
    for result in results:
        if "status" in result:
            table.add_row(_label(result), result["status"], f"${result['price_usd'] or '?'}", _file_name(result))
        else:
            table.add_row(_label(result), result["error"]["code"], "", result["error"]["what"])
    paid = sum(result.get("price_micro_usdc") or 0 for result in results)
    shown.print(table)
    done = sum(bool(result.get("file")) for result in results)
    folders = {str(Path(result["file"]).parent) for result in results if result.get("file")}
    words.print(f"{done} of {_count(len(results))} done, ${format_usdc(paid)} in all.")
    for folder in sorted(folders):
        words.print(f"The files are in {folder}", markup=False)


def _make_bars() -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[status]}"))
    return Progress(*columns, TimeElapsedColumn(), console=words, transient=True, disable=not words.is_terminal)


def _report_to(bars: Progress, task: TaskID) -> Callable[[Any, float], Awaitable[None]]:
    async def report(job: Any, expected_seconds: float) -> None:
        bars.update(task, completed=job.progress, status=f"{job.status}, about {expected_seconds:.0f} s")

    return report
