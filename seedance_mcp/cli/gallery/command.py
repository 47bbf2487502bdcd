"""The `gallery` command: videos and payments on a local page, or as a folder of files."""

import secrets
import webbrowser
from pathlib import Path
from typing import Annotated

import anyio
import typer

from seedance_mcp.cli.console import Sandbox, read_environ, words
from seedance_mcp.cli.words import CommandWords
from seedance_mcp.config.settings import read_settings

TOKEN_BYTES = 24


def gallery(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one.")] = 0,
    export: Annotated[Path | None, typer.Option(help="Write it into this folder as files, and end.")] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
    sandbox: Sandbox = False,
) -> None:
    """Show videos, spending and pending payments on a local page. Needs no key."""
    settings = read_settings(read_environ(sandbox))
    if export is not None:
        from seedance_mcp.cli.gallery.export import export_gallery

        typer.echo(anyio.run(export_gallery, settings, export.expanduser().absolute()))
        return
    from seedance_mcp.app.web.door import open_door  # the web server loads only if it serves
    from seedance_mcp.app.web.gallery.server import serve_gallery

    (door, origin), token = open_door(port, name="The gallery"), secrets.token_urlsafe(TOKEN_BYTES)
    url = f"{origin}/{token}/"
    words.print("The gallery is at this address, for you only; Ctrl-C ends it.")
    typer.echo(url)
    if open_page:
        webbrowser.open(url)
    serve_gallery(settings, door, origin=origin, token=token, words=CommandWords())
