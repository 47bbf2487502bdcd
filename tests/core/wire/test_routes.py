"""Routes that a studio declares: models and tasks that this version does not know, and declarations that are broken."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import RequestError, StudioProtocolError
from seedance_mcp.core.wire.contracts import read_contract, write_contract
from seedance_mcp.core.wire.generation import NormalisedRequest, check_request, encode_generation
from seedance_mcp.core.wire.prices import estimate_price, is_ceiling, warn_price
from seedance_mcp.core.wire.routes import (
    CEILING_MICRO_USDC_DEFAULT,
    Route,
    check_model,
    check_upload_types,
    list_models,
    read_route_contract,
)
from seedance_mcp.sandbox.api.contract import build_generate_routes, build_upload_schema
from seedance_mcp.sandbox.api.discovery import build_openapi
from tests.challenges import REQUEST

from .hostile import BODIES, VALUES, mangled

URL = "https://example.com/a.png"
ROUTES = (
    Route("seedance", "t2v"),
    Route("seedance-fast", "t2v"),
    Route("seedance-next"),
    Route("seedance-next", "t2v"),
)
DECLARED: dict[str, Any] = build_openapi(
    "current",
    build_generate_routes("current"),
    origin="http://127.0.0.1",
    rails=("x402",),
    upload_schema=build_upload_schema(),
)


def ask(route: Route, **changes: Any) -> NormalisedRequest:
    """Return a request that the route takes as it is declared."""
    is_text = route.task == "t2v"
    return replace(REQUEST, model=route.model, text_only=is_text, image=None if is_text else "ab" * 32, **changes)


def declare(route: Route, operation: Any) -> bytes:
    """Return a studio's declaration with another operation at one route."""
    return json.dumps({**DECLARED, "paths": {**DECLARED["paths"], route.path: {"post": operation}}}).encode()


def check_refusal(error: SeedanceError) -> None:
    assert error.payment_state == "none"
    assert str(error).isprintable()
    assert len(str(error)) < 1000


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_declared_route_is_written_with_nothing_extra(route: Route) -> None:
    contract = read_route_contract(json.dumps(DECLARED).encode(), route)
    body = json.loads(encode_generation(ask(route), contract, [] if route.task == "t2v" else [URL]).data)

    assert set(body) == {"prompt", "duration", "aspectRatio", "outputResolution"} | (
        set() if route.task == "t2v" else {"mode", "urls", "urlMediaTypes"}
    )
    assert contract.ceiling_micro_usdc == CEILING_MICRO_USDC_DEFAULT


@given(schema=mangled(build_upload_schema()) | VALUES)
def test_broken_declaration_of_uploads_takes_any_or_names_what_it_takes(schema: Any) -> None:
    content = {"content": {"application/json": {"schema": schema}}}
    paths = {**DECLARED["paths"], "/api/upload": {"post": {"requestBody": content}}}
    try:
        contract = read_route_contract(json.dumps({**DECLARED, "paths": paths}).encode(), Route("seedance"))
        check_upload_types(["image/png"], contract)
    except (StudioProtocolError, RequestError) as exc:
        check_refusal(exc)
        return
    assert not contract.upload_types or "image/png" in contract.upload_types


@pytest.mark.parametrize("route", ROUTES, ids=str)
@given(data=st.data())
def test_broken_declaration_changes_no_word_of_a_request(route: Route, data: st.DataObject) -> None:
    """It is refused with one of our errors, or what is written is what was asked for."""
    operation = data.draw(mangled(DECLARED["paths"][route.path]["post"]) | VALUES)
    request = ask(route, duration_seconds=data.draw(st.sampled_from([4, 15])))
    try:
        check_request(request)
        contract = read_route_contract(declare(route, operation), route)
        body = encode_generation(request, contract, [] if request.text_only else [URL])
    except (StudioProtocolError, RequestError) as exc:
        check_refusal(exc)
        return
    written = json.loads(body.data)
    assert (written["prompt"], written["duration"]) == (request.prompt, str(request.duration_seconds))
    assert {"urls", "image"}.isdisjoint(written) == request.text_only
    assert is_ceiling(20_000_000, contract, estimate_price(contract.dialect, request))
    if route.model == "seedance-next":
        assert warn_price(1, estimate_price(contract.dialect, request)) is not None, "a price needs the caller's limit"
    assert read_contract(json.loads(json.dumps(write_contract(contract)))) == contract


@given(BODIES | st.dictionaries(st.text() | st.from_regex(r"/api/generate/seedance.*/[it]2v"), VALUES).map(
    lambda paths: json.dumps({"paths": paths}).encode()
))  # fmt: skip
def test_any_document_is_read_or_raises_only_our_errors(openapi: bytes) -> None:
    for route in ROUTES:
        try:
            read_route_contract(openapi, route)
        except (StudioProtocolError, RequestError) as exc:
            check_refusal(exc)


@given(names=st.lists(st.from_regex(r"/api/generate/seedance.*/i2v", fullmatch=True), max_size=3))
def test_models_that_are_listed_can_be_named(names: list[str]) -> None:
    for model in list_models({name: {} for name in names}, "i2v"):
        check_model(model)


def test_endless_name_of_a_model_is_in_no_error() -> None:
    paths: dict[str, object] = {f"/api/generate/seedance{'x' * 5000}{number}/i2v": {} for number in range(12)}
    with pytest.raises(RequestError, match="Leave the model out") as caught:
        read_route_contract(json.dumps({"paths": paths}).encode(), Route("seedance-gone"))
    assert len(str(caught.value)) < 200
