"""Film plans: from a storyboard to its shots with their idempotency keys. Asks no studio and spends nothing.

A shot without a picture starts from the last frame of the shot before it. Its identity is that of the shot before it,
never the bytes of the frame, so that another decoder or a deleted file buys nothing again. So every key of a film is
known before its first shot is bought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seedance_mcp.core.errors import ImageError, RequestError
from seedance_mcp.core.films import FILM_PREFIX
from seedance_mcp.core.idempotency import film_key, last_frame_key, shot_key
from seedance_mcp.core.limits import Limits
from seedance_mcp.core.next_steps import Argument, NextStep
from seedance_mcp.core.wire.generation import AspectRatio
from seedance_mcp.generation.film_request import SHOTS_MAX, FilmRequest, ShotRequest
from seedance_mcp.generation.preparation import PreparedRequest, prepare
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.generation.source_images import Picture, SourceImages

FRAME_SIZES: dict[AspectRatio, tuple[int, int]] = {
    "16:9": (1280, 720), "9:16": (720, 1280), "4:3": (960, 720), "3:4": (720, 960), "1:1": (720, 720),
    "21:9": (1260, 540),
}  # fmt: skip
"""A size of each shape, for a frame that does not exist yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedShot:
    """One shot with its keys.

    Attributes:
        request: Its arguments; a chained shot's picture is named for people alone.
        prepared: Its identity; the picture of a chained shot has no bytes yet.
        is_chained: True if it starts from the last frame of the shot before it.
        head: The picture that its chain begins with; None where that begins with references or a prompt alone.
    """

    request: VideoRequest
    prepared: PreparedRequest
    is_chained: bool
    head: Picture | None


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
    head: Picture | None = None
    for number, shot in enumerate(request.shots, 1):
        asked = _write_request(request, shot, number)
        first = None
        if shot.is_chained:
            first = _stand_in(head, shots[-1].prepared, last_frame_key(identities[-1]))
        try:
            prepared = await prepare(asked, images=images, limits=limits, wallet=wallet, caller=caller, first=first)
        except (RequestError, ImageError) as exc:
            raise exc.at(f"Shot {number}") from exc
        if not shot.is_chained:
            head = None if shot.image is None else prepared.pictures[0]
        identities.append(shot_key(prepared.request.arguments(), **whose))
        shots.append(PlannedShot(request=asked, prepared=prepared, is_chained=shot.is_chained, head=head))
    _check_shapes(shots)
    return FilmPlan(film_id=FILM_PREFIX + film_key(identities)[:32], request=request, shots=tuple(shots))


def _write_request(request: FilmRequest, shot: ShotRequest, number: int) -> VideoRequest:
    options: dict[str, Any] = {
        **request.options,
        "image": f"the last frame of shot {number - 1}" if shot.is_chained else shot.image,
        "prompt": shot.prompt,
        "last_image": shot.last_image,
        "references": shot.references,
        "text_only": shot.text_only,
    }
    if shot.duration is not None:
        options["duration"] = shot.duration
    return VideoRequest(**options)


def _stand_in(head: Picture | None, before: PreparedRequest, identity: str) -> Picture:
    """Return the first frame of a chained shot, which is known by its identity alone.

    Args:
        head: The picture that the chain begins with; None where it begins with references or a prompt alone.
        before: The shot before it, which has the same shape.
        identity: Of the frame.
    """
    width, height = (head.width, head.height) if head is not None else FRAME_SIZES[before.request.aspect_ratio]
    return Picture(sha256=identity, url=None, width=width, height=height, image=None)


def _check_shots(shots: Sequence[ShotRequest]) -> None:
    if not 0 < len(shots) <= SHOTS_MAX:
        raise RequestError(f"A film has 1 to {SHOTS_MAX} shots, not {len(shots)}.", "Make several films of a long one.")
    if shots[0].is_chained:
        raise RequestError(
            "The first shot has no picture.",
            NextStep(
                "Name its {0}: the shots after it may start from the frame before them. Or set its {1}.",
                Argument("image"),
                Argument("text_only", True),
            ),
        )


def _check_shapes(shots: Sequence[PlannedShot]) -> None:
    shapes = [shot.prepared.request.aspect_ratio for shot in shots]
    if len(set(shapes)) > 1:
        found = ", ".join(f"shot {number}: {shape}" for number, shape in enumerate(shapes, 1))
        raise RequestError(
            f"The pictures have different shapes ({found}).",
            NextStep("Choose one {0} for the whole film.", Argument("aspect_ratio")),
        )
