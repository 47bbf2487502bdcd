"""The generation request: one vocabulary for callers, two dialects for the studio.

The *classic* dialect (`image`, `resolution`, `aspect_ratio`, …) and the *current* one (`urls`, `outputResolution`,
`aspectRatio`, …) share routes, 402s, uploads and jobs; only this body and its price differ. The studio's OpenAPI
document declares the dialect of a route; a remembered one is never used.

An argument that the dialect does not have is refused here, before any payment, if it would change the video. It becomes
a note if it only states the studio's fixed behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from seedance_mcp.core.errors import RequestError, StudioProtocolError
from seedance_mcp.core.idempotency import normalise
from seedance_mcp.core.money import MicroUSDC, format_usdc, parse_usdc
from seedance_mcp.core.next_steps import Argument, NextStep, RaiseTake
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.json import Json, encode_json, find_list, find_object, find_text, parse_json_object

Model = Literal["seedance-fast", "seedance"]
Resolution = Literal["480p", "720p", "1080p"]
AspectRatio = Literal["16:9", "9:16", "4:3", "3:4", "1:1", "21:9"]
Dialect = Literal["classic", "current"]

MODELS: tuple[Model, ...] = get_args(Model)
RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)
ASPECT_RATIOS: tuple[AspectRatio, ...] = get_args(AspectRatio)
PROMPT_CHARACTERS_MAX = 4000
DURATION_SECONDS_MIN, DURATION_SECONDS_MAX = 4, 15
SEED_MAX = 2**53 - 1
"""The largest integer that every JSON reader reads exactly, and the studio's own bound."""

CEILING_MICRO_USDC_DEFAULT = MicroUSDC(20_000_000)
"""Price that a route quotes for an invalid body, if its OpenAPI document does not declare one."""

PRICE_MICRO_USDC_PER_SECOND: dict[tuple[Dialect, Model, Resolution], int] = {
    ("classic", "seedance", "480p"): 82_500,
    ("classic", "seedance", "720p"): 82_500,
    ("classic", "seedance", "1080p"): 82_500,
    ("classic", "seedance-fast", "480p"): 10_000,
    ("classic", "seedance-fast", "720p"): 10_000,
    ("classic", "seedance-fast", "1080p"): 10_000,
    ("current", "seedance", "480p"): 90_000,
    ("current", "seedance", "720p"): 240_000,
    ("current", "seedance", "1080p"): 540_000,
    ("current", "seedance-fast", "480p"): 80_000,
    ("current", "seedance-fast", "720p"): 168_000,
}
"""Known prices, for a plausibility check and an estimate. The price itself is that of the 402."""

