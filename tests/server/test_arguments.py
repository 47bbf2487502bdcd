"""Arguments as models write them: what is certain is taken, and what could cost money is refused."""

import math
from typing import Any

import pytest

from seedance_mcp.core.errors import RequestError
from seedance_mcp.server.arguments import read_arguments
from seedance_mcp.server.tools import build_tools

SCHEMAS = {tool.name: tool.parameters for tool in build_tools()}
OPTIONAL = sorted(SCHEMAS["animate_image"]["properties"].keys() - {"image", "prompt"})
GIVEN = {"image": "/a.png", "prompt": "x"}


def read(**given: Any) -> dict[str, Any]:
    values = read_arguments({**GIVEN, **given}, SCHEMAS["animate_image"]).values
    assert values.items() >= GIVEN.items()
    return {name: value for name, value in values.items() if name not in GIVEN}


CANONICAL: dict[str, Any] = {
    "last_image": "/b.png", "model": "seedance", "duration": 6, "resolution": "720p", "aspect_ratio": "16:9",
    "camera_fixed": True, "generate_audio": False, "seed": 0, "take": 2, "accept_risk": True, "max_price_usd": "0.50",
    "wait_seconds": 45, "references": ["/c.png"], "text_only": True, "upscale": "4k",
}  # fmt: skip


def test_canonical_arguments_stay_as_they_are() -> None:
    assert CANONICAL.keys() == set(OPTIONAL)
    read = read_arguments({**GIVEN, **CANONICAL}, SCHEMAS["animate_image"])
    assert read.values == {**GIVEN, **CANONICAL}
    assert read.notes == ()


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_means_left_out(name: str) -> None:
    assert read(**{name: None}) == {}


@pytest.mark.parametrize("name", [name for name in OPTIONAL if name != "max_price_usd"])
def test_empty_text_means_left_out(name: str) -> None:
    assert read(**{name: ""}) == read(**{name: " "}) == {}


@pytest.mark.parametrize("value", [None, "", " "])
def test_required_argument_is_never_left_out(value: object) -> None:
    read = read_arguments({"image": value, "prompt": value}, SCHEMAS["animate_image"])
    assert read.values.keys() == {"prompt"}


SPELLINGS: list[tuple[str, object, object]] = [
    ("model", "Seedance-Fast", "seedance-fast"),
    ("model", "SEEDANCE", "seedance"),
    ("model", "seedance_fast", "seedance-fast"),
    ("upscale", "4K", "4k"),
    ("references", "/c.png", ["/c.png"]),
    ("references", '["/c.png"]', '["/c.png"]'),  # the SDK reads JSON
    ("resolution", "720P", "720p"),
    ("resolution", " 1080P ", "1080p"),
    ("aspect_ratio", "16x9", "16:9"),
    ("aspect_ratio", "9X16", "9:16"),
    ("aspect_ratio", "21 : 9", "21:9"),
    ("aspect_ratio", "4\u00d73", "4:3"),
    ("aspect_ratio", "1/1", "1:1"),
    ("aspect_ratio", "adaptive", "auto"),
    ("aspect_ratio", "Adaptive", "auto"),
    ("max_price_usd", 0.5, "0.5"),
    ("max_price_usd", 1, "1"),
    ("max_price_usd", "$0.50", "0.50"),
    ("max_price_usd", " $ 2 ", "2"),
    ("max_price_usd", 0.000001 * 250_000, "0.25"),
]


@pytest.mark.parametrize(("name", "given", "canonical"), SPELLINGS)
def test_other_spelling_is_read_as_the_canonical_one(name: str, given: object, canonical: object) -> None:
    assert read(**{name: given}) == {name: canonical}


DOUBTFUL: list[object] = [
    "", " ", "$", "1,000", "0,5", "1.000,50", "50 cents", "0.50 USD", "€1", "about 1", "null", "none", "[1]", "1e3",
    "+1", "-1", "-0.5", "0.1234567", ".", "1.", "NaN", "Infinity", "1_000", "1 000", "$$5", "\uff11", "1\n2", "9" * 10,
    -1, -0.5, 0.1234567, 0.1 + 0.2, 1e-7, 1e22, 10**9, 10**5000, math.nan, math.inf, True, False, [1], {},
]  # fmt: skip


@pytest.mark.parametrize("value", DOUBTFUL, ids=lambda value: repr(value)[:20] if not isinstance(value, int) else "int")
def test_doubtful_price_limit_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match="max_price_usd is not an amount"):
        read(max_price_usd=value)


@pytest.mark.parametrize("value", [-1, -1.0, "-1"])
def test_seed_of_minus_one_means_left_out(value: object) -> None:
    assert read(seed=value) == {}
    assert read(seed=-2) == {"seed": -2}


CLAMPED: list[tuple[str, str, object, object]] = [
    ("get_job", "wait_seconds", 300, 45),
    ("get_job", "wait_seconds", "300", 45),
    ("get_job", "wait_seconds", 300.0, 45),
    ("get_job", "wait_seconds", -5, 0),
    ("get_job", "wait_seconds", 10**5000, 45),
    ("list_jobs", "limit", 1000, 50),
    ("list_jobs", "limit", 0, 1),
]


@pytest.mark.parametrize(
    ("tool", "name", "given", "used"), CLAMPED, ids=lambda value: repr(value)[:12] if not isinstance(value, int) else ""
)
def test_waits_and_limits_are_clamped_with_a_note(tool: str, name: str, given: object, used: object) -> None:
    read = read_arguments({name: given}, SCHEMAS[tool])
    assert read.values == {name: used}
    assert read.notes == (f"{name}: {used} was used, the {'most' if used in (45, 50) else 'least'} that is possible.",)


@pytest.mark.parametrize(
    ("name", "value"),
    [("duration", 16), ("duration", 3), ("take", 0), ("resolution", "4k"), ("aspect_ratio", "2x1"),
     ("model", "adaptive"), ("model", 1), ("wait_seconds", "soon"), ("wait_seconds", 1.5), ("unknown", None),
     ("unknown", "")],
)  # fmt: skip
def test_what_has_no_certain_meaning_is_left_for_the_validation(name: str, value: object) -> None:
    assert read(**{name: value}) == {name: value}


def test_only_the_exact_name_of_a_host_is_ignored() -> None:
    assert read(wait_for_previous=True) == {}
    assert read(waitForPrevious=True) == {"waitForPrevious": True}
