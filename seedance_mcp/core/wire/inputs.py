"""The request that a job's document repeats, in our one vocabulary, from either dialect.

It serves to find earlier purchases that are not in the ledger. It is never a price, and never a reason to pay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedance_mcp.core.wire.generation import NormalisedRequest
from seedance_mcp.core.wire.json import Json, find_list, find_text
from seedance_mcp.core.wire.prices import PRICE_MICRO_USDC_PER_SECOND, UPSCALE_FACTORS
from seedance_mcp.core.wire.routes import Dialect, Route, check_model

Mode = Literal["keyframe", "reference", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """The request of a job.

    Attributes:
        model: None if the job does not name it.
        duration: Seconds, as the text that it is on the wire.
        camera_fixed: False if omitted.
        generate_audio: False if omitted; None in the current dialect, whose videos always have audio.
        mode: What the video is made from.
        image_urls: The URLs of the first frame and, if given, of the last frame; or of the references, sounds last.
        sounds: How many of these are sounds.
        upscale: What the video is enlarged to; empty if it is not.
    """

    dialect: Dialect
    model: str | None
    prompt: str
    duration: str
    resolution: str
    aspect_ratio: str
    camera_fixed: bool
    generate_audio: bool | None
    seed: object
    mode: Mode
    image_urls: tuple[str, ...]
    sounds: int
    upscale: str


def read_route(kind: str | None) -> Route | None:
    """Return the route of a job's `type`, such as `seedance-fast-i2v`. Source: contract section 3."""
    model, _, task = (kind or "").rpartition("-")
    if task not in ("i2v", "t2v"):
        return None
    try:
        check_model(model)
    except ValueError:
        return None
    return Route(model, "i2v" if task == "i2v" else "t2v")


def read_job_input(kind: str | None, document: Json | None) -> JobInput | None:
    """Read a job's `input`; return None if it is missing or not a known request for a video.

    Args:
        kind: The job's `type`.
        document: The job's `input`.
    """
    if not document or not isinstance(document.get("prompt"), str):
        return None
    route = read_route(kind)
    is_bare = not kind and not {"urls", "image"} & set(document)
    is_text = is_bare or (route is not None and route.task == "t2v")
    current = "urls" in document or is_text
    found = find_list(document, "urls") if current else [document.get("image"), document.get("last_image")]
    sounds = find_list(document, "audioUrls") if current else ()
    urls: list[object] = [url for url in [*found, *sounds] if url is not None]
    texts = tuple(url for url in urls if isinstance(url, str))
    if len(texts) < len(urls) or bool(texts) == is_text:
        return None
    is_reference = current and document.get("mode") == "reference"
    return JobInput(
        dialect="current" if current else "classic",
        model=None if route is None else route.model,
        prompt=str(document["prompt"]).strip(),
        duration=str(document.get("duration")),
        resolution=find_text(document, "outputResolution" if current else "resolution") or "",
        aspect_ratio=find_text(document, "aspectRatio" if current else "aspect_ratio") or "",
        camera_fixed=document.get("cameraFixed" if current else "camera_fixed") is True,
        generate_audio=None if current else document.get("generate_audio") is True,
        seed=document.get("seed"),
        mode="text" if is_text else "reference" if is_reference else "keyframe",
        image_urls=texts,
        sounds=len(sounds),
        upscale=find_text(document, "upscaleResolution") or "" if current else "",
    )


def is_alike(found: JobInput, request: NormalisedRequest) -> bool:
    """Return True if a job was made from this request, apart from pictures and take."""
    frames = len([one for one in (request.image, request.last_image) if one is not None])
    mode: Mode = "text" if request.text_only else "reference" if request.references else "keyframe"
    return (
        found.model in (None, request.model)
        and found.prompt == request.prompt.strip()
        and found.duration == str(request.duration_seconds)
        and found.resolution == request.resolution
        and found.aspect_ratio == request.aspect_ratio
        and found.camera_fixed == bool(request.camera_fixed)
        and found.generate_audio in (None, bool(request.generate_audio))
        and found.seed == request.seed
        and found.mode == mode
        and len(found.image_urls) == frames + len(request.references)
        and found.sounds == sum(one.kind == "audio" for one in request.references)
        and found.upscale == (request.upscale or "")
    )


def estimate_cost(found: JobInput | None) -> int:
    """Return the price table's price of a job in micro-USDC; 0 if it has none."""
    if found is None or found.model is None or not found.duration.isascii() or not found.duration.isdigit():
        return 0
    rates = {key: rate for key, rate in PRICE_MICRO_USDC_PER_SECOND.items() if key[:2] == (found.dialect, found.model)}
    rate = next((rate for key, rate in rates.items() if key[2] == found.resolution), 0)
    factor = UPSCALE_FACTORS["4k" if found.upscale else None]
    return rate * factor * min(int(found.duration[:3]), 60)
