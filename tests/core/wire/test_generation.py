"""The generation request in both dialects, and what is refused before any payment."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.errors import RequestError, StudioProtocolError
from seedance_mcp.core.wire.generation import (
    RESOLUTIONS,
    SEED_MAX,
    GenerationBody,
    Reference,
    check_request,
    encode_generation,
    same_body,
)
from seedance_mcp.core.wire.prices import FAR_ABOVE_PERCENT, estimate_price, is_ceiling, warn_price
from seedance_mcp.core.wire.routes import (
    CEILING_MICRO_USDC_DEFAULT,
    MODELS,
    Route,
    RouteContract,
    read_route_contract,
)
from tests.challenges import CAPTURES, REQUEST

from .hostile import BODIES, VALUES, mangled

URL = "https://example.blob.vercel-storage.com/uploads/abc/cat.png"
LAST_URL = "https://example.blob.vercel-storage.com/uploads/abc/dog.png"
CLASSIC_ROUTE, FAST_ROUTE = "/api/generate/seedance/i2v", "/api/generate/seedance-fast/i2v"


def read_recorded(dialect: str, model: str = "seedance") -> RouteContract:
    return read_route_contract(json.dumps(CAPTURES[f"openapi_{dialect}"]).encode(), Route(model))


def documented(model: str) -> RouteContract:
    """Return the current dialect as the live studio documents it: no seed, no audio switch, no 1080p on fast.

    Source: contract section 2 (2026-09-19); the recorded studio declares more.
    """
    document = json.loads(json.dumps(CAPTURES["openapi_current"]))
    operation = document["paths"][Route(model).path]["post"]
    properties = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    del properties["seed"], properties["generateAudio"]
    properties["aspectRatio"]["enum"].remove("auto")
    if model == "seedance-fast":
        properties["outputResolution"]["enum"].remove("1080p")
    operation["x-payment-info"]["price"] |= {"min": "0", "max": "20.00"}
    return read_route_contract(json.dumps(document).encode(), Route(model))


def write(contract: RouteContract, *, last: bool = False, **changes: Any) -> bytes:
    request = dataclasses.replace(REQUEST, **changes)
    return encode_generation(request, contract, [URL, LAST_URL] if last else [URL]).data


def test_classic_body_equals_the_contract_example() -> None:
    body = write(
        read_recorded("classic"),
        prompt="A cat slowly turning its head and blinking",
        camera_fixed=False,
        generate_audio=False,
    )
    assert body == (
        b'{"image":"https://example.blob.vercel-storage.com/uploads/abc/cat.png",'
        b'"prompt":"A cat slowly turning its head and blinking","duration":"5","resolution":"720p",'
        b'"aspect_ratio":"16:9","camera_fixed":false,"generate_audio":false}'
    )


def test_current_body_equals_the_contract_example() -> None:
    assert write(documented("seedance"), last=True, prompt="...") == (
        b'{"prompt":"...","duration":"5","aspectRatio":"16:9","outputResolution":"720p","mode":"keyframe",'
        b'"urls":["https://example.blob.vercel-storage.com/uploads/abc/cat.png",'
        b'"https://example.blob.vercel-storage.com/uploads/abc/dog.png"],"urlMediaTypes":["image","image"]}'
    )
    single = json.loads(write(documented("seedance")))
    assert (single["urls"], single["urlMediaTypes"]) == ([URL], ["image"])


def test_writes_every_argument_that_the_dialect_declares() -> None:
    classic = json.loads(write(read_recorded("classic"), last=True, seed=7, camera_fixed=True, generate_audio=True))
    assert (classic["last_image"], classic["seed"]) == (LAST_URL, 7)
    assert classic["camera_fixed"] is classic["generate_audio"] is True
    plain = json.loads(write(read_recorded("classic")))
    assert not {"seed", "last_image"} & set(plain)
    assert (
        plain["camera_fixed"] is plain["generate_audio"] is False
    )  # always sent, so that no default of the studio applies
    assert json.loads(write(read_recorded("current"))).keys() & {"seed", "cameraFixed", "generateAudio"} == set()
    current = json.loads(write(read_recorded("current"), seed=7, generate_audio=False))
    assert (current["seed"], current["generateAudio"]) == (7, False)


def test_cuts_blanks_around_the_prompt() -> None:
    for contract in (read_recorded("classic"), documented("seedance")):
        assert write(contract, prompt=" \n sway\t ") == write(contract, prompt="sway")


def test_non_english_text_is_sent_unchanged() -> None:
    assert "Ein Boot läuft aus 🚤".encode() in write(read_recorded("classic"), prompt="Ein Boot läuft aus 🚤")


@pytest.mark.parametrize(
    ("contract", "changes", "says"),
    [
        (documented("seedance"), {"seed": 7}, "has no seed"),
        (documented("seedance"), {"camera_fixed": True}, "locked-off static camera"),
        (documented("seedance-fast"), {"model": "seedance-fast", "resolution": "1080p"}, "it offers 480p, 720p"),
        (read_recorded("classic"), {"duration_seconds": 13}, "duration 13 is not available"),
        (read_recorded("classic"), {"aspect_ratio": "2:1"}, "aspect_ratio 2:1 is not available"),
        (documented("seedance"), {"aspect_ratio": "auto"}, "aspect_ratio auto is not available"),
        (documented("seedance"), {"duration_seconds": 16}, "duration 16 is not available"),
    ],
    ids=["seed", "camera-lock", "fast-1080p", "classic-13-s", "unknown-ratio", "auto-ratio", "current-16-s"],
)
def test_unsupported_argument_is_refused_by_name(contract: RouteContract, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        write(contract, **changes)
    assert caught.value.payment_state == "none"
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"camera_fixed": False}, "asking for none changes nothing"),
        ({"generate_audio": False}, "switching it off has no effect"),
        ({"generate_audio": True}, "asking for it changes nothing"),
    ],
)
def test_ineffective_argument_becomes_a_note(changes: dict[str, Any], says: str) -> None:
    request = dataclasses.replace(REQUEST, **changes)
    body = encode_generation(request, documented("seedance"), [URL])
    (note,) = body.notes
    assert says in note
    assert body.data == write(documented("seedance"))
    carried = encode_generation(request, read_recorded("classic"), [URL])
    assert carried.notes == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n\t"}, "prompt is empty"),
        ({"prompt": "a" * 4001}, "4001 characters"),
        ({"prompt": "😀" * 2001}, "4002 characters"),
        ({"prompt": "a\ud800"}, "not Unicode"),
        ({"duration_seconds": 3}, "allowed are 4 to 15"),
        ({"duration_seconds": 16}, "allowed are 4 to 15"),
        ({"duration_seconds": -5}, "allowed are 4 to 15"),
        ({"seed": SEED_MAX + 1}, "seed is beyond"),
        ({"seed": -SEED_MAX - 1}, "seed is beyond"),
    ],
)
def test_invalid_request_is_refused_before_any_exchange(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        check_request(dataclasses.replace(REQUEST, **changes))


def test_bounds_are_inclusive() -> None:
    for changes in (
        {"prompt": "a" * 4000}, {"prompt": "😀" * 2000}, {"duration_seconds": 4}, {"duration_seconds": 15},
        {"seed": SEED_MAX}, {"seed": -SEED_MAX},
    ):  # fmt: skip
        check_request(dataclasses.replace(REQUEST, **changes))


def test_recorded_contract_has_dialect_choices_and_ceiling() -> None:
    classic, current = read_recorded("classic"), read_recorded("current")
    assert (classic.dialect, current.dialect) == ("classic", "current")
    assert (classic.ceiling_micro_usdc, current.ceiling_micro_usdc) == (990_000, 8_100_000)
    assert read_recorded("classic", "seedance-fast").ceiling_micro_usdc == 120_000
    assert classic.choices["duration"] == tuple(str(seconds) for seconds in range(4, 13))
    assert current.choices["outputResolution"] == ("480p", "720p", "1080p")
    assert "seed" in classic.fields


def test_schema_may_be_named_by_reference() -> None:
    document = json.loads(json.dumps(CAPTURES["openapi_classic"]))
    content = document["paths"][CLASSIC_ROUTE]["post"]["requestBody"]["content"]["application/json"]
    document["components"] = {"schemas": {"Request": content["schema"]}}
    content["schema"] = {"$ref": "#/components/schemas/Request"}
    assert read_route_contract(json.dumps(document).encode(), Route("seedance")) == read_recorded("classic")


@pytest.mark.parametrize(
    ("price", "ceiling"),
    [
        ("0.99", 990_000), (0.99, 990_000), (20, 20_000_000), (None, None), (True, None), ("much", None), ([], None),
        ("-1", None),
    ],
)  # fmt: skip
def test_ceiling_not_in_dollars_is_the_default(price: object, ceiling: int | None) -> None:
    document = json.loads(json.dumps(CAPTURES["openapi_classic"]))
    document["paths"][CLASSIC_ROUTE]["post"]["x-payment-info"]["price"]["max"] = price
    contract = read_route_contract(json.dumps(document).encode(), Route("seedance"))
    assert contract.ceiling_micro_usdc == (CEILING_MICRO_USDC_DEFAULT if ceiling is None else ceiling)


@pytest.mark.parametrize("document", [{}, {"paths": {}}, {"paths": {CLASSIC_ROUTE: {"get": {}}}}, {"paths": [1]}])
def test_missing_route_is_named(document: object) -> None:
    with pytest.raises(StudioProtocolError, match="declares no image-to-video request for seedance"):
        read_route_contract(json.dumps(document).encode(), Route("seedance"))


@given(BODIES | mangled(CAPTURES["openapi_classic"]).map(lambda document: json.dumps(document).encode()))
def test_mangled_contract_is_read_or_raises_only_our_errors(openapi: bytes) -> None:
    failure = None
    try:
        contract = read_route_contract(openapi, Route("seedance"))
        body = encode_generation(REQUEST, contract, [URL])
    except (StudioProtocolError, RequestError) as exc:
        failure = exc
        contract, body = read_recorded("classic"), GenerationBody(data=b"{}", notes=())
    assert failure is None or len(str(failure)) < 1000
    assert same_body(body.data, json.loads(body.data))
    assert 0 <= contract.ceiling_micro_usdc <= 10**15


# ── the ceiling ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_longest_classic_video_costs_the_ceiling(resolution: Any) -> None:
    for model in MODELS:
        request = dataclasses.replace(REQUEST, model=model, duration_seconds=12, resolution=resolution)
        contract, estimate = read_recorded("classic", model), estimate_price("classic", request)
        assert estimate == contract.ceiling_micro_usdc
        assert not is_ceiling(contract.ceiling_micro_usdc, contract, estimate)
        assert is_ceiling(CEILING_MICRO_USDC_DEFAULT, contract, estimate)


def test_recorded_answers_to_a_wrong_body_are_ceilings() -> None:
    for dialect in ("classic", "current"):
        amount = int(CAPTURES[f"ceiling_challenge_{dialect}"]["accepts"][0]["amount"])
        contract = read_recorded(dialect)
        assert is_ceiling(amount, contract, estimate_price(contract.dialect, REQUEST))
        assert not is_ceiling(amount - 1, contract, estimate_price(contract.dialect, REQUEST))


def test_twenty_dollars_are_a_ceiling_without_an_estimate() -> None:
    assert is_ceiling(20_000_000, read_recorded("classic"), None)
    assert is_ceiling(20_000_000, documented("seedance"), estimate_price("current", REQUEST))


def test_estimate_is_seconds_times_rate_or_none() -> None:
    assert estimate_price("classic", REQUEST) == 412_500
    assert estimate_price("current", dataclasses.replace(REQUEST, duration_seconds=15)) == 3_600_000
    assert estimate_price("current", dataclasses.replace(REQUEST, resolution="480p", duration_seconds=4)) == 360_000
    fast = dataclasses.replace(REQUEST, model="seedance-fast", resolution="1080p")
    assert estimate_price("current", fast) is None


@given(st.integers(min_value=1, max_value=10**9))
def test_quote_is_far_above_only_beyond_the_percentage(amount: int) -> None:
    estimate = estimate_price("classic", REQUEST)
    assert estimate is not None
    assert (warn_price(amount, estimate) is None) == (amount * 100 <= estimate * FAR_ABOVE_PERCENT)
    assert "no price of such a video is known" in str(warn_price(amount, None))


OTHER: dict[str, Any] = {
    "model": "seedance-fast",
    "prompt": "another prompt",
    "image": "cd" * 32,
    "last_image": "ab" * 32,
    "duration_seconds": 6,
    "resolution": "480p",
    "aspect_ratio": "9:16",
    "camera_fixed": False,
    "generate_audio": False,
    "seed": 0,
    "take": 2,
    "references": (Reference("image", "ef" * 32),),
    "text_only": True,
    "upscale": "4k",
}


def test_arguments_have_the_tools_names() -> None:
    arguments = REQUEST.arguments()
    assert arguments["duration"] == 5
    assert set(arguments) == {"duration" if name == "duration_seconds" else name for name in OTHER}
    assert json.loads(json.dumps(arguments)) == arguments


def test_job_input_matches_despite_additional_fields() -> None:
    sent = write(read_recorded("classic"), seed=7)
    seen = json.loads(sent)
    assert same_body(sent, seen)
    assert same_body(sent, {**seen, "internal": 1})
    for name in seen:
        assert not same_body(sent, {**seen, name: "other"})
        assert not same_body(sent, {key: value for key, value in seen.items() if key != name})


@given(VALUES)
def test_other_input_does_not_match(seen: Any) -> None:
    assert not same_body(write(read_recorded("classic")), seen)
