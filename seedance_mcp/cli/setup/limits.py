"""Third step of the set-up: the two limits that every owner should know, in `settings.toml`."""

from collections.abc import Mapping

import typer

from seedance_mcp.cli.console import words
from seedance_mcp.cli.settings_file import write_settings
from seedance_mcp.config.settings import Settings, find_sources, read_settings
from seedance_mcp.config.sources import PREFIX
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.money import format_usdc, parse_usdc

_QUESTIONS = {
    "max_price_per_video": "Highest cost of one video, in dollars",
    "max_per_day": "Highest spending in any 24 hours, in dollars",
}


def check(typed: Mapping[str, str | None]) -> None:
    """Check the amounts of the options.

    Raises:
        ConfigError: One is no amount.
    """
    for name, text in typed.items():
        if text is not None:
            try:
                parse_usdc(text)
            except ValueError as exc:
                raise ConfigError(
                    f"--{name.replace('_', '-')} is wrong: {exc}.", "Write US dollars, such as 1.50."
                ) from exc


def set_limits(environ: Mapping[str, str], typed: Mapping[str, str | None], *, asks: bool) -> None:
    """Write the limits that options gave; ask for the others.

    Args:
        environ: The environment of the command.
        typed: An amount in US dollars for each limit, or None.
        asks: True if a person is at the terminal.

    Raises:
        ConfigError: The settings cannot be read or written.
    """
    settings, sources = read_settings(environ), find_sources(environ)
    present = _read(settings)
    if asks and settings.profile.name == "sandbox":
        words.print("They are in one file for play money and for real money.")
    chosen: dict[str, str] = {}
    for name, question in _QUESTIONS.items():
        fixed = sources.get(name.upper(), "").startswith(PREFIX)
        text = typed[name]
        if fixed:
            words.print(f"{question}: {present[name]}, from {sources[name.upper()]}, which wins.")
        elif text is None and asks:
            text = typer.prompt(question, default=present[name], value_proc=_parse, err=True)
        if text is not None and not fixed and (text != present[name] or name.upper() not in sources):
            chosen[name] = text
    if chosen:
        write_settings(settings.file, chosen)
        words.print(f"Written: {settings.file}")
    for name, amount in _read(read_settings(environ)).items():
        if not asks:
            words.print(f"{_QUESTIONS[name]}: {amount}")
    words.print("No tool, no prompt and no studio can raise them.")


def _read(settings: Settings) -> dict[str, str]:
    limits = settings.limits
    return {
        "max_price_per_video": format_usdc(limits.max_price_per_video_micro_usdc),
        "max_per_day": format_usdc(limits.max_per_day_micro_usdc),
    }


def _parse(text: str) -> str:
    """Return an amount in the form that is stored."""
    try:
        return format_usdc(parse_usdc(text.removeprefix("$")))
    except ValueError as exc:
        raise typer.BadParameter(f"{exc}.") from exc
