"""Pictures: recognition by decoding in a process that can be killed, and the folders that may be read."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import anyio
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seedance_mcp.adapters.media import files, images, worker
from seedance_mcp.adapters.media.decoder import end_decoders
from seedance_mcp.adapters.media.files import read_image
from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, nearest_aspect_ratio, prepare_image
from seedance_mcp.adapters.media.thumbnails import THUMBNAIL_BYTES_MAX, keep_frame, name_frame, save_thumbnail
from seedance_mcp.core.errors import ImageError, InternalError

pillow_heif.register_heif_opener()  # pyright: ignore[reportUnknownMemberType]  # writes HEIC

AS_STORED = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE",
    8: "ROTATE_270",
}  # fmt: skip
"""Transposition of an upright picture in a file of each EXIF orientation. Source: Exif 2.32, tag 0x0112."""

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
    """Return a PNG that declares a size but contains almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


# ── recognising ──────────────────────────────────────────────────────────────────────────────────────────────────────

GOOD: dict[str, tuple[bytes, str, int, int]] = {
    "JPEG": (encode(draw(), "JPEG"), "image/jpeg", 64, 48),
    "PNG": (encode(draw(), "PNG"), "image/png", 64, 48),
    "WebP": (encode(draw(), "WEBP"), "image/webp", 64, 48),
    "1x1": (encode(draw((1, 1)), "PNG"), "image/png", 1, 1),
}
"""Pictures that may leave the machine as they are."""

CONVERTED = ("TIFF", "BMP", "AVIF", "HEIF", "GIF")

BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "It is empty"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "is an SVG drawing, not a picture"),
    "web page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page, not a picture"),
    "JSON": (b'{"error": "expired"}', "is a JSON document, not a picture"),
    "text": (b"root:x:0:0:root:/root:/bin/bash", "is a text, not a picture"),
    "noise": (bytes(range(256)), "is not a picture"),
    "PDF": (b"%PDF-1.7 ...", "is a PDF document, not a picture"),
    "video": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "is a video, not a picture"),
    "archive": (b"PK\x03\x04" + bytes(40), "is a ZIP archive, not a picture"),
    "PPM": (encode(draw(), "PPM"), "is not a picture"),
    "half a JPEG": (encode(noise((64, 48)), "JPEG")[:1500], "is a truncated JPEG"),
    "half a PNG": (encode(noise((64, 48)), "PNG")[:4000], "is a (truncated PNG|PNG that is broken)"),
    "half a WebP": (encode(noise((64, 48)), "WEBP")[:900], "is a WebP picture that is broken"),
    "half a HEIC": (encode(draw(), "HEIF")[:300], "is a HEIC picture that is broken"),
    "PNG header only": (encode(draw(), "PNG")[:40], "PNG"),
    "more than our pixels": (write_png(10_000, 9_000), "too many pixels"),
    "a bomb of pixels": (write_png(60_000, 60_000), "too many pixels"),
    "a PNG of no width": (write_png(0, 10), "is a PNG that is broken"),
    "one byte too many": (bytes(IMAGE_BYTES_MAX + 1), "larger than 64 MB"),
}


@pytest.mark.parametrize("name", GOOD)
async def test_picture_is_recognised_by_its_bytes(name: str) -> None:
    data, media_type, width, height = GOOD[name]
    image = await prepare_image(data, "It")
    assert (image.media_type, image.width, image.height) == (media_type, width, height)
    assert (image.size_bytes, image.data) == (len(data), data)
    assert image.file_name == f"{image.sha256[:16]}.{media_type.removeprefix('image/').replace('jpeg', 'jpg')}"


@pytest.mark.parametrize("name", BAD)
async def test_other_content_is_refused_with_the_reason(name: str) -> None:
    data, text = BAD[name]
    with pytest.raises(ImageError, match=text):
        await prepare_image(data, "It")


