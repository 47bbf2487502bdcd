"""Request: the arguments of one video, and the same with its pictures read and its idempotency key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedance_mcp.adapters.media.images import nearest_aspect_ratio
from seedance_mcp.core.errors import PolicyError
from seedance_mcp.core.idempotency import GenerationKeys, generation_keys
from seedance_mcp.core.limits import Limits
from seedance_mcp.core.wire.generation import AspectRatio, Model, NormalisedRequest, Resolution, check_request
from seedance_mcp.generation.source_images import Picture, SourceImages


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRequest:
    """What a caller asks for, in the tools' words.

    Attributes:
        image: A local path or an https URL.
        last_image: The same for the last frame, or None.
        duration: Seconds.
        aspect_ratio: `auto` is the image's own shape.
        take: A number that makes an otherwise identical order another purchase.
        accept_risk: Whether to buy although Seedance is likely to refuse a picture; not part of the identity.
    """

    image: str
    prompt: str
    last_image: str | None = None
    model: Model = "seedance-fast"
    duration: int = 4
    resolution: Resolution = "480p"
    aspect_ratio: AspectRatio | Literal["auto"] = "auto"
    camera_fixed: bool | None = None
    generate_audio: bool | None = None
    seed: int | None = None
    take: int = 1
    accept_risk: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRequest:
    """An order whose pictures were read: its request has an identity now."""

    request: NormalisedRequest
    pictures: tuple[Picture, ...]
    keys: GenerationKeys


async def prepare(order: VideoRequest, *, images: SourceImages, limits: Limits, wallet: str) -> PreparedRequest:
    """Read an order's pictures and give it its identity; asks no studio and spends nothing.

    Args:
        order: What is wanted.
        images: Reads its pictures.
        limits: What the owner allows.
        wallet: The paying address.

    Raises:
        PolicyError: The owner does not allow the model.
        RequestError: An argument is out of range.
        ImageError: A picture is not there, not allowed, or not a picture.
    """
    if limits.models and order.model not in limits.models:
        raise PolicyError(
            f"The model {order.model} is not allowed (SEEDANCE_MODELS).", f"Choose {' or '.join(limits.models)}."
        )
    pictures = [await images.load(order.image)]
    if order.last_image is not None:
        pictures.append(await images.load(order.last_image))
    first = pictures[0]
    ratio = order.aspect_ratio
    request = NormalisedRequest(
        model=order.model,
        prompt=order.prompt,
        image=first.sha256,
        last_image=pictures[1].sha256 if len(pictures) > 1 else None,
        duration_seconds=order.duration,
        resolution=order.resolution,
        aspect_ratio=nearest_aspect_ratio(first.width, first.height) if ratio == "auto" else ratio,
        camera_fixed=order.camera_fixed,
        generate_audio=order.generate_audio,
        seed=order.seed,
        take=order.take,
    )
    check_request(request)
    keys = generation_keys(request.arguments(), wallet=wallet, studio=images.studio.origin)
    return PreparedRequest(request=request, pictures=tuple(pictures), keys=keys)
