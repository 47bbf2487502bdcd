"""Inputs: what a video is made from: one or two frames, references, or text alone.

Which of them is meant is always said by an argument. Several pictures never mean references by themselves, and a
missing picture never means a video from text. This module must not upload or buy anything.
"""

from __future__ import annotations

from seedance_mcp.core.errors import ImageError, RequestError
from seedance_mcp.core.next_steps import Argument, NextStep
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.generation.source_images import Picture, SourceImages


def check_inputs(request: VideoRequest) -> None:
    """Check that a request says what its video is made from, in one way.

    Raises:
        ImageError: It names no picture, and does not say that it needs none.
        RequestError: It says two things at once.
    """
    is_framed = request.image is not None or request.last_image is not None
    if request.text_only and (is_framed or request.references):
        raise RequestError(
            "A video from text alone is wanted, and pictures or references are given.",
            NextStep("Leave {0} out, or the pictures and references.", Argument("text_only")),
        )
    if request.references and is_framed:
        raise RequestError(
            "Both frames and references are given; a video is made from one or the other.",
            NextStep(
                "To begin with a picture, leave {0} out. Otherwise put all pictures there, and name them in the "
                "prompt as @image1, @image2.",
                Argument("references"),
            ),
        )
    if request.image is None and not request.references and not request.text_only:
        raise ImageError(
            "No image was named.",
            NextStep(
                "Name a picture, or give {0}; or set {1} for a video from the prompt alone.",
                Argument("references"), Argument("text_only", True),
            ),
        )  # fmt: skip


async def load_inputs(
    request: VideoRequest, images: SourceImages, *, first: Picture | None = None
) -> tuple[Picture, ...]:
    """Read the files of a request: the frames, or the references with sounds last.

    Args:
        request: Names them.
        images: Reads them.
        first: The first frame, which then is not read by its name.

    Raises:
        ImageError: One is missing, not allowed, or not what it should be.
    """
    frames = [] if first is None else [first]
    names = (request.image if first is None else None, request.last_image)
    frames += [await images.load(one) for one in names if one is not None]
    references = [await images.load_reference(one) for one in request.references]
    return (*frames, *sorted(references, key=lambda one: one.kind == "audio"))
