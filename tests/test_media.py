"""Media: what is a picture is decided by decoding it; what is a video is saved whole or not at all."""

import io
import os
import random
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seedance_mcp import media
from seedance_mcp.errors import ImageError, VideoUnsavedError
from seedance_mcp.media import (
    IMAGE_BYTES_MAX,
    THUMBNAIL_BYTES_MAX,
    decode_image,
    keep_frame,
    name_frame,
    name_video,
    nearest_aspect_ratio,
    read_image,
    save_thumbnail,
    save_video,
)

AS_STORED = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE",
    8: "ROTATE_270",
}  # fmt: skip
"""How an upright picture lies in a file of each EXIF orientation. Source: Exif 2.32, tag 0x0112."""

MakePicture = Callable[..., Path]


def list_names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def draw(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, 0)


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(7).randbytes(size[0] * size[1] * 3))  # noqa: S311 - only noise


def write_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


# ── what is a picture ────────────────────────────────────────────────────────────────────────────────────────────────

EXIF_TURNED = Image.Exif()
EXIF_TURNED[0x0112] = 6
GOOD: dict[str, tuple[bytes, str, int, int]] = {
    "JPEG": (encode(draw(), "JPEG"), "image/jpeg", 64, 48),
    "PNG": (encode(draw(mode="RGBA"), "PNG"), "image/png", 64, 48),
    "WebP": (encode(draw(), "WEBP"), "image/webp", 64, 48),
    "animated GIF": (
        encode(draw(), "GIF", save_all=True, append_images=[noise((64, 48))], duration=50),
        "image/gif",
        64,
        48,
    ),
    "animated WebP": (encode(draw(), "WEBP", save_all=True, append_images=[noise((64, 48))]), "image/webp", 64, 48),
    "animated PNG": (encode(draw(), "PNG", save_all=True, append_images=[noise((64, 48))]), "image/png", 64, 48),
    "CMYK JPEG": (encode(draw(mode="CMYK"), "JPEG"), "image/jpeg", 64, 48),
    "MPO of two": (encode(draw(), "MPO", save_all=True, append_images=[draw()]), "image/jpeg", 64, 48),
    "16-bit PNG": (encode(draw(mode="I;16"), "PNG"), "image/png", 64, 48),
    "palette PNG": (encode(draw(mode="P"), "PNG"), "image/png", 64, 48),
    "1x1": (encode(draw((1, 1)), "PNG"), "image/png", 1, 1),
    "EXIF turned": (encode(draw(), "JPEG", exif=EXIF_TURNED), "image/jpeg", 48, 64),
    "EXIF broken": (encode(draw(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), "image/jpeg", 64, 48),
    "much behind it": (encode(draw(), "JPEG") + b"PK\3\4" * 100, "image/jpeg", 64, 48),
}

BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "It is empty"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "not a readable JPEG, PNG, GIF or WebP"),
    "text": (b"root:x:0:0:root:/root:/bin/bash\n" * 50, "not a readable"),
    "PDF": (b"%PDF-1.7 ...", "not a readable"),
    "BMP": (encode(draw(), "BMP"), "not a readable"),
    "TIFF": (encode(draw(), "TIFF"), "not a readable"),
    "PPM": (encode(draw(), "PPM"), "not a readable"),
    "half a JPEG": (encode(noise((64, 48)), "JPEG")[:1500], "not a readable"),
    "half a PNG": (encode(noise((64, 48)), "PNG")[:4000], "not a readable"),
    "half a WebP": (encode(noise((64, 48)), "WEBP")[:900], "not a readable"),
    "half a GIF": (encode(noise((64, 48)), "GIF")[:900], "not a readable"),
    "PNG header only": (encode(draw(), "PNG")[:40], "not a readable"),
    "more than our pixels": (write_png(10_000, 9_000), "more than 80 million pixels"),
    "a bomb of pixels": (write_png(60_000, 60_000), "more than 80 million pixels"),
    "a PNG of no width": (write_png(0, 10), "not a readable"),
    "one byte too many": (bytes(IMAGE_BYTES_MAX + 1), "larger than 10 MB"),
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_picture_is_what_its_bytes_say(name: str) -> None:
    data, media_type, width, height = GOOD[name]
    image = await decode_image(data, "It")
    assert (image.media_type, image.width, image.height) == (media_type, width, height)
    assert (image.size_bytes, image.data) == (len(data), data)
    assert image.file_name == f"{image.sha256[:16]}.{media_type.removeprefix('image/').replace('jpeg', 'jpg')}"


