"""Preparation: a video request with its pictures read, so that it has an idempotency key."""

from __future__ import annotations

from dataclasses import dataclass

from seedance_mcp.adapters.media.images import nearest_aspect_ratio
from seedance_mcp.core.errors import PolicyError
from seedance_mcp.core.idempotency import GenerationKeys, generation_keys
from seedance_mcp.core.limits import Limits
from seedance_mcp.core.wire.generation import NormalisedRequest, check_request
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.generation.source_images import Picture, SourceImages


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRequest:
    """A request whose pictures were read: it has an identity now."""

    request: NormalisedRequest
    pictures: tuple[Picture, ...]
    keys: GenerationKeys


async def prepare(
    request: VideoRequest, *, images: SourceImages, limits: Limits, wallet: str, caller: str = ""
) -> PreparedRequest:
    """Read a request's pictures and compute its idempotency keys. It asks no studio and spends nothing.

    Args:
        request: The caller's request.
        images: Reads its pictures.
        limits: The owner's limits.
        wallet: The paying address.
        caller: Whose purchase it is; see `generation_keys`.

    Raises:
        PolicyError: The owner does not allow the model.
        RequestError: An argument is out of range.
        ImageError: A picture is missing, not allowed, or not a picture.
    """
    if limits.models and request.model not in limits.models:
        raise PolicyError(
            f"The model {request.model} is not allowed (SEEDANCE_MODELS).", f"Choose {' or '.join(limits.models)}."
        )
    pictures = [await images.load(request.image)]
    if request.last_image is not None:
        pictures.append(await images.load(request.last_image))
    first = pictures[0]
    ratio = request.aspect_ratio
    normalised = NormalisedRequest(
        model=request.model,
        prompt=request.prompt,
        image=first.sha256,
        last_image=pictures[1].sha256 if len(pictures) > 1 else None,
        duration_seconds=request.duration,
        resolution=request.resolution,
        aspect_ratio=nearest_aspect_ratio(first.width, first.height) if ratio == "auto" else ratio,
        camera_fixed=request.camera_fixed,
        generate_audio=request.generate_audio,
        seed=request.seed,
        take=request.take,
    )
    check_request(normalised)
    keys = generation_keys(normalised.arguments(), wallet=wallet, studio=images.studio.origin, caller=caller)
    return PreparedRequest(request=normalised, pictures=tuple(pictures), keys=keys)
