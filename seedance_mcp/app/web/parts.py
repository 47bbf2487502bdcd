"""Parts of a page: put style, script and data into one file, under a policy that names exactly these.

A page loads nothing from elsewhere. Its parts are files beside the code; those of this package are shared by all pages.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, KINDS
from seedance_mcp.app.web.modules import ROOT, join_modules

SHARED_STYLES, DROP_ZONE = ("base.css", "drop.css"), "drop.html"
"""Colours and controls, and the zone that takes a picture."""
ACCEPTED = "image/*,.heic,.heif,.avif,.tif,.tiff,.bmp"
"""What a browser's file dialog shows; the server decides by the bytes."""


def render_parts(
    page_name: str, *, sources: str, data: Mapping[str, object], styles: Sequence[str] = ("page.css",)
) -> str:
    """Return a folder's `page.html` with its styles behind the shared ones, its modules as one script, and its data.

    Args:
        page_name: Name of the folder below `app/web` that has the parts.
        sources: Directives of the content security policy for what the page loads and calls.
        data: What the script shows.
        styles: Files of the folder.
    """
    shared = files(ROOT)
    own = shared.joinpath(page_name)
    style = "".join(
        _read(*part) for part in (*((shared, name) for name in SHARED_STYLES), *((own, name) for name in styles))
    )
    script = join_modules(f"{page_name}/page.js")
    policy = (
        f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'; "
        f"style-src {_name_hash(style)}; script-src {_name_hash(script)}"
    )
    texts = {
        "DROP": _read(shared, DROP_ZONE),
        "ACCEPTED": ACCEPTED,
        "KINDS": KINDS,
        "BYTES": str(IMAGE_BYTES_MAX),
        "MEGABYTES": str(IMAGE_BYTES_MAX // 1_000_000),
        "POLICY": policy,
        "STYLE": style,
        "SCRIPT": script,
        "DATA": encode_data(data),  # the data last: nothing in it is looked at again
    }
    page = _read(own, "page.html")
    for mark, text in texts.items():
        page = page.replace(f"@@{mark}@@", text, 1)
    return page


def _read(folder: Traversable, name: str) -> str:
    return folder.joinpath(name).read_text("utf-8")


def encode_data(data: Mapping[str, object]) -> str:
    """JSON that cannot end the element it stands in, whatever a prompt says."""
    text = json.dumps(data, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _name_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
