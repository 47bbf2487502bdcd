"""Given pictures: what every store of pictures does that a person gave on a page of ours, and what its errors say."""

from __future__ import annotations

from typing import Protocol

from seedance_mcp.adapters.media.images import Image
from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.next_steps import AskUser, NextStep, PickPicture, Repeat

UNUSED_SECONDS = 24 * 3600
"""How long a picture that nothing was bought with can be read."""
NAME_CHARACTERS_MAX = 60


class GivenPictures(Protocol):
    """Reads pictures by their unguessable ids."""

    async def read(self, name: str, *, now: float) -> Image:
        """Read a picture and prepare it.

        Args:
            name: `upload:` and the id, as a caller wrote it.
            now: Unix seconds.

        Raises:
            ImageError: The id is unknown or expired, or its picture has not come.
        """
        ...


def unknown_error(shown: str) -> ImageError:
    """Build the error of an id that no one gave a picture for."""
    return ImageError(f"There is no picture {shown}: its id is wrong, or it expired.", NextStep("{0}.", PickPicture()))


def expired_error(shown: str) -> ImageError:
    """Build the error of a link that ended without a picture, and of a picture that was not used in time."""
    return ImageError(f"The picture {shown} has expired.", NextStep("{0}.", PickPicture()))


def missing_error(shown: str) -> ImageError:
    """Build the error of a link that still waits."""
    return ImageError(
        f"No picture was given for {shown} yet.",
        NextStep("{0}, then {1}.", AskUser("open its link and drop the picture there"), Repeat()),
    )


def changed_error(shown: str) -> ImageError:
    """Build the error of a picture that is not the one that came."""
    return ImageError(f"The picture {shown} was changed on disk.", NextStep("{0}.", PickPicture()))
