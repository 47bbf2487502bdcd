"""The `serve` command: a hosted server for several callers over HTTP."""

from __future__ import annotations

import os
import sys

import anyio
import typer

from seedance_mcp.app.logging import configure_logging
from seedance_mcp.cli.exit_codes import INTERRUPTED
from seedance_mcp.config.hosted import read_hosted_settings
from seedance_mcp.config.settings import find_sources


def serve() -> None:
    """Serve MCP over HTTP to callers with a token, until SIGTERM. Needs PostgreSQL and the extra `hosted`."""
    settings = read_hosted_settings(os.environ)
    level = settings.owner.log_level if "LOG_LEVEL" in find_sources(os.environ) else "INFO"
    configure_logging(level, lines=not sys.stderr.isatty())
    from seedance_mcp.server import hosted  # loads the MCP SDK

    if not anyio.run(hosted.serve, settings):
        raise typer.Exit(INTERRUPTED)
