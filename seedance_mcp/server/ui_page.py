"""UI page: the page that a client with MCP Apps shows for a quote, a job or a list of jobs.

Its parts are the files of the folder `page`; they become one self-contained page when a host first requests it. Only a
host that announces the extension gets it in its lists; all others get the same lists as without it. The page may read
prices and jobs. The tools that spend are marked, so that no page may call them.

`mcp.server.apps` does half of this and costs every start two milliseconds, so the used part is written out here.

Source: SEP-1865, revision 2026-01-26.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import anyio.to_thread
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.extension import Extension, ResourceBinding
from mcp.server.mcpserver.resources import Resource
from pydantic import Field

from seedance_mcp.core.errors import ConfigError

if TYPE_CHECKING:
    from seedance_mcp.config.profiles import Profile

EXTENSION = "io.modelcontextprotocol/ui"
MIME_TYPE = "text/html;profile=mcp-app"
PAGE_URI = "ui://seedance/clip"
PACKAGE = "seedance_mcp"
"""The package that has the modules of the page, and those that it shares with the local pages."""
SHOWN = {"animate_image", "animate_storyboard", "get_job", "quote_price", "list_jobs"}
"""Tools whose results the page shows."""
CLIP_ORIGIN = "https://*.public.blob.vercel-storage.com"
"""Origin of the studio's videos and posters. Source: contract, section 8."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the owner's settings say about the page.

    Attributes:
        origins: Where it may load videos and posters from.
        play_money: True if the money is a sandbox's.
    """

    origins: list[str]
    play_money: bool


class Page(Resource):
    """The page as a resource. What it may load and whose money it shows depend on settings, read on each request."""

    find_surroundings: Callable[[], "Surroundings"] = Field(exclude=True, repr=False)

    async def read(self) -> str:
        """Return the page, and set the origins that it may load in `meta`."""
        html, shown = await anyio.to_thread.run_sync(lambda: (join_page(), self.find_surroundings()))
        self.meta = {"ui": {"csp": {"resourceDomains": shown.origins}, "prefersBorder": True}}
        return html.replace("@@MONEY@@", "play" if shown.play_money else "real", 1)


class Apps(Extension):
    """The extension, with its one page.

    Args:
        environ: The environment of the settings, which are read with the page.
        public_url: Where a hosted server has its videos; None where they are files, and the studio's.
    """

    identifier = EXTENSION

    def __init__(self, environ: Mapping[str, str], public_url: str | None = None) -> None:
        self._page = Page(
            uri=PAGE_URI,
            name="clip",
            title="Video",
            mime_type=MIME_TYPE,
            meta={"ui": {"prefersBorder": True}},
            find_surroundings=lambda: find_surroundings(environ, public_url),
        )

    def resources(self) -> Sequence[ResourceBinding]:
        """Return the page."""
        return (ResourceBinding(resource=self._page),)


def find_surroundings(environ: Mapping[str, str], public_url: str | None = None) -> Surroundings:
    """Return what the page may load and whose money it shows; the live studio's if settings are invalid.

    Args:
        environ: The environment of the settings.
        public_url: Where a hosted server has its videos.
    """
    from seedance_mcp.config.settings import read_settings  # no start waits for it

    own = urlsplit(public_url or "")
    origins = [f"{own.scheme}://{own.netloc}"] if public_url is not None else []
    try:
        profile = read_settings(environ, blocking=True).profile
    except ConfigError:  # the first call reports the problem
        return Surroundings([*origins, CLIP_ORIGIN], play_money=False)
    return Surroundings([*origins, *_list_studio_origins(profile)], play_money=profile.pins.play_money)


def _list_studio_origins(profile: "Profile") -> list[str]:
    if profile.name == "live":
        return [CLIP_ORIGIN]
    studio = urlsplit(profile.studio_url)
    if studio.scheme == "http":  # loopback only: the settings allow no other
        return [f"http://{studio.hostname}:*"]  # a sandbox's blob store may have another port
    return [f"https://{studio.netloc}", CLIP_ORIGIN]


async def tell_of_page(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Add the page to the lists of a host that announces the extension, and to no other lists."""
    result = await call_next(ctx)
    if not isinstance(result, dict):
        return result
    if ctx.method == "tools/list" and _shows_pages(ctx):
        return {**result, "tools": [_link(tool) for tool in cast("list[dict[str, Any]]", result["tools"])]}
    if ctx.method == "resources/list" and not _shows_pages(ctx):
        listed = cast("list[dict[str, Any]]", result["resources"])
        return {**result, "resources": [resource for resource in listed if resource["uri"] != PAGE_URI]}
    return result


def _shows_pages(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Return True if the host announced the extension with HTML pages."""
    capabilities = ctx.session.client_capabilities
    announced = (capabilities.extensions or {}).get(EXTENSION) if capabilities else None
    kinds: object = (announced or {}).get("mimeTypes")
    return isinstance(kinds, list | tuple) and MIME_TYPE in kinds


def _link(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool with its page; mark one that spends as callable by a model only."""
    ui: dict[str, Any] = {"resourceUri": PAGE_URI} if tool["name"] in SHOWN else {}
    if not tool["annotations"]["readOnlyHint"]:
        ui["visibility"] = ["model"]
    return {**tool, "_meta": {**tool.get("_meta", {}), "ui": ui}} if ui else tool


@cache
def join_page() -> str:
    """Return the page with its style and its modules in it, and a mark for whose money it shows."""
    from seedance_mcp.app.web.modules import join_modules  # no start waits for it

    folder = files("seedance_mcp.server").joinpath("page")
    html, style = (folder.joinpath(name).read_text("utf-8") for name in ("page.html", "page.css"))
    return html.replace("@@STYLE@@", style, 1).replace("@@SCRIPT@@", join_modules("server/page/page.js", PACKAGE), 1)
