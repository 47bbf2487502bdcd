"""The studio's two dialects: the schema of a generate body, and its price.

`classic` is the contract of spring 2026 (Seedance 1.x, a price per second whatever the resolution), `current`
the one since June 2026 (Seedance 2, a price per second and resolution). Each generate route knows its schema,
its ceiling and how to read a valid body into a `GenerateRequest`. All prices are int micro-USDC. This module does no
I/O.

Source: the studio's published OpenAPI document and price notes of 2026-09-19; earlier skill texts for
`classic`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seedance_mcp.sandbox.api.answers import RefusalError
from seedance_mcp.sandbox.api.schema import Schema, check_body, fill_defaults, read_json_object
from seedance_mcp.sandbox.settings import Contract

UPLOAD_PRICE_MICRO_USDC = 10_000
UPLOAD_BYTES_MAX = 20_971_520
UPLOAD_TYPES = (
    "image/jpeg", "image/jpg", "image/png", "image/gif", "image/webp",
    "video/mp4", "video/webm", "video/quicktime", "audio/mpeg", "audio/wav", "audio/mp4",
)  # fmt: skip

CLASSIC_MICRO_USDC_PER_SECOND = {"seedance": 82_500, "seedance-fast": 10_000}
CURRENT_MICRO_USDC_PER_SECOND: dict[str, dict[str, int]] = {
    "seedance": {"480p": 90_000, "720p": 240_000, "1080p": 540_000},
    "seedance-fast": {"480p": 80_000, "720p": 168_000},
    "seedance-next": {"480p": 60_000, "720p": 120_000},
}
"""Our own choice: `seedance-next`, which stands for a model that a client does not know."""
CURRENT_CEILING_MICRO_USDC = 20_000_000
# Our own choice: the live documents describe the price of 4k only as "significantly more expensive".
UPSCALE_FACTOR = 2

TITLES = {"seedance": "Seedance", "seedance-fast": "Seedance Fast", "seedance-next": "Seedance Next"}
SECONDS = {"seedance": (4, 15), "seedance-fast": (4, 15), "seedance-next": (2, 20)}
"""Shortest and longest video of a model."""
TASKS = {"i2v": "image to video", "t2v": "text to video"}
ASPECT_RATIOS = {
    "16:9": (16, 9),
    "9:16": (9, 16),
    "4:3": (4, 3),
    "3:4": (3, 4),
    "1:1": (1, 1),
    "21:9": (21, 9),
}
EXACT_SIZES = ("720x720", "720x960", "960x720", "1280x720", "720x1280", "1280x540")
SHORT_SIDES = {"480p": 480, "720p": 720, "1080p": 1080, "4k": 2160}
_SAFE_INTEGER = 9_007_199_254_740_991


def build_upload_schema(types: Sequence[str] = UPLOAD_TYPES) -> Schema:
    """Return the schema of a body that buys an upload of one of these types."""
    return {
        "type": "object",
        "properties": {
            "filename": {"type": "string", "minLength": 1, "maxLength": 255},
            "contentType": {"type": "string", "enum": list(types)},
            "size": {"type": "integer", "minimum": 1, "maximum": UPLOAD_BYTES_MAX},
        },
        "required": ["filename", "contentType"],
        "additionalProperties": False,
    }


CONFIRM_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "uploadId": {"type": "string", "minLength": 1},
        "blobUrl": {"type": "string", "format": "uri"},
    },
    "required": ["uploadId", "blobUrl"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """One valid generate body, normalised.

    Attributes:
        image_urls: The first frame and, if given, the last frame; or the references; none for text to video.
        kinds: The declared kind of each; empty if undeclared.
        sound_urls: The sounds of reference mode.
        short_side: Pixels of the shorter side.
        aspect_ratio: Width and height in proportion, or None for the image's own shape.
        size: Exact width and height in pixels; overrides `short_side` and `aspect_ratio`.
    """

    body: Mapping[str, Any]
    image_urls: tuple[str, ...]
    duration_seconds: int
    short_side: int
    aspect_ratio: tuple[int, int] | None
    size: tuple[int, int] | None
    audio: bool
    price_micro_usdc: int
    kinds: tuple[str, ...] = ()
    sound_urls: tuple[str, ...] = ()

    @property
    def is_scene(self) -> bool:
        """Return True if no picture is the first frame: the video is of references, or of a text."""
        return not self.image_urls or self.body.get("mode") == "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRoute:
    """One paid generate route in one dialect; `min_usd` and `max_usd` are the published range."""

    model: str
    schema: Schema
    ceiling_micro_usdc: int
    min_usd: str
    max_usd: str
    read: Callable[[str, dict[str, Any]], GenerateRequest]
    task: str = "i2v"

    @property
    def path(self) -> str:
        """Return the route's path."""
        return f"/api/generate/{self.model}/{self.task}"

    @property
    def kind(self) -> str:
        """Return the `type` of the jobs that the route starts."""
        return f"{self.model}-{self.task}"

    @property
    def title(self) -> str:
        """Return the route's one-line description."""
        return f"{TITLES[self.model]} {TASKS[self.task]}"

    def read_request(self, raw: bytes) -> GenerateRequest:
        """Read a body and price it.

        Raises:
            RefusalError: 400 when the body is not valid in this dialect.
        """
        body = read_json_object(raw)
        check_body(self.schema, body)
        return self.read(self.model, body or {})


