"""The page in a host made of the specification's package. Run with SEEDANCETEST_HOSTS=1."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import DRIVE_SECONDS, install_node
from tests.server.apps.conftest import MakeEnviron, open_screen
from tests.server.apps.test_page import REQUEST, wait_for_play

pytestmark = pytest.mark.browser

HERE = Path(__file__).parent
PACKAGES = (
    "@modelcontextprotocol/ext-apps@2.0.4", "@modelcontextprotocol/client@2.4.0", "@modelcontextprotocol/core@2.4.0",
    "@modelcontextprotocol/server@2.4.0", "zod@4.6.7", "esbuild@0.25.12",
)  # fmt: skip


def build_host() -> bytes:
    """Build a host's page with the package in it."""
    folder = install_node(*PACKAGES)
    shutil.copy(HERE / "bridge.mjs", folder)
    command = [str(folder / "node_modules/.bin/esbuild"), "bridge.mjs", "--bundle", "--format=esm", "--outfile=out.js"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=DRIVE_SECONDS)
    script = (folder / "out.js").read_text().replace("</script", "<\\/script")
    return f'<!doctype html><meta charset="utf-8"><body><script type="module">{script}</script>'.encode()


@pytest.mark.slow
async def test_official_bridge_accepts_every_message_of_the_page(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(
        browser, app_environ(job_seconds=5), context={"theme": "dark"}, host=build_host(), apart=True
    ) as screen:
        await screen.call("quote_price", **REQUEST)
        await screen.page.get_by_role("button", name="Make it for $0.33").click()
        await screen.see("Asked")
        await screen.call("animate_image", **REQUEST, wait_seconds=4)
        await screen.see("Finished")
        source = await wait_for_play(screen)
        await screen.page.get_by_role("link", name="Open the video").click()
        await screen.tell("host-context-changed", {"theme": "light"})
        await screen.page.locator("html[style*=light]").wait_for()
        app = (await screen.heard("app"))[0]
        heard = {
            method: len(await screen.heard(method))
            for method in ("ui/message", "ui/open-link", "tools/call", "ui/notifications/size-changed", "error")
        }
    assert source.startswith("http://127.0.0.1:")
    assert app == [{"name": "seedance-clip", "version": "1"}, {"availableDisplayModes": ["inline"]}]
    assert heard["ui/message"] == heard["ui/open-link"] == 1
    assert heard["tools/call"] >= 1
    assert heard["ui/notifications/size-changed"] >= 2
    assert heard["error"] == 0