@pytest.mark.parametrize("name", BAD)
async def test_what_is_not_a_picture_is_refused_and_the_text_says_why(name: str) -> None:
    data, text = BAD[name]
    with pytest.raises(ImageError, match=text):
        await decode_image(data, "It")


async def test_ten_million_bytes_are_allowed(make_picture: MakePicture) -> None:
    data = encode(draw(), "JPEG")
    image = await decode_image(data + bytes(IMAGE_BYTES_MAX - len(data)), "It")
    assert image.size_bytes == IMAGE_BYTES_MAX == 10_000_000


@settings(max_examples=300, deadline=None)
@given(
    base=st.sampled_from([data for data, *_ in GOOD.values()]),
    spoiled=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=12),
    cut=st.integers(0, 5000),
)
def test_spoiled_bytes_raise_only_our_error(base: bytes, spoiled: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(base)
    for position, value in spoiled:
        data[position % len(data)] = value
    try:
        image = media._decode(bytes(data[: cut or None]), "It")  # pyright: ignore[reportPrivateUsage]  # no loop per example
    except ImageError:
        return
    assert 0 < image.width * image.height <= media.IMAGE_PIXELS_MAX


async def test_many_pictures_at_once_leave_the_process_warnings_as_they_were() -> None:
    import warnings

    before = list(warnings.filters)
    data = encode(draw(), "JPEG")
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(decode_image, data, "It")
    assert list(warnings.filters) == before


# ── where a picture may be ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name", ["a picture.png", "Ünïcode ☃.png", "100%25.png", "weird'\"name.png", "no extension", "lies.txt"]
)
async def test_a_name_says_nothing_and_may_be_anything(name: str, make_picture: MakePicture) -> None:
    file = make_picture(name, format="PNG")
    assert (await read_image(str(file), ())).media_type == "image/png"


@pytest.mark.parametrize("name", ["a picture.png", "Ünïcode ☃.png", "100%25.png"])
@pytest.mark.parametrize("prefix", ["file://", "file://localhost", "FILE://", "file:"])
async def test_a_file_url_is_a_path(name: str, prefix: str, make_picture: MakePicture) -> None:
    file = make_picture(name, format="PNG")
    assert (await read_image(prefix + quote(str(file)), ())).width == 640


