"""Films: join finished videos to one, read a video's last frame, and draw animations of it.

A process of its own does the work, with bounds on its memory and time, and ends with it. It needs the extra `film`.
A file is saved whole or not at all. This module must not import PyAV: `film_support` finds out whether it is there.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from seedance_mcp.adapters.media.decoder import DecoderEndedError, run_alone
from seedance_mcp.adapters.media.messages import Header
from seedance_mcp.adapters.media.partial_files import publish
from seedance_mcp.core.errors import FilmError
from seedance_mcp.core.next_steps import NextStep, OwnerDo, Repeat

SHOTS_MAX = 100
"""Most videos that are joined by one call."""
CROSSFADE_SECONDS_MAX = 5.0
PROCESSES_MAX = 2
"""Most films that are made at a time; each uses all cores."""
JOIN_SECONDS_MAX = 3600
FRAME_SECONDS_MAX = 300
ANIMATION_BYTES_MAX = 8 * 1024 * 1024
"""Default size: mail, chats and web pages take it."""
ANIMATION_WIDTH, ANIMATION_RATE = 480, 12
ANIMATION_SUFFIXES = (".gif", ".webp")

_WORKER = "seedance_mcp.adapters.media.film_worker"
_places = RunVar[anyio.CapacityLimiter]("film_places")

_REFUSALS = {
    "unreadable": "is broken",
    "no_video": "is no video",
    "empty": "has no pictures",
    "pixels": "has frames of more than 16 megapixels",
    "long": "is too long",
    "missing": "cannot be read",
    "memory": "takes too much memory",
    "size": "has too many frames for a file of that size",
}
"""What is wrong with a video, by the process's refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedFilm:
    """A film on disk.

    Attributes:
        reencoded: False if the pictures are those of the shots, copied without loss.
        has_sound: True if a shot has sound; the others are silent.
    """

    duration_seconds: float
    width: int
    height: int
    reencoded: bool
    has_sound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnAnimation:
    """An animation on disk."""

    width: int
    height: int
    frames: int
    size_bytes: int


def film_support() -> bool:
    """Return True if the extra `film` is installed; loads nothing of it."""
    return find_spec("av") is not None


async def extract_last_frame(video: Path) -> bytes:
    """Return the last frame that a player shows of a video, as a PNG of the video's size.

    Raises:
        FilmError: The video cannot be used.
        InternalError: The process cannot be started.
    """
    request = {"operation": "last_frame", "file": _resolve(video)}
    _, data = await _run(request, [video], seconds_max=FRAME_SECONDS_MAX)
    return data


async def join_videos(
    shots: Sequence[Path], output: Path, *, titles: Sequence[str], crossfade_seconds: float = 0.0
) -> JoinedFilm:
    """Join videos to one MP4 with a chapter for each; a file at `output` is replaced.

    The pictures are copied where all videos are encoded alike and none cross-fades, else encoded once: at the largest
    size, with black around other shapes. Each shot's sound lasts as long as its pictures.

    Args:
        shots: Videos in their order, at least one.
        output: The film; its folder exists or is made.
        titles: One for each shot.
        crossfade_seconds: For how long a shot fades into the next: at most half of the shortest shot.

    Raises:
        FilmError: A video cannot be used, or the film cannot be saved; no partial file remains.
        InternalError: The process cannot be started.
        ValueError: No shot, too many, not one title for each, or a cross-fade that is out of bounds.
    """
    if not 0 < len(shots) <= SHOTS_MAX or len(titles) != len(shots):
        raise ValueError(f"{len(shots)} shots with {len(titles)} titles")
    if not 0 <= crossfade_seconds <= CROSSFADE_SECONDS_MAX:
        raise ValueError(f"a cross-fade of {crossfade_seconds} seconds")
    request = {
        "operation": "join",
        "files": [_resolve(shot) for shot in shots],
        "titles": list(titles),
        "crossfade": str(Fraction(crossfade_seconds).limit_denominator(1000)),
    }
    found = await _write(request, list(shots), output)
    width, height = found["size"]
    return JoinedFilm(
        duration_seconds=float(found["duration_seconds"]),
        width=int(width),
        height=int(height),
        reencoded=bool(found["reencoded"]),
        has_sound=bool(found["has_sound"]),
    )


