"""The manifests are run as processes: secrets, migration, a pod with its probes, a video, and the end of the pod."""

from __future__ import annotations

import http.client
import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trustme

from seedance_mcp.app.local_sandbox import prepare_wallet
from tests.deploy.containers import LOOK_SECONDS, READY_SECONDS, Machine, Running, read_documents
from tests.deploy.database import run_postgres
from tests.deploy.image import link_environment, read_image
from tests.hosted.clients import ERAS, Answer, Caller, draw_picture
from tests.hosted.deployment import temporary_folder, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.usefixtures("needed_programs")]

FOLDER = "deploy/kubernetes"
STUDIO_PORT = "8402"


@dataclass
class Cluster:
    """What the manifests need: a database, a studio, and a machine that runs them.

    Attributes:
        machine: Runs containers.
        secrets: The content of the mounted secret.
        settings: Further settings: play money, and a folder in the place of the bucket.
    """

    machine: Machine
    secrets: dict[str, str]
    settings: dict[str, str]
    volumes: dict[str, dict[str, Path]] = field(default_factory=dict[str, dict[str, Path]])

    def mount(self, name: str, pod: dict[str, Any], container: dict[str, Any]) -> dict[str, Path]:
        """Return the folders of a container by their paths in it; those of a pod are made once."""
        made = self.volumes.setdefault(name, {})
        for volume in pod["volumes"]:
            if volume["name"] not in made:
                made[volume["name"]] = self._make(name, volume)
        return {one["mountPath"]: made[one["name"]] for one in container["volumeMounts"] if one["mountPath"] != "/tmp"}  # noqa: S108 - of the pod

    def _make(self, name: str, volume: dict[str, Any]) -> Path:
        folder = self.machine.folder / f"{name}-{volume['name']}"
        folder.mkdir()
        if "secret" in volume:
            assert volume["secret"]["secretName"] == "seedance-secrets"
            for key, content in self.secrets.items():
                file = folder / key
                file.write_text(content)
                file.chmod(volume["secret"]["defaultMode"])
        return folder

    def read_environ(self, container: dict[str, Any]) -> dict[str, str]:
        """Return a container's environment: of the image, of the named objects, and of this test."""
        assert container.get("envFrom", [{}])[0] in ({}, {"configMapRef": {"name": "seedance-settings"}})
        (settings,) = read_documents(f"{FOLDER}/settings.yaml")
        return read_image().environ | (settings["data"] | self.settings if "envFrom" in container else {})

    def prepare(self, name: str, pod: dict[str, Any]) -> None:
        """Run the containers that run before the others."""
        for container in pod["initContainers"]:
            volumes = self.mount(name, pod, container)
            self.machine.run(container["name"], container["command"], self.read_environ(container), volumes)

    def start(self, name: str, pod: dict[str, Any]) -> Running:
        """Start the container of a pod."""
        (container,) = pod["containers"]
        words = [*read_image().entrypoint, *container["args"]]
        return self.machine.start(name, words, self.read_environ(container), self.mount(name, pod, container))

    def execute(self, name: str, pod: dict[str, Any], *words: str) -> str:
        """Run a command in the container of a pod; returns its stdout."""
        (container,) = pod["containers"]
        return self.machine.run(name, words, self.read_environ(container), self.mount(name, pod, container))

    def ask(self, container: dict[str, Any], probe: str) -> int:
        """Make the request of a probe; returns the status, 0 without an answer."""
        request = container[probe]["httpGet"]
        (port,) = [one["containerPort"] for one in container["ports"] if one["name"] == request["port"]]
        connection = http.client.HTTPConnection("127.0.0.1", self.machine.find_port(port), timeout=5)
        try:
            connection.request("GET", request["path"], headers={"Host": "10.1.2.3"})  # a pod's address
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


