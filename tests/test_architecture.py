"""The architecture: import rules, where money is spent, and what must not load at start-up."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "seedance_mcp"
PACKAGES = {
    "adapters", "app", "cli", "config", "core", "generation", "jobs", "payments", "sandbox", "server",
}  # fmt: skip
SPENDING = {"record_signed", "reserve", "send_paid", "sign_payment"}
"""Methods that are steps of a payment."""
OPENERS = {"PostgresLedger", "SQLiteLedger", "Studio", "open_wallet"}
FUNCTION_LINES_MAX = 50
FUNCTION = re.compile(r"( *)(?:async )?def ")


def test_import_rules_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_package_root_has_the_ten_packages() -> None:
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}

    assert found == PACKAGES | {"__init__.py", "__main__.py", "py.typed"}


def test_only_the_executor_signs_and_sends_a_payment() -> None:
    callers = {
        module
        for module, called in read_calls().items()
        if SPENDING & {function.attr for function in called if isinstance(function, ast.Attribute)}
    }

    assert callers == {"payments/executor.py"}


def test_only_app_opens_ledgers_studios_and_wallets() -> None:
    callers = {
        module.partition("/")[0]
        for module, called in read_calls().items()
        if OPENERS & {function.id for function in called if isinstance(function, ast.Name)}
        and module != "adapters/ledger/postgres.py"  # the same ledger, for a caller
    }

    assert callers == {"app"}


def read_calls() -> dict[str, list[ast.expr]]:
    """Return what each module of ours calls that a rule names; the sandbox is not ours to judge."""
    names = re.compile(r"\b(?:" + "|".join(sorted(SPENDING | OPENERS)) + r")\b")
    return {
        module: [node.func for node in ast.walk(parse(module)) if isinstance(node, ast.Call)]
        for module, text in read_modules().items()
        if not module.startswith("sandbox/") and names.search(text)
    }


@functools.cache
def parse(module: str) -> ast.Module:
    """Return a module's tree."""
    return ast.parse(read_modules()[module])


@functools.cache
def read_modules() -> dict[str, str]:
    """Return the text of each module."""
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


def test_starting_loads_no_payment_no_network_and_no_sandbox() -> None:
    forbidden = (
        "coincurve",
        "difflib",
        "eth_account",
        "httpx",
        "mpp",
        "obstore",
        "PIL",
        "psycopg",
        "psycopg_pool",
        "rich",
        "ruamel",
        "seedance_mcp.adapters",
        "seedance_mcp.app.picker",
        "seedance_mcp.app.web",
        "seedance_mcp.core.records",
        "seedance_mcp.core.wire.offers",
        "seedance_mcp.sandbox",
        "sqlite3",
        "tomlkit",
        "typer",
        "web3",
        "x402",
    )
    loaded = list_loaded()["starting"]
    assert "seedance_mcp.server" in loaded
    late = ("seedance_mcp.sandbox", "seedance_mcp.config.settings", "seedance_mcp.payments")
    assert [name for name in loaded if name in forbidden or name.startswith(late)] == []


def test_greeter_loads_nothing_but_the_standard_library() -> None:
    program = "import sys, seedance_mcp.__main__, seedance_mcp.server.greeter; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(ROOT)!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    ours = {"__main__", "server", "server.greeter", "server.standard_streams"}
    assert {name for name in loaded if name.startswith("seedance_mcp.")} == {f"seedance_mcp.{name}" for name in ours}
    slow = ("argparse", "asyncio", "dataclasses", "importlib.metadata", "importlib.resources", "inspect", "logging")
    assert [name for name in loaded if name in slow] == []
    assert len(loaded) < 100


def test_list_of_commands_loads_no_command() -> None:
    program = "import sys, seedance_mcp.cli.main; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "seedance_mcp.cli.commands" in loaded
    assert [
        name for name in loaded if name in ("rich", "seedance_mcp.cli.console", "seedance_mcp.config.settings")
    ] == []