async def export_animation(
    video: Path,
    output: Path,
    *,
    width_max: int = ANIMATION_WIDTH,
    frames_per_second: int = ANIMATION_RATE,
    bytes_max: int = ANIMATION_BYTES_MAX,
) -> DrawnAnimation:
    """Draw a video as an animation without sound; a file at `output` is replaced.

    Where it would be larger than `bytes_max`, it is drawn again with fewer frames and pixels.

    Args:
        video: The video or film.
        output: A path that ends with `.gif` or `.webp`.
        width_max: Width in pixels, if the video is wider.
        frames_per_second: At most those of the video.
        bytes_max: Largest size of the file.

    Raises:
        FilmError: The video cannot be used, or the file cannot be saved; no partial file remains.
        InternalError: The process cannot be started.
        ValueError: Another ending, or a number that is not positive.
    """
    if output.suffix.lower() not in ANIMATION_SUFFIXES or min(width_max, frames_per_second, bytes_max) < 1:
        raise ValueError(f"{output.name}, {width_max} pixels, {frames_per_second} frames, {bytes_max} bytes")
    request = {
        "operation": "draw",
        "file": _resolve(video),
        "width_max": width_max,
        "rate": frames_per_second,
        "bytes_max": bytes_max,
    }
    found = await _write(request, [video], output)
    width, height = found["size"]
    return DrawnAnimation(
        width=int(width), height=int(height), frames=int(found["frames"]), size_bytes=int(found["size_bytes"])
    )


async def copy_film(source: Path, output: Path) -> None:
    """Copy a video to another place, whole or not at all; a file at `output` is replaced.

    Raises:
        FilmError: It cannot be copied; no partial file remains.
    """

    def copy() -> None:
        target = Path(_resolve(output))
        if source.exists() and target.exists() and source.samefile(target):
            return
        partial = _name_part(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, partial)
            _sync(partial)
            publish(partial, target)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    try:
        await anyio.to_thread.run_sync(copy)
    except OSError as exc:
        raise _unsaved_error(output, exc.strerror or type(exc).__name__) from exc


async def _write(request: Header, files: list[Path], output: Path) -> Header:
    """Run a request that writes a file, and give the complete file its name."""
    output = Path(_resolve(output))
    partial = _name_part(output)
    try:
        await anyio.Path(partial.parent).mkdir(parents=True, exist_ok=True)
        found, _ = await _run({**request, "output": str(partial)}, files, seconds_max=JOIN_SECONDS_MAX)
        await anyio.to_thread.run_sync(_sync, partial)
        await anyio.to_thread.run_sync(publish, partial, output)
    except OSError as exc:
        raise _unsaved_error(output, exc.strerror or type(exc).__name__) from exc
    except _DiskError as exc:
        raise _unsaved_error(output, str(exc)) from exc
    finally:
        with suppress(OSError):  # the first failure is the one to report
            partial.unlink(missing_ok=True)
    return found


class _DiskError(Exception):
    """The process cannot write its file."""


async def _run(request: Header, files: list[Path], *, seconds_max: float) -> tuple[Header, bytes]:
    if not film_support():
        raise FilmError("The extra `film` is not installed.", NextStep("{0}.", OwnerDo("install it")))
    async with _find_places():
        try:
            found, data = await run_alone(_WORKER, request, seconds_max=seconds_max)
        except DecoderEndedError as exc:
            what = "takes too long to read" if exc.too_slow else "breaks the decoder"
            which = "The video" if len(files) == 1 else "One of the videos"
            raise FilmError(f"{which} {what}.") from exc
    refusal, detail = found.get("refused"), str(found.get("detail") or "")
    if refusal == "disk":
        raise _DiskError(detail)
    if refusal is not None:
        shot = found.get("shot")
        which = files[int(shot)].name if shot is not None else files[0].name if len(files) == 1 else "A video"
        what = f"{_REFUSALS.get(str(refusal), _REFUSALS['unreadable'])}{f': {detail}' if detail else ''}"
        raise FilmError(f"{which} {what}.", "Allow a larger file." if refusal == "size" else "")
    return found, data


def _resolve(file: Path) -> str:
    """Return a path that means the same in another process."""
    return os.path.abspath(file)


def _name_part(output: Path) -> Path:
    return output.with_name(f".{output.stem[:40]}.{secrets.token_hex(4)}{output.suffix.lower()}.part")


def _find_places() -> anyio.CapacityLimiter:
    try:
        return _places.get()
    except LookupError:
        _places.set(places := anyio.CapacityLimiter(PROCESSES_MAX))
        return places


def _sync(file: Path) -> None:
    """Flush a file that another process wrote."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unsaved_error(output: Path, why: str) -> FilmError:
    return FilmError(
        f"{output.name} cannot be saved in {output.parent}: {why}.", NextStep("Make room there, then {0}.", Repeat())
    )
