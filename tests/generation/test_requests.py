"""An order's arguments are spelt out wherever a framework reads or a face passes them: nowhere may one be forgotten."""

import ast
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

import pytest

from seedance_mcp.cli import video_commands
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.server import price_approval, tools

FIELDS = {
    field.name: inspect.Parameter.empty if field.default is MISSING else field.default for field in fields(VideoRequest)
}
"""Every argument with its default."""


@pytest.mark.parametrize("face", [tools.animate_image, tools.quote_price, video_commands.animate, video_commands.quote])
def test_every_face_takes_every_argument_with_the_same_default(face: Callable[..., Any]) -> None:
    taken = {name: parameter.default for name, parameter in inspect.signature(face).parameters.items()}
    if face in (video_commands.animate, video_commands.quote):  # many pictures, and a file of rows may have the prompts
        assert taken["images"] is taken["prompt"] is None
        taken |= {name: FIELDS[name] for name in ("image", "prompt")}

    assert {name: taken[name] for name in FIELDS} == FIELDS


@pytest.mark.parametrize(
    ("face", "passing", "passed"),
    [
        (tools.animate_image, "make_request", set(FIELDS)),
        (tools.quote_price, "make_request", set(FIELDS)),
        (price_approval.approve_price, "make_request", set(FIELDS)),
        (video_commands.animate, "_gather", set(FIELDS) - {"image"} | {"max_price_usd"}),
        (video_commands.quote, "_gather", set(FIELDS) - {"image"} | {"max_price_usd"}),
    ],
)
def test_every_face_passes_every_argument_on_under_its_own_name(
    face: Callable[..., Any], passing: str, passed: set[str]
) -> None:
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(face))) if isinstance(node, ast.Call)]
    [call] = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == passing]

    assert {keyword.arg for keyword in call.keywords} == passed
    assert all(isinstance(word.value, ast.Name) and word.value.id == word.arg for word in call.keywords)