def build_generate_routes(contract: Contract) -> tuple[GenerateRoute, ...]:
    """Return the generate routes of a dialect."""
    if contract == "classic":
        return tuple(_build_classic_route(model) for model in CLASSIC_MICRO_USDC_PER_SECOND)
    return tuple(
        GenerateRoute(
            model=model,
            task=task,
            schema=_build_current_schema(model, task),
            ceiling_micro_usdc=CURRENT_CEILING_MICRO_USDC,
            min_usd="0",
            max_usd="20.00",
            read=read,
        )
        for model in CURRENT_MICRO_USDC_PER_SECOND
        for task, read in (("i2v", _read_current), ("t2v", _read_text))
    )


def _build_classic_route(model: str) -> GenerateRoute:
    rate = CLASSIC_MICRO_USDC_PER_SECOND[model]
    return GenerateRoute(
        model=model,
        schema=_CLASSIC_SCHEMA,
        ceiling_micro_usdc=12 * rate,
        min_usd=_format_cents(4 * rate),
        max_usd=_format_cents(12 * rate),
        read=_read_classic,
    )


def _read_classic(model: str, body: dict[str, Any]) -> GenerateRequest:
    filled = fill_defaults(_CLASSIC_SCHEMA, body)
    duration_seconds = int(filled["duration"])
    last = (filled["last_image"],) if "last_image" in filled else ()
    return GenerateRequest(
        body=body,
        image_urls=(filled["image"], *last),
        duration_seconds=duration_seconds,
        short_side=SHORT_SIDES[filled["resolution"]],
        aspect_ratio=ASPECT_RATIOS.get(filled["aspect_ratio"]),
        size=None,
        audio=filled["generate_audio"],
        price_micro_usdc=duration_seconds * CLASSIC_MICRO_USDC_PER_SECOND[model],
    )


def _read_current(model: str, body: dict[str, Any]) -> GenerateRequest:
    filled = fill_defaults(_build_current_schema(model, "i2v"), body)
    _check_current_media(filled)
    request = _read_plan(model, body, filled)
    return replace(
        request,
        image_urls=tuple(filled["urls"]),
        kinds=tuple(filled.get("urlMediaTypes", ())),
        sound_urls=tuple(filled.get("audioUrls", ())),
    )


def _read_text(model: str, body: dict[str, Any]) -> GenerateRequest:
    return _read_plan(model, body, fill_defaults(_build_current_schema(model, "t2v"), body))


def _read_plan(model: str, body: dict[str, Any], filled: dict[str, Any]) -> GenerateRequest:
    """Read what does not depend on the media: length, size and price."""
    duration_seconds = int(filled["duration"])
    price_micro_usdc = duration_seconds * CURRENT_MICRO_USDC_PER_SECOND[model][filled["outputResolution"]]
    exact, upscale = filled.get("resolution"), filled.get("upscaleResolution")
    return GenerateRequest(
        body=body,
        image_urls=(),
        duration_seconds=duration_seconds,
        short_side=SHORT_SIDES[upscale or filled["outputResolution"]],
        aspect_ratio=ASPECT_RATIOS[filled["aspectRatio"]],
        size=_read_size(exact) if exact and not upscale else None,
        audio=True,  # Seedance 2 always generates audio; its schema has no switch
        price_micro_usdc=price_micro_usdc * (UPSCALE_FACTOR if upscale else 1),
    )


