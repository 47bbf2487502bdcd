"""The request that a job's document repeats, in our one vocabulary, whichever dialect it was written in.

Used to find what was bought before where the ledger does not know it. Never a price, and never a reason to pay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from seedance_mcp.core.wire.generation import MODELS, PRICE_MICRO_USDC_PER_SECOND, Dialect, GenerationRequest, Model
from seedance_mcp.core.wire.json import Json, find_list, find_text

_KIND = "-i2v"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """What a job was made from.

    Attributes:
        model: None where the job does not say.
        duration: Seconds, as the text that it is on the wire.
        camera_fixed: False where it is left out.
        generate_audio: False where it is left out; None in the current dialect, whose videos always carry audio.
        image_urls: Of the first frame and, where there is one, the last.
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
    """Read a job's `input`; None where it is missing or no image-to-video request that we know.

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


def is_alike(found: JobInput, request: GenerationRequest) -> bool:
    """Return True if a job was made from this request, its pictures and its take apart."""
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
    """Return what the price table knows of a job's price, in micro-USDC; 0 where it knows nothing."""
    if found is None or found.model is None or not found.duration.isascii() or not found.duration.isdigit():
        return 0
    rates = {key: rate for key, rate in PRICE_MICRO_USDC_PER_SECOND.items() if key[:2] == (found.dialect, found.model)}
    rate = next((rate for key, rate in rates.items() if key[2] == found.resolution), 0)
    return rate * min(int(found.duration[:3]), 60)