async def test_the_home_and_the_working_folder_are_understood(
    make_picture: MakePicture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_picture("here.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text in ("~/here.png", "here.png", "./x/../here.png"):
        assert (await read_image(text, ())).width == 640


def make_pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return str(folder / "pipe")


def make_loop(folder: Path) -> str:
    (folder / "loop").symlink_to(folder / "loop")
    return str(folder / "loop")


def make_hidden(folder: Path) -> str:
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.png").write_bytes(encode(draw(), "PNG"))
    return str(folder / ".hidden" / "x.png")


def make_link_to_hidden(folder: Path) -> str:
    target = make_hidden(folder)
    (folder / "innocent.png").symlink_to(target)
    return str(folder / "innocent.png")


def make_empty(folder: Path) -> str:
    (folder / "empty.png").touch()
    return str(folder / "empty.png")


def make_large(folder: Path) -> str:
    with (folder / "large.png").open("wb") as file:
        file.truncate(IMAGE_BYTES_MAX * 1000)
    return str(folder / "large.png")


BAD_PLACES: dict[str, tuple[Callable[[Path], str], str]] = {
    "missing": (lambda folder: str(folder / "gone.png"), r"There is no file .*gone\.png.*https URL"),
    "a folder": (lambda folder: str(folder), "is not a file"),
    "below a file": (lambda folder: make_empty(folder) + "/x.png", "There is no file|cannot be read"),
    "a pipe": (make_pipe, "is not a file"),
    "a loop of links": (make_loop, "loop|levels|no file"),
    "hidden": (make_hidden, "hidden or system folder.*SEEDANCE_IMAGE_DIRS"),
    "a link into a hidden folder": (make_link_to_hidden, "hidden or system folder"),
    "empty": (make_empty, "is empty"),
    "ten gigabytes of nothing": (make_large, "larger than 10 MB"),
    "a device": (lambda _: "/dev/zero", "hidden or system folder"),
    "the process": (lambda _: "/proc/self/environ", "hidden or system folder"),
    "a secret": (lambda _: "/etc/../etc/passwd", "hidden or system folder"),
    "a missing secret": (lambda _: "/etc/there/is/none", "hidden or system folder"),
    "a name with NUL": (lambda folder: f"{folder}/a\0.png", "cannot be read: .*null"),
    "a name that is too long": (lambda folder: f"{folder}/{'a' * 5000}.png", "cannot be read: File name too long"),
    "nobody's home": (lambda _: "~nobody-of-that-name/x.png", "cannot be read"),
    "another machine": (lambda _: "file://server/share/x.png", "on another machine"),
    "a broken URL": (lambda _: "file://[::1/x.png", "cannot be read|on another machine"),
}


@pytest.mark.parametrize("name", BAD_PLACES)
async def test_a_bad_place_is_refused_and_the_text_says_why(name: str, tmp_path: Path) -> None:
    make, text = BAD_PLACES[name]
    with anyio.fail_after(5), pytest.raises(ImageError, match=text) as caught:
        await read_image(make(tmp_path), ())
    assert len(str(caught.value)) < 1000
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "refused"),
    [("/etcetera", False), ("/system", False), ("/runs", False), ("/run/media/me/card", False), ("/run/secrets", True)],
)
def test_only_the_system_folders_themselves_are_refused(folder: str, refused: bool) -> None:
    try:
        media._check_place(Path(folder) / "x.png", ())  # pyright: ignore[reportPrivateUsage]  # no such folder here
    except ImageError:
        assert refused
    else:
        assert not refused


async def test_only_the_folders_that_the_owner_opened_are_read(make_picture: MakePicture, tmp_path: Path) -> None:
    inside, outside = make_picture("open/in.png"), make_picture("out.png")
    make_picture("open/.hidden/in.png")
    (tmp_path / "open" / "link.png").symlink_to(outside)
    opened = (tmp_path / "open",)
    assert (await read_image(str(inside), opened)).width == 640
    assert (await read_image(str(tmp_path / "open/.hidden/in.png"), opened)).width == 640
    for bad in (outside, tmp_path / "open" / ".." / "out.png", tmp_path / "open" / "link.png", tmp_path / "openly.png"):
        with pytest.raises(ImageError, match=r"outside the folders that the owner opened.*Use a picture below"):
            await read_image(str(bad), opened)


async def test_outside_the_opened_folders_nobody_learns_what_is_there(
    make_picture: MakePicture, tmp_path: Path
) -> None:
    there, gone, opened = make_picture("there.png"), tmp_path / "gone.png", tmp_path / "open"
    texts = set[str]()
    for path in (there, gone):
        with pytest.raises(ImageError) as caught:
            await read_image(str(path), (opened,))
        texts.add(str(caught.value).replace(path.name, "X"))
    assert len(texts) == 1


# ── videos ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def box(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


