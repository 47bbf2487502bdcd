"""Film plans: from a storyboard to its shots with their idempotency keys. Asks no studio and spends nothing.

A shot without a picture starts from the last frame of the shot before it. Its identity is that of the shot before it,
never the bytes of the frame, so that another decoder or a deleted file buys nothing again. So every key of a film is
known before its first shot is bought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.films import FILM_PREFIX
from seedance_mcp.core.idempotency import film_key, generation_keys, last_frame_key, shot_key
from seedance_mcp.core.limits import Limits
from seedance_mcp.core.next_steps import Argument, NextStep
from seedance_mcp.core.wire.generation import check_request
from seedance_mcp.generation.film_request import SHOTS_MAX, FilmRequest, ShotRequest
from seedance_mcp.generation.preparation import PreparedRequest, prepare
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.generation.source_images import SourceImages


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedShot:
    """One shot with its keys.

    Attributes:
        request: Its arguments; a chained shot has the picture that its chain begins with.
        prepared: Its identity; the picture of a chained shot has no bytes yet.
        is_chained: True if it starts from the last frame of the shot before it.
    """

    request: VideoRequest
    prepared: PreparedRequest
    is_chained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmPlan:
    """A film with the keys of all its shots."""

    film_id: str
    request: FilmRequest
    shots: tuple[PlannedShot, ...]

    @property
    def chains(self) -> list[list[int]]:
        """Return the numbers of the shots that are made one after the other; the chains are made side by side."""
        chains: list[list[int]] = []
        for number, shot in enumerate(self.shots):
            if shot.is_chained:
                chains[-1].append(number)
            else:
                chains.append([number])
        return chains


async def plan_film(
    request: FilmRequest, *, images: SourceImages, limits: Limits, wallet: str, caller: str = ""
) -> FilmPlan:
    """Read the pictures of a storyboard and compute the keys of its shots.

    Raises:
        PolicyError: The owner does not allow the model.
        RequestError: An argument is out of range, or the pictures have different shapes.
        ImageError: A picture is missing, not allowed, or not a picture.
    """
    _check_shots(request.shots)
    shots: list[PlannedShot] = []
    identities: list[str] = []
    whose = {"wallet": wallet, "studio": images.studio.origin, "caller": caller}
    head = ""
    for number, shot in enumerate(request.shots, 1):
        head = shot.image or head
        asked = _write_request(request, shot, head)
        try:
            prepared = await prepare(asked, images=images, limits=limits, wallet=wallet, caller=caller)
        except RequestError as exc:
            raise RequestError(f"Shot {number}: {exc.what}", exc.next_step) from exc
        if shot.image is None:
            prepared = _chain(prepared, last_frame_key(identities[-1]), whose)
        identities.append(shot_key(prepared.request.arguments(), **whose))
        shots.append(PlannedShot(request=asked, prepared=prepared, is_chained=shot.image is None))
    _check_shapes(shots)
    return FilmPlan(film_id=FILM_PREFIX + film_key(identities)[:32], request=request, shots=tuple(shots))


def _write_request(request: FilmRequest, shot: ShotRequest, image: str) -> VideoRequest:
    options: dict[str, Any] = {**request.options, "image": image, "prompt": shot.prompt, "last_image": shot.last_image}
    if shot.duration is not None:
        options["duration"] = shot.duration
    return VideoRequest(**options)


def _chain(prepared: PreparedRequest, identity: str, whose: dict[str, str]) -> PreparedRequest:
    """Return a shot whose first frame is known by its identity alone."""
    normalised = replace(prepared.request, image=identity)
    check_request(normalised)
    first = replace(prepared.pictures[0], sha256=identity, url=None, image=None, was_url=False)
    return replace(
        prepared,
        request=normalised,
        pictures=(first, *prepared.pictures[1:]),
        keys=generation_keys(
            normalised.arguments(), wallet=whose["wallet"], studio=whose["studio"], caller=whose["caller"]
        ),
    )


def _check_shots(shots: Sequence[ShotRequest]) -> None:
    if not 0 < len(shots) <= SHOTS_MAX:
        raise RequestError(f"A film has 1 to {SHOTS_MAX} shots, not {len(shots)}.", "Make several films of a long one.")
    if shots[0].image is None:
        raise RequestError(
            "The first shot has no picture.",
            NextStep("Name its {0}: the shots after it may start from the frame before them.", Argument("image")),
        )


def _check_shapes(shots: Sequence[PlannedShot]) -> None:
    shapes = [shot.prepared.request.aspect_ratio for shot in shots]
    if len(set(shapes)) > 1:
        found = ", ".join(f"shot {number}: {shape}" for number, shape in enumerate(shapes, 1))
        raise RequestError(
            f"The pictures have different shapes ({found}).",
            NextStep("Choose one {0} for the whole film.", Argument("aspect_ratio")),
        )
