"""Small videos for the tests of films, and what an independent reader finds in a file."""

import functools
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
from PIL import Image, ImageChops, ImageStat

SIZE = (64, 36)


def write_video(file: Path, *, colours: str = "red", rate: int = 24, size: tuple[int, int] = SIZE, **how: Any) -> Path:
    """Write a video with one second for each letter of `colours`: r, g or b. An equal one is encoded once.

    Args:
        file: Its path; the ending decides about the format.
        colours: Letters.
        rate: Frames per second.
        size: Width and height.
        how: `codec`, `sound` (samples per second, or None), and options of the encoder.
    """
    file.write_bytes(_draw_video(file.suffix, colours, rate, size, tuple(how.items())))
    return file


@functools.cache
def _draw_video(suffix: str, colours: str, rate: int, size: tuple[int, int], how: tuple[tuple[str, Any], ...]) -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"video{suffix}"
        _encode_video(file, colours, rate, size, dict(how))
        return file.read_bytes()


def _encode_video(file: Path, colours: str, rate: int, size: tuple[int, int], how: dict[str, Any]) -> None:
    codec, sound, base = how.pop("codec", "libx264"), how.pop("sound", 48_000), how.pop("time_base", None)
    with av.open(str(file), "w") as opened:
        container: Any = opened
        video = container.add_stream(codec, rate=rate, options={"crf": "18", **how})
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        if base is not None:
            video.codec_context.time_base = base
        audio = container.add_stream("aac", rate=sound, layout="mono") if sound else None
        converter: Any = av.VideoFrame  # its stub names Pillow without importing it
        named = {"r": "red", "g": "green", "b": "blue", "w": "white"}
        for index in range(rate * len(colours)):
            ground = Image.new("RGB", size, named[colours[index // rate]])
            ground.paste("white", (index % 24, 0, index % 24 + 4, 8))
            frame = converter.from_image(ground)
            if base is not None:
                frame.pts, frame.time_base = round(Fraction(index, rate) / base), base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            _play(container, audio, sound * len(colours))


def _play(container: Any, audio: Any, count: int) -> None:
    for start in range(0, count, 1024):
        frame = av.AudioFrame(format="fltp", layout="mono", samples=min(1024, count - start))
        samples = (50 * b"\0\0\0\x3e" + 50 * b"\0\0\0\xbe") * 11  # a square tone
        plane: Any = frame.planes[0]
        plane.update(samples[: 4 * frame.samples].ljust(plane.buffer_size, b"\0"))
        frame.sample_rate, frame.pts = audio.rate, start
        container.mux(audio.encode(frame))
    container.mux(audio.encode(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What decoding every frame of a file shows."""

    frames: list[Image.Image]
    seconds: list[float]
    size: tuple[int, int]
    chapters: list[tuple[float, str]]
    sounding: list[bool]
    """For each tenth of a second, True if it is not silent."""
    duration: float
    starts_with_index: bool

    def find_colour(self, second: float) -> tuple[int, ...]:
        """Return the colour in the middle of the frame that is shown at a time."""
        frame = self.frames[max(at for at, time in enumerate(self.seconds) if time <= second + 0.001)]
        pixel = frame.getpixel((frame.width // 2, frame.height // 2))
        assert isinstance(pixel, tuple)
        return pixel


def watch(file: Path) -> Seen:
    """Decode every frame of a file, and check that the times only increase."""
    with av.open(str(file)) as opened:
        container: Any = opened
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        seconds = [float(frame.pts * frame.time_base) for frame in frames]
        assert seconds == sorted(set(seconds))
        container.seek(0)
        stamps: dict[int, list[int]] = {}
        for packet in container.demux():
            if packet.size:
                stamps.setdefault(packet.stream.index, []).append(packet.dts)
        assert all(times == sorted(set(times)) for times in stamps.values())
        container.seek(0)
        loud = dict[int, bool]()
        for frame in container.decode(audio=0) if container.streams.audio else ():
            at = int(10 * frame.pts * frame.time_base)
            loud[at] = loud.get(at, False) or any(abs(value) > 0.01 for value in memoryview(frame.planes[0]).cast("f"))
        content = file.read_bytes()
        return Seen(
            frames=[frame.to_image() for frame in frames],
            seconds=seconds,
            size=(stream.width, stream.height),
            chapters=[
                (float(one["start"] * one["time_base"]), one["metadata"]["title"]) for one in container.chapters()
            ],
            sounding=[loud[at] for at in sorted(loud)],
            duration=container.duration / av.time_base,
            starts_with_index=content.index(b"moov") < content.index(b"mdat"),
        )


def measure_duration(file: Path) -> float:
    """Return the seconds that a file says that it lasts, without decoding it."""
    with av.open(str(file)) as opened:
        container: Any = opened
        return container.duration / av.time_base


def measure_distance(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two pictures' pixels, of 255."""
    means = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(means) / len(means)
