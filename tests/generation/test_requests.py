"""The arguments of a video are written in one table, from which every interface is made."""

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from seedance_mcp.cli import video_commands
from seedance_mcp.cli.batch_input import COLUMNS
from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.wire.generation import DURATION_SECONDS_MAX, DURATION_SECONDS_MIN, NormalisedRequest
from seedance_mcp.generation.request import VIDEO_ARGUMENTS, VideoRequest
from seedance_mcp.server import tools

DEFAULTS = {one.name: one.default for one in VIDEO_ARGUMENTS}
NOT_IN_IDENTITY = {"accept_risk", "max_price_usd"}


@pytest.mark.parametrize("face", [tools.animate_image, tools.quote_price, video_commands.animate, video_commands.quote])
def test_every_interface_takes_every_argument_with_the_same_default(face: Callable[..., Any]) -> None:
    taken = {name: parameter.default for name, parameter in inspect.signature(face).parameters.items()}
    if face in (video_commands.animate, video_commands.quote):  # many pictures, and a file of rows may have the prompts
        assert taken["images"] is taken["prompt"] is None
        taken |= {name: DEFAULTS[name] for name in ("image", "prompt")}
        taken["references"] = tuple(taken["references"])
    elif face is tools.quote_price:  # or `shots`, which have prompts of their own
        taken |= {"prompt": DEFAULTS["prompt"]}

    assert {name: taken[name] for name in DEFAULTS} == DEFAULTS


def test_every_argument_is_a_column_of_a_batch_file() -> None:
    assert list(COLUMNS) == list(DEFAULTS)


def test_identity_has_every_argument_that_changes_the_video() -> None:
    empty: dict[str, Any] = {field.name: None for field in fields(NormalisedRequest)} | {"references": ()}
    request = NormalisedRequest(**empty)

    assert set(request.arguments()) == set(DEFAULTS) - NOT_IN_IDENTITY


KNOWN_SECONDS = (DURATION_SECONDS_MIN, DURATION_SECONDS_MAX)
"""What the description of `duration` repeats; a model that only the studio knows may take others."""


@pytest.mark.parametrize("argument", VIDEO_ARGUMENTS, ids=lambda one: one.name)
def test_description_repeats_range_and_default(argument: Any) -> None:
    words = set(re.findall(r"[\w:-]+", re.sub(r"([0-9])-([0-9])", r"\1 \2", argument.info.description)))
    bounds = KNOWN_SECONDS if argument.name == "duration" else (argument.info.minimum, argument.info.maximum)
    small = [bound for bound in bounds if bound and abs(bound) < 10**6]
    default = [] if argument.is_required or argument.default in (None, ()) else [argument.default]

    assert {str(one).lower() for one in (*small, *default)} <= words


def test_price_limit_is_read_as_an_amount() -> None:
    def read(text: str | None) -> int | None:
        return VideoRequest(image="a.png", prompt="x", max_price_usd=text).max_price_micro_usdc

    assert (read(None), read("0.5"), read("2")) == (None, 500_000, 2_000_000)
    with pytest.raises(RequestError, match="price limit"):
        read("much")
