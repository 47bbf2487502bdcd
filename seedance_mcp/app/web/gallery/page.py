"""The page as HTML: one file that opens from disk as well as from a server, and loads nothing from elsewhere."""

from collections.abc import Mapping

from seedance_mcp.app.web.parts import render_parts

SOURCES = "img-src 'self' data: blob: file:; media-src 'self' file:; connect-src 'self'"
STYLES = ("page.css", "money.css", "card.css", "viewer.css")


def render_page(show: Mapping[str, object]) -> str:
    """Return the whole page."""
    return render_parts("gallery", sources=SOURCES, data=show, styles=STYLES)
