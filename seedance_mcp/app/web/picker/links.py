"""Links: each takes one picture, once, until it expires. Its token is unguessable and only in its URL."""

from dataclasses import dataclass, field
from typing import Literal

import anyio

from seedance_mcp.adapters.media.images import Image

State = Literal["waiting", "receiving", "filled", "expired"]


@dataclass(eq=False, slots=True)
class PickerLink:
    """A link to the page, and the picture that came over it.

    Attributes:
        upload_id: What the picture is named by.
        url: Where the page is.
        expires_at: Unix seconds.
        filled: Set once the picture is stored.
        filled_at: Unix seconds.
        image: The picture, prepared.
        is_local: Whether the page is served on the person's own machine.
    """

    upload_id: str
    token: str = field(repr=False)
    url: str = field(repr=False)
    expires_at: float
    filled: anyio.Event = field(default_factory=anyio.Event)
    filled_at: float = 0
    image: Image | None = None
    receiving: bool = False
    is_local: bool = True

    def find_state(self, now: float) -> State:
        """Return what the link can be used for now."""
        if self.image is not None:
            return "filled"
        if self.receiving:
            return "receiving"
        return "waiting" if now < self.expires_at else "expired"

    def fill(self, image: Image, now: float) -> None:
        """Keep the picture, and let those go on who wait for it."""
        self.image, self.filled_at = image, now
        self.filled.set()
