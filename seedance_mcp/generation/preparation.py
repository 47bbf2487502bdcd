"""Preparation: a video request with its pictures read, so that it has an idempotency key."""

from __future__ import annotations

from dataclasses import dataclass

from seedance_mcp.adapters.media.images import nearest_aspect_ratio
from seedance_mcp.core.errors import PolicyError
from seedance_mcp.core.idempotency import GenerationKeys, generation_keys
from seedance_mcp.core.limits import Limits
from seedance_mcp.core.wire.generation import AspectRatio, NormalisedRequest, Reference, check_request
from seedance_mcp.generation.inputs import check_inputs, load_inputs
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.generation.source_images import Picture, SourceImages

ASPECT_RATIO_UNFRAMED: AspectRatio = "16:9"
"""What `auto` means for a video that begins with no picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRequest:
    """A request whose pictures were read: it has an identity now."""

    request: NormalisedRequest
    pictures: tuple[Picture, ...]
    keys: GenerationKeys


async def prepare(
    request: VideoRequest,
    *,
    images: SourceImages,
    limits: Limits,
    wallet: str,
    caller: str = "",
    first: Picture | None = None,
) -> PreparedRequest:
    """Read a request's pictures and compute its idempotency keys. It asks no studio and spends nothing.

    Args:
        request: The caller's request.
        first: Its first frame, where no name of a picture stands for that; `image` is only for people then.
        images: Reads its pictures.
        limits: The owner's limits.
        wallet: The paying address.
        caller: Whose purchase it is; see `generation_keys`.

    Raises:
        PolicyError: The owner does not allow the model.
        RequestError: An argument is out of range.
        ImageError: A picture is missing, not allowed, or not a picture.
    """
    check_inputs(request)
    if limits.models and request.model not in limits.models:
        raise PolicyError(
            f"The model {request.model} is not allowed (SEEDANCE_MODELS).", f"Choose {' or '.join(limits.models)}."
        )
    pictures = await load_inputs(request, images, first=first)
    first, last = _find_frames(request, pictures)
    normalised = NormalisedRequest(
        model=request.model,
        prompt=request.prompt,
        image=None if first is None else first.sha256,
        last_image=None if last is None else last.sha256,
        duration_seconds=request.duration,
        resolution=request.resolution,
        aspect_ratio=_find_aspect_ratio(request, first),
        camera_fixed=request.camera_fixed,
        generate_audio=request.generate_audio,
        seed=request.seed,
        take=request.take,
        references=tuple(Reference(one.kind, one.sha256) for one in pictures) if request.references else (),
        text_only=request.text_only,
        upscale=request.upscale,
    )
    check_request(normalised)
    keys = generation_keys(normalised.arguments(), wallet=wallet, studio=images.studio.origin, caller=caller)
    return PreparedRequest(request=normalised, pictures=pictures, keys=keys)


def _find_frames(request: VideoRequest, pictures: tuple[Picture, ...]) -> tuple[Picture | None, Picture | None]:
    """Return the first and the last frame among a request's pictures."""
    first = pictures[0] if request.image is not None else None
    return first, pictures[1] if request.last_image is not None else None


def _find_aspect_ratio(request: VideoRequest, first: Picture | None) -> AspectRatio:
    """Return the shape of the video; `auto` is that of the first frame."""
    if request.aspect_ratio != "auto":
        return request.aspect_ratio
    return ASPECT_RATIO_UNFRAMED if first is None else nearest_aspect_ratio(first.width, first.height)
