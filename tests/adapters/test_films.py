"""Films: what joining, reading and refusing videos does, as an independent decoder sees it."""

import contextlib
import functools
import io
import sys
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seedance_mcp.adapters.media.film_reading import RefusedError, read_shot
from seedance_mcp.adapters.media.film_stills import read_last_frame
from seedance_mcp.adapters.media.films import export_animation, extract_last_frame, film_support, join_videos
from seedance_mcp.core.errors import FilmError
from tests.films import SIZE, measure_distance, watch, write_video

if sys.platform != "win32":
    import resource

TITLES = ("One", "Two", "Three")


def list_folder(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def test_equal_shots_are_joined_without_loss(tmp_path: Path) -> None:
    shots = [write_video(tmp_path / f"{letters}.mp4", colours=letters) for letters in ("r", "gb", "r")]

    film = await join_videos(shots, tmp_path / "film.mp4", titles=TITLES)

    assert (film.duration_seconds, film.width, film.height, film.reencoded, film.has_sound) == (4, *SIZE, False, True)
    seen, alone = watch(tmp_path / "film.mp4"), [watch(shot) for shot in shots]
    assert [frame.tobytes() for frame in seen.frames] == [one.tobytes() for shot in alone for one in shot.frames]
    assert abs(seen.duration - 4) < 0.001
    assert seen.chapters == [(0, "One"), (1, "Two"), (3, "Three")]
    assert seen.starts_with_index
    assert all(seen.sounding[:40])


async def test_different_shots_are_encoded_once(tmp_path: Path) -> None:
    shots = [
        write_video(tmp_path / "small.mp4", colours="r", size=(32, 32), rate=12, sound=44_100),
        write_video(tmp_path / "large.mp4", colours="g"),
        write_video(tmp_path / "other.webm", colours="b", codec="libvpx", sound=None, deadline="realtime"),
    ]

    film = await join_videos(shots, tmp_path / "film.mp4", titles=TITLES)

    assert (film.reencoded, film.width, film.height) == (True, *SIZE)
    seen = watch(tmp_path / "film.mp4")
    assert abs(seen.duration - 3) < 0.05
    assert [max(range(3), key=seen.find_colour(second).__getitem__) for second in (0.5, 1.5, 2.5)] == [0, 1, 2]
    assert max(seen.frames[0].crop((2, 30, 3, 31)).tobytes()) < 40
    assert (all(seen.sounding[1:19]), any(seen.sounding[21:29])) == (True, False)
    assert [round(start, 2) for start, _ in seen.chapters] == [0, 1, 2]


async def test_silent_shots_make_a_silent_film(tmp_path: Path) -> None:
    shot = write_video(tmp_path / "shot.mp4", sound=None, colours="r")

    film = await join_videos([shot, shot], tmp_path / "film.mp4", titles=TITLES[:2])

    assert (film.has_sound, watch(tmp_path / "film.mp4").sounding) == (False, [])


async def test_cross_fade_mixes_neighbours_and_shortens_the_film(tmp_path: Path) -> None:
    shots = [write_video(tmp_path / f"{letters}.mp4", colours=letters) for letters in ("rr", "bb")]

    film = await join_videos(shots, tmp_path / "film.mp4", titles=TITLES[:2], crossfade_seconds=0.5)

    seen = watch(tmp_path / "film.mp4")
    assert (film.duration_seconds, round(seen.duration, 3)) == (3.5, 3.5)
    red, _, blue = seen.find_colour(1.75)
    assert (60 < red < 200, 60 < blue < 200) == (True, True)
    assert seen.chapters == [(0, "One"), (1.5, "Two")]
    assert all(seen.sounding[:35])


async def test_odd_clock_of_a_shot_leaves_times_in_order(tmp_path: Path) -> None:
    odd = write_video(tmp_path / "odd.mkv", colours="r", time_base=Fraction(7, 1009))
    plain = write_video(tmp_path / "plain.mp4", colours="g")

    await join_videos([odd, plain, odd], tmp_path / "film.mp4", titles=TITLES)

    assert abs(watch(tmp_path / "film.mp4").duration - 3) < 0.1


async def test_last_frame_is_the_last_that_is_shown(tmp_path: Path) -> None:
    shot = write_video(tmp_path / "shot.mp4", colours="rg", bf="3")

    with Image.open(io.BytesIO(await extract_last_frame(shot))) as picture:
        assert (picture.format, picture.size) == ("PNG", SIZE)
        frames = watch(shot).frames
        assert measure_distance(picture, frames[-1]) < 2 < measure_distance(picture, frames[0])


async def test_long_titles_are_cut_and_missing_ones_numbered(tmp_path: Path) -> None:
    shot = write_video(tmp_path / "shot.mp4", colours="r", sound=None)

    await join_videos([shot, shot], tmp_path / "film.mp4", titles=["a\n" * 300, " "])

    assert [title for _, title in watch(tmp_path / "film.mp4").chapters] == [("a " * 40), "Shot 2"]


def spoil(kind: str, good: bytes) -> bytes:
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    return {
        "truncated": good[: len(good) // 2],
        "empty": b"",
        "text": b"no video at all",
        "playlist": playlist,
        "playlist in boxes": good[:32] + playlist,
        "no samples": good.replace(b"stsz", b"free").replace(b"stco", b"free"),
    }[kind]


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "playlist", "playlist in boxes", "no samples"])
async def test_hostile_file_is_refused_by_its_name(tmp_path: Path, kind: str) -> None:
    good = write_video(tmp_path / "good.mp4", colours="r", sound=None)
    (tmp_path / "bad.mp4").write_bytes(spoil(kind, good.read_bytes()))

    with pytest.raises(FilmError, match=r"bad\.mp4"):
        await join_videos([good, tmp_path / "bad.mp4"], tmp_path / "film.mp4", titles=TITLES[:2])
    with pytest.raises(RefusedError):
        read_last_frame(tmp_path / "bad.mp4")
    assert list_folder(tmp_path) == {"good.mp4", "bad.mp4"}


