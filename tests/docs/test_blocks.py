"""Every block of README and the pages is run, in the order of its page, or listed here with the reason why not."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.programs import EXIT_CODE, ROOT, Block, Reader, read_blocks, read_commands
from tests.forks import write_commands

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]

TEN_COMMANDS = next(block for block in read_blocks("docs/hosted.md") if block.language == "bash")
"""Need a shell and a database; tests/hosted/test_page.py runs all of them."""

BACKUP_COMMANDS = [
    command
    for block in read_blocks("docs/hosted.md")
    if block.text.startswith(("pg_dump", "pg_restore"))
    for command in read_commands(block)
]
"""Need a database."""

DEPLOYING = [command for block in read_blocks("docs/deploy.md") for command in read_commands(block)]
"""Need Docker or Kubernetes."""

NOT_RUN: dict[tuple[str, str], str] = {
    **{("docs/deploy.md", command): "tests/deploy runs what these commands start" for command in DEPLOYING},
    **{("docs/hosted.md", command): "one of the ten commands" for command in read_commands(TEN_COMMANDS)},
    ("README.md", "scripts/demo"): "sets up .venv by downloading; tests/integration runs the demo itself",
    ("README.md", "scripts/test"): "is what runs this test",
    **{
        (page, f'{tool} install ".[sandbox]"'): "installs a program"
        for page in ("README.md", "docs/index.md")
        for tool in ("uv tool", "pipx")
    },
    ("docs/howto/films.md", 'uv tool install --force ".[sandbox,film]"'): "installs a library",
    ("docs/mcp.md", "SEEDANCETEST_HOSTS=1 python -m pytest tests/compat"): "downloads foreign clients; they are tests",
    ("docs/hosted.md", "seedance-mcp callers add ada --max-per-day 5.00 --max-total 50.00 --max-open 3"): (
        "needs a database; tests/cli/test_callers.py runs it"
    ),
    ("docs/hosted.md", "seedance-mcp callers webhook ada --url https://app.example/hooks/seedance"): (
        "needs a database; tests/cli/test_callers.py runs it"
    ),
    ("docs/hosted.md", "seedance-mcp callers list"): "needs a database; tests/cli/test_callers.py runs it",
    ("docs/hosted.md", "seedance-mcp callers delete ada --yes"): "needs a database; tests/cli/test_callers.py runs it",
    ("docs/hosted.md", "seedance-mcp callers limit ada-1546549303d2 --max-per-day 5.00"): (
        "needs a database; tests/cli/test_callers.py runs it"
    ),
    ("docs/hosted.md", "seedance-mcp callers add ada --subject 'auth0|5f7c8ec7c33c' --max-per-day 5.00"): (
        "needs a database; tests/cli/test_callers.py runs it"
    ),
    **{("docs/hosted.md", command): "tests/cli/test_ledger.py runs it" for command in BACKUP_COMMANDS},
    ("docs/hosted.md", "seedance-mcp serve"): "needs a database, and runs until a signal; tests/server runs it",
    ("docs/hosted.md", "seedance-mcp migrate --from ~/.local/share/seedance-mcp/live/ledger.sqlite3"): (
        "needs a database; tests/cli/test_migrate.py runs it"
    ),
}
"""Commands that a test cannot run."""

SAYS: dict[tuple[str, str], str] = {
    ("docs/hosted.md", "python verify.py"): "{'test': 2432232314}\n",
    ("docs/first-video.md", "seedance-mcp jobs --sandbox"): "complete",
    ("docs/first-video.md", "seedance-mcp wallet limits"): "spent total            $0.33\n",
    ("docs/howto/agents.md", 'SEEDANCE_PROFILE=sandbox python agent.py harbour.jpg "The boat drifts out"'): "Saved: /",
    ("docs/howto/agents.md", "SEEDANCE_PROFILE=sandbox python headless.py harbour.jpg"): (
        "Bought: Waves roll in\nbudget_exceeded, payment state: none\n"  # an earlier block has bought from this wallet
    ),
    ("docs/howto/agents.md", "echo no | SEEDANCE_PROFILE=sandbox python asking.py harbour.jpg"): (
        "Pay $0.32?\nprice_too_high: "
    ),
    ("docs/hosts/claude-desktop.md", "seedance-mcp install claude-desktop --sandbox"): '"SEEDANCE_PROFILE": "sandbox"',
}
"""Output of a command that a page promises."""

ALONE = {"docs/first-video.md"}
"""Pages whose `--sandbox` commands each start a studio, as for a reader; it takes six seconds per video."""

WITH_BLOCKS = [page for page in PAGES if read_blocks(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_every_block_of_a_page_works(page: str, tmp_path: Path, studio_server: "Sandbox", funded_key: str) -> None:
    folder, data = tmp_path / "reader", tmp_path / "data"
    folder.mkdir()
    commands = tmp_path / "commands"
    write_commands(commands)
    reader = Reader(folder, data, studio_server.url, funded_key, alone=page in ALONE, commands=commands)
    blocks = read_blocks(page)
    reader.lay(blocks)
    for block in blocks:
        if block.language == "bash":
            for command in read_commands(block):
                do(reader, block, command)
        else:
            reader.check(block)


def do(reader: Reader, block: Block, command: str) -> None:
    """Run one command, unless it is listed, and check its exit code and output."""
    if (block.page, command) in NOT_RUN:
        return
    promised = EXIT_CODE.search(command)
    began = time.monotonic()
    done = reader.run(command)
    place = f"{block.page}:{block.line}: {command} ({time.monotonic() - began:.1f} s)"
    print(place, done.out, done.err, sep="\n")  # noqa: T201 - shown where the test fails
    assert done.code == (int(promised[1]) if promised else 0), place
    assert "Traceback" not in done.err, place
    assert SAYS.get((block.page, command), "") in done.out, place


def test_listed_commands_are_on_their_page() -> None:
    commands = {
        (page, command)
        for page in WITH_BLOCKS
        for block in read_blocks(page)
        if block.language == "bash"
        for command in read_commands(block)
    }
    assert {*NOT_RUN, *SAYS} <= commands
    assert set(NOT_RUN).isdisjoint(SAYS)
    assert set(PAGES) >= ALONE
