"""Preparation: what leaves the machine is upright, RGB, free of metadata and within bounds, or the file as it is."""

import io
import random
import struct
import subprocess
import sys
from collections.abc import Callable

import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageDraw

from seedance_mcp.adapters.media.images import Image as Prepared
from seedance_mcp.adapters.media.images import prepare_image
from seedance_mcp.adapters.media.preparation import ACCEPTED_BYTES_MAX, PREPARED_SIDE_MAX
from tests.bombs import build_jpeg, build_png

pillow_heif.register_heif_opener()  # pyright: ignore[reportUnknownMemberType]  # writes HEIC

PEAK_MEGABYTES_MAX = 400
"""Of a picture whose pixels take 158 MB: there is no room for a second copy beside what Python and Pillow take."""


def draw_scene(size: tuple[int, int] = (640, 480), mode: str = "RGB") -> Image.Image:
    """A red corner on the upper left of a blue picture: a turned one is seen at once."""
    picture = Image.new("RGB", size, (20, 40, 200))
    ImageDraw.Draw(picture).rectangle((0, 0, size[0] // 3, size[1] // 3), fill=(220, 20, 20))
    return picture.convert(mode)


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def write_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = orientation, "TestMaker", "TestPhone 1"
    place = exif.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (12.0, 34.0, 56.0), "E", (65.0, 43.0, 21.0)
    return exif


def read(prepared: Prepared) -> Image.Image:
    picture = Image.open(io.BytesIO(prepared.data))
    picture.load()
    return picture


def is_upright(picture: Image.Image) -> bool:
    """Return True if the red corner is on the upper left."""
    red, _, blue = picture.convert("RGB").getpixel((picture.width // 8, picture.height // 8))  # type: ignore[misc]  # RGB has three
    far = picture.convert("RGB").getpixel((picture.width * 7 // 8, picture.height * 7 // 8))
    return red > 150 > blue and far[2] > 150 > far[0]  # type: ignore[index]  # RGB has three


@pytest.mark.parametrize(("kind", "named"), [("HEIF", "HEIC"), ("AVIF", "AVIF"), ("TIFF", "TIFF"), ("BMP", "BMP")])
async def test_converts_what_the_studio_does_not_take(kind: str, named: str) -> None:
    prepared = await prepare_image(encode(draw_scene(), kind), "It")
    assert prepared.changes[0] == f"converted from {named}"
    assert prepared.media_type in ("image/jpeg", "image/png")
    assert read(prepared).size == (prepared.width, prepared.height) == (640, 480)
    assert is_upright(read(prepared))


@pytest.mark.parametrize("orientation", range(2, 9))
async def test_turns_a_phone_photo_upright(orientation: int) -> None:
    upright = draw_scene()
    stored = {
        2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE",
        8: "ROTATE_270",
    }[orientation]  # fmt: skip
    data = encode(upright.transpose(Image.Transpose[stored]), "JPEG", exif=write_exif(orientation))
    prepared = await prepare_image(data, "It")
    assert is_upright(read(prepared))
    assert read(prepared).size == (prepared.width, prepared.height) == upright.size
    assert "turned upright" in prepared.changes


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF"])
async def test_no_metadata_leaves_the_machine(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    data = encode(draw_scene(), kind, exif=write_exif(), icc_profile=profile)
    assert b"TestPhone" in data
    prepared = await prepare_image(data, "It")
    assert b"TestPhone" not in prepared.data
    assert not read(prepared).getexif()
    assert not {"exif", "icc_profile", "xmp", "comment"} & set(read(prepared).info)
    assert "metadata removed" in prepared.changes


async def test_text_chunks_and_comments_are_metadata() -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Description", "42 Secret Street")
    for data in (
        encode(draw_scene(), "PNG", pnginfo=text),
        encode(draw_scene(), "JPEG", comment=b"42 Secret Street"),
        encode(draw_scene(), "JPEG") + b"ftypmp42 42 Secret Street",
    ):
        prepared = await prepare_image(data, "It")
        assert b"Secret" not in prepared.data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_a_clean_upright_picture_passes_byte_for_byte(kind: str) -> None:
    data = encode(draw_scene(), kind)
    prepared = await prepare_image(data, "It")
    assert (prepared.data, prepared.changes) == (data, ())


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "1"])
async def test_colors_become_rgb(mode: str) -> None:
    prepared = await prepare_image(encode(draw_scene(mode=mode), "JPEG" if mode in ("CMYK", "L") else "PNG"), "It")
    assert read(prepared).mode == "RGB"
    assert "colors converted to RGB" in prepared.changes


async def test_sixteen_bits_of_gray_keep_their_brightness() -> None:
    gray = Image.new("I;16", (400, 400), 128 * 256)
    prepared = await prepare_image(encode(gray, "PNG"), "It")
    assert read(prepared).getpixel((200, 200)) == (128, 128, 128)


async def test_transparency_becomes_white() -> None:
    picture = draw_scene(mode="RGBA")
    picture.putalpha(Image.new("L", picture.size, 0))
    prepared = await prepare_image(encode(picture, "PNG"), "It")
    assert read(prepared).getpixel((600, 400)) == (255, 255, 255)
    assert "transparency filled with white" in prepared.changes


async def test_an_opaque_alpha_channel_is_not_called_transparent() -> None:
    prepared = await prepare_image(encode(draw_scene(mode="RGBA"), "PNG"), "It")
    assert "transparency filled with white" not in prepared.changes
    assert is_upright(read(prepared))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_the_first_frame_of_an_animation_is_used(kind: str) -> None:
    data = encode(draw_scene(), kind, save_all=True, append_images=[Image.new("RGB", (640, 480), "green")], duration=50)
    prepared = await prepare_image(data, "It")
    assert "first frame of an animation" in prepared.changes
    assert is_upright(read(prepared))
    assert getattr(read(prepared), "n_frames", 1) == 1


DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
"""Red, green and blue in XYZ, adapted to D50. Source: SMPTE EG 432-1, Bradford adaptation."""
SRGB_FROM_XYZ = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)
"""XYZ, adapted to D50, to linear sRGB. Source: IEC 61966-2-1, Bradford adaptation."""
GAMMA = 2.2


def write_p3_profile() -> bytes:
    """Write a matrix profile of Display P3 with a plain gamma. Source: ICC.1:2010, sections 7 and 10."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    white = fixed(0.9642, 1.0, 0.8249)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(GAMMA * 256)) + bytes(2)
    parts = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 3) + b"P3\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + white,
    }
    parts |= {b"cprt": b"text" + bytes(4) + b"none\0"}
    for channel, place in zip((b"r", b"g", b"b"), DISPLAY_P3, strict=True):
        parts |= {channel + b"XYZ": b"XYZ " + bytes(4) + fixed(*place), channel + b"TRC": curve}
    table, data = b"", b""
    for name, part in parts.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(parts) + len(data), len(part))
        data += part + bytes(-len(part) % 4)
    body = struct.pack(">I", len(parts)) + table + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    return head + bytes(12) + b"acsp" + bytes(28) + white + bytes(48) + body


def find_srgb(pixel: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the sRGB value of a pixel in Display P3, as far as sRGB has it."""
    linear = [(value / 255) ** GAMMA for value in pixel]
    place = [
        sum(part * light for part, light in zip(column, linear, strict=True))
        for column in zip(*DISPLAY_P3, strict=True)
    ]
    light = [min(max(sum(a * b for a, b in zip(row, place, strict=True)), 0.0), 1.0) for row in SRGB_FROM_XYZ]
    return tuple(round(255 * (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055)) for v in light)


@pytest.mark.parametrize("pixel", [(200, 100, 50), (40, 180, 90), (128, 128, 128), (255, 0, 0)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "HEIF"])
async def test_display_p3_becomes_srgb_pixel_values(kind: str, pixel: tuple[int, int, int]) -> None:
    data = encode(Image.new("RGB", (320, 320), pixel), kind, icc_profile=write_p3_profile(), quality=100)
    sent = read(await prepare_image(data, "It"))
    assert "icc_profile" not in sent.info
    found = sent.convert("RGB").getpixel((160, 160))
    assert isinstance(found, tuple)
    assert all(abs(a - b) <= 4 for a, b in zip(found, find_srgb(pixel), strict=True)), (found, find_srgb(pixel), pixel)


async def test_a_profile_that_cannot_be_used_does_no_harm() -> None:
    unusable = ImageCms.createProfile("LAB")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    assert unusable is not None  # a profile of another color space than the picture's
    data = encode(draw_scene(), "JPEG", icc_profile=ImageCms.ImageCmsProfile(unusable).tobytes())  # pyright: ignore[reportUnknownArgumentType]  # untyped in Pillow
    assert is_upright(read(await prepare_image(data, "It")))


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(7).randbytes(size[0] * size[1] * 3))  # noqa: S311 - only noise


BIG: dict[str, Callable[[], bytes]] = {
    "14 MB JPEG": lambda: encode(noise((2500, 1400)), "JPEG", quality=100, subsampling=0),
    "12 MB PNG": lambda: encode(noise((2100, 2000)), "PNG", compress_level=0),
    "108 MP phone photo": lambda: build_jpeg(12_032, 9_024, quality=40),
    "6500 pixels wide": lambda: encode(draw_scene((6500, 4300)), "JPEG", quality=70),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
async def test_a_big_picture_is_made_smaller(name: str) -> None:
    prepared = await prepare_image(BIG[name](), "It")
    assert max(read(prepared).size) <= PREPARED_SIDE_MAX
    assert prepared.size_bytes <= ACCEPTED_BYTES_MAX
    assert f"reduced from {prepared.width}x{prepared.height} to" in prepared.changes[-1]
    assert prepared.sent_size == read(prepared).size


MEASURE = """
import os, resource, sys
from seedance_mcp.adapters.media import worker
worker.PIL.Image.MAX_IMAGE_PIXELS = None
data = sys.stdin.buffer.read()
if os.fork():  # the peak of the first process includes that of the one that started it
    code = os.wait()[1]
    sys.exit(os.waitstatus_to_exitcode(code))
header, _ = worker.answer({"operation": "prepare"}, data)
assert "refused" not in header, header
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read as Linux counts it")
@pytest.mark.parametrize(
    "build",
    [lambda: build_jpeg(16_320, 12_240, quality=30), lambda: build_png(10_000, 3_950, "RGBA")],
    ids=["JPEG", "transparent PNG"],
)
def test_memory_is_bounded(build: Callable[[], bytes]) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], input=build(), capture_output=True, check=True, timeout=120)
    assert int(done.stdout) <= PEAK_MEGABYTES_MAX