@settings(max_examples=4 * settings().max_examples)
@given(
    base=st.sampled_from([*(data for data, *_ in GOOD.values()), *(encode(draw(), kind) for kind in CONVERTED)]),
    spoiled=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=12),
    cut=st.integers(0, 5000),
)
def test_damaged_bytes_raise_only_our_error(base: bytes, spoiled: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(base)
    for position, value in spoiled:
        data[position % len(data)] = value
    try:
        image = anyio.run(prepare_image, bytes(data[: cut or None]), "It")
    except ImageError as exc:
        refusal = str(exc)
    else:
        assert 0 < image.width * image.height <= worker.JPEG_PIXELS_MAX
        return
    assert refusal.startswith("It is ") or "too many pixels" in refusal


async def test_concurrent_pictures_are_all_decoded() -> None:
    found: list[int] = []

    async def look(width: int) -> None:
        found.append((await prepare_image(encode(draw((width, 48)), "JPEG"), "It")).width)

    async with anyio.create_task_group() as tasks:
        for width in range(64, 84):
            tasks.start_soon(look, width)
    assert sorted(found) == list(range(64, 84))


@pytest.mark.parametrize("is_rewritten", [False, True])
async def test_picture_is_decoded_once_while_it_is_among_the_latest(
    monkeypatch: pytest.MonkeyPatch, is_rewritten: bool
) -> None:
    data = encode(draw((30, 31)), "BMP" if is_rewritten else "PNG")
    first = await prepare_image(data, "It")
    assert bool(first.changes) == is_rewritten
    end_decoders()
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", "/nowhere/python")
        assert await prepare_image(data, "It") == first
        with pytest.raises(InternalError):
            await prepare_image(data + b"x", "It")

    monkeypatch.setattr(images, "KEPT_BYTES_MAX" if is_rewritten else "KEPT_MAX", 0)
    await prepare_image(encode(draw((32, 33)), "BMP"), "It")
    end_decoders()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(InternalError):
        await prepare_image(data, "It")


# ── allowed folders ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name", ["a picture.png", "Ünïcode ☃.png", "100%25.png", "weird'\"name.png", "no extension", "lies.txt"]
)
async def test_file_name_does_not_matter(name: str, make_picture: MakePicture) -> None:
    file = make_picture(name, format="PNG")
    assert (await read_image(str(file), ())).media_type == "image/png"


@pytest.mark.parametrize("name", ["a picture.png", "Ünïcode ☃.png", "100%25.png"])
@pytest.mark.parametrize("prefix", ["file://", "file://localhost", "FILE://", "file:"])
async def test_file_url_is_a_path(name: str, prefix: str, make_picture: MakePicture) -> None:
    file = make_picture(name, format="PNG")
    assert (await read_image(prefix + quote(str(file)), ())).width == 640


async def test_home_and_working_folder_are_resolved(
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
    "ten gigabytes of nothing": (make_large, "larger than 64 MB"),
    "a device": (lambda _: "/dev/zero", "hidden or system folder"),
    "the process": (lambda _: "/proc/self/environ", "hidden or system folder"),
    "a secret": (lambda _: "/etc/../etc/passwd", "hidden or system folder"),
    "a missing secret": (lambda _: "/etc/there/is/none", "hidden or system folder"),
    "a name with NUL": (lambda folder: f"{folder}/a\0.png", "cannot be read: .*null"),
    "a name that is too long": (lambda folder: f"{folder}/{'a' * 5000}.png", "cannot be read: File name too long"),
    "unknown home": (lambda _: "~no-such-user-here/x.png", "cannot be read"),
    "another machine": (lambda _: "file://server/share/x.png", "on another machine"),
    "a broken URL": (lambda _: "file://[::1/x.png", "cannot be read|on another machine"),
}


@pytest.mark.parametrize("name", BAD_PLACES)
async def test_bad_path_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    make, text = BAD_PLACES[name]
    with anyio.fail_after(60), pytest.raises(ImageError, match=text) as caught:
        await read_image(make(tmp_path), ())
    assert len(str(caught.value)) < 1000
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "refused"),
    [("/etcetera", False), ("/system", False), ("/runs", False), ("/run/media/me/card", False), ("/run/secrets", True)],
)
def test_only_the_system_folders_themselves_are_refused(folder: str, refused: bool) -> None:
    try:
        files._check_place(Path(folder) / "x.png", ())  # pyright: ignore[reportPrivateUsage]  # no such folder here
    except ImageError:
        assert refused
    else:
        assert not refused


