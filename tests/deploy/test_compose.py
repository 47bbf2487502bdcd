"""`compose.yaml` is run as processes, in its order, until a caller has a video; then one replica is stopped."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
import trustme

from tests.deploy.containers import ROOT, Machine, Running, read_documents
from tests.deploy.database import run_postgres
from tests.deploy.image import link_environment, read_image
from tests.hosted.clients import ERAS, Answer, Caller, draw_picture
from tests.hosted.deployment import READY_SECONDS, temporary_folder
from tests.servers import NO_TLS

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.usefixtures("needed_programs")]

OURS = ("seedance-mcp", "seedance-mcp-sandbox")


class Composition:
    """The services of `compose.yaml` on this machine.

    Args:
        folder: Where volumes are.
        programs: Of the image.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.services: dict[str, Any] = read_documents("compose.yaml")[0]["services"]
        self.machine = Machine(folder, programs, hosts=dict.fromkeys(self.services, "127.0.0.1"))
        self.running: dict[str, Running] = {}
        self._sandbox = link_environment(folder / "sandbox-bin")
        self._folder = folder

    @contextmanager
    def up(self) -> Generator[None]:
        """Start everything in the order in which services depend on each other."""
        with ExitStack() as stack:
            stack.callback(lambda: [one.kill() for one in self.running.values()])
            started: set[str] = set()
            while len(started) < len(self.services):
                ready = [name for name, one in self.services.items() if {*one.get("depends_on", ())} <= started]
                for name in [name for name in ready if name not in started]:
                    self._start(name, stack)
                    started.add(name)
            yield

    def execute(self, name: str, *words: str) -> str:
        """Run a command in a service's container; returns its stdout."""
        return self.machine.run(name, words, self._read_environ(name), self._read_volumes(name))

    def check_health(self, name: str) -> None:
        """Run the health check of a service's container once."""
        self.execute(name, *self._read_check(name))

    def _start(self, name: str, stack: ExitStack) -> None:
        service = self.services[name]
        environ, volumes = self._read_environ(name), self._read_volumes(name)
        if name == "postgres":
            mapped = {key: self.machine.map_text(value, volumes) for key, value in environ.items()}
            port = stack.enter_context(run_postgres(self._folder / "postgres", mapped, trustme.CA()))
            self.machine.hosts["postgres"] = f"127.0.0.1:{port}"
            return
        words = [*service.get("entrypoint", read_image().entrypoint), *service["command"]]
        if service["image"] not in OURS:
            words = [*service.get("entrypoint", ()), *service["command"]]
        words = [word.replace("$$", "$") for word in words]
        if name == "studio":
            words[0] = str(self._sandbox / words[0])
        if self._is_one_shot(name):
            self.machine.run(name, words, environ, volumes)
            return
        self.running[name] = self.machine.start(name, words, environ, volumes)
        if check := self._read_check(name):
            mapped_check = [self.machine.map_text(word, volumes) for word in check]
            self.running[name].wait_until(mapped_check, self.machine.build_environ(environ, volumes))

    def _is_one_shot(self, name: str) -> bool:
        waits = [one["depends_on"] for one in self.services.values() if isinstance(one.get("depends_on"), dict)]
        return any(wait.get(name, {}).get("condition") == "service_completed_successfully" for wait in waits)

    def _read_environ(self, name: str) -> dict[str, str]:
        service = self.services[name]
        ours = read_image().environ if service["image"] in OURS else {}
        return ours | service.get("environment", {})

    def _read_volumes(self, name: str) -> dict[str, Path]:
        volumes = {"/data": self._folder / f"{name}-data"}
        files: dict[str, Path] = {}
        for volume in self.services[name].get("volumes", ()):
            source, inside = str(volume).split(":")[:2]
            volumes[inside] = self._folder / f"volume-{source.replace('/', '-').lstrip('.')}"
            if source.startswith("./"):
                files[inside] = ROOT / source
        for inside, place in volumes.items():
            if inside in files:
                text = self.machine.map_text(files[inside].read_text(), volumes)
                place.write_text(text.replace("admin off", "admin off\n\tdefault_bind 127.0.0.1"))
            elif not inside.startswith("/var"):
                place.mkdir(mode=0o700, exist_ok=True)
        return volumes

    def _read_check(self, name: str) -> list[str]:
        service = self.services[name]
        own = service.get("healthcheck", {}).get("test")
        if own:
            assert own[0] == "CMD"
            return own[1:]
        return read_image().health if service["image"] in OURS else []


@pytest.fixture
def composition(programs: Path) -> Generator[Composition]:
    with temporary_folder() as folder:
        composition = Composition(folder, programs)
        with composition.up():
            yield composition


async def order(client: Caller, prompt: str) -> dict[str, Any]:
    """Repeat a call until its video is finished."""
    answer = Answer({})
    with anyio.move_on_after(READY_SECONDS):
        while answer.fields.get("status") != "complete":
            await anyio.sleep(0.5)  # the proxy may not know yet which replicas are ready
            answer = await client.call("animate_image", image=draw_picture(1), prompt=prompt, wait_seconds=10)
    assert answer.fields.get("status") == "complete", answer
    return answer.fields


async def test_a_caller_gets_videos_while_a_replica_is_stopped(composition: Composition) -> None:
    token = composition.execute("replica1", "seedance-mcp", "callers", "add", "ada", "--max-per-day", "5.00").strip()
    client = Caller(composition.machine.map_text("http://127.0.0.1:8080/mcp", {}), token, ERAS[0])
    video = await order(client, "one")
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, follow_redirects=True) as http:
        content = (await http.get(video["video_url"])).raise_for_status().content
    assert b"ftyp" in content[:12]
    for name in ("replica1", "replica2"):
        composition.check_health(name)

    codes: list[int] = []

    async def stop() -> None:
        seconds = read_grace(composition, "replica1")
        codes.append(await anyio.to_thread.run_sync(composition.running["replica1"].stop, seconds))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        await order(client, "another")
    assert codes == [0]


def read_grace(composition: Composition, name: str) -> float:
    return float(composition.services[name]["stop_grace_period"].removesuffix("s"))