async def test_giant_frames_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    write_video(tmp_path / "giant.mp4", colours="r", rate=1, size=(4096, 4098), sound=None, preset="ultrafast")

    with pytest.raises(FilmError, match=r"giant\.mp4 has frames of more than 16 megapixels"):
        await extract_last_frame(tmp_path / "giant.mp4")


async def test_missing_shot_is_named(tmp_path: Path) -> None:
    with pytest.raises(FilmError, match=r"gone\.mp4 cannot be read: No such file"):
        await join_videos([tmp_path / "gone.mp4"], tmp_path / "film.mp4", titles=["One"])


@given(changes=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6))
def test_changed_bytes_never_leave_the_tree_of_refusals(changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(_write_once())
    for at, new in changes:
        content[at : at + len(new)] = new
    with TemporaryDirectory() as folder:
        file = Path(folder) / "changed.mp4"
        file.write_bytes(content)
        for read in (read_shot, read_last_frame):
            with contextlib.suppress(RefusedError):
                read(file)


@functools.cache
def _write_once() -> bytes:
    with TemporaryDirectory() as folder:
        return write_video(Path(folder) / "a.mp4", colours="r", rate=6, size=(32, 32)).read_bytes()


async def test_cancelled_join_ends_its_process_and_leaves_no_part(tmp_path: Path) -> None:
    shots = [write_video(tmp_path / f"{rate}.mp4", colours="r", rate=rate, size=(640, 360)) for rate in (24, 25)]
    before = list_folder(tmp_path)

    with anyio.move_on_after(30) as scope:
        async with anyio.create_task_group() as tasks:

            async def stop_once_it_writes() -> None:
                while list_folder(tmp_path) == before:
                    await anyio.sleep(0.01)
                scope.cancel()

            tasks.start_soon(stop_once_it_writes)
            await join_videos(shots * 10, tmp_path / "film.mp4", titles=["One"] * 20)

    assert scope.cancelled_caught
    assert list_folder(tmp_path) == before


async def test_failed_join_leaves_the_earlier_film(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"earlier")

    with pytest.raises(FilmError):
        await join_videos([tmp_path / "gone.mp4"], tmp_path / "film.mp4", titles=["One"])

    assert (tmp_path / "film.mp4").read_bytes() == b"earlier"


async def test_unwritable_folder_is_a_clear_error(tmp_path: Path) -> None:
    shot = write_video(tmp_path / "shot.mp4", colours="r", sound=None)
    (tmp_path / "file").touch()

    with pytest.raises(FilmError, match=r"film\.mp4 cannot be saved in .*: (Not a directory|File exists)"):
        await join_videos([shot], tmp_path / "file" / "film.mp4", titles=["One"])


@contextlib.contextmanager
def limit_file_bytes(count: int) -> Generator[None]:
    """Let no file grow beyond a size, as a disk without room."""
    assert sys.platform != "win32"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE stands in for a full disk")
@pytest.mark.parametrize("letters", ["r", "rg"], ids=["copied", "encoded"])
async def test_full_disk_leaves_no_film_and_no_part(tmp_path: Path, letters: str) -> None:
    shots = [
        write_video(tmp_path / f"{name}.mp4", colours=letters, rate=30 if name == letters else 24) for name in "rx"
    ]
    before = list_folder(tmp_path)

    with limit_file_bytes(6_000), pytest.raises(FilmError, match=r"film\.mp4 cannot be saved in .*: File too large"):
        await join_videos(shots, tmp_path / "film.mp4", titles=TITLES[:2])

    assert list_folder(tmp_path) == before


@pytest.mark.parametrize(("shots", "titles", "fade"), [(0, 0, 0), (1, 2, 0), (101, 101, 0), (1, 1, -1), (1, 1, 6)])
async def test_wrong_arguments_are_refused(shots: int, titles: int, fade: float) -> None:
    with pytest.raises(ValueError, match=r"shots with|a cross-fade of"):
        await join_videos([Path("a.mp4")] * shots, Path("b.mp4"), titles=["One"] * titles, crossfade_seconds=fade)


def test_support_is_found_without_loading_it() -> None:
    assert film_support()


@pytest.mark.parametrize("kind", ["gif", "webp"])
async def test_animation_is_as_long_as_its_video_and_smaller(tmp_path: Path, kind: str) -> None:
    shot = write_video(tmp_path / "shot.mp4", colours="rgb", size=(160, 90))

    drawn = await export_animation(shot, tmp_path / f"shot.{kind}", width_max=80, frames_per_second=12)

    assert (drawn.width, drawn.height, drawn.size_bytes) == (80, 45, (tmp_path / f"shot.{kind}").stat().st_size)
    with Image.open(tmp_path / f"shot.{kind}") as picture:
        animation: Any = picture
        assert (animation.format, animation.info["loop"]) == (kind.upper() if kind == "gif" else "WEBP", 0)
        lengths, colours = list[int](), list[tuple[int, ...]]()
        for index in range(animation.n_frames):
            animation.seek(index)
            colours.append(animation.convert("RGB").getpixel((40, 30)))
            lengths.append(animation.info["duration"])
        assert sum(lengths) == 3000
    assert [max(range(3), key=colours[at].__getitem__) for at in (0, len(colours) // 2, -1)] == [0, 1, 2]


async def test_animation_keeps_to_the_size_that_is_asked_for(tmp_path: Path) -> None:
    shot = write_video(tmp_path / "shot.mp4", colours="rgb", size=(240, 134), sound=None)
    large = await export_animation(shot, tmp_path / "large.gif", width_max=240)

    small = await export_animation(shot, tmp_path / "small.gif", width_max=240, bytes_max=large.size_bytes * 2 // 3)

    assert (tmp_path / "small.gif").stat().st_size == small.size_bytes <= large.size_bytes * 2 // 3
    assert small.frames < large.frames
    with pytest.raises(FilmError, match="too many frames for a file of that size"):
        await export_animation(shot, tmp_path / "none.gif", bytes_max=1_000)
    assert list_folder(tmp_path) == {"shot.mp4", "large.gif", "small.gif"}


async def test_animation_that_finds_no_room_leaves_no_part(tmp_path: Path) -> None:
    shot = write_video(tmp_path / "shot.mp4", colours="r", sound=None)

    with limit_file_bytes(500), pytest.raises(FilmError, match=r"shot\.gif cannot be saved in .*: File too large"):
        await export_animation(shot, tmp_path / "shot.gif")

    assert list_folder(tmp_path) == {"shot.mp4"}


@pytest.mark.parametrize(("name", "width"), [("a.png", 1), ("gif", 1), ("a.gif", 0)])
async def test_wrong_animation_is_refused(name: str, width: int) -> None:
    with pytest.raises(ValueError, match="pixels"):
        await export_animation(Path("a.mp4"), Path(name), width_max=width)
