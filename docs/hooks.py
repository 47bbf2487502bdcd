"""What the site needs beyond Markdown: links that leave `docs/`, and tables that scroll on a phone."""

import logging
import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

log = logging.getLogger("mkdocs.hooks.docs")
"""A warning here ends a strict build."""


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Show a link to a file outside `docs/`, which the repository has and the site has not, as that file's name.

    Once the project has a public address (`repo_url` in mkdocs.yml), these are links to it.
    """
    folder = Path(page.file.abs_src_path).parent

    def show(found: re.Match[str]) -> str:
        text, target = found.groups()
        path = Path(os.path.normpath(folder / target.partition("#")[0]))
        if not path.is_relative_to(ROOT) or not path.exists():
            log.warning("%s links to %s, which is not there", page.file.src_uri, target)
            return text
        if path.is_relative_to(ROOT / "docs"):
            return found[0]
        name = path.relative_to(ROOT).as_posix()
        if config.repo_url:
            return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{name})"
        return f'<code title="{name}">{text}</code>'

    return re.sub(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)", show, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Let a wide table scroll in a box of its own, and keep an option's name in one line."""
    html = re.sub(r"<code>(--[a-z-]+)</code>", r'<code class="option">\1</code>', html)
    return html.replace("<table>", '<div class="table" tabindex="0"><table>').replace("</table>", "</table></div>")
