"""Picture checks: what a caller should know of a request's pictures before it is paid for. Pure.

The studio is the judge of a picture. These are its model's documented bounds, and a video that fails for them may be
lost with its price; so a picture outside them is refused here until the caller insists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import Argument, NextStep, Repeat
from seedance_mcp.generation.source_images import Picture
from seedance_mcp.payments import policy

SIDE_MIN = 300
RATIO_MIN, RATIO_MAX = 0.4, 2.5
"""Shortest side in pixels, and width divided by height. Source: BytePlus ModelArk, Seedance image-to-video, images."""
RATIO_TOLERANCE = 0.02
"""How far the shape of a picture may be from the video's before it is cropped or padded visibly."""

_NAMED_RATIOS = {"3:2": 3 / 2, "2:3": 2 / 3, "4:3": 4 / 3, "3:4": 3 / 4, "16:9": 16 / 9, "9:16": 9 / 16, "1:1": 1.0}


def find_risk(pictures: Sequence[Picture]) -> str | None:
    """Return why Seedance is likely to refuse a request's pictures, or None."""
    for picture in pictures:
        if picture.kind != "image":
            continue
        width, height = picture.sent_size
        if min(width, height) < SIDE_MIN:
            return f"The picture is {width}x{height}. Seedance is known to refuse a side under {SIDE_MIN} pixels."
        if not RATIO_MIN <= width / height <= RATIO_MAX:
            return (
                f"The picture is {width}x{height}. Seedance is known to refuse pictures more than 2.5 times as "
                "long as wide."
            )
    return None


def check_risk(pictures: Sequence[Picture], *, accept_risk: bool) -> None:
    """Raise if Seedance is likely to refuse a picture, unless the caller insists.

    Raises:
        ImageError: It is; nothing is paid.
    """
    risk = None if accept_risk else find_risk(pictures)
    if risk is not None:
        raise ImageError(
            f"{risk} A video that fails after its payment may not be refunded.",
            NextStep(
                "Use another picture. To insist, {0} with {1}.", Repeat(changed=True), Argument("accept_risk", True)
            ),
        )


def describe_unread_urls(pictures: Sequence[Picture]) -> tuple[str, ...]:
    """Return why pictures with a URL of the caller's are uploaded, as a note; nothing if none of them has one."""
    if not any(picture.url for picture in pictures):
        return ()
    price = format_usdc(policy.UPLOAD_APPROVAL.max_price_micro_usdc)
    return (f"The studio does not read the picture from its URL, so a copy is uploaded, once (${price}).",)


def describe_pictures(pictures: Sequence[Picture], aspect_ratio: str, *, are_frames: bool = True) -> tuple[str, ...]:
    """Return what was done to a request's pictures, and what the studio will do to them, as notes.

    Args:
        pictures: The first frame and perhaps the last; or references.
        aspect_ratio: The video's, such as `4:3`.
        are_frames: False for references, which keep their shape.
    """
    notes: list[str] = []
    names = ("The picture", "The last picture") if are_frames else tuple(_number_references(pictures))
    for picture, which in zip(pictures, names, strict=False):
        if picture.changes:
            notes.append(f"{which} was prepared for the studio: {', '.join(picture.changes)}.")
        if picture.was_url:
            notes.append(
                f"The studio cannot use the file at that URL as it is, so a prepared copy is uploaded, once "
                f"(${format_usdc(policy.UPLOAD_APPROVAL.max_price_micro_usdc)})."
            )
    if not are_frames or not pictures:
        return tuple(notes)
    first = pictures[0]
    across, down = (int(part) for part in aspect_ratio.split(":"))
    shape = first.width / first.height
    if abs(shape * down / across - 1) > RATIO_TOLERANCE:
        named = next(
            (name for name, ratio in _NAMED_RATIOS.items() if abs(shape / ratio - 1) < RATIO_TOLERANCE / 2), None
        )
        size = f"{first.width}x{first.height}"
        notes.append(
            f"The picture is {size if named is None else f'{size} ({named})'} and the video is {aspect_ratio}: "
            "the studio crops or pads it."
        )
    return tuple(notes)


def _number_references(pictures: Sequence[Picture]) -> Iterator[str]:
    """Yield the names by which a prompt means the references, such as `@image1`."""
    counts: Counter[str] = Counter()
    for picture in pictures:
        counts[picture.kind] += 1
        yield f"@{picture.kind}{counts[picture.kind]}"
