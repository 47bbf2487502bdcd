"""Other clients and earlier versions, each in its own environment. Run with SEEDANCETEST_HOSTS=1."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.clients import HERE, SDK_1, SERVER, add_to_node_folder, run_driver
from tests.compat.conftest import MakeEnviron, check_journey, install_node, install_python

pytestmark = pytest.mark.compat


@pytest.mark.slow
def test_python_sdk_1_x_gets_a_video_and_asks_its_person(
    host_environ: MakeEnviron, make_picture: Callable[..., Path]
) -> None:
    python = install_python(SDK_1)
    command = [str(python), str(HERE / "drive_python.py"), str(make_picture()), *SERVER]
    seen = run_driver(command, host_environ(SEEDANCE_ASK_ABOVE="0.10"))
    assert seen["protocol"] == "2025-11-25"
    check_journey(seen, asked=True)


@pytest.mark.slow
def test_typescript_sdk_1_x_gets_a_video_and_asks_its_person(
    host_environ: MakeEnviron, make_picture: Callable[..., Path]
) -> None:
    folder = install_node("@modelcontextprotocol/sdk@1.32.2")
    driver = add_to_node_folder(folder, "drive_typescript.mjs")
    command = ["node", str(driver), str(make_picture()), *SERVER]
    check_journey(run_driver(command, host_environ(SEEDANCE_ASK_ABOVE="0.10"), folder), asked=True)


@pytest.mark.slow
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_inspector_lists_the_tools_and_calls_one(
    host_environ: MakeEnviron, make_picture: Callable[..., Path], tmp_path: Path, era: str
) -> None:
    folder = install_node("@modelcontextprotocol/inspector@2.12.0", "node@22.23.3")
    programs = folder / "node_modules/.bin"
    environ = {**host_environ(), "HOME": str(tmp_path)}
    inspector = [str(programs / "node"), str(programs / "mcp-inspector"), "--cli", "--protocol-era", era]
    for name, value in environ.items():
        if name.startswith("SEEDANCE_"):
            inspector += ["-e", f"{name}={value}"]
    listed = run_driver([*inspector, *SERVER, "--method", "tools/list", "--strict"], environ, folder)
    given = [f"image={make_picture()}", "prompt=x", "duration=6"]
    arguments = [word for one in given for word in ("--tool-arg", one)]
    call = ["--method", "tools/call", "--tool-name", "quote_price", *arguments]
    quoted = run_driver([*inspector, *SERVER, *call], environ, folder)
    assert len(listed["tools"]) == 7
    assert quoted["structuredContent"]["price_usd"] == "0.48"
