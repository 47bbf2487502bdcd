"""Local sandbox: start a sandbox studio in this process when the settings name none.

It imports the sandbox only when one is needed; client and sandbox still speak over HTTP.

A sandbox keeps nothing beyond its process, so a job that is unfinished then is never made. The next process that finds
no sandbox at its address ends such a job.
"""

import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from seedance_mcp.app.opening import open_ledger, read_address
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.installation import describe_install

if TYPE_CHECKING:
    from seedance_mcp.config.settings import Settings
    from seedance_mcp.sandbox import Sandbox, SandboxSettings

FUNDED_MICRO_USDC = 100_000_000
"""What a sandbox's wallet holds: $100 of a token that exists nowhere."""
EXAMPLE_IMAGE = Path(__file__).parents[1] / "sandbox" / "example.jpg"
"""A picture that every installation has; importing the sandbox would load it."""
KNOCK_SECONDS = 1.0
FUND_SECONDS = 10.0
ENDED = "The sandbox that was making it has ended; no real money was spent."


async def resolve_sandbox(settings: "Settings") -> "Settings":
    """Start a sandbox if the settings ask for an embedded one, with a funded wallet of its own.

    Raises:
        ConfigError: The sandbox is not installed.
        LedgerError: The ledger cannot be used.
    """
    await end_orphans(settings)
    if not settings.embedded:
        return settings
    address = await anyio.to_thread.run_sync(
        prepare_wallet, settings.wallet_key, settings.wallet_file, settings.wallet_password_file
    )
    sandbox = await anyio.to_thread.run_sync(lambda: start_sandbox(wallet=address))
    return settings.at_studio(sandbox.url)


async def end_orphans(settings: "Settings") -> None:
    """End the unfinished jobs of sandboxes that are gone. A real studio's jobs are in another ledger.

    Raises:
        LedgerError: The ledger cannot be used.
    """
    if settings.profile.name != "sandbox" or not settings.has_ledger:
        return
    async with open_ledger(settings) as ledger:
        for studio in await ledger.unfinished_studios():
            if await anyio.to_thread.run_sync(_is_gone, studio):
                await ledger.end_jobs(studio, error=ENDED, now=time.time())


def _is_gone(studio: str) -> bool:
    """Return True if no process listens at an address of this machine; other addresses are never judged gone."""
    parts = urlsplit(studio)
    if parts.scheme != "http" or parts.hostname is None or parts.port is None:  # plain http is for this machine only
        return False
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=KNOCK_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def prepare_wallet(key: str | None, file: Path, password_file: Path | None = None) -> str:
    """Return the address of the sandbox's wallet, made on first use.

    Raises:
        ConfigError: The key or its file cannot be used.
    """
    from seedance_mcp.adapters.wallet.key_files import create_key_file  # no start waits for it

    if key is None and not file.exists():
        try:
            create_key_file(file)
        except ConfigError:
            if not file.exists():  # else another server of the same host was quicker: its wallet is ours
                raise
    return anyio.run(read_address, key, file, password_file)


def start_sandbox(
    *, wallet: str, port: int = 0, funded_micro_usdc: int = FUNDED_MICRO_USDC, **options: object
) -> "Sandbox":
    """Start a sandbox studio in a thread; it ends with the process.

    Args:
        wallet: Address that gets play money.
        port: Port on the loopback address; 0 for a free one.
        funded_micro_usdc: How much it gets.
        options: Further fields of `SandboxSettings`.

    Raises:
        ConfigError: Not installed, the port is taken, or an option is wrong.
    """
    Sandbox, SandboxSettings = _load()  # noqa: N806 - these are classes
    try:
        settings = SandboxSettings(funded={wallet: funded_micro_usdc}, **options)  # type: ignore[arg-type]  # checked there
        sandbox = Sandbox(settings, port=port)
        sandbox.start()
    except ValueError as exc:
        raise ConfigError(f"The sandbox cannot be started: {exc}.", "Correct that option.") from exc
    except OSError as exc:
        raise ConfigError(
            f"The sandbox cannot use port {port}: {exc.strerror or exc}.", "Choose another --port."
        ) from exc
    return sandbox


def send_play_money(studio_url: str, address: str, amount_micro_usdc: int) -> None:
    """Send play money to a wallet of a sandbox, as a person sends real money to a real one.

    Raises:
        ConfigError: No sandbox answers there.
    """
    from http.client import HTTPConnection, HTTPException  # no start waits for it

    parts = urlsplit(studio_url)
    body = json.dumps({"address": address, "amount_micro_usdc": amount_micro_usdc})
    try:  # not over httpx: a proxy of the environment must not see it
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=FUND_SECONDS)
        try:
            connection.request("POST", "/_sandbox/fund", body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, HTTPException) as exc:
        raise ConfigError(f"No sandbox answers at {studio_url}: {exc}.", "Start one: seedance-mcp sandbox") from exc
    if status != 200:
        raise ConfigError(f"{studio_url} is not a sandbox (HTTP {status}).", "Start one: seedance-mcp sandbox")


def _load() -> "tuple[type[Sandbox], type[SandboxSettings]]":
    try:
        from seedance_mcp.sandbox import Sandbox, SandboxSettings  # heavy, and an extra: only when asked for
    except ImportError as exc:
        raise ConfigError(
            f"The sandbox studio is not installed ({exc.name} is missing).",
            describe_install("sandbox"),
        ) from exc
    return Sandbox, SandboxSettings
