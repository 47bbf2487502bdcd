"""The doctor: looks at everything that a working installation needs, and says of each thing how it is and what to do.

Spends nothing, signs nothing and changes nothing; works without a key and without a network. Every finding stands for
itself: one that cannot be made never hides the others.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

import anyio
import anyio.to_thread

from seedance_mcp import __version__
from seedance_mcp.cli.doctor.callers import check_callers
from seedance_mcp.cli.doctor.finding import Finding, build_problem
from seedance_mcp.cli.doctor.local import (
    check_clients,
    check_disk,
    check_ledger,
    check_settings,
    check_settings_files,
    check_start,
    check_wallet,
)
from seedance_mcp.cli.doctor.network import check_network
from seedance_mcp.config.settings import find_sources, read_settings
from seedance_mcp.config.sources import PREFIX
from seedance_mcp.core.errors import ConfigError


async def examine(environ: Mapping[str, str], *, given: Mapping[str, str] | None = None) -> list[Finding]:
    """Look at everything.

    Args:
        environ: The environment to look at.
        given: What it was before a command changed it; what the command changed is named as no one's setting.
    """
    findings = [
        Finding(topic="program", health="ok", text=f"seedance-mcp {__version__}, Python {platform.python_version()}")
    ]
    try:
        sources = await anyio.to_thread.run_sync(find_sources, environ)
        settings = await anyio.to_thread.run_sync(lambda: read_settings(environ, blocking=True))
    except ConfigError as exc:
        findings.append(Finding(topic="settings", health="wrong", text=exc.what, advice=exc.next_step))
        return findings + await anyio.to_thread.run_sync(check_clients)
    findings += await anyio.to_thread.run_sync(check_settings_files, settings, environ)
    if settings.limits.problem is not None:
        findings.append(build_problem("settings", settings.limits.problem))
    changed = {name for name in sources if given is not None and environ.get(PREFIX + name) != given.get(PREFIX + name)}
    findings += check_settings(settings, {name: sources[name] for name in sources if name not in changed})
    address, found = await check_wallet(settings)
    findings += found
    findings += await anyio.to_thread.run_sync(check_disk, settings)
    findings += await check_ledger(settings, address)
    findings += await check_callers(settings)
    findings += await check_network(settings, address)
    findings += await anyio.to_thread.run_sync(check_start)
    return findings + await anyio.to_thread.run_sync(check_clients)
