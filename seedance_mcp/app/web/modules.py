"""Modules: join the ES modules of a page to one script, so that the page is one file that also opens from disk.

A browser loads no module from a `file:` address, and a policy can name one script by its hash. Each module is written
once, after those that it imports, and all share one scope: no two modules may declare the same name.
"""

import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from posixpath import dirname, join, normpath

ROOT = "seedance_mcp.app.web"
"""The package that has the modules of the local pages."""
_IMPORT = re.compile(r'^import (?:\{[^}]*\} from )?"(\.{1,2}/[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|const|let|class)\b)", re.MULTILINE)


@cache
def join_modules(entry: str, package: str = ROOT) -> str:
    """Return a module and all that it imports as one script.

    Args:
        entry: Path of the module below the package, such as `gallery/page.js`.
        package: The package that has all these modules.
    """
    texts: dict[str, str] = {}
    _collect(entry, files(package), texts)
    return "".join(texts.values())


def _collect(path: str, root: Traversable, texts: dict[str, str]) -> None:
    """Add a module behind those that it imports."""
    if path in texts:
        return
    text = root.joinpath(path).read_text("utf-8")
    for imported in _IMPORT.findall(text):
        _collect(normpath(join(dirname(path), imported)), root, texts)
    texts[path] = _EXPORT.sub("", _IMPORT.sub("", text))