FAR_ABOVE_PERCENT = 150
"""A quote above this percentage of the table's price needs the caller's explicit approval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalisedRequest:
    """A video request, in our one vocabulary.

    Attributes:
        image: SHA-256 of the first frame's bytes.
        last_image: The same for the last frame, or None.
        seed: Reproduces a take, if the dialect has seeds.
        take: A number that makes an otherwise identical request another purchase.
    """

    model: Model
    prompt: str
    image: str
    last_image: str | None
    duration_seconds: int
    resolution: Resolution
    aspect_ratio: AspectRatio
    camera_fixed: bool | None
    generate_audio: bool | None
    seed: int | None
    take: int

    def arguments(self) -> dict[str, object]:
        """Return the arguments under the tools' names, for people to read and for idempotency keys."""
        return {
            "model": self.model,
            "prompt": self.prompt,
            "image": self.image,
            "last_image": self.last_image,
            "duration": self.duration_seconds,
            "resolution": self.resolution,
            "aspect_ratio": self.aspect_ratio,
            "camera_fixed": self.camera_fixed,
            "generate_audio": self.generate_audio,
            "seed": self.seed,
            "take": self.take,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteContract:
    """The OpenAPI declaration of one generation route.

    Attributes:
        dialect: The dialect of its body.
        ceiling_micro_usdc: The highest price of the route, which it also quotes for an invalid body.
        fields: Names of the request's properties.
        choices: For each property with an enumeration, its values.
    """

    dialect: Dialect
    ceiling_micro_usdc: MicroUSDC
    fields: frozenset[str]
    choices: dict[str, tuple[str, ...]]

    @property
    def carries_audio(self) -> bool:
        """Return True if the route has a switch for audio."""
        return _NAMES[self.dialect]["generate_audio"] in self.fields


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationBody:
    """The bytes that are first quoted and then paid for, unchanged, and notes for the caller."""

    data: bytes
    notes: tuple[str, ...]


def generation_path(model: Model) -> str:
    """Return the route of a model. Source: contract section 1."""
    return f"/api/generate/{model}/i2v"


def read_route_contract(openapi: bytes, model: Model) -> RouteContract:
    """Read the contract of a studio's route.

    Args:
        openapi: The body of `GET /openapi.json`.
        model: The model of the route.

    Raises:
        StudioProtocolError: Not an OpenAPI document, no such route, or neither dialect.
    """
    document = parse_json_object(openapi, "The studio's openapi.json")
    operation = find_object(find_object(find_object(document, "paths"), generation_path(model)), "post")
    media = find_object(find_object(operation, "requestBody"), "content")
    schema = _resolve(document, find_object(find_object(media, "application/json"), "schema"))
    properties = find_object(schema, "properties")
    if "urls" in properties:
        dialect: Dialect = "current"
    elif "image" in properties:
        dialect = "classic"
    else:
        raise StudioProtocolError(
            f"The studio's openapi.json declares no image-to-video request for {model} that this version can write."
        )
    choices: dict[str, tuple[str, ...]] = {}
    for name in properties:
        values = find_list(_resolve(document, find_object(properties, name)), "enum")
        if values:
            choices[name] = tuple(value for value in values if isinstance(value, str))
    price = find_object(find_object(operation, "x-payment-info"), "price")
    return RouteContract(
        dialect=dialect,
        ceiling_micro_usdc=_read_ceiling(price.get("max")),
        fields=frozenset(properties),
        choices=choices,
    )


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


def check_request(request: NormalisedRequest) -> None:
    """Check that a request is valid in at least one dialect.

    Raises:
        RequestError: With the invalid argument and its allowed values.
    """
    check_prompt(request.prompt)
    if not DURATION_SECONDS_MIN <= request.duration_seconds <= DURATION_SECONDS_MAX:
        raise RequestError(
            f"duration is {request.duration_seconds}; "
            f"allowed are {DURATION_SECONDS_MIN} to {DURATION_SECONDS_MAX} seconds."
        )
    if request.seed is not None and abs(request.seed) > SEED_MAX:
        raise RequestError(f"seed is beyond {SEED_MAX}, the largest that the studio takes.", "Choose a smaller one.")


def check_prompt(text: str) -> None:
    """Check that a prompt is neither empty nor too long.

    Raises:
        RequestError: It is.
    """
    prompt = text.strip()
    if not prompt:
        raise RequestError("The prompt is empty.", "Say in words what should move and how.")
    try:
        # The studio counts UTF-16 units, and answers a longer prompt with its ceiling instead of a reason.
        characters = len(prompt.encode("utf-16-le")) // 2
    except UnicodeEncodeError as exc:
        raise RequestError("The prompt holds characters that are not Unicode text.", "Write it again.") from exc
    if characters > PROMPT_CHARACTERS_MAX:
        raise RequestError(
            f"The prompt has {characters} characters (an emoji counts as two); {PROMPT_CHARACTERS_MAX} are allowed.",
            "Shorten it.",
        )


def encode_generation(
    request: NormalisedRequest, contract: RouteContract, *, image_url: str, last_image_url: str | None
) -> GenerationBody:
    """Write the request in the studio's dialect.

    Args:
        request: The video request.
        contract: The contract of the studio's route.
        image_url: Public URL of the first frame.
        last_image_url: Public URL of the last frame, or None.

    Raises:
        RequestError: The dialect or the model does not support an argument.

    Source: contract, "Two dialects", and section 2 (every main field always sent, nothing extra).
    """
    names = _NAMES[contract.dialect]
    normal = normalise(request.arguments(), contract.dialect, carries_audio=contract.carries_audio)
    body: dict[str, object] = {}
    if contract.dialect == "classic":
        body["image"] = image_url
        if last_image_url is not None:
            body["last_image"] = last_image_url
    body["prompt"] = normal["prompt"]
    values = {
        "duration": str(request.duration_seconds),
        "resolution": request.resolution,
        "aspect_ratio": request.aspect_ratio,
    }
    for argument, name in names.items():  # in the order of the contract's examples
        if argument in values:
            body[name] = _choose(contract, name, values[argument], argument, request.model)
    if contract.dialect == "current":
        urls = [image_url] if last_image_url is None else [image_url, last_image_url]
        body |= {"mode": "keyframe", "urls": urls, "urlMediaTypes": ["image"] * len(urls)}
    notes: list[str] = []
    for argument, asked in (
        ("camera_fixed", request.camera_fixed),
        ("generate_audio", request.generate_audio),
        ("seed", request.seed),
    ):
        # Classic: always sent, so that a purchase never depends on a default of the studio.
        value = normal[argument] if contract.dialect == "classic" else asked
        if names[argument] in contract.fields and value is not None:
            body[names[argument]] = value
        elif asked is not None:
            notes += _note_or_refuse(argument, asked)
    return GenerationBody(data=encode_json(body), notes=tuple(notes))


_NAMES: dict[Dialect, dict[str, str]] = {
    "classic": {
        name: name for name in ("duration", "resolution", "aspect_ratio", "camera_fixed", "generate_audio", "seed")
    },
    "current": {
        "duration": "duration",
        "aspect_ratio": "aspectRatio",
        "resolution": "outputResolution",
        "camera_fixed": "cameraFixed",
        "generate_audio": "generateAudio",
        "seed": "seed",
    },
}
"""Names of the arguments in a body, by dialect."""


def _choose(contract: RouteContract, name: str, value: str, argument: str, model: Model) -> str:
    choices = contract.choices.get(name, ())
    if choices and value not in choices:
        raise RequestError(
            f"{argument} {value} is not available for {model} at this studio; it offers "
            f"{', '.join(quote_text(choice, 12).strip('«»') for choice in choices[:20])}.",
            "Choose one of these.",
        )
    return value


def _note_or_refuse(argument: str, requested: object) -> list[str]:
    """Refuse an argument that would be ignored and change the video; return a note for one that changes nothing.

    Source: contract, "Two dialects".
    """
    if argument == "seed":
        raise RequestError(
            "This studio's Seedance has no seed, so a take cannot be reproduced.",
            NextStep("Leave {0} out; to buy a different take of the same request, {1}.", Argument("seed"), RaiseTake()),
        )
    if argument == "camera_fixed" and requested is True:
        raise RequestError(
            "This studio's Seedance has no camera lock.",
            NextStep(
                "Leave {0} out and write it in the prompt, e.g. “locked-off static camera, no camera movement”.",
                Argument("camera_fixed"),
            ),
        )
    if argument == "camera_fixed":
        return ["This studio's Seedance has no camera lock; asking for none changes nothing."]
    if requested is False:
        return ["Videos of this studio always have native audio; switching it off has no effect."]
    return ["Videos of this studio always have native audio; asking for it changes nothing."]


def estimate_price(dialect: Dialect, request: NormalisedRequest) -> MicroUSDC | None:
    """Return the table's price of a request, or None if it has none."""
    rate = PRICE_MICRO_USDC_PER_SECOND.get((dialect, request.model, request.resolution))
    return None if rate is None else MicroUSDC(rate * request.duration_seconds)


def is_ceiling(amount_micro_usdc: int, contract: RouteContract, estimate: MicroUSDC | None) -> bool:
    """Return True if a quote is the route's ceiling, which means that our body is invalid and is never a price.

    The longest classic video costs as much as the ceiling. So a quote that equals the price table's price is a price.

    Source: contract section 4, "The 20-dollar trap".
    """
    ceilings = {contract.ceiling_micro_usdc, CEILING_MICRO_USDC_DEFAULT}
    return amount_micro_usdc in ceilings and amount_micro_usdc != estimate


def warn_far_above(amount_micro_usdc: int, estimate: MicroUSDC | None) -> str | None:
    """Return a warning if a quote is far above the price table's price, otherwise None."""
    if estimate is None or amount_micro_usdc * 100 <= estimate * FAR_ABOVE_PERCENT:
        return None
    return (
        f"The studio asks ${format_usdc(amount_micro_usdc)}; such a video was known to cost ${format_usdc(estimate)}."
    )


def same_body(sent: bytes, seen: object) -> bool:
    """Return True if a job's `input` is the body that we sent; additional fields are allowed."""
    if not isinstance(seen, dict):
        return False
    body = parse_json_object(sent, "A stored request")
    return all(cast("Json", seen).get(key) == value for key, value in body.items())
