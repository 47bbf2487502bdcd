"""`gallery`: clips and money on a page of this machine, or as a folder of files."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from seedance_mcp.cli.console import Sandbox, read_environ, words
from seedance_mcp.config.settings import read_settings


def gallery(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one.")] = 0,
    export: Annotated[Path | None, typer.Option(help="Write it into this folder as files, and end.")] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
    sandbox: Sandbox = False,
) -> None:
    """Show clips, spending and open payments on a page of this machine. Needs neither a key nor a network."""
    settings = read_settings(read_environ(sandbox))
    if export is not None:
        from seedance_mcp.cli.gallery.export import export_gallery

        typer.echo(export_gallery(settings, export.expanduser().absolute()))
        return
    from seedance_mcp.app.web.gallery.server import open_door, serve_gallery  # the web server, only where it serves

    door, origin, token = open_door(port)
    url = f"{origin}/{token}/"
    words.print("The gallery stands here, for you alone; Ctrl-C ends it.")
    typer.echo(url)
    if open_page:
        webbrowser.open(url)
    serve_gallery(settings, door, origin=origin, token=token)