@pytest.fixture
async def cluster(programs: Path) -> AsyncGenerator[Cluster]:
    with temporary_folder() as folder:
        authority = trustme.CA()
        password = secrets.token_urlsafe()
        (folder / "password").write_text(password)
        database = {
            "POSTGRES_USER": "seedance", "POSTGRES_DB": "seedance", "POSTGRES_PASSWORD_FILE": str(folder / "password"),
            "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C",
        }  # fmt: skip
        await anyio.to_thread.run_sync(prepare_wallet, None, folder / "wallet.json")
        (example, _) = read_documents(f"{FOLDER}/secret.example.yaml")
        mounted = {
            "wallet.json": (folder / "wallet.json").read_text(),
            "state-keys": secrets.token_urlsafe(48),
            "pgpass": example["stringData"]["pgpass"].replace("REPLACE", password),
            "database-ca.pem": authority.cert_pem.bytes().decode(),
        }
        assert mounted.keys() == example["stringData"].keys()
        machine = Machine(folder, programs)
        with run_postgres(folder / "postgres", database, authority) as port, run_studio(machine):
            machine.hosts["database.example"] = f"127.0.0.1:{port}"
            mounted["pgpass"] = mounted["pgpass"].replace("database.example:5432", f"127.0.0.1:{port}")
            yield Cluster(machine, mounted, {
                "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": f"http://127.0.0.1:{STUDIO_PORT}",
                "SEEDANCE_OBJECTS_URL": f"file://{folder}/objects", "SEEDANCE_DATABASE_SINGLE": "on",
            })  # fmt: skip


@contextmanager
def run_studio(machine: Machine) -> Generator[None]:
    """Run a sandbox studio that has funded the wallet."""
    program = link_environment(machine.folder / "sandbox-bin") / "seedance-mcp"
    environ = {"SEEDANCE_WALLET_FILE": str(machine.folder / "wallet.json")}
    studio = machine.start(
        "studio", [str(program), "sandbox", "--port", STUDIO_PORT, "--job-seconds", "1"], environ, {}
    )
    try:
        yield
    finally:
        studio.kill()


async def wait_for_probe(cluster: Cluster, container: dict[str, Any], probe: str, status: int = 200) -> None:
    with anyio.fail_after(READY_SECONDS):
        while await anyio.to_thread.run_sync(cluster.ask, container, probe) != status:
            await anyio.sleep(LOOK_SECONDS)


async def order(client: Caller) -> str:
    answer = Answer({})
    with anyio.move_on_after(READY_SECONDS):
        while answer.fields.get("status") != "complete":
            answer = await client.call("animate_image", image=draw_picture(1), prompt="waves", wait_seconds=10)
    assert answer.fields.get("status") == "complete", answer
    return str(answer.fields["video_url"])


async def test_a_pod_migrates_serves_and_ends_in_its_time(cluster: Cluster) -> None:
    (job,) = read_documents(f"{FOLDER}/migrate.yaml")
    migrating = job["spec"]["template"]["spec"]
    cluster.prepare("migrate", migrating)
    (container,) = migrating["containers"]
    await anyio.to_thread.run_sync(cluster.execute, "migrate", migrating, *read_image().entrypoint, *container["args"])

    serving = read_documents(f"{FOLDER}/serve.yaml")[0]["spec"]["template"]["spec"]
    cluster.prepare("serve", serving)
    (container,) = serving["containers"]
    pod = cluster.start("serve", serving)
    try:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            await wait_for_probe(cluster, container, probe)
        token = cluster.execute("serve", serving, "seedance-mcp", "callers", "add", "ada").strip()
        url = f"http://127.0.0.1:{cluster.machine.find_port(8080)}/mcp"
        assert (await order(Caller(url, token, ERAS[0]))).startswith("https://seedance.example/clips/")

        ended: list[int] = []

        def stop() -> None:
            ended.append(pod.stop(serving["terminationGracePeriodSeconds"]))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, stop)
            await wait_for_probe(cluster, container, "readinessProbe", 503)
            assert cluster.ask(container, "livenessProbe") == 200
            with anyio.fail_after(READY_SECONDS):
                await wait_for(lambda: bool(ended))
        assert ended == [0]
    finally:
        pod.kill()
