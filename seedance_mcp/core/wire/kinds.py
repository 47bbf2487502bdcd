"""Kinds of text: a valid URL or identifier is shown as it is; any other text is quoted."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from seedance_mcp.core.texts import quote_text

URL_CHARACTERS_MAX = 2048
SHOWN_CHARACTERS_MAX = 120
"""How many characters are quoted of a text that is no valid URL or identifier."""

_URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,128}")


def is_url(text: str) -> bool:
    """Return True for an http(s) URL of printable ASCII, of at most `URL_CHARACTERS_MAX`."""
    if len(text) > URL_CHARACTERS_MAX or _URL.fullmatch(text) is None:
        return False
    try:
        return bool(urlsplit(text).hostname)
    except ValueError:
        return False


def is_identifier(text: str) -> bool:
    """Return True for an identifier of at most 128 characters."""
    return _IDENTIFIER.fullmatch(text) is not None


def show_url(text: str) -> str:
    """Return a URL as it is, and any other text quoted and bounded."""
    return text if is_url(text) else quote_text(text, SHOWN_CHARACTERS_MAX)


def show_identifier(text: str) -> str:
    """Return an identifier as it is, and any other text quoted and bounded."""
    return text if is_identifier(text) else quote_text(text, SHOWN_CHARACTERS_MAX)
