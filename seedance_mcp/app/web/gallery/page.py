"""The page as HTML: one file with its style, its script and its data, under a policy that names exactly these."""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files


def render_page(show: Mapping[str, object]) -> str:
    """Return the whole page; it opens from disk as well as from a server, and loads nothing from elsewhere."""
    parts = files("seedance_mcp.app.web.gallery")
    page, style, script = (parts.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    policy = (
        "default-src 'none'; img-src 'self' data: file:; media-src 'self' file:; connect-src 'self'; base-uri 'none'; "
        f"form-action 'none'; style-src {_name_hash(style)}; script-src {_name_hash(script)}"
    )
    for mark, text in (("POLICY", policy), ("STYLE", style), ("SCRIPT", script), ("DATA", encode_data(show))):
        page = page.replace(f"@@{mark}@@", text, 1)  # the data last: nothing in it is looked at again
    return page


def encode_data(show: Mapping[str, object]) -> str:
    """JSON that cannot end the element it stands in, whatever a prompt says."""
    text = json.dumps(show, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _name_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