async def test_only_the_allowed_folders_are_read(make_picture: MakePicture, tmp_path: Path) -> None:
    inside, outside = make_picture("open/in.png"), make_picture("out.png")
    make_picture("open/.hidden/in.png")
    (tmp_path / "open" / "link.png").symlink_to(outside)
    opened = (tmp_path / "open",)
    assert (await read_image(str(inside), opened)).width == 640
    assert (await read_image(str(tmp_path / "open/.hidden/in.png"), opened)).width == 640
    for bad in (outside, tmp_path / "open" / ".." / "out.png", tmp_path / "open" / "link.png", tmp_path / "openly.png"):
        with pytest.raises(ImageError, match=r"outside the allowed folders.*Use a picture below"):
            await read_image(str(bad), opened)


SWAP = """
import os, sys
name, bad = sys.argv[1:]
print("swapping", flush=True)
while True:
    os.rename(name, f"{name}.good")
    os.symlink(bad, name)
    os.unlink(name)
    os.mkfifo(name)
    os.unlink(name)
    os.rename(f"{name}.good", name)
"""
"""Program that replaces a file or a folder by a link and a pipe, repeatedly and as fast as it can."""


@contextmanager
def swapping(name: Path, bad: Path) -> Generator[None]:
    program = [sys.executable, "-c", SWAP, str(name), str(bad)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout is not None
            swapper.stdout.readline()
            yield
        finally:
            swapper.kill()


@pytest.mark.parametrize("swapped", ["folder", "file"])
@pytest.mark.parametrize("opened", [True, False], ids=["opened-folder", "hidden-folder"])
async def test_swapped_link_gives_no_access_to_other_folders(
    make_picture: MakePicture, tmp_path: Path, opened: bool, swapped: str
) -> None:
    good, bad = make_picture("open/album/x.png"), make_picture(".hidden/x.png", size=(320, 200))
    dirs = (tmp_path / "open",) if opened else ()
    widths, refusals = set[int](), 0
    names = (good, bad) if swapped == "file" else (good.parent, bad.parent)
    with swapping(*names), anyio.fail_after(60):
        while refusals < 300 or not widths:
            try:
                widths.add((await read_image(str(good), dirs)).width)
            except ImageError:
                refusals += 1
    assert widths == {640}


async def test_error_does_not_reveal_files_outside_allowed_folders(make_picture: MakePicture, tmp_path: Path) -> None:
    there, gone, opened = make_picture("there.png"), tmp_path / "gone.png", tmp_path / "open"
    texts = set[str]()
    for path in (there, gone):
        with pytest.raises(ImageError) as caught:
            await read_image(str(path), (opened,))
        texts.add(str(caught.value).replace(path.name, "X"))
    assert len(texts) == 1


# ── thumbnails and shapes ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L"])
async def test_thumbnail_is_a_small_jpeg(mode: str, tmp_path: Path) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    file = await save_thumbnail(encode(draw((2000, 900), mode), kind), tmp_path, "clip")
    assert file.stat().st_size <= THUMBNAIL_BYTES_MAX
    with Image.open(file) as small:
        assert (small.format, small.size, small.mode) == ("JPEG", (512, 230), "RGB")
    assert list_names(tmp_path) == ["clip.jpg"]


async def test_noise_makes_a_small_thumbnail(tmp_path: Path) -> None:
    file = await save_thumbnail(encode(noise((1024, 1024)), "PNG"), tmp_path, "clip")
    assert file.stat().st_size <= THUMBNAIL_BYTES_MAX


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_stored_frame_is_small_upright_and_found_by_hash(orientation: int, tmp_path: Path) -> None:
    upright = Image.new("RGB", (80, 120), "white")
    upright.paste("red", (0, 0, 40, 60))
    stored = upright.transpose(Image.Transpose[AS_STORED[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = await prepare_image(encode(stored, "JPEG", exif=exif, quality=95), "it")
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
    with pytest.raises(ImageError, match="The thumbnail is a web page, not a picture"):
        await save_thumbnail(b"<html>", tmp_path, "clip")
    assert list_names(tmp_path) == []


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((1920, 1080), "16:9"), ((1080, 1920), "9:16"), ((1, 1), "1:1"), ((4032, 3024), "4:3"), ((3, 4), "3:4"),
     ((2560, 1080), "21:9"), ((1, 100_000), "9:16"), ((100_000, 1), "21:9")],
)  # fmt: skip
def test_nearest_aspect_ratio_is_chosen(size: tuple[int, int], ratio: str) -> None:
    assert nearest_aspect_ratio(*size) == ratio
