"""The blocks of a page, and a reader who runs them in a folder, in the order of the page.

`--sandbox` and `SEEDANCE_PROFILE=sandbox` work as for any reader. Where a page uses real money, a persistent sandbox is
the studio, with its own data folder. Our commands run in this process, because starting one takes longer than most of
them; those that serve, wait, need a shell or start a studio are forked (`tests.forks`), and so are a page's programs.
The installed command is started in tests/docs/test_docs.py.
"""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from seedance_mcp.cli.batch_input import read_shots
from seedance_mcp.cli.exit_codes import INTERRUPTED
from seedance_mcp.cli.film_input import read_story
from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.toml_edit import parse_toml
from seedance_mcp.cli.install.yaml_edit import parse_yaml
from seedance_mcp.config.settings import read_settings
from seedance_mcp.sandbox import EXAMPLE_IMAGE
from tests.cli.conftest import Person

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COMMAND_SECONDS = 60
DEPOSIT_MICRO_USDC = 5_000_000
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT_CODE = re.compile(r"\s+# exit code (\d+)$")
PLAIN = re.compile(r"((?:SEEDANCE_\w+=\S+ )*)seedance-mcp ([^|;&$<>]+)(?:< /dev/null|> (\S+))?(?:\s+#.*)?")
"""A command that needs no shell: its settings, its words, and its output file."""
PERSISTENT_URL = "http://127.0.0.1:8402"
"""URL of the persistent sandbox on the pages."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str | None:
        """Return the file that its first line names, `# agent.py`."""
        found = re.match(r"# ([\w.-]+)\n", self.text)
        return found[1] if found else None


def read_blocks(page: str) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = (ROOT / page).read_text()
    found = list(FENCE.finditer(text))
    assert len(re.findall(r"^\s*```", text, re.MULTILINE)) == 2 * len(found), f"{page}: a fence that is not read"
    return [Block(page, text[: match.start()].count("\n") + 1, match[1], match[2]) for match in found]


def read_commands(block: Block) -> list[str]:
    """Return the commands of a block; a continued line is one command."""
    lines = (line.strip() for line in block.text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass
class Reader:
    """A reader who runs the blocks of one page.

    Attributes:
        folder: The reader's working folder.
        data: The data folder of what a page does with real money; the one of its sandbox commands is beside it.
        studio_url: A persistent sandbox.
        key: A funded key there.
        alone: True if each `--sandbox` command starts its own studio, as it does for a reader.
        commands: A folder of commands that replace the installed ones.
    """

    folder: Path
    data: Path
    studio_url: str
    key: str
    alone: bool
    commands: Path
    exported: dict[str, str] = field(default_factory=dict[str, str])

    def lay(self, blocks: list[Block]) -> None:
        """Create what a page assumes: pictures, files, the hosts, and a wallet if it creates none."""
        code = "\n".join(block.text for block in blocks)
        for name in set(re.findall(r"(?<![\w/.-])[\w-]+\.(?:jpg|png)\b", code)):
            shutil.copyfile(EXAMPLE_IMAGE, self.folder / name)
        for host in HOSTS.values():
            host.find_place().folder.mkdir(parents=True, exist_ok=True)
        self._put_wallet(self.sandbox_data)
        if not re.search(r"^seedance-mcp wallet create\b", code, re.MULTILINE):
            self._put_wallet(self.data)
        for block in blocks:
            if block.language == "python":
                assert block.name is not None, f"{block.page}:{block.line} names no file"
                assert re.search(rf"python {re.escape(block.name)}\b", code), f"{block.page} does not run {block.name}"
                (self.folder / block.name).write_text(block.text)
            if block.language in ("csv", "jsonl"):
                named = re.search(rf"--from ([\w-]+\.{block.language})\b", code)
                (self.folder / (named[1] if named else f"rows.{block.language}")).write_text(block.text)
            if block.language == "yaml" and block.name is not None:
                (self.folder / block.name).write_text(block.text)

    @property
    def sandbox_data(self) -> Path:
        """Return the data folder of commands that select the sandbox themselves."""
        return self.data.with_name("sandbox-data")

    def _put_wallet(self, data: Path) -> None:
        file = data / "sandbox" / "wallet.json"
        file.parent.mkdir(parents=True)
        file.touch(0o600)
        file.write_text(json.dumps({"private_key": self.key}))

    def check(self, block: Block) -> None:
        """Read a block that is not a command as the program reads it."""
        if block.language == "json":
            self._check_json(json.loads(block.text))
        elif block.page.startswith("docs/hosts/") and block.language in ("toml", "yaml"):
            parse = parse_toml if block.language == "toml" else parse_yaml
            parse(block.text, Path(block.page))  # tests/docs/test_host_pages.py compares it with what is written
        elif block.language == "toml":
            tomllib.loads(block.text)
            if block.name == "settings.toml":
                self.data.mkdir(exist_ok=True)
                (self.data / block.name).write_text(block.text)
                read_settings({"SEEDANCE_DATA_DIR": str(self.data)})
            else:
                assert block.name is not None, f"{block.page}:{block.line} names no file"
                (self.folder / block.name).write_text(block.text)
                profile = str(self.folder / block.name)
                read_settings({"SEEDANCE_PROFILE": "custom", "SEEDANCE_PROFILE_FILE": profile})
        elif block.language == "csv":
            assert len({len(row) for row in csv.reader(io.StringIO(block.text), strict=True)}) == 1
            self._check_rows(block)
        elif block.language == "jsonl":
            self._check_rows(block)
        elif block.language == "yaml" and block.name is not None:
            read_story(self.folder / block.name)
        elif block.language not in ("ini", "text") or block.page != "docs/hosted.md":  # tests/hosted/test_page.py
            assert block.language == "python", f"{block.page}:{block.line}: unknown language {block.language!r}"

    def _check_rows(self, block: Block) -> None:
        file = self.folder / f"checked.{block.language}"
        file.write_text(block.text)
        shots = read_shots(file, {})
        assert all(Path(shot.request.image or "").exists() for shot in shots)

    def _check_json(self, document: dict[str, Any]) -> None:
        for entry in document.get("mcpServers", {}).values():
            assert (BIN / entry["command"]).exists()
            assert entry["args"] == []
            read_settings({"SEEDANCE_DATA_DIR": str(self.data), **entry["env"]})

    def find_environ(self, command: str) -> dict[str, str]:
        """Return the reader's environment for a command."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
        environ = {**plain, "PATH": os.pathsep.join((str(BIN), plain.get("PATH", os.defpath)))}
        standing = {"SEEDANCE_STUDIO_URL": self.studio_url}
        if "--sandbox" in command:
            return {**environ, "SEEDANCE_DATA_DIR": str(self.sandbox_data), **({} if self.alone else standing)}
        if "SEEDANCE_PROFILE=sandbox" in command or "SEEDANCE_PROFILE" in self.exported:
            key = {"SEEDANCE_WALLET_KEY": self.key}  # also if a page uses its own data folder
            return {**environ, "SEEDANCE_DATA_DIR": str(self.sandbox_data), **standing, **key, **self.exported}
        environ["SEEDANCE_DATA_DIR"] = str(self.data)
        if "SEEDANCE_PROFILE=" not in command:
            environ |= {"SEEDANCE_PROFILE": "sandbox", **standing}
        return environ

    def run(self, command: str) -> Done:
        """Run a line; send Ctrl-C to a command that serves, and money to one that waits for it."""
        command = command.replace(PERSISTENT_URL, self.studio_url)
        if command.startswith("export "):
            for word in shlex.split(command)[1:]:
                name, _, value = word.partition("=")
                self.exported[name] = value
            return Done(0, "", "")
        stands = re.match(r"seedance-mcp (gallery(?!.*--export)|sandbox)", command)
        if stands:
            command += " --no-open" if stands[1].startswith("gallery") else " --port 0"
        plain = PLAIN.fullmatch(command)
        apart = stands or "--wait" in command or (self.alone and "--sandbox" in command)
        if plain and not apart:
            return self._run_here(plain, self.find_environ(command))
        environ = self.find_environ(command)
        environ["PATH"] = os.pathsep.join((str(self.commands), environ["PATH"]))
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}" if stands else command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=environ,
        )
        with process:
            first = ""
            try:
                if stands:
                    first = read_line(process.stdout)
                    process.send_signal(signal.SIGINT)
                elif "wallet fund --wait" in command:
                    first = read_line(process.stdout)
                    while "Waiting" not in read_line(process.stderr):
                        pass
                    self.deposit(first.strip())
                out, err = process.communicate(timeout=COMMAND_SECONDS)
            finally:
                process.kill()
        ended = 0 if stands and process.returncode == INTERRUPTED else process.returncode
        return Done(ended, first + out, err)

    def _run_here(self, command: re.Match[str], environ: dict[str, str]) -> Done:
        """Run one of our own commands in this process."""
        settings = dict(word.split("=", 1) for word in shlex.split(command[1]))
        person = Person(folder=self.folder, environ=environ)
        ended = person.run(*shlex.split(command[2], comments=True), **settings)
        if command[3] is None:
            return Done(ended.code, ended.out, ended.err)
        (self.folder / command[3]).write_text(ended.out)
        return Done(ended.code, "", ended.err)

    def deposit(self, address: str) -> None:
        """Send play money, as a person sends real money."""
        body = {"address": address, "amount_micro_usdc": DEPOSIT_MICRO_USDC}
        httpx.post(f"{self.studio_url}/_sandbox/fund", json=body).raise_for_status()


def read_line(stream: Any) -> str:
    """Return the next line of a command's output, which must not have ended."""
    line: str = stream.readline()
    assert line, "the command ended without a word"
    return line
