"""Joining of shots to one MP4: copied without loss where all videos are alike, else encoded once.

The file starts with its index, has a chapter for each shot, and times that only increase. This module writes a
temporary file, in the film process; `films` gives it its name.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from seedance_mcp.adapters.media.bounds import limit_seconds
from seedance_mcp.adapters.media.film_frames import BT709, Canvas, choose_canvas, compose_frames
from seedance_mcp.adapters.media.film_reading import (
    PlacedShot,
    RefusedError,
    Shot,
    describe_error,
    open_video,
    read_shot,
)
from seedance_mcp.adapters.media.film_sound import (
    BIT_RATE,
    SAMPLES_PER_SECOND,
    generate_sound,
)

SECONDS_MIN, SECONDS_PER_MEGAPIXEL = 120.0, 0.5
"""Processor time for a film: several times what its frames take on a slow machine."""
TICKS_PER_SECOND = 90_000
"""Clock of the pictures: exact for the usual rates."""
TITLE_CHARACTERS_MAX = 80

_TICK = Fraction(1, TICKS_PER_SECOND)
_KEY_FRAME_SECONDS = 2


def join_shots(files: Sequence[Path], output: Path, titles: Sequence[str], crossfade: Fraction) -> dict[str, object]:
    """Write a film of these shots, in this order, and return what it is.

    Raises:
        RefusedError: A shot cannot be used, or the film cannot be written.
    """
    shots: list[Shot] = []
    for index, file in enumerate(files):
        with _name_shot(index):
            shots.append(read_shot(file))
    fade = min(crossfade, min(shot.seconds for shot in shots) / 2) if len(shots) > 1 else Fraction(0)
    placed = _place(shots, fade)
    canvas = choose_canvas(shots)
    is_copy = not fade and all(shot.can_copy and shot.parameters == shots[0].parameters for shot in shots)
    megapixels = canvas.size[0] * canvas.size[1] / 1_000_000
    limit_seconds(SECONDS_MIN + SECONDS_PER_MEGAPIXEL * megapixels * float(placed[-1].stop * canvas.rate))
    with _create(output, placed, titles) as container:
        writer = _Writer(container, placed, fade)
        count = writer.copy(placed) if is_copy else writer.encode(placed, canvas)
    _check(output, count)
    return {
        "duration_seconds": float(placed[-1].stop),
        "size": shots[0].size if is_copy else canvas.size,
        "reencoded": not is_copy,
        "has_sound": any(shot.has_sound for shot in shots),
    }


def _place(shots: list[Shot], fade: Fraction) -> list[PlacedShot]:
    placed: list[PlacedShot] = []
    start = Fraction(0)
    for shot in shots:
        placed.append(PlacedShot(shot=shot, start=start, stop=start + shot.seconds))
        start += shot.seconds - fade
    return placed


@contextmanager
def _create(output: Path, placed: list[PlacedShot], titles: Sequence[str]) -> Generator[Any]:
    """Open the film for writing; its end, with the index, is written when the block ends."""
    options = {"movflags": "faststart", "video_track_timescale": str(TICKS_PER_SECOND)}
    try:
        with av.open(f"file:{output}", "w", format="mp4", options=options) as opened:
            container: Any = opened  # PyAV's stubs type its packets only in part
            container.set_chapters(_list_chapters(placed, titles))
            yield container
    except FFmpegError as exc:
        raise RefusedError("disk", describe_error(exc)) from exc
    except OSError as exc:
        raise RefusedError("disk", exc.strerror or type(exc).__name__) from exc


def _list_chapters(placed: list[PlacedShot], titles: Sequence[str]) -> list[dict[str, object]]:
    starts = [round(one.start / _TICK) for one in placed]
    stops = [*starts[1:], round(placed[-1].stop / _TICK)]
    return [
        {
            "id": index + 1,
            "start": start,
            "end": stop,
            "time_base": _TICK,
            "metadata": {"title": " ".join(title.split())[:TITLE_CHARACTERS_MAX] or f"Shot {index + 1}"},
        }
        for index, (start, stop, title) in enumerate(zip(starts, stops, titles, strict=True))
    ]


class _Writer:
    """Writes the packets of pictures and sound alternately, as players read them."""

    def __init__(self, container: Any, placed: list[PlacedShot], fade: Fraction) -> None:
        self._container = container
        self._fade = fade
        self._has_sound = any(one.shot.has_sound for one in placed)
        self._frames = generate_sound(placed, fade)
        self._sound: Any = None
        self._sounded = Fraction(0)
        self._count = 0
        self._latest = -1 << 62

    def copy(self, placed: list[PlacedShot]) -> int:
        """Copy the packets of the pictures; returns how many."""
        with open_video(placed[0].shot.file) as first:
            video = self._container.add_stream_from_template(first.streams.video[0])
        video.time_base = _TICK
        self._add_sound()
        delay = max(one.shot.delay for one in placed)
        for index, one in enumerate(placed):
            with _name_shot(index), open_video(one.shot.file) as source:
                base = Fraction(source.streams.video[0].time_base)
                for packet in source.demux(source.streams.video[0]):
                    if packet.size:
                        self._copy_packet(packet, video, base, one, delay - one.shot.delay)
        self._play_until(None)
        return self._count

    def _copy_packet(self, packet: Any, video: Any, base: Fraction, one: PlacedShot, earlier: Fraction) -> None:
        """Move a packet to its time in the film; one whose times were not in order is put in order."""
        shift = one.start - one.shot.start
        shown, decoded = packet.pts * base + shift, packet.dts * base + shift - earlier
        duration = round(packet.duration * base / _TICK) if packet.duration else 0
        packet.stream, packet.time_base = video, _TICK
        packet.dts = max(round(decoded / _TICK), self._latest + 1)
        packet.pts = max(round(shown / _TICK), packet.dts)
        packet.duration = duration or round(1 / one.shot.rate / _TICK)
        self._latest = packet.dts
        self._play_until(decoded)
        self._mux([packet])

    def encode(self, placed: list[PlacedShot], canvas: Canvas) -> int:
        """Decode all pictures and encode them once, at one size and rate; returns the number of packets."""
        video = self._container.add_stream("libx264", rate=canvas.rate)
        _tune(video, canvas)
        self._add_sound()
        for frame in compose_frames(placed, canvas, self._fade):
            self._play_until(int(frame.pts or 0) / canvas.rate)
            self._mux(video.encode(frame))
        self._mux(video.encode(None))
        self._play_until(None)
        return self._count

    def _add_sound(self) -> None:
        """Add the stream of sound; all streams must exist before the first packet is written."""
        if self._has_sound:
            self._sound = self._container.add_stream("aac", rate=SAMPLES_PER_SECOND, layout="stereo")
            self._sound.bit_rate = BIT_RATE

    def _play_until(self, time: Fraction | None) -> None:
        """Write the sound up to a time of the film, or all of it."""
        while self._sound is not None and (time is None or self._sounded <= time):
            frame = next(self._frames, None)
            self._container.mux(self._sound.encode(frame))
            if frame is None:
                self._sound = None
                return
            self._sounded = Fraction(int(frame.pts or 0) + frame.samples, SAMPLES_PER_SECOND)

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            self._container.mux(packet)
            self._count += 1


def _tune(video: Any, canvas: Canvas) -> None:
    """Set the encoder: quality that the eye cannot tell from the shots, and a key frame every few seconds."""
    video.width, video.height = canvas.size
    video.pix_fmt = "yuv420p"
    video.options = {"preset": "fast", "crf": "17", "profile": "high"}
    context = video.codec_context
    context.time_base = 1 / canvas.rate
    context.gop_size = math.ceil(_KEY_FRAME_SECONDS * canvas.rate)
    context.color_range, context.color_primaries, context.color_trc, context.colorspace = canvas.colours or BT709


@contextmanager
def _name_shot(index: int) -> Generator[None]:
    """Let an error name the shot."""
    try:
        yield
    except RefusedError as exc:
        raise RefusedError(exc.refusal, exc.detail, shot=index) from exc


def _check(output: Path, count: int) -> None:
    """Check that the file has every packet that was written to it: a full disk may not have been reported.

    Raises:
        RefusedError: It has not.
    """
    try:
        with open_video(output) as container:
            found = sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
    except RefusedError as exc:
        raise RefusedError("disk", exc.detail) from exc
    if found != count:
        raise RefusedError("disk", f"{found} of {count} frames were written")