def _check_current_media(filled: dict[str, Any]) -> None:
    """Check the rules on `urls` that a JSON Schema cannot express.

    Source: the published schema's texts: "one per url", and [0] and [1] are the frames in keyframe mode.
    """
    issues: list[dict[str, Any]] = []
    kinds: list[str] = filled.get("urlMediaTypes", [])
    if kinds and len(kinds) != len(filled["urls"]):
        message = "urlMediaTypes must have one entry per url"
        issues.append({"code": "custom", "path": ["urlMediaTypes"], "message": message})
    if filled["mode"] == "keyframe" and (len(filled["urls"]) > 2 or "video" in kinds):
        message = "keyframe mode takes a first and an optional last image"
        issues.append({"code": "custom", "path": ["urls"], "message": message})
    if filled["mode"] == "keyframe" and filled.get("audioUrls"):
        message = "audioUrls need reference mode"
        issues.append({"code": "custom", "path": ["audioUrls"], "message": message})
    if issues:
        raise RefusalError(400, "Validation failed", issues=issues)


def _read_size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def _format_cents(amount_micro_usdc: int) -> str:
    cents = amount_micro_usdc // 10_000
    return f"{cents // 100}.{cents % 100:02d}"


def _list_seconds(first: int, last: int) -> list[str]:
    return [str(seconds) for seconds in range(first, last + 1)]


_PROMPT: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 4000,
    "description": "What should happen in the video",
}

_CLASSIC_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "prompt": _PROMPT,
        "image": {"type": "string", "format": "uri", "description": "First frame"},
        "last_image": {"type": "string", "format": "uri", "description": "Optional last frame"},
        "duration": {
            "default": "5",
            "description": "Length in seconds, as a string",
            "type": "string",
            "enum": _list_seconds(4, 12),
        },
        "resolution": {"default": "720p", "type": "string", "enum": ["480p", "720p", "1080p"]},
        "aspect_ratio": {"default": "16:9", "type": "string", "enum": [*ASPECT_RATIOS, "auto"]},
        "camera_fixed": {"default": False, "type": "boolean"},
        "generate_audio": {"default": False, "type": "boolean"},
        "seed": {"type": "integer", "minimum": -_SAFE_INTEGER, "maximum": _SAFE_INTEGER},
    },
    "required": ["prompt", "image"],
    "additionalProperties": False,
}


_MEDIA: Schema = {
    "urls": {
        "minItems": 1,
        "maxItems": 12,
        "type": "array",
        "items": {"type": "string", "format": "uri"},
        "description": "Public URLs. In keyframe mode the first frame, then an optional last frame",
    },
    "mode": {"default": "keyframe", "type": "string", "enum": ["keyframe", "reference"]},
    "urlMediaTypes": {
        "maxItems": 12,
        "type": "array",
        "items": {"type": "string", "enum": ["image", "video"]},
        "description": "One per url; inferred when left out and checked before any charge",
    },
    "audioUrls": {"maxItems": 3, "type": "array", "items": {"type": "string", "format": "uri"}},
}


def _build_current_schema(model: str, task: str) -> Schema:
    return {
        "type": "object",
        "properties": {
            "prompt": _PROMPT,
            **(_MEDIA if task == "i2v" else {}),
            "duration": {
                "default": "5",
                "description": "Length in seconds, as a string",
                "type": "string",
                "enum": _list_seconds(*SECONDS[model]),
            },
            "aspectRatio": {"default": "16:9", "type": "string", "enum": list(ASPECT_RATIOS)},
            "outputResolution": {
                "default": "720p",
                "type": "string",
                "enum": list(CURRENT_MICRO_USDC_PER_SECOND[model]),
            },
            "resolution": {"type": "string", "enum": list(EXACT_SIZES), "description": "Exact pixels"},
            "upscaleResolution": {"type": "string", "enum": ["4k"]},
            "callBackUrl": {"type": "string", "format": "uri"},
        },
        "required": ["prompt", "urls"] if task == "i2v" else ["prompt"],
        "additionalProperties": False,
    }
