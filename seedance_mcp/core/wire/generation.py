"""The generation request: one vocabulary for callers, two dialects for the studio.

The *classic* dialect (`image`, `resolution`, `aspect_ratio`, …) and the *current* one (`urls`, `outputResolution`,
`aspectRatio`, …) share routes, 402s, uploads and jobs; only this body and its price differ. The studio's OpenAPI
document declares the dialect of a route; a remembered one is never used.

An argument that the dialect does not have is refused here, before any payment, if it would change the video. It becomes
a note if it only states the studio's fixed behaviour.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.idempotency import normalise
from seedance_mcp.core.next_steps import Argument, NextStep, RaiseTake
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.json import Json, encode_json, parse_json_object
from seedance_mcp.core.wire.routes import AUDIO_NAMES, MODELS, Dialect, Route, RouteContract

Resolution = Literal["480p", "720p", "1080p"]
AspectRatio = Literal["16:9", "9:16", "4:3", "3:4", "1:1", "21:9"]
Upscale = Literal["4k"]
MediaKind = Literal["image", "video", "audio"]

RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)
ASPECT_RATIOS: tuple[AspectRatio, ...] = get_args(AspectRatio)
PROMPT_CHARACTERS_MAX = 4000
DURATION_SECONDS_MIN, DURATION_SECONDS_MAX = 4, 15
"""Of the models whose prices are known. Source: contract section 2."""
DECLARED_SECONDS_MIN, DECLARED_SECONDS_MAX = 1, 60
"""Of a model that only the studio knows: its own schema says which of these it takes."""
REFERENCES_MAX, SOUNDS_MAX = 12, 3
"""Most pictures and videos, and most sounds, of one request. Source: contract section 2."""
SEED_MAX = 2**53 - 1
"""The largest integer that every JSON reader reads exactly, and the studio's own bound."""

_MENTION = re.compile(r"@(image|video|audio)([0-9]{1,4})\b", re.IGNORECASE)
"""How a prompt names a reference: its kind, and its number among those of its kind, from 1."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A file that a prompt may name.

    Attributes:
        kind: What it is.
        sha256: Of its bytes.
    """

    kind: MediaKind
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalisedRequest:
    """A video request, in our one vocabulary.

    Attributes:
        image: SHA-256 of the first frame's bytes; None for a video from references or from text alone.
        last_image: The same for the last frame, or None.
        seed: Reproduces a take, if the dialect has seeds.
        take: A number that makes an otherwise identical request another purchase.
        references: Files that the prompt may name, sounds last.
        text_only: True for a video from text alone.
        upscale: What the finished video is enlarged to, or None.
    """

    model: str
    prompt: str
    image: str | None
    last_image: str | None
    duration_seconds: int
    resolution: Resolution
    aspect_ratio: AspectRatio
    camera_fixed: bool | None
    generate_audio: bool | None
    seed: int | None
    take: int
    references: tuple[Reference, ...] = ()
    text_only: bool = False
    upscale: Upscale | None = None

    @property
    def route(self) -> Route:
        """Return the studio's route that makes the video."""
        return Route(self.model, "t2v" if self.text_only else "i2v")

    @property
    def references_sha256(self) -> list[str]:
        """Return the hashes of the references, in order."""
        return [one.sha256 for one in self.references]

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
            "references": self.references_sha256,
            "text_only": self.text_only,
            "upscale": self.upscale,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationBody:
    """The bytes that are first quoted and then paid for, unchanged, and notes for the caller."""

    data: bytes
    notes: tuple[str, ...]


def check_request(request: NormalisedRequest) -> None:
    """Check that a request is valid in at least one dialect.

    Raises:
        RequestError: With the invalid argument and its allowed values.
    """
    check_prompt(request.prompt)
    known = request.model in MODELS
    least = DURATION_SECONDS_MIN if known else DECLARED_SECONDS_MIN
    most = DURATION_SECONDS_MAX if known else DECLARED_SECONDS_MAX
    if not least <= request.duration_seconds <= most:
        raise RequestError(f"duration is {request.duration_seconds}; allowed are {least} to {most} seconds.")
    if request.seed is not None and abs(request.seed) > SEED_MAX:
        raise RequestError(f"seed is beyond {SEED_MAX}, the largest that the studio takes.", "Choose a smaller one.")
    if request.references:
        _check_references(request)


