"""The `export` command: a video or a film as a GIF or WebP animation, for pages and chats that play no videos."""

from pathlib import Path
from typing import Annotated

import anyio
import typer

from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.cli.console import AsJson, Sandbox, put, read_environ, say, words
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.errors import ConfigError, JobNotFoundError, RequestError
from seedance_mcp.core.films import FILM_PREFIX
from seedance_mcp.core.installation import describe_install
from seedance_mcp.core.next_steps import Call, NextStep

MEGABYTE = 1_000_000
WIDTH_MAX, MEGABYTES_MAX = 1920, 100

Video = Annotated[str, typer.Argument(help="A video file, or the id of a job or a film.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The file to write; ends with .gif or .webp.", show_default=False),
]
Gif = Annotated[bool, typer.Option("--gif", help="Write a GIF, which every program shows.")]
WebP = Annotated[bool, typer.Option("--webp", help="Write a WebP: a fraction of a GIF's size, and more colours.")]
Width = Annotated[int, typer.Option(min=16, max=WIDTH_MAX, help="Pixels, where the video is wider.")]
MaxMb = Annotated[
    float, typer.Option("--max-mb", min=0.01, max=MEGABYTES_MAX, help="Megabytes; fewer frames and pixels keep to it.")
]


def export(
    video: Video,
    output: Output = None,
    gif: Gif = False,
    webp: WebP = False,
    width: Width = 480,
    max_mb: MaxMb = 8,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Write a saved video as an animation without sound: a GIF, or a WebP. Free.

    Without -o, the file is in this folder and has the video's name.
    """
    suffix = choose_suffix(output, gif=gif, webp=webp)
    settings = read_settings(read_environ(sandbox))
    check_support()
    source = anyio.run(find_file, settings, video)
    target = (output or Path(source.name).with_suffix(suffix)).expanduser().absolute()
    from seedance_mcp.adapters.media.films import export_animation  # with what it loads, only here

    async def draw() -> dict[str, object]:
        drawn = await export_animation(source, target, width_max=width, bytes_max=round(max_mb * MEGABYTE))
        return {
            "file": str(target),
            "width": drawn.width,
            "height": drawn.height,
            "frames": drawn.frames,
            "size_bytes": drawn.size_bytes,
        }

    drawn = anyio.run(draw)
    if as_json:
        say(drawn)
        return
    size = f"{int(str(drawn['size_bytes'])) / MEGABYTE:.1f} MB"
    words.print(f"{drawn['width']}x{drawn['height']}, {drawn['frames']} frames, {size}")
    put(str(target))


def choose_suffix(output: Path | None, *, gif: bool, webp: bool) -> str:
    """Return the ending of the file to write.

    Raises:
        RequestError: None or two were named, or the name ends with another.
    """
    asked = [suffix for suffix, is_asked in ((".gif", gif), (".webp", webp)) if is_asked]
    if output is not None and output.suffix.lower() in (".gif", ".webp") and asked in ([], [output.suffix.lower()]):
        return output.suffix.lower()
    if output is not None:
        hint = f"End it with {' or '.join(asked or ['.gif', '.webp'])}."
        raise RequestError(f"{output.name} does not end with the format.", hint)
    if len(asked) != 1:
        raise RequestError(
            "Two formats were named." if asked else "No format was named.", "Give --gif, --webp, or -o with a name."
        )
    return asked[0]


def check_support() -> None:
    """Check that the extra `film` is installed.

    Raises:
        ConfigError: It is not.
    """
    from seedance_mcp.adapters.media.films import film_support

    if not film_support():
        raise ConfigError("The extra `film` is not installed.", describe_install("film"))


async def find_file(settings: Settings, video: str) -> Path:
    """Return the file of a video: a path, or the saved video of a job.

    Raises:
        JobNotFoundError: It is neither.
        LedgerError: The ledger cannot be read.
    """
    file = await anyio.Path(video).expanduser()
    if await file.is_file():
        return Path(file)
    async with open_existing_ledger(settings) as ledger:
        is_film = video.startswith(FILM_PREFIX)
        find = None if ledger is None else ledger.find_film if is_film else ledger.find_job
        found = None if find is None else await find(video)
    if found is None:
        raise JobNotFoundError(f"{video} is neither a file nor a job of this ledger.")
    if found.file is None or not await anyio.Path(found.file).is_file():
        raise JobNotFoundError(
            f"The video of {video} is not on this machine.", NextStep("{0} first.", Call("get_job", video))
        )
    return Path(found.file)
