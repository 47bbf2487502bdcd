"""Search for the URL of the finished video in a job document, in any field.

This module reads a bounded part of the document. It must not download anything, must not choose a URL of the request,
and must not guess: if several URLs could be the video and none has a known name, all of them are reported.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast
from urllib.parse import urlsplit

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.wire.json import TEXT_CHARACTERS_MAX, Json, parse_json

DEPTH_MAX = 8
"""Deepest nesting of a video URL."""
NODES_MAX = 2000
"""How many values of a document are read."""
URLS_MAX = 16
"""How many different URLs are considered."""

_INPUT_WORDS = ("input", "request", "reference", "firstframe", "lastframe", "startframe", "endframe")
_PICTURE_WORDS = ("thumb", "poster", "preview", "cover", "image", "picture", "photo", "frame", "icon", "avatar")
_OTHER_WORDS = ("poll", "callback", "webhook", "cancel", "audio", "receipt", "explorer", "docs", "help", "support")
_THUMBNAIL_WORDS = ("thumb", "poster", "cover")
_RESULT_NAMES = frozenset({"result", "results", "output", "outputs", "data", "response", "video", "videos"})
_VIDEO_NAMES = frozenset({"video", "videouri", "videolink", "videofile", "videosrc", "mp4", "mp4url"})
_VIDEO_ENDINGS = ("mp4", "m4v", "mov", "webm", "mkv")
_OTHER_ENDINGS = (
    "jpg", "jpeg", "png", "gif", "webp", "avif", "heic", "bmp", "svg", "mp3", "wav", "m4a", "aac", "ogg", "flac",
    "json", "xml", "html", "htm", "txt", "pdf", "srt", "vtt",
)  # fmt: skip
_NAMED = 1
"""Highest rank of a URL whose field is known to name the video."""
_UNNAMED = 4
"""Rank of a URL whose field does not name a video."""


@dataclass(frozen=True, slots=True)
class FoundUrls:
    """The URLs of a job document.

    Attributes:
        video: The URL of the video.
        named: True if the field's name, not only its position, identifies it as the video.
        candidates: URLs that could be the video, if none is chosen.
        thumbnail: The URL of a thumbnail.
    """

    video: str | None = None
    named: bool = False
    candidates: tuple[str, ...] = ()
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """One value of a document, with the names of its enclosing fields, in lower case without separators."""

    value: object
    names: tuple[str, ...] = ()
    in_result: bool = False


def find_urls(document: Json, *, loopback_http: bool) -> FoundUrls:
    """Find the video's URL in a job document.

    Args:
        document: The job as the studio sent it.
        loopback_http: True if plain http to this machine is accepted.
    """
    sent = set(_list_sent(document))
    ranks: dict[str, int] = {}
    thumbnail: str | None = None
    places = list(islice(_walk(document), NODES_MAX + 1))
    for place in places[:NODES_MAX]:
        url = _read_url(place.value, loopback_http=loopback_http)
        if url is None or url in sent:
            continue
        if _has_word(place.names, _PICTURE_WORDS):
            is_thumbnail = _has_word(place.names, _THUMBNAIL_WORDS)
            thumbnail = thumbnail or (url if is_thumbnail else None)
            continue
        rank = _rank(place, url)
        if rank is not None and (url in ranks or len(ranks) < URLS_MAX):
            ranks[url] = min(rank, ranks.get(url, rank))
    return _choose(ranks, thumbnail, whole=len(places) <= NODES_MAX)


def _choose(ranks: dict[str, int], thumbnail: str | None, *, whole: bool) -> FoundUrls:
    """Choose the URL with the best rank; in a partly read document, only one with a known name."""
    best = min(ranks.values(), default=_UNNAMED)
    first = [url for url, rank in ranks.items() if rank == best]
    if len(first) == 1 and (whole or best <= _NAMED):
        return FoundUrls(video=first[0], named=best < _UNNAMED, thumbnail=thumbnail)
    return FoundUrls(candidates=tuple(ranks), thumbnail=thumbnail)


def _walk(document: Json) -> Generator[_Place]:
    """Yield every value, breadth first and in order, except the fields of the request and of other media."""
    level = [_Place(document)]
    for depth in range(DEPTH_MAX):
        below: list[_Place] = []
        for place in level:
            yield place
            below += islice(_list_children(place, is_top=depth == 0), NODES_MAX - min(len(below), NODES_MAX))
        level = below


def _list_children(place: _Place, *, is_top: bool) -> Generator[_Place]:
    value = _read_embedded(place.value)
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield _Place(item, place.names, place.in_result)
    elif isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            name = _simplify(key)
            if not _has_word((name,), _INPUT_WORDS + _OTHER_WORDS):
                yield _Place(item, (*place.names, name), place.in_result or (is_top and name in _RESULT_NAMES))


def _read_embedded(value: object) -> object:
    """Parse a JSON document that was sent as text; return any other value unchanged."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return parse_json(value, "A text") if len(value) <= TEXT_CHARACTERS_MAX else value
    except StudioProtocolError:
        return value


def _rank(place: _Place, url: str) -> int | None:
    """Return the rank of a field as the name of the video, 0 being the best; None if it does not name one."""
    name = place.names[-1] if place.names else ""
    parent = place.names[-2] if len(place.names) > 1 else ""
    if name == "videourl":  # the contract's name, section 8
        return 0
    ending = urlsplit(url).path.rpartition("/")[2].rpartition(".")[2].lower()
    if ending in _OTHER_ENDINGS:
        return None
    if name in _VIDEO_NAMES or (name in ("url", "uri") and parent == "video"):
        return 1
    if _has_word(place.names, ("video", "mp4")):
        return 2
    if not place.in_result and ending not in _VIDEO_ENDINGS:
        return None
    return 3 if name == "url" and place.in_result else _UNNAMED


def _list_sent(document: Json) -> Generator[str]:
    """Yield the texts of the request, which the studio may repeat anywhere."""
    level: list[object] = [value for key, value in document.items() if _has_word((_simplify(key),), _INPUT_WORDS)]
    for _ in range(DEPTH_MAX):
        below: list[object] = []
        for value in level:
            if isinstance(value, str):
                yield value.strip()
            elif isinstance(value, dict):
                below += cast("dict[str, object]", value).values()
            elif isinstance(value, list):
                below += cast("list[object]", value)
        level = below[:NODES_MAX]


def _read_url(value: object, *, loopback_http: bool) -> str | None:
    """Return a text that is an acceptable URL, or None."""
    text = value.strip() if isinstance(value, str) and len(value) <= TEXT_CHARACTERS_MAX else ""
    if not text.isprintable() or " " in text or not re.match("https?://", text, re.IGNORECASE):
        return None
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    is_loopback = host in ("localhost", "::1") or (host or "").startswith("127.")
    return text if host and (parts.scheme == "https" or (loopback_http and is_loopback)) else None


def _simplify(key: str) -> str:
    """Return a field's name in lower case without separators; "image to video" does not name a picture."""
    name = re.sub(r"[^a-z0-9]", "", key[:200].lower())
    return name.replace("imagetovideo", "video").replace("image2video", "video")


def _has_word(names: Sequence[str], words: Sequence[str]) -> bool:
    return any(word in name for name in names for word in words)
