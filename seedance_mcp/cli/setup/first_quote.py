"""Last steps of the set-up: the checks of `doctor`, and the price of a first video. Both are free."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import typer

from seedance_mcp.app.local_sandbox import EXAMPLE_IMAGE
from seedance_mcp.app.runtime import Runtime
from seedance_mcp.cli.batch import quote_all
from seedance_mcp.cli.batch_input import build_shot
from seedance_mcp.cli.batch_quote import add_up_quotes, list_results, print_quotes
from seedance_mcp.cli.console import run, words
from seedance_mcp.cli.doctor.checks import examine
from seedance_mcp.cli.doctor.command import find_code, print_findings
from seedance_mcp.core.image_names import list_variants

PROMPT = "The boat drifts out of the harbour, water glitters"


def examine_all(environ: Mapping[str, str]) -> int:
    """Print what `doctor` finds, and return its exit code."""
    findings = anyio.run(partial(examine, environ, given=os.environ))
    print_findings(findings)
    return find_code(findings)


def _find_picture(text: str) -> Path | None:
    """Return the file that a person typed, None for the example, or ask again."""
    if not text.strip():
        return None
    file = next((Path(one).expanduser() for one in [text.strip(), *list_variants(text.strip())]
                 if Path(one).expanduser().exists()), None)  # fmt: skip
    if file is None:
        raise typer.BadParameter(f"there is no file {Path(text.strip()).expanduser()}.")
    return file


def quote_first(environ: Mapping[str, str], image: Path | None, *, asks: bool) -> int:
    """Print the price of a first video, and return the exit code with which it could be bought now.

    Args:
        environ: The environment of the command.
        image: The picture; None to ask, or for the example that is part of the program.
        asks: True if a person is at the terminal.

    Raises:
        SeedanceError: The picture or the price cannot be read.
    """
    if image is None and asks:
        question = "Path of a picture (Enter: an example)"
        image = typer.prompt(question, default="", show_default=False, value_proc=_find_picture, err=True)
    picture = str(EXAMPLE_IMAGE if image is None else image.expanduser())
    if image is None:  # part of the program, and often in a hidden folder: uv and pipx install there
        environ = {**environ, "SEEDANCE_IMAGE_DIRS": str(EXAMPLE_IMAGE.parent)}
    shot = build_shot(picture, {"image": picture, "prompt": PROMPT}, folder=Path.cwd(), typed=True)

    async def work(runtime: Runtime) -> tuple[list[dict[str, Any]], int]:
        quotes = await quote_all(await runtime.quote_services(), [shot], can_ask=asks)
        batch = await add_up_quotes(quotes, await runtime.settings())
        return list_results(batch, [shot]), batch.exit_code

    results, code = run(environ, work)
    print_quotes(results)
    words.print("Nothing was bought.")
    return code
