"""Routes: what the studio's OpenAPI document declares for a generation route.

A route is a model and a task: a video from pictures (`i2v`) or from text alone (`t2v`). A model that the document
declares can be used without a release of ours. This module must not remember a contract or fetch one.

Source: contract sections 1 and 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from seedance_mcp.core.errors import RequestError, StudioProtocolError
from seedance_mcp.core.money import MicroUSDC, parse_usdc
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.json import Json, find_list, find_object, find_text, parse_json_object

Dialect = Literal["classic", "current"]
Task = Literal["i2v", "t2v"]

MODELS = ("seedance-fast", "seedance")
"""Models whose prices are known. Others are used if the studio declares them."""
MODEL_CHARACTERS_MAX = 40
MODELS_SHOWN_MAX = 10
"""How many models of a studio an error names."""

UPLOAD_PATH = "/api/upload"
TYPE_CHARACTERS_MAX = 30
"""How much of a media type an error shows."""

CEILING_MICRO_USDC_DEFAULT = MicroUSDC(20_000_000)
"""Price that a route quotes for an invalid body, if its OpenAPI document does not declare one."""

AUDIO_NAMES: dict[Dialect, str] = {"classic": "generate_audio", "current": "generateAudio"}
"""Name of the switch for audio in a body, by dialect."""

_MODEL = re.compile(r"seedance[a-z0-9]*(?:[.-][a-z0-9]+)*")
_PATH = re.compile(rf"/api/generate/({_MODEL.pattern})/(i2v|t2v)")


@dataclass(frozen=True, slots=True)
class Route:
    """A generation route of the studio.

    Attributes:
        model: Such as `seedance-fast`; see `check_model`.
        task: What the video is made from.
    """

    model: str
    task: Task = "i2v"

    @property
    def path(self) -> str:
        """Return the path of its URL. Source: contract section 1."""
        return f"/api/generate/{self.model}/{self.task}"

    @property
    def key(self) -> str:
        """Return its name in the ledger, which is the model's for a video from pictures."""
        return self.model if self.task == "i2v" else f"{self.model}/{self.task}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteContract:
    """The OpenAPI declaration of one generation route.

    Attributes:
        dialect: The dialect of its body.
        ceiling_micro_usdc: The highest price of the route, which it also quotes for an invalid body.
        fields: Names of the request's properties.
        choices: For each property with an enumeration, its values.
        upload_types: The media types that the studio takes as uploads; empty if it does not say.
    """

    dialect: Dialect
    ceiling_micro_usdc: MicroUSDC
    fields: frozenset[str]
    choices: dict[str, tuple[str, ...]]
    upload_types: tuple[str, ...] = ()

    @property
    def carries_audio(self) -> bool:
        """Return True if the route has a switch for audio."""
        return AUDIO_NAMES[self.dialect] in self.fields


def check_model(name: str) -> None:
    """Check that a text can be the name of a Seedance model, so that it is safe in a path.

    Raises:
        ValueError: It cannot.
    """
    if len(name) > MODEL_CHARACTERS_MAX or _MODEL.fullmatch(name) is None:
        raise ValueError(f"a Seedance model is needed: {', '.join(MODELS)}, or another one that the studio lists")


def read_route_contract(openapi: bytes, route: Route) -> RouteContract:
    """Read the contract of a studio's route.

    Args:
        openapi: The body of `GET /openapi.json`.
        route: The route.

    Raises:
        RequestError: The studio does not declare this route, which is not one that every studio has.
        StudioProtocolError: Not an OpenAPI document, a basic route is missing, or neither dialect.
    """
    document = parse_json_object(openapi, "The studio's openapi.json")
    paths = find_object(document, "paths")
    operation = find_object(find_object(paths, route.path), "post")
    properties = _find_properties(document, operation)
    upload = _find_properties(document, find_object(find_object(paths, UPLOAD_PATH), "post"))
    price = find_object(find_object(operation, "x-payment-info"), "price")
    return RouteContract(
        dialect=_find_dialect(route, properties, paths),
        ceiling_micro_usdc=_read_ceiling(price.get("max")),
        fields=frozenset(properties),
        choices=_read_choices(document, properties),
        upload_types=_read_choices(document, upload).get("contentType", ()),
    )


def check_upload_types(media_types: Iterable[str], contract: RouteContract) -> None:
    """Check that the studio takes uploads of these media types; one that declares none takes any.

    Raises:
        RequestError: It does not.

    Source: contract section 9 (the declared `contentType`).
    """
    for media_type in media_types:
        if contract.upload_types and media_type not in contract.upload_types:
            shown = ", ".join(quote_text(one, TYPE_CHARACTERS_MAX).strip("«»") for one in contract.upload_types[:20])
            raise RequestError(
                f"This studio takes no uploads of {media_type}; it takes {shown}.",
                "Convert the file, or give a public https URL of it.",
            )


def list_models(paths: Json, task: Task) -> list[str]:
    """Return the Seedance models that a document declares for a task and that can be named, in its order."""
    found = [_PATH.fullmatch(path) for path in paths]
    return [one[1] for one in found if one is not None and one[2] == task and len(one[1]) <= MODEL_CHARACTERS_MAX]


def _find_dialect(route: Route, properties: Json, paths: Json) -> Dialect:
    current, classic = ("urls", "image") if route.task == "i2v" else ("aspectRatio", "aspect_ratio")
    if current in properties:
        return "current"
    if classic in properties:
        return "classic"
    models = list_models(paths, route.task)
    if route.task == "t2v" and route.model not in models:
        raise RequestError(
            f"This studio makes no video from text alone with {route.model}.",
            f"Use {' or '.join(models[:MODELS_SHOWN_MAX])}." if models else "Give a picture.",
        )
    if route.model not in MODELS and route.model not in models:
        raise RequestError(
            f"This studio has no model {route.model}.",
            f"It has {', '.join(models[:MODELS_SHOWN_MAX])}." if models else "Leave the model out.",
        )
    kind = "image-to-video" if route.task == "i2v" else "text-to-video"
    raise StudioProtocolError(
        f"The studio's openapi.json declares no {kind} request for {route.model} that this version can write."
    )


def _find_properties(document: Json, operation: Json) -> Json:
    """Return the properties of an operation's JSON body."""
    media = find_object(find_object(operation, "requestBody"), "content")
    schema = _resolve(document, find_object(find_object(media, "application/json"), "schema"))
    return find_object(schema, "properties")


def _read_choices(document: Json, properties: Json) -> dict[str, tuple[str, ...]]:
    """Return the values of each property that has an enumeration."""
    choices: dict[str, tuple[str, ...]] = {}
    for name in properties:
        values = find_list(_resolve(document, find_object(properties, name)), "enum")
        if values:
            choices[name] = tuple(value for value in values if isinstance(value, str))
    return choices


def _resolve(document: Json, schema: Json) -> Json:
    """Follow one `$ref` into the same document's components."""
    reference = find_text(schema, "$ref")
    if reference is None or not reference.startswith("#/components/schemas/"):
        return schema
    name = reference.removeprefix("#/components/schemas/")
    return find_object(find_object(find_object(document, "components"), "schemas"), name)


def _read_ceiling(price: object) -> MicroUSDC:
    """Return the advertised maximum: a decimal string on every capture; a number of dollars is accepted too."""
    try:
        return parse_usdc(str(price))
    except ValueError:
        return CEILING_MICRO_USDC_DEFAULT