HEAD, INDEX, MEDIA = box(b"ftyp", b"isom0000"), box(b"moov", bytes(40)), box(b"mdat", bytes(400))
CLIP = HEAD + INDEX + MEDIA


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


GOOD_CLIPS = {
    "plain": CLIP,
    "index last": HEAD + MEDIA + INDEX,
    "a long box": HEAD + INDEX + struct.pack(">I4sQ", 1, b"mdat", 16 + 5) + bytes(5),
    "a box to the end": HEAD + INDEX + struct.pack(">I4s", 0, b"mdat") + bytes(77),
    "a free box": HEAD + box(b"free") + INDEX + MEDIA,
}
BAD_CLIPS = {
    "nothing": b"",
    "a page": b"<html>expired</html>",
    "one byte short": CLIP[:-1],
    "one byte more": CLIP + b"\0",
    "half a header": CLIP + b"\0\0\0",
    "no index": HEAD + MEDIA,
    "no media": HEAD + INDEX,
    "no head": INDEX + MEDIA,
    "head not first": INDEX + HEAD + MEDIA,
    "a box of four bytes": HEAD + INDEX + struct.pack(">I4s", 4, b"mdat"),
    "a long box that is short": HEAD + INDEX + struct.pack(">I4sQ", 1, b"mdat", 8) + bytes(8),
    "a long box without its length": HEAD + INDEX + struct.pack(">I4s", 1, b"mdat"),
    "a box of an exabyte": HEAD + INDEX + struct.pack(">I4sQ", 1, b"mdat", 2**60) + bytes(100),
    "more boxes than anybody has": HEAD + box(b"free") * media.MP4_BOXES_MAX + INDEX + MEDIA,
}


@pytest.mark.parametrize("name", GOOD_CLIPS)
async def test_a_whole_clip_is_saved_byte_for_byte(name: str, tmp_path: Path) -> None:
    data = GOOD_CLIPS[name]
    file = await save_video(stream(data[:7], b"", data[7:]), tmp_path / "a" / "b", "0001-cat-abc")
    assert file == tmp_path / "a" / "b" / "0001-cat-abc.mp4"
    assert file.read_bytes() == data
    assert list_names(file.parent) == [file.name]


@pytest.mark.parametrize("name", BAD_CLIPS)
async def test_what_is_not_a_whole_clip_is_not_saved(name: str, tmp_path: Path) -> None:
    with pytest.raises(VideoUnsavedError, match="not a whole MP4"):
        await save_video(stream(BAD_CLIPS[name]), tmp_path, "clip")
    assert list_names(tmp_path) == []


async def test_a_bad_clip_does_not_touch_a_good_one_of_the_same_name(tmp_path: Path) -> None:
    file = await save_video(stream(CLIP), tmp_path, "clip")
    with pytest.raises(VideoUnsavedError):
        await save_video(stream(CLIP[:-1]), tmp_path, "clip")
    assert file.read_bytes() == CLIP


async def test_a_clip_that_never_ends_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "VIDEO_BYTES_MAX", 3 * 1024 * 1024)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1024 * 1024)

    with anyio.fail_after(5), pytest.raises(VideoUnsavedError, match="larger than 3 MiB"):
        await save_video(endless(), tmp_path, "clip")
    assert list_names(tmp_path) == []


async def test_a_caller_who_leaves_leaves_no_file_behind(tmp_path: Path) -> None:
    started = anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield HEAD
        started.set()
        await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(save_video, slow(), tmp_path, "clip")
            await started.wait()
            tasks.cancel_scope.cancel()
    assert list_names(tmp_path) == []


async def test_a_file_in_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "videos").write_text("")
    with pytest.raises(VideoUnsavedError, match=r"cannot be saved in .*videos: (File exists|Not a directory)"):
        await save_video(stream(CLIP), tmp_path / "videos", "clip")


