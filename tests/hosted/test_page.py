"""The ten commands of docs/hosted.md make a deployment that sells a video.

The page's own commands are run in one shell, with free ports. What changes the machine is left out: packages, and a
database beside which the test has its own. The proxy is the harness's; the page's was run by hand.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from tests.docs.programs import read_blocks, read_commands
from tests.forks import write_commands
from tests.hosted.clients import ERAS, Caller, draw_picture
from tests.hosted.database import run_database
from tests.hosted.deployment import READY_SECONDS, find_free_port, temporary_folder, wait_for
from tests.hosted.proxy import Proxy

pytestmark = pytest.mark.slow

PAGE = "docs/hosted.md"
PORTS = ("8402", "8080", "8081", "8082", "8083")
"""Of the studio, the proxy and the replicas, as the page has them."""
OF_THE_MACHINE = ("sudo ", "pip ", "caddy ")
"""Commands that the test cannot run begin like this."""


@pytest.fixture
async def folder() -> AsyncGenerator[Path]:
    with temporary_folder() as folder:
        yield folder


def read_page() -> tuple[str, list[str]]:
    """Return the settings and the commands that the page begins with."""
    settings = next(block.text for block in read_blocks(PAGE) if block.language == "ini")
    commands = next(read_commands(block) for block in read_blocks(PAGE) if block.language == "bash")
    return settings, commands


async def test_ten_commands_make_three_replicas(folder: Path) -> None:
    settings, commands = read_page()
    assert len(commands) == 10
    with run_database(folder / "pg") as database:
        ports = {port: str(find_free_port()) for port in PORTS}
        proxy = Proxy([int(ports[port]) for port in PORTS[2:]])
        async with proxy.running():
            ports["8080"] = str(proxy.port)
            texts = [settings, "\n".join(one for one in commands if not one.startswith(OF_THE_MACHINE))]
            named, script = (re.sub("|".join(PORTS), lambda found: ports[found[0]], text) for text in texts)
            named = named.replace("/tmp/", f"{folder}/").replace("postgresql:///seedance", database.url)  # noqa: S108 - the page's
            (folder / "hosted.env").write_text(re.sub(r"=(.*[&?].*)", r"='\1'", named))
            script = script.replace("sandbox &", f"sandbox --port {ports['8402']} --job-seconds 1 &")
            await run_script(folder, script, proxy)


async def run_script(folder: Path, script: str, proxy: Proxy) -> None:
    write_commands(folder / "bin")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SEEDANCE_", "XDG_"))}
    environ |= {"PATH": f"{folder / 'bin'}:{environ['PATH']}", "HOME": str(folder)}
    shell = start_shell(folder, script, environ)
    try:
        with anyio.fail_after(READY_SECONDS):
            await wait_for(lambda: "sdn_" in (folder / "out").read_text())
        found = re.search(r"^sdn_\S+$", (folder / "out").read_text(), re.MULTILINE)
        assert found is not None
        for era in ERAS:
            await order(Caller(f"{proxy.url}/mcp", found[0], era), f"for {era}")
    except BaseException:
        print((folder / "out").read_text(), (folder / "err").read_text(), sep="\n")  # noqa: T201 - shown where it fails
        raise
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def start_shell(folder: Path, script: str, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the commands, in a group of processes that ends with the test."""
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        return subprocess.Popen(
            ["bash", "-e", "-c", f"{script}\nwait"], cwd=folder, env=environ, stdout=out, stderr=err,
            start_new_session=True,
        )  # fmt: skip


async def order(client: Caller, prompt: str) -> None:
    """Repeat a call until its video is finished."""
    with anyio.fail_after(READY_SECONDS):
        while True:
            answer = await client.call("animate_image", image=draw_picture(1), prompt=prompt, wait_seconds=10)
            if answer.fields.get("status") == "complete":
                return
            await anyio.sleep(0.5)  # the replicas may still be starting