def test_toml_and_yaml_libraries_load_only_to_edit_such_a_file() -> None:
    program = """
import pathlib, sys
from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.hosts import add_entry
for name in ("cursor", "codex", "goose"):
    add_entry(HOSTS[name], pathlib.Path("missing"), {"command": "x"})
    print("tomlkit" in sys.modules, "ruamel.yaml" in sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["False", "False", "True", "False", "True", "True"]


WORK = """
import sys
before = set(sys.modules)
import seedance_mcp.server.stdio
print("starting:", *sorted(set(sys.modules) - before))

import asyncio
from seedance_mcp.app.runtime import Runtime

async def keep(settings):
    return settings

async def quote():
    runtime = Runtime({"SEEDANCE_DATA_DIR": sys.argv[1]}, resolve_sandbox=keep, start=print)
    services = await runtime.quote_services()
    print("wallet:", (await services.wallet_status.read()).address or "none")
    await runtime.close()

asyncio.run(quote())
print("quoting:", *sorted(sys.modules))

import pathlib
from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.config.profiles import SANDBOX_TOKEN
import seedance_mcp.app.services, seedance_mcp.adapters.ledger.sqlite
from seedance_mcp.core.wire.x402 import Authorization, build_payment
from seedance_mcp.core.wire.offers import Offer, Offers

async def pay():
    wallet = await open_wallet("11" * 32, pathlib.Path("unused"))
    offer = Offer(rail="x402", scheme="exact", network=SANDBOX_TOKEN.network, asset=SANDBOX_TOKEN.asset,
                  pay_to="0x" + "22" * 20, amount_micro_usdc=1, lifetime_seconds=60)
    authorization = Authorization(payer=wallet.address, pay_to=offer.pay_to, amount_micro_usdc=1, valid_after=0,
                                  valid_before=9999999999, nonce="0x" + "33" * 32)
    offers = Offers(resource={}, extensions={}, offers=(offer,), passed_over=())
    await wallet.sign_payment(build_payment(authorization, offer, offers), SANDBOX_TOKEN)
    await wallet.sign_in("text")

asyncio.run(pay())
print("paying:", *sorted(sys.modules))
"""


@functools.cache
def list_loaded() -> dict[str, list[str]]:
    """Return what is loaded once a new process of ours has started, then has quoted, then has paid."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-c", WORK, folder]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: words.split() for name, _, words in (line.partition(": ") for line in told.splitlines())}


def test_paying_on_x402_loads_no_web3() -> None:
    loaded = list_loaded()["paying"]
    assert "eth_account" in loaded
    assert [name for name in loaded if name.partition(".")[0] in ("web3", "mpp", "x402", "pytempo")] == []


def test_quoting_without_a_wallet_loads_no_library_of_keys() -> None:
    loaded = list_loaded()
    assert loaded["wallet"] == ["none"]
    assert "seedance_mcp.app.runtime" in loaded["quoting"]
    assert "eth_account" not in loaded["quoting"]


def test_no_module_is_longer_than_400_lines() -> None:
    long = {module: len(text.splitlines()) for module, text in read_modules().items()}
    assert {module: lines for module, lines in long.items() if lines > 400} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    long = {
        f"{module}:{node.name}": lines
        for module, text in read_modules().items()
        if may_have_long_function(text)
        for node in ast.walk(parse(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == {}


def may_have_long_function(text: str) -> bool:
    """Return True unless each function has so few lines before the next one that is not inside of it."""
    open_at: list[tuple[int, int]] = []
    """Indentation and line of each function that may go on."""
    number = 0
    for number, line in enumerate(text.splitlines()):
        if found := FUNCTION.match(line):
            indentation = len(found[1])
            while open_at and open_at[-1][0] >= indentation:
                if number - open_at.pop()[1] > FUNCTION_LINES_MAX:
                    return True
            open_at.append((indentation, number))
    return any(number + 1 - start > FUNCTION_LINES_MAX for _, start in open_at)
