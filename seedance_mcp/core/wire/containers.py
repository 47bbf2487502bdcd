"""Recognition of a video file by its bytes: MP4, QuickTime, WebM or Matroska, complete or with trailing bytes.

This module must not trust a name or a header, and must not decode anything. A file is complete if it contains its index
and its media; the order and quality of the rest do not matter.

Source: ISO/IEC 14496-12, section 4.2 (boxes) and 8.16.2 (styp); RFC 8794 (EBML); RFC 9559, section 5.1 (Matroska).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import BinaryIO

from seedance_mcp.core.texts import quote_text

BOXES_MAX = 10_000
ELEMENTS_MAX = 100_000
HEAD_BYTES = 4096
"""How many bytes of a file are read to recognise it."""
SHOWN_CHARACTERS_MAX = 120

_BOXES = frozenset(b"ftyp styp moov mdat free skip wide moof mfra sidx ssix prft emsg uuid meta udta pdin pnot".split())
"""Kinds of boxes that may be at the top level of a file."""
_NEEDED_BOXES = frozenset({b"moov", b"mdat", b"moof"})
"""Boxes that must be complete."""
_EBML, _SEGMENT, _TRACKS, _CLUSTER, _DOC_TYPE = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0x1F43B675, 0x4282
_EBML_NAMES = {b"webm": ("webm", "WebM"), b"matroska": ("mkv", "Matroska")}
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")


class NotAVideoError(ValueError):
    """The bytes are not a complete video; the text describes them."""


@dataclass(frozen=True, slots=True)
class Container:
    """The format of a video file.

    Attributes:
        extension: The extension of its format, without a dot.
        note: Information for a person; None for an ordinary MP4.
    """

    extension: str
    note: str | None = None


def read_container(file: BinaryIO, size: int) -> Container:
    """Recognise a video file.

    Args:
        file: The file, open for reading.
        size: Its size in bytes.

    Raises:
        NotAVideoError: Empty, text, a picture, truncated, or of an unknown format.
    """
    head = file.read(HEAD_BYTES)
    if head.startswith(_EBML.to_bytes(4)):
        return _read_matroska(file, size, head)
    if head[4:8] in _BOXES:
        return _read_mp4(file, size, head)
    raise NotAVideoError(_describe_other(head, size))


def _describe_other(head: bytes, size: int) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    shown = quote_text(head[:400].decode("utf-8", "replace"), SHOWN_CHARACTERS_MAX)
    if not start:
        return "is empty" if not size else f"is blank ({size} bytes)"
    if start[:1] in (b"{", b"["):
        return f"is a JSON document, not a video: {shown}"
    if start[:1] == b"<":
        is_page = b"<html" in start.lower() or b"<!doctype html" in start.lower()
        return f"is {'a web page' if is_page else 'an XML document'}, not a video: {shown}"
    if head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return f"is a picture, not a video ({size} bytes)"
    return f"is not a video of a known kind ({size} bytes)"


# ── MP4 and QuickTime ────────────────────────────────────────────────────────────────────────────────────────────────


def _read_mp4(file: BinaryIO, size: int, head: bytes) -> Container:
    kinds: list[bytes] = []
    position = 0
    for kind, end in _walk_boxes(file, size):
        if end > size:
            if kind in _NEEDED_BOXES:
                raise NotAVideoError(f"is not a whole MP4 video: it is truncated ({size} bytes)")
            break
        kinds.append(kind)
        position = end
    if not {b"moov", b"mdat"} <= set(kinds) or len(kinds) >= BOXES_MAX:
        raise NotAVideoError(f"is not a whole MP4 video ({size} bytes)")
    is_quicktime = head[8:12] == b"qt  " if kinds[0] == b"ftyp" else not {b"ftyp", b"styp"} & set(kinds)
    notes: list[str] = []
    if is_quicktime:
        notes.append("The studio sent a QuickTime file, saved as .mov.")
    elif kinds[0] != b"ftyp":
        notes.append(f"The MP4 begins with {kinds[0].decode()} instead of ftyp; most players play it all the same.")
    if position < size:
        notes.append(f"{size - position} bytes follow the last box of the file; players skip them.")
    return Container("mov" if is_quicktime else "mp4", " ".join(notes) or None)


def _walk_boxes(file: BinaryIO, size: int) -> Generator[tuple[bytes, int]]:
    """Yield the kind and the end of each top-level box, up to the first bytes that are no box."""
    position = 0
    for _ in range(BOXES_MAX):
        file.seek(position)
        header = file.read(16)
        length, kind, header_length = int.from_bytes(header[:4]), header[4:8], 8
        if length == 1:
            length, header_length = int.from_bytes(header[8:16]), 16
        elif length == 0 and kind in _BOXES:
            length = size - position
        if len(header) < header_length or length < header_length:
            return
        if kind not in _BOXES and not (kind.isalnum() and position + length <= size):
            return
        yield kind, position + length
        position += length
        if position >= size:
            return


# ── WebM and Matroska ────────────────────────────────────────────────────────────────────────────────────────────────


def _read_matroska(file: BinaryIO, size: int, head: bytes) -> Container:
    top = list(_walk_elements(file, 0, size, count_max=2))
    cut = NotAVideoError(f"is not a whole WebM or Matroska video ({size} bytes)")
    if len(top) < 2 or top[1][0] != _SEGMENT:
        raise cut
    (_, begin, end), (_, inside, segment_end) = top
    document_type = b""
    for name, value, value_end in _walk_elements(file, begin, end or begin, count_max=ELEMENTS_MAX):
        if name == _DOC_TYPE and value_end is not None:
            document_type = head[value:value_end].rstrip(b"\0")
    if document_type not in _EBML_NAMES or (segment_end or 0) > size:
        raise cut
    found: set[int] = set()
    for name, _, element_end in _walk_elements(file, inside, segment_end or size, count_max=ELEMENTS_MAX):
        if element_end is not None and element_end > size:
            raise cut
        found.add(name)
    if not {_TRACKS, _CLUSTER} <= found:
        raise cut
    extension, spoken = _EBML_NAMES[document_type]
    notes = [f"The studio sent {spoken} instead of MP4, saved as .{extension}."]
    if segment_end is not None and segment_end < size:
        notes.append(f"{size - segment_end} bytes follow its end; players skip them.")
    return Container(extension, " ".join(notes))


def _walk_elements(
    file: BinaryIO, position: int, end: int, *, count_max: int
) -> Generator[tuple[int, int, int | None]]:
    """Yield each element's id, the start of its value, and its end; None if its size is unknown."""
    for _ in range(count_max):
        if position >= end:
            return
        file.seek(position)
        header = file.read(12)
        id_length = _measure(header[:1], 4)
        size_length = _measure(header[id_length : id_length + 1], 8) if id_length else 0
        begin = position + id_length + size_length
        if not size_length or len(header) < id_length + size_length:
            return
        bits = int.from_bytes(header[id_length : id_length + size_length]) & ((1 << (7 * size_length)) - 1)
        is_unknown = bits == (1 << (7 * size_length)) - 1
        yield int.from_bytes(header[:id_length]), begin, None if is_unknown else begin + bits
        if is_unknown:
            return
        position = begin + bits


def _measure(first: bytes, longest: int) -> int:
    """Return the length in bytes of a variable-length number, from its first byte; 0 if it is invalid."""
    length = 9 - first[0].bit_length() if first and first[0] else 0
    return length if length <= longest else 0
