"""Film request: the arguments of a film. Like `request`, it loads no other library than the standard one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

from seedance_mcp.core.wire.json import Json

SHOTS_MAX = 20
"""Most shots of a film."""
NAME_CHARACTERS_MAX = 8192
"""Longest name of a picture that the ledger keeps; a `data:` URI is read in the call that has it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotRequest:
    """One shot of a storyboard.

    Attributes:
        image: Its first frame; None for the last frame of the shot before it.
        last_image: Its last frame, or None.
        duration: Seconds; None for the film's own.
        references: Files that its prompt may name; with some it does not start from the shot before it.
        text_only: True if it is made from its prompt alone.
    """

    prompt: str
    image: str | None = None
    last_image: str | None = None
    duration: int | None = None
    references: tuple[str, ...] = ()
    text_only: bool = False

    @property
    def is_chained(self) -> bool:
        """Return True if it starts from the last frame of the shot before it."""
        return self.image is None and not self.references and not self.text_only


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmRequest:
    """A caller's request for a film.

    Attributes:
        shots: In their order.
        options: What all shots share: arguments of `VideoRequest` by name.
        max_price_micro_usdc: The most that the whole film may cost, or None; no part of its identity.
    """

    shots: tuple[ShotRequest, ...]
    options: Json
    max_price_micro_usdc: int | None = None

    def describe(self) -> Json:
        """Return it as the ledger keeps it."""
        shots: list[Json] = []
        for shot in self.shots:
            fields = asdict(shot)
            for name in ("image", "last_image"):
                if fields[name] is not None:
                    fields[name] = _shorten(fields[name])
            fields["references"] = [_shorten(one) for one in shot.references]
            shots.append(fields)
        return {"v": 1, "shots": shots, "options": dict(self.options)}

    @classmethod
    def read(cls, definition: Json) -> FilmRequest:
        """Return a request as `describe` wrote it."""
        shots = cast("list[dict[str, Any]]", definition["shots"])
        return cls(
            shots=tuple(build_shot(shot) for shot in shots),
            options=cast("dict[str, Any]", definition["options"]),
        )


def build_shot(fields: dict[str, Any]) -> ShotRequest:
    """Return a shot from its arguments by name, as JSON or YAML has them."""
    values: dict[str, Any] = {**fields, "references": tuple(fields.get("references") or ())}
    return ShotRequest(**values)


def _shorten(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS_MAX else ""
