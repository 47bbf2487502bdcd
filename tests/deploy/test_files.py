"""The files of a deployment are valid by the tools of their makers, and agree with each other and with the program."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from seedance_mcp.config.hosted import DRAIN_SECONDS_DEFAULT
from seedance_mcp.config.sources import HOSTED_SETTINGS, PREFIX, SETTINGS
from tests.deploy.containers import ROOT, read_documents
from tests.deploy.image import read_image

KUBERNETES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "deploy/kubernetes").glob("*.yaml"))
END_SECONDS = 20
"""What a replica needs beside the time for calls in progress."""


def run_tool(*words: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name(words[0])), *words[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def find(kind: str) -> dict[str, Any]:
    (found,) = [one for name in KUBERNETES for one in read_documents(name) if one["kind"] == kind]
    return found


def list_pods() -> list[dict[str, Any]]:
    return [find(kind)["spec"]["template"]["spec"] for kind in ("Job", "Deployment")]


def test_the_dockerfile_has_no_warning() -> None:
    run_tool("hadolint", "--failure-threshold", "style", "Dockerfile")


def test_the_compose_file_follows_its_schema() -> None:
    run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_manifests_follow_the_schemas_of_kubernetes() -> None:
    assert KUBERNETES
    run_tool("kubernetes-validate", "--strict", *KUBERNETES)


def test_the_image_runs_as_a_user_without_rights() -> None:
    image = read_image()
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", image.user)
    stages = [rest.split()[0] for word, rest in image.instructions if word == "FROM"]
    assert all(":" in base and not base.endswith(":latest") for base in stages)
    for pod in list_pods():
        assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == image.user


def test_the_image_has_all_libraries_of_its_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["hosted"], *extras["tempo"]]
    names = {re.split(r"[\[<>=~; ]", one)[0].lower().replace(".", "-") for one in wanted}
    assert names <= read_pins("hosted").keys()


@pytest.mark.parametrize("kind", ["hosted", "sandbox"])
def test_the_tests_run_with_the_pinned_versions(kind: str) -> None:
    tested = read_pins("dev")

    assert {name: version for name, version in read_pins(kind).items() if tested[name] != version} == {}


def read_pins(kind: str) -> dict[str, str]:
    """Return the pinned version of each package that an environment has."""
    text = (ROOT / f"requirements/{kind}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==(\S+)", text, re.MULTILINE))


def test_pods_may_do_nothing_that_they_do_not_need() -> None:
    for pod in list_pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["initContainers"], *pod["containers"]]:
            rights = container["securityContext"]
            assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_replicas_have_the_time_that_their_end_takes() -> None:
    services = read_documents("compose.yaml")[0]["services"]
    needed = DRAIN_SECONDS_DEFAULT + END_SECONDS
    assert find("ConfigMap")["data"]["SEEDANCE_DRAIN_SECONDS"] == str(DRAIN_SECONDS_DEFAULT)
    assert find("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= needed
    for name in ("replica1", "replica2"):
        assert services[name]["stop_grace_period"] == f"{needed}s"


def test_every_variable_is_a_setting() -> None:
    services = read_documents("compose.yaml")[0]["services"]
    named = {*find("ConfigMap")["data"], *read_image().environ}
    named |= {name for one in services.values() for name in one.get("environment", {})}
    ours = {name.removeprefix(PREFIX) for name in named if name.startswith(PREFIX)}
    assert ours <= {*SETTINGS, *HOSTED_SETTINGS}