def _check_references(request: NormalisedRequest) -> None:
    """Check the number of references, and that the prompt names none that is not there.

    Raises:
        RequestError: There are too many, only sounds, or not the one that the prompt names.
    """
    counts = {kind: sum(one.kind == kind for one in request.references) for kind in get_args(MediaKind)}
    shown = len(request.references) - counts["audio"]
    if shown > REFERENCES_MAX or counts["audio"] > SOUNDS_MAX:
        raise RequestError(
            f"references has {shown} pictures and videos and {counts['audio']} sounds; "
            f"{REFERENCES_MAX} and {SOUNDS_MAX} are allowed.",
            "Leave some of them out.",
        )
    if not shown:
        raise RequestError("references has only sounds.", "Add a picture or a video.")
    for kind, number in _MENTION.findall(request.prompt):
        if not 1 <= int(number) <= counts[kind.lower()]:
            raise RequestError(
                f"The prompt names @{kind}{number}; references of that kind: {counts[kind.lower()]}.",
                NextStep("Number each kind from 1, in the order of {0}. Correct the prompt.", Argument("references")),
            )


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


def encode_generation(request: NormalisedRequest, contract: RouteContract, urls: Sequence[str]) -> GenerationBody:
    """Write the request in the studio's dialect.

    Args:
        request: The video request.
        contract: The contract of the studio's route.
        urls: Public URLs of the first and last frame, or of the references, in the request's order.

    Raises:
        RequestError: The dialect or the model does not support an argument.

    Source: contract, "Two dialects", and section 2 (every main field always sent, nothing extra).
    """
    names = _NAMES[contract.dialect]
    normal = normalise(request.arguments(), contract.dialect, carries_audio=contract.carries_audio)
    body: dict[str, object] = {}
    if contract.dialect == "classic":
        _refuse_in_classic(request)
        body |= dict(zip(("image", "last_image"), urls, strict=False))
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
        body |= _encode_media(request, contract, urls) | _encode_upscale(request, contract)
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


def _refuse_in_classic(request: NormalisedRequest) -> None:
    """Refuse what only the current dialect has.

    Raises:
        RequestError: The request has it.
    """
    for argument, asked, what in (
        ("references", request.references, "reference mode"),
        ("text_only", request.text_only, "text to video"),
        ("upscale", request.upscale, "4K"),
    ):
        if asked:
            raise RequestError(
                f"This studio speaks the classic dialect, which has no {what}.",
                NextStep("Leave {0} out.", Argument(argument)),
            )


def _encode_media(request: NormalisedRequest, contract: RouteContract, urls: Sequence[str]) -> dict[str, object]:
    """Return the part of a body of the current dialect that names its pictures, videos and sounds.

    Raises:
        RequestError: The route has no references, or no sounds.
    """
    if request.text_only:
        return {}
    if not request.references:
        return {"mode": "keyframe", "urls": list(urls), "urlMediaTypes": ["image"] * len(urls)}
    kinds = [one.kind for one in request.references]
    if "reference" not in contract.choices.get("mode", ("reference",)):
        raise _unavailable_error("references", request.model)
    if "audio" in kinds and "audioUrls" not in contract.fields:
        raise _unavailable_error("sounds in references", request.model)
    shown = [(kind, url) for kind, url in zip(kinds, urls, strict=True) if kind != "audio"]
    sounds = [url for kind, url in zip(kinds, urls, strict=True) if kind == "audio"]
    media: dict[str, object] = {
        "mode": "reference",
        "urls": [url for _, url in shown],
        "urlMediaTypes": [kind for kind, _ in shown],
    }
    return media | ({"audioUrls": sounds} if sounds else {})


def _encode_upscale(request: NormalisedRequest, contract: RouteContract) -> dict[str, object]:
    """Return the part of a body of the current dialect that enlarges the video.

    Raises:
        RequestError: The route cannot.
    """
    if request.upscale is None:
        return {}
    if "upscaleResolution" not in contract.fields:
        raise _unavailable_error("upscale", request.model)
    return {"upscaleResolution": _choose(contract, "upscaleResolution", request.upscale, "upscale", request.model)}


def _unavailable_error(what: str, model: str) -> RequestError:
    return RequestError(f"This studio has no {what} for {model}.", "Leave it out, or choose another model.")


_NAMES: dict[Dialect, dict[str, str]] = {
    "classic": {
        name: name for name in ("duration", "resolution", "aspect_ratio", "camera_fixed", "generate_audio", "seed")
    },
    "current": {
        "duration": "duration",
        "aspect_ratio": "aspectRatio",
        "resolution": "outputResolution",
        "camera_fixed": "cameraFixed",
        "generate_audio": AUDIO_NAMES["current"],
        "seed": "seed",
    },
}
"""Names of the arguments in a body, by dialect."""


def _choose(contract: RouteContract, name: str, value: str, argument: str, model: str) -> str:
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


def same_body(sent: bytes, seen: object) -> bool:
    """Return True if a job's `input` is the body that we sent; additional fields are allowed."""
    if not isinstance(seen, dict):
        return False
    body = parse_json_object(sent, "A stored request")
    return all(cast("Json", seen).get(key) == value for key, value in body.items())
