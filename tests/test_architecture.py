"""The house: who may import whom, which outside library lives in which room, and what must not load at start-up."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "seedance_mcp"

FLOORS: dict[str, tuple[str, ...]] = {
    "faces": (
        "__main__", "cli", "commands", "demo", "doctor", "embedded", "engine", "entry", "gallery", "hosts", "jsonc",
        "logs", "results", "server", "serving", "shots", "stdio", "tomltext",
    ),
    "judgement": (
        "account", "adoption", "animator", "chains", "delivery", "doubts", "flights", "funds", "history", "hosting",
        "order", "ordering", "pricing", "purchase", "quotes", "quoting", "recovery", "retention", "source_images",
        "undelivered", "untracked", "untracked_payments", "watcher",
    ),
    "hands": ("config", "ledger", "media", "pictures", "studio", "wallet"),
    "facts": ("installation",),
    "pure": ("__init__", "errors", "idempotency", "money", "policy", "questions", "redaction", "wire"),
}  # fmt: skip
"""Every room, from the top floor to the bottom; a room may import its own floor and those below."""

LIBRARIES: dict[str, set[str]] = {
    "mcp": {"demo", "server", "serving", "stdio"},
    "httpx": {"studio"},
    "eth_account": {"wallet"},
    "keyring": {"wallet"},
    "sqlite3": {"ledger"},
    "PIL": {"pictures"},
    "mpp": {"wallet", "wire"},
    "pytempo": {"wallet", "wire"},
    "typer": {"cli", "commands"},
    "rich": {"commands", "demo"},
    "segno": {"commands"},
    "starlette": {"gallery"},
    "uvicorn": {"gallery"},
}
"""Which room an outside library lives in."""

EFFECTS = {"anyio", "asyncio", "httpx", "os", "pathlib", "random", "secrets", "socket", "sqlite3", "threading", "time"}
"""What a pure room must not even import: input and output, the clock, chance, and the event loop."""


def rooms() -> dict[str, list[Path]]:
    """Each room of the client house with its files."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room != "sandbox":
            found.setdefault(room, []).append(path)
    return found


@cache
def imports(path: Path, *, typing_only: bool = False) -> set[str]:
    """Full names of what a file imports anywhere; without what only type checkers read, unless asked for."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    if not typing_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def rooms_of(names: set[str]) -> set[str]:
    """The rooms of ours among imported names."""
    parts = [name.split(".") for name in names if name == "seedance_mcp" or name.startswith("seedance_mcp.")]
    return {part[1] for part in parts if len(part) > 1} - {"__version__"}


def floor_of(room: str) -> int:
    """0 for the faces, 4 for the pure rooms."""
    return next(number for number, names in enumerate(FLOORS.values()) if room in names)


def test_every_room_has_a_floor() -> None:
    assert set(rooms()) == {room for floor in FLOORS.values() for room in floor}


def test_imports_never_go_upward() -> None:
    for room, files in rooms().items():
        for path in files:
            for other in rooms_of(imports(path)) - {"sandbox"}:
                assert floor_of(other) >= floor_of(room), f"{path.name} imports {other}, which is above it"


def test_hands_do_not_know_each_other() -> None:
    for room in FLOORS["hands"]:
        for path in rooms()[room]:
            others = rooms_of(imports(path)) & set(FLOORS["hands"]) - {room}
            assert not others, f"{path.name} imports {others}"


def test_each_library_has_its_room() -> None:
    for room, files in rooms().items():
        for path in files:
            for name in imports(path):
                allowed = LIBRARIES.get(name.partition(".")[0])
                assert allowed is None or room in allowed, f"{path} imports {name}"


def test_pure_rooms_have_no_effects() -> None:
    for room in FLOORS["pure"]:
        for path in rooms()[room]:
            found = {name.partition(".")[0] for name in imports(path)} & EFFECTS
            assert not found, f"{path} imports {found}"


def test_the_two_houses_know_nothing_of_each_other() -> None:
    for path in (PACKAGE / "sandbox").rglob("*.py"):
        assert rooms_of(imports(path, typing_only=True)) <= {"sandbox"}, f"{path} imports the client"
    for room, files in rooms().items():
        for path in files:
            if "sandbox" in rooms_of(imports(path)):
                assert room in ("embedded", "demo"), f"{path} imports the sandbox"


def test_only_purchase_signs_and_sends_a_payment() -> None:
    for room, files in rooms().items():
        for path in files:
            called = {
                node.func.attr
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            }
            if called & {"sign_payment", "send_paid", "record_signed", "reserve"}:
                assert room == "purchase", f"{path} spends money"


def test_starting_loads_no_payment_no_network_and_no_sandbox() -> None:
    forbidden = (
        "eth_account",
        "httpx",
        "mpp",
        "PIL",
        "rich",
        "seedance_mcp.sandbox",
        "sqlite3",
        "typer",
        "web3",
        "x402",
    )
    serve = "import seedance_mcp.server.stdio"  # the server with its process
    program = f"import sys; before = set(sys.modules); {serve}; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "seedance_mcp.server" in loaded
    assert [name for name in loaded if name in forbidden or name.startswith("seedance_mcp.sandbox")] == []


def test_paying_on_x402_loads_no_web3() -> None:
    program = """
import asyncio, sys, pathlib
from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.config.profiles import SANDBOX_TOKEN
import seedance_mcp.app.services, seedance_mcp.adapters.ledger.sqlite
from seedance_mcp.core.wire.x402 import Authorization, build_payment
from seedance_mcp.core.wire.offers import Offer, Offers

async def main():
    wallet = await open_wallet("11" * 32, pathlib.Path("unused"))
    offer = Offer(rail="x402", scheme="exact", network=SANDBOX_TOKEN.network, asset=SANDBOX_TOKEN.asset,
                  pay_to="0x" + "22" * 20, amount_micro_usdc=1, lifetime_seconds=60)
    authorization = Authorization(payer=wallet.address, pay_to=offer.pay_to, amount_micro_usdc=1, valid_after=0,
                                  valid_before=9999999999, nonce="0x" + "33" * 32)
    offers = Offers(resource={}, extensions={}, offers=(offer,), passed_over=())
    await wallet.sign_payment(build_payment(authorization, offer, offers), SANDBOX_TOKEN)
    await wallet.sign_in("text")

asyncio.run(main())
print(*sorted(sys.modules))
"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "eth_account" in loaded
    assert [name for name in loaded if name.partition(".")[0] in ("web3", "mpp", "x402", "pytempo")] == []
