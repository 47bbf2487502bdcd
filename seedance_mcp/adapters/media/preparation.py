"""Preparation: make a picture upright, RGB, free of metadata and within bounds. Runs in the decoding process.

A picture that is all of this already is left as it is, byte for byte. The bytes that leave the machine never hold
metadata: no place, no camera, no editing history, no second picture.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import PIL.Image

ACCEPTED_SIDE_MAX = 6000
"""The longest side, in pixels, of a picture that is left as it is: above it, the models behind Seedance refuse it."""
PREPARED_SIDE_MAX = 2048
"""The longest side of a picture that is written anew: more than any video has."""
ACCEPTED_BYTES_MAX = 10_000_000
"""Source: contract section 2, media rules."""
LOSSLESS_BYTES_MAX = 4_000_000
"""A larger PNG is written as JPEG: it is a photograph, and PNG would only make it slow to upload."""
STRIP_PIXELS = 256
"""Height of the strips in which transparency is flattened."""

MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
"""What the studio takes. Source: contract section 2."""
_LOSSLESS = ("PNG", "GIF", "BMP", "DIB")
_QUARTER_TURNS = range(5, 9)
"""EXIF orientations that turn a picture by a quarter. Source: Exif 2.32, tag 0x0112."""
TURNS: dict[object, PIL.Image.Transpose] = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""What makes a picture of each orientation upright."""
_HARMLESS = frozenset({
    "adobe", "adobe_transform", "aspect", "background", "chromaticity", "compression", "dpi", "duration", "extension",
    "gamma", "interlace", "jfif", "jfif_density", "jfif_unit", "jfif_version", "loop", "primary", "progression",
    "progressive", "resolution", "srgb", "timestamp", "transparency", "version",
})  # fmt: skip
"""What Pillow's `info` may hold of a picture without metadata."""
_HARMLESS_SEGMENTS = ("APP0", "APP14")
"""JPEG segments that say how to decode: JFIF and Adobe. Source: ITU-T T.872, sections 6.5.2 and 6.5.3."""


class Prepared(NamedTuple):
    """A picture as it may leave the machine.

    Attributes:
        data: The new bytes; None if the given ones may be used as they are.
        media_type: Of the bytes to use.
        size: Width and height of the bytes to use, in pixels.
        seen_size: Width and height of the given picture as a person sees it.
        changes: What was done, in words, in order.
    """

    data: bytes | None
    media_type: str
    size: tuple[int, int]
    seen_size: tuple[int, int]
    changes: tuple[str, ...]


def prepare_picture(picture: PIL.Image.Image, data: bytes, *, orientation: object) -> Prepared:
    """Return a picture as it may leave the machine.

    Args:
        picture: Opened and not loaded.
        data: Its bytes.
        orientation: Its EXIF orientation, or None.

    Raises:
        OSError, ValueError, …: The picture is broken: whatever Pillow raises.
        MemoryError: It does not fit.
    """
    width, height = picture.size
    seen_size = (height, width) if orientation in _QUARTER_TURNS else (width, height)
    changes = _list_changes(picture, data, orientation)
    kind = "JPEG" if picture.format == "MPO" else picture.format or ""
    if not changes:
        picture.load()  # a picture that cannot be decoded must not be paid for
        return Prepared(data=None, media_type=MEDIA_TYPES[kind], size=seen_size, seen_size=seen_size, changes=())
    small, was_transparent = _shrink(picture)
    if orientation in TURNS:
        small = small.transpose(TURNS[orientation])
    if was_transparent:
        changes.append("transparency filled with white")
    if small.size != seen_size:
        changes.append(f"reduced from {seen_size[0]}x{seen_size[1]} to {small.width}x{small.height}")
    changes = [change for change in changes if change != TOO_LARGE] or [REWRITTEN]
    media_type, encoded = _encode(small, lossless=kind in _LOSSLESS)
    return Prepared(data=encoded, media_type=media_type, size=small.size, seen_size=seen_size, changes=tuple(changes))


def _list_changes(picture: PIL.Image.Image, data: bytes, orientation: object) -> list[str]:
    """Return what must be done to a picture before it is made smaller; empty if it may be used as it is."""
    kind, changes = picture.format or "", list[str]()
    if kind not in MEDIA_TYPES and kind != "MPO":
        changes.append(f"converted from {_NAMES.get(kind, kind)}")
    if orientation in TURNS:
        changes.append("turned upright")
    if kind != "MPO" and getattr(picture, "n_frames", 1) > 1:
        changes.append("first page of several" if kind == "TIFF" else "first frame of an animation")
    if picture.mode != "RGB" or _is_transparent(picture) or _has_deep_colors(picture, data):
        changes.append("colors converted to RGB")
    if _has_metadata(picture) or _has_trailer(picture, data):
        changes.append("metadata removed")
    if max(picture.size) > ACCEPTED_SIDE_MAX or len(data) > ACCEPTED_BYTES_MAX:
        changes.append(TOO_LARGE)
    return changes


