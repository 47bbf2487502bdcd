"""Idempotency keys: the identity of a purchase, so that the same request is never paid twice.

A key is the SHA-256 of canonical JSON: an explicit list of fields, sorted, with the version of the rules. It depends on
no class, no `repr`, no field order and no default that may change later.

A key covers only what reaches the studio. A request is normalised first, in the dialect of its purchase: blanks around
the prompt are removed, and an omitted argument gets the dialect's default. A purchase is stored under the key of its
own dialect. A lookup tries the keys of every dialect and version, so that neither a studio that changes its dialect nor
an update of this program pays for anything again.

Of several callers, each has keys of its own: the caller is part of them, and no lookup of a caller's tries a key
without it. An upload has one key for the whole wallet.

Pictures are identified by the SHA-256 of their original bytes. The same photo with other metadata is another picture.

This module reads no clock, no settings and no ledger. A published version never changes: add another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

VERSION = 1
"""Version of the rules that identify a video from one or two pictures, and an upload."""
VERSION_EXTENDED = 2
"""Version of the rules that identify a video with an argument of `_ADDED_V2`: version 1's fields and the three."""

_ADDED_V2: dict[str, object] = {"references": [], "text_only": False, "upscale": None}
"""Arguments that version 1 does not have, with their defaults. A request without them keeps its version 1 key."""

_DEFAULTS_V1: dict[str, dict[str, bool]] = {
    "classic": {"camera_fixed": False, "generate_audio": False},
    "current": {"camera_fixed": False, "generate_audio": True},  # Seedance 2 always has native audio
}
"""Defaults of version 1 for omitted arguments, by dialect. Frozen.

Source: contract, "Two dialects", and the classic request's example.
"""


_SHOT_V1 = (
    "model", "prompt", "image", "last_image", "duration", "resolution", "aspect_ratio", "camera_fixed",
    "generate_audio", "seed", "take",
)  # fmt: skip
"""Arguments that always are part of a shot's identity. Frozen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationKeys:
    """The keys under which one video request may have been paid.

    Attributes:
        classic: In the classic dialect.
        current: In the current dialect, with the arguments that it has.
        current_with_audio: The same at a studio whose current dialect has a switch for audio.
        v0: By the rules before version 1; used for lookups only. Empty for a caller and for version 2, which those did
            not have.
        seed_minus_one: For a request without a seed, the keys that the same request had while a seed of -1, which now
            means none, was a seed; used for lookups only.
    """

    classic: str
    current: str
    current_with_audio: str
    v0: str = ""
    seed_minus_one: tuple[str, ...] = ()

    def choose(self, dialect: str, *, carries_audio: bool) -> str:
        """Return the key of a purchase in the studio's dialect."""
        if dialect == "classic":
            return self.classic
        return self.current_with_audio if carries_audio else self.current

    @property
    def all(self) -> tuple[str, ...]:
        """Return every key for a lookup, without duplicates."""
        keys = (self.current, self.current_with_audio, self.classic, self.v0, *self.seed_minus_one)
        return tuple(dict.fromkeys(key for key in keys if key))


def generation_keys(asked: Mapping[str, object], *, wallet: str, studio: str, caller: str = "") -> GenerationKeys:
    """Compute the keys of a video request.

    Args:
        asked: The arguments under the tools' names, as `NormalisedRequest.arguments` returns them: `model`, `prompt`,
            `image` and `last_image` (SHA-256 of the original bytes, hexadecimal), `duration` (seconds), `resolution`,
            `aspect_ratio` (never `auto`), `camera_fixed`, `generate_audio`, `seed`, `take`; and those that may be left
            out: `references` (a list of SHA-256), `text_only`, `upscale`.
        wallet: The paying address, in any case.
        studio: The studio's origin.
        caller: Whose purchase it is; empty where all who use the ledger share their purchases.
    """
    whose = {"caller": caller} if caller else {}
    is_extended = _is_extended(asked)
    has_v0 = not caller and not is_extended

    def key(dialect: str, *, carries_audio: bool, **changed: object) -> str:
        return _hash(
            {
                "v": VERSION_EXTENDED if is_extended else VERSION,
                "kind": "generation",
                "dialect": dialect,
                "studio": studio,
                "wallet": wallet.lower(),
                **whose,
                **normalise({**asked, **changed}, dialect, carries_audio=carries_audio),
            }
        )

    seed_minus_one: tuple[str, ...] = ()
    if asked["seed"] is None and not is_extended:  # a seed of -1 was a seed before version 2
        v0 = _generation_key_v0({**asked, "seed": -1}, wallet=wallet, studio=studio) if has_v0 else ""
        seed_minus_one = (key("classic", carries_audio=True, seed=-1), v0)
    return GenerationKeys(
        classic=key("classic", carries_audio=True),
        current=key("current", carries_audio=False),
        current_with_audio=key("current", carries_audio=True),
        v0=_generation_key_v0(asked, wallet=wallet, studio=studio) if has_v0 else "",
        seed_minus_one=seed_minus_one,
    )


