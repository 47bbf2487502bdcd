"""Image names: read what people, shells and models write for a picture. Pure: touches no file.

A name is tried as it stands first: a file may really be called `'a.png'`. Only then its variants are tried.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from urllib.parse import unquote_to_bytes

from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.next_steps import NextStep, PickPicture

DATA_URI_CHARACTERS_MAX = 28_000_000
"""The longest `data:` URI: 20 MB of base64."""
CHAT_HINT = NextStep("Ask for the file's path on this machine or an https URL of the picture, or {0}.", PickPicture())
NAME_HINT = NextStep("Give the absolute path of a picture or an https URL, or {0}.", PickPicture())
UPLOAD_SCHEME = "upload:"
"""Scheme of a picture that was given on one of our own pages."""
UPLOAD_ID_BYTES = 16
"""Random bytes of such a picture's id, which is their hexadecimal text."""

_QUOTES = {"'": "'", '"': '"', "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb", "<": ">"}
_CHAT_SCHEMES = ("sandbox:", "attachment:", "file-service:", "cid:", "blob:")
_CHAT_FOLDERS = ("/mnt/user-data/", "/mnt/data/", "/home/claude/", "/home/user/uploads/")
_WINDOWS_PATH = re.compile(r"(?P<drive>[A-Za-z]):[\\/](?P<rest>.*)", re.DOTALL)
_UPLOAD_ID = re.compile(f"[0-9a-f]{{{2 * UPLOAD_ID_BYTES}}}")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def find_url(text: str) -> str | None:
    """Return the http or https URL that a text is, without what surrounds it, or None."""
    bare = _strip(text)
    return bare if bare.lower().startswith(("https://", "http://")) else None


def name_upload(upload_id: str) -> str:
    """Return what a caller writes for a picture that was given on one of our own pages."""
    return UPLOAD_SCHEME + upload_id


def is_upload(text: str) -> bool:
    """Return True for the name of a picture that was given on one of our own pages, also for an invalid one."""
    return _strip(text).lower().startswith(UPLOAD_SCHEME)


def find_upload_id(text: str) -> str | None:
    """Return the id in such a name, or None if it is none of ours. An id is safe as the name of a file."""
    upload_id = _strip(text)[len(UPLOAD_SCHEME) :].strip().lower() if is_upload(text) else ""
    return upload_id if _UPLOAD_ID.fullmatch(upload_id) else None


def is_data_uri(text: str) -> bool:
    """Return True for a `data:` URI."""
    return text.lstrip()[:5].lower() == "data:"


def read_data_uri(text: str) -> bytes:
    """Return the bytes of a `data:` URI. Source: RFC 2397, section 3.

    Raises:
        ImageError: It is too long, or its base64 is broken. The URI is never part of the error.
    """
    if len(text) > DATA_URI_CHARACTERS_MAX:
        raise ImageError(
            f"The data: URI is longer than {DATA_URI_CHARACTERS_MAX // 1_000_000} million characters.",
            "Save the picture as a file and give its path, or give an https URL.",
        )
    header, comma, body = text.strip().partition(",")
    if not comma:
        raise ImageError("The data: URI has no comma before its data.", "Write data:image/png;base64,<base64>.")
    if not header.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    compact = re.sub(r"\s", "", body).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ImageError("The data: URI holds broken base64.", "Encode the whole file, or give its path.") from exc


def is_in_chat(text: str) -> bool:
    """Return True for the name of a picture that is inside a chat, not on this machine."""
    bare = _strip(text)
    return bare.lower().startswith(_CHAT_SCHEMES) or bare.startswith(_CHAT_FOLDERS)


def is_path(text: str) -> bool:
    """Return True for a name that can only be a file's path on this machine."""
    return find_url(text) is None and not (is_data_uri(text) or is_upload(text) or is_in_chat(text))


def has_chat_scheme(text: str) -> bool:
    """Return True for a name that cannot be a file's: its scheme belongs to a chat."""
    return _strip(text).lower().startswith(_CHAT_SCHEMES)


def list_variants(text: str) -> list[str]:
    """Return the paths that a text may mean in addition to itself, the likeliest first.

    Blanks, quotes and brackets around it are dropped, a leading `@`, the backslashes of a shell, and a Windows path
    is read as WSL mounts it.
    """
    bare = _strip(text)
    unescaped = _ESCAPED.sub(r"\1", bare)
    found = [bare, bare.removeprefix("@"), unescaped, unescaped.removeprefix("@"), *filter(None, [name_in_wsl(text)])]
    return [one for one in dict.fromkeys(found) if one and one != text]


def name_in_wsl(text: str) -> str | None:
    """Return a Windows path as Linux sees it under WSL, or None for another path."""
    found = _WINDOWS_PATH.fullmatch(_strip(text))
    return None if found is None else f"/mnt/{found['drive'].lower()}/" + found["rest"].replace("\\", "/")


def normalise_name(name: str) -> str:
    """Return a file's name with composed letters and plain spaces, to compare it with another one."""
    return "".join(" " if unicodedata.category(c) == "Zs" else c for c in unicodedata.normalize("NFC", name))


def _strip(text: str) -> str:
    """Return a text without blanks, one `@`, and matching quotes or brackets around it."""
    bare = text.strip()
    if bare[:1] == "@" and bare[1:2] in (*_QUOTES, "h", "/", "~"):
        bare = bare[1:]
    while len(bare) >= 2 and _QUOTES.get(bare[0]) == bare[-1]:
        bare = bare[1:-1].strip()
    return bare
