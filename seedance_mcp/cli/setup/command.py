"""The command `setup`: from nothing to the price of a first video, step by step.

It reuses the commands of each step and keeps what is there, so it can be interrupted and repeated. It never prints a
key and never pays. Without a terminal, a step does what its options name, and asks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seedance_mcp.cli import exit_codes
from seedance_mcp.cli.console import (
    Sandbox,
    ask_password_once,
    interrupt,
    is_person_there,
    read_environ,
    unlock_wallet,
    words,
)
from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.viewing import name_program
from seedance_mcp.cli.wallet.funding import FUND_SECONDS_MAX
from seedance_mcp.cli.words import for_person
from seedance_mcp.config.settings import read_settings
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.installation import check_sandbox_installed

if TYPE_CHECKING:
    from seedance_mcp.cli.setup.money import SetupStudio

STEPS = {
    "hosts": "Connect your assistant",
    "wallet": "The wallet that pays",
    "limits": "Your limits",
    "money": "Put money into the wallet",
    "doctor": "Check everything",
    "quote": "The price of a first video",
}


def _complete_step(incomplete: str) -> list[str]:
    return [step for step in STEPS if step.startswith(incomplete)]


Skip = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STEP", help=f"Leave out a step: {', '.join(STEPS)}; repeatable.", autocompletion=_complete_step
    ),
]
HostNames = Annotated[
    list[str] | None, typer.Option("--host", metavar="HOST", help="Install for this host; repeatable.")
]
WalletSource = Annotated[
    str | None,
    typer.Option("--wallet", metavar="new|FILE", help="Create a wallet, or import the key of a file."),
]
PerVideo = Annotated[str | None, typer.Option(metavar="USD", help="Highest cost of one video.")]
PerDay = Annotated[str | None, typer.Option(metavar="USD", help="Highest spending in any 24 hours.")]
WaitSeconds = Annotated[int | None, typer.Option(min=1, max=FUND_SECONDS_MAX, help="Seconds to wait for the money.")]
Picture = Annotated[Path | None, typer.Option(help="Picture of the first video.")]


def setup(
    skip: Skip = None,
    host: HostNames = None,
    wallet_source: WalletSource = None,
    max_price_per_video: PerVideo = None,
    max_per_day: PerDay = None,
    wait_seconds: WaitSeconds = None,
    image: Picture = None,
    sandbox: Sandbox = False,
) -> None:
    """Set everything up, step by step: hosts, wallet, limits, money, checks and a first price. Pays for nothing.

    Each step can be skipped, and the command can be repeated: it keeps what is there. What an option says is not asked.
    """
    from seedance_mcp.cli.setup import limits

    chosen = Setup(
        hosts=tuple(host or ()),
        wallet_source=wallet_source,
        typed_limits={"max_price_per_video": max_price_per_video, "max_per_day": max_per_day},
        wait_seconds=wait_seconds,
        image=image,
        sandbox=sandbox,
    )
    skipped = set(skip or ())
    if not skipped <= STEPS.keys():
        raise ConfigError(
            f"--skip names {', '.join(sorted(skipped - STEPS.keys()))!r}, which is not a step.",
            f"Steps are: {', '.join(STEPS)}.",
        )
    chosen.check()
    limits.check(chosen.typed_limits)
    steps = [step for step in STEPS if step not in skipped]
    try:
        with ask_password_once():
            for number, step in enumerate(steps, 1):
                words.print(f"\n[{number}/{len(steps)}] {STEPS[step]}", style="bold")
                chosen.attempt(step)
    except (typer.Abort, KeyboardInterrupt):
        raise interrupt("Run the same command again: it keeps what is done.") from None
    finally:
        chosen.close()
    if code := exit_codes.gravest(chosen.codes):
        words.print("\nNot everything is ready: see above. Run the same command again at any time.")
        raise typer.Exit(code)
    chosen.say_what_is_next()


@dataclass(slots=True, kw_only=True)
class Setup:
    """One run of the set-up.

    Attributes:
        hosts: Hosts to install for, without asking.
        wallet_source: `new`, a key file to import, or None.
        typed_limits: The limits' names in lower case, with the amounts that options gave.
        wait_seconds: How long to wait for the money, or None to ask.
        image: The picture of the first video, or None.
        sandbox: True for play money.
        codes: Exit codes of the steps.
    """

    hosts: tuple[str, ...]
    wallet_source: str | None
    typed_limits: dict[str, str | None]
    wait_seconds: int | None
    image: Path | None
    sandbox: bool
    environ: dict[str, str] = field(init=False, repr=False)
    codes: list[int] = field(default_factory=list[int])
    _studio: SetupStudio | None = None

    def __post_init__(self) -> None:
        self.environ = read_environ(self.sandbox)

    def check(self) -> None:
        """Check before the first question what would end each step.

        Raises:
            ConfigError: A host is not known, a setting is wrong, or the sandbox is not installed.
        """
        unknown = [name for name in self.hosts if name.lower() not in HOSTS]
        if unknown:
            raise ConfigError(f"{unknown[0][:60]!r} is not a known host.", f"Known are: {', '.join(HOSTS)}.")
        if read_settings(self.environ).embedded:
            check_sandbox_installed()

    def attempt(self, step: str) -> None:
        """Do one step; one that cannot be done is reported, and does not stop those that follow."""
        try:
            self._do(step)
        except SeedanceError as exc:
            words.print(exc.describe(may_pay=False), style="red")
            if exc.next_step:
                words.print(for_person(exc.next_step), style="yellow")
            self.codes.append(exit_codes.find_exit_code(exc))

    def _do(self, step: str) -> None:
        from seedance_mcp.cli.setup import first_quote, hosts, limits, money, wallet  # not loaded to show the help

        asks = is_person_there()
        match step:
            case "hosts":
                hosts.install_hosts(self.hosts, sandbox=self.sandbox, asks=asks)
            case "wallet":
                wallet.prepare_wallet(self.environ, self.wallet_source, asks=asks)
            case "limits":
                limits.set_limits(self.environ, self.typed_limits, asks=asks)
            case "money":
                self._start_studio()
                self.codes.append(money.fund(self.environ, self.wait_seconds, asks=asks))
            case "doctor":
                self._start_studio()
                self.codes.append(first_quote.examine_all(self.environ))
            case _:
                self._start_studio()
                self.codes.append(first_quote.quote_first(self.environ, self.image, asks=asks))

    def _start_studio(self) -> None:
        """Start one sandbox for the steps that need a studio, unless a persistent one is named."""
        from seedance_mcp.cli.setup.money import SetupStudio

        settings = read_settings(self.environ)
        if self._studio is None and settings.embedded:
            is_new = settings.wallet_key is None and not settings.wallet_file.exists()
            self._studio = SetupStudio(unlock_wallet(settings))
            if is_new:
                words.print(f"A wallet for play money was made: {settings.wallet_file}")
            self.environ["SEEDANCE_STUDIO_URL"] = self._studio.url

    def close(self) -> None:
        """End the sandbox, if one was started."""
        if self._studio is not None:
            self._studio.stop()

    def say_what_is_next(self) -> None:
        """Print the next commands."""
        flag, program = " --sandbox" if self.sandbox else "", name_program()
        words.print("\nReady. Your next commands:")
        words.print(f'  {program} animate PICTURE --prompt "What moves"{flag}')
        words.print(f"  {program} gallery{flag}")
        if self.sandbox:
            words.print(f"For real videos: {program} setup")