def normalise(asked: Mapping[str, object], dialect: str, *, carries_audio: bool) -> dict[str, object]:
    """Return the normal form of a request: every field of version 1, with the dialect's defaults.

    The fields of version 2 follow if one of them is not its default.

    Args:
        asked: See `generation_keys`.
        dialect: `classic` or `current`.
        carries_audio: True if the studio's route has a switch for audio; without one, its default holds.
    """
    defaults = _DEFAULTS_V1[dialect]
    audio = asked["generate_audio"] if carries_audio else None
    added = {name: asked.get(name, default) for name, default in _ADDED_V2.items()} if _is_extended(asked) else {}
    return {
        "model": asked["model"],
        "prompt": str(asked["prompt"]).strip(),
        "image": asked["image"],
        "last_image": asked["last_image"],
        "duration": asked["duration"],
        "resolution": asked["resolution"],
        "aspect_ratio": asked["aspect_ratio"],
        "camera_fixed": defaults["camera_fixed"] if asked["camera_fixed"] is None else asked["camera_fixed"],
        "generate_audio": defaults["generate_audio"] if audio is None else audio,
        "seed": asked["seed"],
        "take": asked["take"],
        **added,
    }


def _is_extended(asked: Mapping[str, object]) -> bool:
    """Return True if a request has an argument that version 1 does not have."""
    return any(asked.get(name, default) != default for name, default in _ADDED_V2.items())


def upload_keys(sha256: str, *, wallet: str, studio: str) -> tuple[str, str]:
    """Compute the keys of an upload: the one of a new purchase, and the one of the rules before version 1.

    Args:
        sha256: SHA-256 of the picture's original bytes, hexadecimal.
        wallet: The paying address, in any case.
        studio: The studio's origin.
    """
    key = _hash({"v": VERSION, "kind": "upload", "studio": studio, "wallet": wallet.lower(), "image": sha256})
    return key, _digest(f"('upload', {studio!r}, {wallet.lower()!r}, {sha256!r})")


def _generation_key_v0(asked: Mapping[str, object], *, wallet: str, studio: str) -> str:
    """Write the exact text that ledgers before version 1 hashed, without using the class that produced it."""
    names = (
        "model", "prompt", "image", "last_image", "duration", "resolution", "aspect_ratio", "camera_fixed",
        "generate_audio", "seed", "take",
    )  # fmt: skip
    fields = ", ".join(f"{'duration_seconds' if name == 'duration' else name}={asked[name]!r}" for name in names)
    return _digest(f"('generation', {studio!r}, {wallet.lower()!r}, GenerationRequest({fields}))")


def _hash(document: Mapping[str, object]) -> str:
    """Hash canonical JSON: sorted names, no blanks, ASCII."""
    return _digest(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def shot_key(asked: Mapping[str, object], *, wallet: str, studio: str, caller: str = "") -> str:
    """Compute the identity of a shot of a film, whatever dialect the studio speaks. It buys nothing itself.

    Args:
        asked: See `generation_keys`; a later argument counts only where it has a value.
        wallet: The paying address, in any case.
        studio: The studio's origin.
        caller: See `generation_keys`.
    """
    later = {name: value for name, value in asked.items() if name not in _SHOT_V1 and value}
    known = {name: asked[name] for name in _SHOT_V1}
    fields = {
        **known,
        "prompt": str(asked["prompt"]).strip(),
        "camera_fixed": asked["camera_fixed"] or False,
        **later,
    }
    whose = {"caller": caller} if caller else {}
    return _hash({"v": 1, "kind": "shot", "studio": studio, "wallet": wallet.lower(), **whose, "shot": fields})


def last_frame_key(shot: str) -> str:
    """Compute the identity of the last frame of a shot, in the place of a picture's hash: never its bytes.

    Args:
        shot: The shot's own identity.
    """
    return _hash({"v": 1, "kind": "frame", "frame": "last", "of": shot})


def film_key(shots: Sequence[str]) -> str:
    """Compute the identity of a film from those of its shots, in order."""
    return _hash({"v": 1, "kind": "film", "shots": list(shots)})
