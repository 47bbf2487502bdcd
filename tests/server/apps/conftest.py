"""A host that shows pages: the server with a sandbox, a browser, and the host's side of the protocol."""

import os
import shutil
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.extension import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

from seedance_mcp.server import build_server
from tests.compat.conftest import SERVER
from tests.servers import Answer, Asked, build_answer, serve_raw

PAGE_URI = "ui://seedance/clip"
SHOW_SECONDS = 20
EVERYTHING: dict[str, Any] = {"openLinks": {}, "serverTools": {}, "serverResources": {}, "message": {"text": {}}}
"""All capabilities that a host can offer a page."""
HOST = Path(__file__).parent / "host.html"
PHONE, DESKTOP = (360, 740), (860, 900)
DEFAULT_POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'unsafe-inline'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "media-src": "'self' data:",
    "connect-src": "'none'",
}
"""Source: SEP-1865, the restrictive default."""

Apps = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})


def find_chromium() -> str:
    """Return the machine's browser; skip the test if there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("Chromium is not installed")


def build_policy(declared: Mapping[str, Any]) -> str:
    """Build the policy of a host from a page's declaration."""
    resources = " ".join(declared.get("resourceDomains", ()))
    widened = {name: f"{DEFAULT_POLICY[name]} {resources}".strip() for name in ("img-src", "media-src")}
    return "; ".join(f"{name} {value}" for name, value in {**DEFAULT_POLICY, **widened}.items())


@dataclass
class Screen:
    """One page in one host, with the server's messages as input and the visible text as output."""

    browser_page: Any
    client: Client
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list[tuple[str, Mapping[str, Any]]])
    """Requests of the page to the server, through the host."""

    @property
    def page(self) -> Any:
        """Return the content of the frame."""
        return self.browser_page.frame_locator("iframe")

    async def ask_server(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Forward a request of the page, as a host does."""
        self.calls.append((method, params))
        if method == "resources/read":
            result: Any = await self.client.read_resource(params["uri"])
        else:
            result = await self.client.call_tool(params["name"], dict(params["arguments"]))
        return cast("Mapping[str, Any]", result.model_dump(by_alias=True, exclude_none=True, mode="json"))

    async def call(self, tool: str, **arguments: object) -> Mapping[str, Any]:
        """Call a tool as the model, and show call and result on the page."""
        await self.tell("tool-input", {"arguments": arguments})
        result = await self.client.call_tool(tool, arguments)
        told = cast("Mapping[str, Any]", result.model_dump(by_alias=True, exclude_none=True, mode="json"))
        await self.tell("tool-result", told)
        return told

    async def tell(self, what: str, params: Mapping[str, Any]) -> None:
        """Send a notification of the host."""
        await self.browser_page.evaluate(
            "([method, params]) => tellPage(method, params)", [f"ui/notifications/{what}", params]
        )

    async def see(self, words: str) -> None:
        """Wait until a text is visible on the page."""
        await self.page.get_by_text(words).first.wait_for(timeout=SHOW_SECONDS * 1000)

    async def heard(self, method: str) -> list[Any]:
        """Return the page's messages to the host with this method."""
        return await self.browser_page.evaluate(
            "(method) => heard.filter((each) => each.method === method).map((each) => each.params)", method
        )

    async def read(self) -> str:
        """Return all visible text."""
        return await self.page.locator("main").inner_text()

    async def is_too_wide(self) -> bool:
        """Return True if any content is wider than the page."""
        return await self.page.locator("html").evaluate("(node) => node.scrollWidth > node.clientWidth")


@pytest.fixture(scope="module")
async def browser() -> AsyncGenerator[Any]:
    """Start one Chromium for all screens of a module; each has its own context."""
    chromium = find_chromium()
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def open_screen(
    browser: Any,
    environ: Mapping[str, str],
    *,
    capabilities: Mapping[str, Any] = EVERYTHING,
    context: Mapping[str, Any] | None = None,
    size: tuple[int, int] = DESKTOP,
    declared: Mapping[str, Any] | None = None,
    host: bytes | None = None,
    apart: bool = False,
) -> AsyncGenerator[Screen]:
    """Open a server, a client that announces pages, and a browser that shows ours.

    Args:
        browser: The fixture of this name.
        environ: The server's settings.
        capabilities: What the host offers a page.
        context: The host's description of itself.
        size: The size of the window.
        declared: The origins that the host lets the page load from; what the page declares unless given.
        host: The host's page; `host.html` unless given.
        apart: True to run the server in a separate process.
    """
    answers: dict[str, bytes] = {}

    async def answer(asked: Asked, writer: Any) -> None:
        writer.write(answers.get(asked.target) or build_answer(404))

    served: Answer = answer
    async with AsyncExitStack() as stack:
        process = StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=dict(environ))
        server = process if apart else build_server(environ)
        client = await stack.enter_async_context(Client(server, extensions=[Apps]))
        content = (await client.read_resource(PAGE_URI)).contents[0]
        html = str(getattr(content, "text", ""))
        policy = build_policy((content.meta or {})["ui"]["csp"] if declared is None else declared)
        outside, inside = [await stack.enter_async_context(serve_raw(served)) for _ in range(2)]
        kind = "text/html; charset=utf-8"
        answers["/host"] = build_answer(200, host or HOST.read_bytes(), content_type=kind)
        answers["/page"] = build_answer(200, html.encode(), content_type=kind, content_security_policy=policy)
        browser_page: Any = await browser.new_page(viewport={"width": size[0], "height": size[1]})
        stack.push_async_callback(browser_page.close)
        screen = Screen(browser_page, client)
        await browser_page.expose_function("askServer", screen.ask_server)
        await browser_page.goto(f"{outside.url}/host")
        with anyio.fail_after(SHOW_SECONDS):
            await browser_page.evaluate(
                "([address, capabilities, context]) => startPage(address, capabilities, context)",
                [f"{inside.url}/page", dict(capabilities), dict(context or {})],
            )
        yield screen


MakeEnviron = Callable[..., Mapping[str, str]]


@pytest.fixture
def app_environ(make_sandbox: Callable[..., Any], funded_key: str, tmp_path: Path) -> Callable[..., Mapping[str, str]]:
    """Return a function that builds the settings of a server with its own sandbox."""

    def make(*, settings: Mapping[str, str] | None = None, **sandbox_settings: Any) -> Mapping[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
        return {
            **plain,
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": make_sandbox(**sandbox_settings).url,
            "SEEDANCE_WALLET_KEY": funded_key,
            "SEEDANCE_DATA_DIR": str(tmp_path / "data"),
            **(settings or {}),
        }

    return make