TOO_LARGE = "too large"
REWRITTEN = "written anew"
_NAMES = {"HEIF": "HEIC", "DIB": "BMP"}


def _is_transparent(picture: PIL.Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info


def _has_deep_colors(picture: PIL.Image.Image, data: bytes) -> bool:
    """Return True for a PNG of 16 bits a color, which Pillow reads as 8. Source: PNG, section 11.2.1, bit depth."""
    return picture.format == "PNG" and data[24:25] == b"\x10"


def _has_metadata(picture: PIL.Image.Image) -> bool:
    segments = [name for name, _ in getattr(picture, "applist", [])]
    found = {name for name, value in picture.info.items() if value}
    return bool(found - _HARMLESS) or any(name not in _HARMLESS_SEGMENTS for name in segments)


def _has_trailer(picture: PIL.Image.Image, data: bytes) -> bool:
    """Return True if more follows the picture: a second one, or the video of a motion photo."""
    end = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}.get(picture.format or "", b"")
    return picture.format == "MPO" or not data.rstrip(b"\0\r\n ").endswith(end)


def _shrink(picture: PIL.Image.Image) -> tuple[PIL.Image.Image, bool]:
    """Return a copy in RGB whose sides are at most `PREPARED_SIDE_MAX`, and whether a part of it was transparent.

    A large JPEG is decoded at a fraction of its size.
    """
    picture.draft("RGB", (PREPARED_SIDE_MAX, PREPARED_SIDE_MAX))
    profile = picture.info.get("icc_profile")
    was_transparent = False
    if _is_transparent(picture):
        small, was_transparent = _flatten(picture)
    elif picture.mode in ("RGB", "CMYK", "L"):
        small = picture
    else:
        small = _convert_deep(picture)
    small.thumbnail((PREPARED_SIDE_MAX, PREPARED_SIDE_MAX), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _convert_to_srgb(small, profile), was_transparent


def _convert_deep(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return a picture of any mode in RGB; 16 bits of gray become 8."""
    if picture.mode.startswith("I"):
        gray = picture.convert("I").point(lambda value: value * (1 / 256), "L")  # pyright: ignore[reportUnknownMemberType]  # untyped in Pillow
        return gray.convert("RGB")
    return picture.convert("RGB")


def _flatten(picture: PIL.Image.Image) -> tuple[PIL.Image.Image, bool]:
    """Return a picture on white, and whether any of the white is seen; a large one comes out smaller.

    It is done in strips, so that no second copy of a large picture is in memory.
    """
    picture.load()
    factor = max(1, max(picture.size) // (2 * PREPARED_SIDE_MAX))
    width, height = (-(-side // factor) for side in picture.size)
    flat = PIL.Image.new("RGB", (width, height), "white")
    was_transparent = False
    for top in range(0, picture.height, STRIP_PIXELS * factor):
        bottom = min(top + STRIP_PIXELS * factor, picture.height)
        strip = picture.crop((0, top, picture.width, bottom)).convert("RGBA").reduce(factor)
        flat.paste(strip, (0, top // factor), strip)
        was_transparent = was_transparent or strip.getchannel("A").getextrema() != (255, 255)
    return flat, was_transparent


def _convert_to_srgb(picture: PIL.Image.Image, profile: object) -> PIL.Image.Image:
    """Return a picture in sRGB; an unusable profile is ignored."""
    if isinstance(profile, bytes) and picture.mode in ("RGB", "CMYK", "L"):
        from PIL import ImageCms  # loaded only for a picture with a profile

        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            converted = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            converted = None
        if converted is not None:
            return converted
    return picture.convert("RGB")


def _encode(picture: PIL.Image.Image, *, lossless: bool) -> tuple[str, bytes]:
    """Return media type and bytes: PNG for what was drawn, JPEG for what was photographed."""
    picture.info.clear()  # or Pillow would write the old metadata into the new file
    if lossless:
        encoded = _save(picture, "PNG", optimize=False)
        if len(encoded) <= LOSSLESS_BYTES_MAX:
            return "image/png", encoded
    return "image/jpeg", _save(picture, "JPEG", quality=92)


def _save(picture: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
