"""What is known of a picture before it is paid for: Seedance's documented bounds, and what the studio crops or pads."""

import pytest

from seedance_mcp.core.errors import ImageError
from seedance_mcp.generation.picture_checks import check_risk, describe_pictures, find_risk
from seedance_mcp.generation.source_images import Picture


def picture(width: int, height: int) -> Picture:
    return Picture(sha256="0" * 64, url="https://x.test/a.png", width=width, height=height, image=None)


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ((64, 64), "a side under 300 pixels"),
        ((200, 150), "a side under 300 pixels"),
        ((299, 400), "a side under 300 pixels"),
        ((2000, 400), "2.5 times"),  # 5:1
        ((400, 2400), "2.5 times"),  # 1:6
        ((1004, 400), "2.5 times"),
    ],
)
def test_picture_outside_the_bounds_is_refused_until_the_caller_insists(size: tuple[int, int], why: str) -> None:
    pictures = [picture(1024, 768), picture(*size)]
    assert why in (find_risk(pictures) or "")
    with pytest.raises(ImageError, match=why):
        check_risk(pictures, accept_risk=False)
    check_risk(pictures, accept_risk=True)


@pytest.mark.parametrize("size", [(300, 300), (1000, 400), (400, 1000), (6500, 4300)])
def test_picture_within_the_bounds_is_no_risk(size: tuple[int, int]) -> None:
    assert find_risk([picture(*size)]) is None


@pytest.mark.parametrize(
    ("size", "ratio", "noted"),
    [
        ((1536, 1024), "4:3", "1536x1024 (3:2)"),
        ((1000, 1000), "16:9", "1000x1000 (1:1)"),
        ((1000, 700), "4:3", "1000x700 and"),
        ((1024, 768), "4:3", None),
        ((1920, 1085), "16:9", None),
    ],
)
def test_ratio_that_crops_or_pads_is_noted(size: tuple[int, int], ratio: str, noted: str | None) -> None:
    notes = describe_pictures([picture(*size)], ratio)
    assert bool(notes) is (noted is not None)
    assert all(noted and noted in note and f"the video is {ratio}" in note for note in notes)
