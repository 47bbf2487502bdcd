"""Sound of a film: that of each shot for exactly as long as its pictures, and silence where a shot has none.

It is decoded and encoded anew, because the packets of two streams of AAC overlap and end at other times than pictures.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from seedance_mcp.adapters.media.film_reading import PlacedShot, Shot, open_video

SAMPLES_PER_SECOND = 48_000
BIT_RATE = 192_000
FRAME_SAMPLES = 1024
CHANNELS = 2
JITTER_SAMPLES = 480
"""By how much a frame's time may differ from the end of the one before: less is rounding, more is a gap."""

Samples = list["array[float]"]
"""One array for each channel, of one length."""


def generate_sound(placed: list[PlacedShot], fade: Fraction) -> Iterator[AudioFrame]:
    """Yield the sound of a film from its start to its end, in frames of `FRAME_SAMPLES`."""
    position, buffer = 0, make_silence(0)
    for block in _mix(placed, _count(fade)):
        for channel, added in zip(buffer, block, strict=True):
            channel.extend(added)
        while len(buffer[0]) >= FRAME_SAMPLES:
            yield _build_frame([channel[:FRAME_SAMPLES] for channel in buffer], position)
            buffer = [channel[FRAME_SAMPLES:] for channel in buffer]
            position += FRAME_SAMPLES
    if buffer[0]:
        yield _build_frame(buffer, position)


def _mix(placed: list[PlacedShot], fade_samples: int) -> Iterator[Samples]:
    """Yield the sound of shot after shot; the start of one is mixed with the end of the one before."""
    tail: Samples | None = None
    for index, one in enumerate(placed):
        length = _count(one.stop) - _count(one.start)
        samples = read_sound(one.shot, length) if one.shot.has_sound else make_silence(length)
        if tail is not None:
            mixed = [_cross(before, after, len(before)) for before, after in zip(tail, samples, strict=True)]
            yield mixed
            samples = [channel[len(mixed[0]) :] for channel in samples]
        tail = None
        if fade_samples and index + 1 < len(placed):
            shared = _count(one.stop) - _count(placed[index + 1].start)
            tail = [channel[-shared:] for channel in samples]
            samples = [channel[:-shared] for channel in samples]
        yield samples


def _cross(before: array[float], after: array[float], length: int) -> array[float]:
    pairs = zip(before, after[:length], strict=True)
    return array("f", (one + (other - one) * at / length for at, (one, other) in enumerate(pairs)))


def read_sound(shot: Shot, length: int) -> Samples:
    """Return the sound of a shot as so many samples, from the time of its first frame on.

    A broken end is silent: the pictures are what was paid for.
    """
    samples = make_silence(0)
    resampler = AudioResampler(format="fltp", layout="stereo", rate=SAMPLES_PER_SECOND)
    with open_video(shot.file) as container, suppress(FFmpegError, ValueError):
        for frame in container.decode(audio=0):
            if len(samples[0]) >= length:
                break
            _append(samples, frame, shot.start, resampler, length)
        else:
            for resampled in resampler.resample(None):
                _extend(samples, resampled)
    for channel in samples:
        channel.extend(array("f", bytes(4 * max(0, length - len(channel)))))
        del channel[length:]
    return samples


def _append(samples: Samples, frame: Any, start: Fraction, resampler: AudioResampler, length: int) -> None:
    """Append a decoded frame at its time: what is before the pictures is left out, a gap is silent."""
    written = len(samples[0])
    if frame.pts is not None and frame.time_base:
        at = round((frame.pts * Fraction(frame.time_base) - start) * SAMPLES_PER_SECOND)
        gap = min(at - written, length - written)
        if gap > JITTER_SAMPLES:
            for channel in samples:
                channel.extend(array("f", bytes(4 * gap)))
        surplus = -at if written == 0 else 0
    else:
        surplus = 0
    frame.pts = None
    for resampled in resampler.resample(frame):
        _extend(samples, resampled, skip=max(0, surplus))
        surplus -= resampled.samples


def _extend(samples: Samples, frame: AudioFrame, skip: int = 0) -> None:
    for channel, plane in zip(samples, frame.planes, strict=True):
        read = array("f")
        read.frombytes(bytes(plane)[: 4 * frame.samples])
        channel.extend(read[skip:])


def make_silence(length: int) -> Samples:
    """Return so many silent samples for each channel."""
    return [array("f", bytes(4 * length)) for _ in range(CHANNELS)]


def _build_frame(samples: Samples, position: int) -> AudioFrame:
    frame = AudioFrame(format="fltp", layout="stereo", samples=len(samples[0]))
    for plane, channel in zip(frame.planes, samples, strict=True):
        target: Any = plane
        target.update(channel.tobytes().ljust(plane.buffer_size, b"\0"))
    frame.sample_rate = SAMPLES_PER_SECOND
    frame.pts = position
    frame.time_base = Fraction(1, SAMPLES_PER_SECOND)
    return frame


def _count(seconds: Fraction) -> int:
    return round(seconds * SAMPLES_PER_SECOND)