async def test_a_folder_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(VideoUnsavedError, match=r"cannot be saved in .*directory"):
        await save_video(stream(CLIP), tmp_path, "clip")
    assert list_names(tmp_path) == ["clip.mp4"]


async def test_a_folder_that_cannot_be_written_is_a_clear_error() -> None:
    with pytest.raises(VideoUnsavedError, match="cannot be saved in /proc/sys"):
        await save_video(stream(CLIP), Path("/proc/sys"), "clip")


FULL_DISK = """
import resource, sys
from pathlib import Path
import anyio
from seedance_mcp.errors import VideoUnsavedError
from seedance_mcp.media import save_video

async def chunks():
    for _ in range(100):
        yield bytes(10_000)

async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        await save_video(chunks(), Path(sys.argv[1]), "clip")
    except VideoUnsavedError as exc:
        print(exc)

anyio.run(main)
"""


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=20, check=False
    )
    assert "cannot be saved in" in done.stdout, done.stderr
    assert "File too large" in done.stdout
    assert "Make room there and call get_job again." in done.stdout
    assert list_names(tmp_path) == []


@pytest.mark.parametrize("prompt", ["A cat, turning!", "", "../../etc/passwd", "ねこ", "x" * 5000, "-\0-\n"])
def test_a_videos_name_is_ours(prompt: str) -> None:
    name = name_video(7, "../job/\0", prompt)
    assert name.startswith("0007-")
    assert len(name) < 60
    assert name.replace("-", "").isalnum()
    assert name.isascii()
    assert name != name_video(7, "other", prompt)


# ── thumbnails and shapes ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L"])
async def test_a_thumbnail_is_a_small_jpeg(mode: str, tmp_path: Path) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    file = await save_thumbnail(encode(draw((2000, 900), mode), kind), tmp_path, "clip")
    assert file.stat().st_size <= THUMBNAIL_BYTES_MAX
    with Image.open(file) as small:
        assert (small.format, small.size, small.mode) == ("JPEG", (512, 230), "RGB")
    assert list_names(tmp_path) == ["clip.jpg"]


async def test_even_noise_makes_a_small_thumbnail(tmp_path: Path) -> None:
    file = await save_thumbnail(encode(noise((1024, 1024)), "PNG"), tmp_path, "clip")
    assert file.stat().st_size <= THUMBNAIL_BYTES_MAX


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_kept_frame_is_small_upright_and_found_by_its_hash(orientation: int, tmp_path: Path) -> None:
    upright = Image.new("RGB", (80, 120), "white")
    upright.paste("red", (0, 0, 40, 60))
    stored = upright.transpose(Image.Transpose[AS_STORED[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = await decode_image(encode(stored, "JPEG", exif=exif, quality=95), "it")
    file = await keep_frame(image, tmp_path / "videos")
    assert (
        file == name_frame(image.sha256, tmp_path / "videos") == tmp_path / "videos" / "frames" / f"{image.sha256}.jpg"
    )
    with Image.open(file) as small:
        assert small.size == (80, 120)
        corners = [small.getpixel(place) for place in ((5, 5), (75, 5), (5, 115), (75, 115))]
    assert [pixel[1] < 128 for pixel in corners if isinstance(pixel, tuple)] == [True, False, False, False]
    assert list_names(file.parent) == [file.name]


async def test_a_thumbnail_that_is_not_a_picture_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="The thumbnail is not a readable"):
        await save_thumbnail(b"<html>", tmp_path, "clip")
    assert list_names(tmp_path) == []


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((1920, 1080), "16:9"), ((1080, 1920), "9:16"), ((1, 1), "1:1"), ((4032, 3024), "4:3"), ((3, 4), "3:4"),
     ((2560, 1080), "21:9"), ((1, 100_000), "9:16"), ((100_000, 1), "21:9")],
)  # fmt: skip
def test_the_nearest_aspect_ratio_is_chosen(size: tuple[int, int], ratio: str) -> None:
    assert nearest_aspect_ratio(*size) == ratio
