"""The settings of a sandbox studio."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from eth_utils.address import is_address

from seedance_mcp.sandbox.faults import read_fault

Contract = Literal["current", "classic"]

HOST = "127.0.0.1"
PORT = 8402
PAY_TO = "0x1b4D22336de7D544309C3316E7966B33aCeed1c1"
JOB_SECONDS_MAX = 3600.0
# Rails that this studio can offer.
RAILS = ("x402", "mpp")
SMALL_VARIABLE = "SEEDANCETEST_SMALL_VIDEOS"
"""The environment variable with which tests make the videos of every process small."""


def read_small_videos() -> bool:
    """Return True if the environment asks for small videos."""
    return os.environ.get(SMALL_VARIABLE, "") == "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """The behaviour of one studio.

    Attributes:
        contract: The dialect of the generate routes and their price table.
        rails: The rails that are offered.
        sponsors_fees: True if the studio pays the network fee of an MPP charge.
        takes_pushed: True if the studio accepts an MPP charge only as the hash of a transfer that the client has
            broadcast; it settles before the handler runs.
        job_seconds: How long a job takes.
        result_seconds: How long a result URL is valid.
        faults: The faults that are on from the start, each as `name[=argument][:times]`.
        funded: Micro-USDC minted at the start, by address.
        funded_on: The rails on whose chains it is minted.
        pay_to: The address that is paid.
        small_videos: True if videos have an eighth of the requested size and no sound, for tests that only need one.
        keeps_sound: True if small videos have sound all the same.
    """

    contract: Contract = "current"
    rails: tuple[str, ...] = ("x402",)
    sponsors_fees: bool = False
    takes_pushed: bool = False
    job_seconds: float = 6.0
    result_seconds: float = 1200.0
    faults: tuple[str, ...] = ()
    funded: Mapping[str, int] = field(default_factory=dict[str, int])
    funded_on: tuple[str, ...] = RAILS
    pay_to: str = PAY_TO
    small_videos: bool = field(default_factory=read_small_videos)
    keeps_sound: bool = False

    def __post_init__(self) -> None:
        if self.contract not in get_args(Contract):
            raise ValueError(f"unknown contract {self.contract!r}; choose from: {', '.join(get_args(Contract))}")
        unknown = [rail for rail in (*self.rails, *self.funded_on) if rail not in RAILS]
        if unknown or not self.rails:
            what = f"there is no rail {unknown[0]!r}" if unknown else "no rail is named"
            raise ValueError(f"{what}; choose from: {', '.join(RAILS)}")
        if not 0 < self.job_seconds <= JOB_SECONDS_MAX or self.result_seconds <= 0:
            raise ValueError(f"job_seconds is above 0 and at most {JOB_SECONDS_MAX:.0f}, result_seconds above 0")
        if self.sponsors_fees and self.takes_pushed:
            raise ValueError("a charge that its client broadcasts has no sponsor")
        for spelling in self.faults:
            read_fault(spelling)
        for address in (*self.funded, self.pay_to):
            if not is_address(address):
                raise ValueError(f"not an address: {address!r}")
