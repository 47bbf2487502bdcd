"""The request that a job's document repeats, in our one vocabulary, from either dialect.

It serves to find earlier purchases that are not in the ledger. It is never a price, and never a reason to pay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from seedance_mcp.core.wire.generation import MODELS, PRICE_MICRO_USDC_PER_SECOND, Dialect, Model, NormalisedRequest
from seedance_mcp.core.wire.json import Json, find_list, find_text

_KIND = "-i2v"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """The request of a job.

    Attributes:
        model: None if the job does not name it.
        duration: Seconds, as the text that it is on the wire.
        camera_fixed: False if omitted.
        generate_audio: False if omitted; None in the current dialect, whose videos always have audio.
        image_urls: The URLs of the first frame and, if given, of the last frame.
    """

    dialect: Dialect
    model: Model | None
    prompt: str
    duration: str
    resolution: str
    aspect_ratio: str
    camera_fixed: bool
    generate_audio: bool | None
    seed: object
    image_urls: tuple[str, ...]


def read_model(kind: str | None) -> Model | None:
    """Return the model of a job's `type`, such as `seedance-fast-i2v`. Source: contract section 3."""
    name = (kind or "").removesuffix(_KIND)
    return next((model for model in MODELS if model == name), None)


def read_job_input(kind: str | None, document: Json | None) -> JobInput | None:
    """Read a job's `input`; return None if it is missing or not a known image-to-video request.

    Args:
        kind: The job's `type`.
        document: The job's `input`.
    """
    if not document or not isinstance(document.get("prompt"), str):
        return None
    dialect: Dialect = "current" if "urls" in document else "classic"
    found = find_list(document, "urls") if dialect == "current" else [document.get("image"), document.get("last_image")]
    urls = [url for url in found if url is not None]
    if not urls or not all(isinstance(url, str) for url in urls):
        return None
    current = dialect == "current"
    return JobInput(
        dialect=dialect,
        model=read_model(kind),
        prompt=str(document["prompt"]).strip(),
        duration=str(document.get("duration")),
        resolution=find_text(document, "outputResolution" if current else "resolution") or "",
        aspect_ratio=find_text(document, "aspectRatio" if current else "aspect_ratio") or "",
        camera_fixed=document.get("cameraFixed" if current else "camera_fixed") is True,
        generate_audio=None if current else document.get("generate_audio") is True,
        seed=document.get("seed"),
        image_urls=tuple(cast("list[str]", urls)),
    )


def is_alike(found: JobInput, request: NormalisedRequest) -> bool:
    """Return True if a job was made from this request, apart from pictures and take."""
    pictures = 1 if request.last_image is None else 2
    return (
        found.model in (None, request.model)
        and found.prompt == request.prompt.strip()
        and found.duration == str(request.duration_seconds)
        and found.resolution == request.resolution
        and found.aspect_ratio == request.aspect_ratio
        and found.camera_fixed == bool(request.camera_fixed)
        and found.generate_audio in (None, bool(request.generate_audio))
        and found.seed == request.seed
        and len(found.image_urls) == pictures
    )


def estimate_cost(found: JobInput | None) -> int:
    """Return the price table's price of a job in micro-USDC; 0 if it has none."""
    if found is None or found.model is None or not found.duration.isascii() or not found.duration.isdigit():
        return 0
    rates = {key: rate for key, rate in PRICE_MICRO_USDC_PER_SECOND.items() if key[:2] == (found.dialect, found.model)}
    rate = next((rate for key, rate in rates.items() if key[2] == found.resolution), 0)
    return rate * min(int(found.duration[:3]), 60)
