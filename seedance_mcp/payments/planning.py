"""Planning: which offer each payment of one call would sign, by the limits and by what the wallet holds.

Needs an address, or none, and no key. Must not sign, send or reserve anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from seedance_mcp.core.errors import ConfigError, InsufficientBalanceError, UnacceptableOfferError
from seedance_mcp.core.installation import describe_install
from seedance_mcp.core.limits import Limits, PinnedTerms, WalletBalances
from seedance_mcp.core.next_steps import NextStep, OwnerOnly
from seedance_mcp.core.wire.offers import Offer, Offers
from seedance_mcp.payments import policy
from seedance_mcp.payments.balances import BalanceReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Who pays, as far as a price, a quote and the wallet's status need to know it.

    Attributes:
        address: The EIP-55 checksummed address; empty without a wallet.
        can_charge: True if the libraries of the Tempo rail are installed.
        problem: Why there is no wallet, or None.
    """

    address: str
    can_charge: bool
    problem: ConfigError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPlanner:
    """Plans the payments of one payer.

    Attributes:
        payer: Who pays.
        limits: What the owner allows.
        pins: What the owner pays in, and where.
        balance_reader: Knows what the wallet holds.
        now: Unix seconds.
        names_balances: False for a caller who may not see what the wallet holds.
    """

    payer: Payer
    limits: Limits
    pins: PinnedTerms
    balance_reader: BalanceReader
    now: Callable[[], float]
    names_balances: bool = True

    async def plan(self, *steps: Offers) -> tuple[tuple[Offer, ...], WalletBalances]:
        """Return the offer that each payment of one call would sign, in order, and what the chains say before it.

        Args:
            steps: The challenges, in the order in which they are paid.

        Raises:
            PolicyError: One has no offer that may be signed, or the wallet holds too little for all of them.
            ConfigError: One could be signed, if its libraries were installed.
        """
        offers = [offer for step in steps for offer in step.offers]
        wallet_balances = await self.balance_reader.look(offers)
        try:
            return self._plan(steps, wallet_balances), wallet_balances
        except InsufficientBalanceError:
            # Perhaps the owner has just sent what was missing.
            wallet_balances = await self.balance_reader.look(offers, fresh=True)
        try:
            return self._plan(steps, wallet_balances), wallet_balances
        except InsufficientBalanceError as exc:
            if self.names_balances:
                raise
            raise _hidden_error() from exc

    async def check_balance(self, ways: Sequence[Sequence[Offer]], *, purpose: str) -> None:
        """Raise where the wallet is known to hold too little for many payments together.

        Args:
            ways: For each payment, in order, the offers that could be signed.
            purpose: What they are for.

        Raises:
            InsufficientBalanceError: It is, also when its chains are asked again.
        """
        for is_fresh in (False, True):
            wallet_balances = await self.balance_reader.look([one for way in ways for one in way], fresh=is_fresh)
            if len(policy.pay_in_turn(ways, wallet_balances)[0]) == len(ways):
                return
        if not self.names_balances:
            raise _hidden_error()
        raise policy.insufficient_error(ways, wallet_balances, self.pins, payer=self.payer.address, purpose=purpose)

    async def list_ways(self, *steps: Offers) -> tuple[tuple[tuple[Offer, ...], ...], WalletBalances]:
        """Return for each payment of one call the offers that could be signed, and what the chains said of the wallet.

        Args:
            steps: The challenges, in the order in which they are paid.

        Raises:
            PolicyError: One has no offer that may be signed.
        """
        wallet_balances = await self.balance_reader.look([offer for step in steps for offer in step.offers])
        find = partial(
            policy.list_ways, limits=self._find_payable(), pins=self.pins, payer=self.payer.address, now=self.now()
        )
        return tuple(tuple(find(step, wallet_balances=wallet_balances)) for step in steps), wallet_balances

    def _find_payable(self) -> Limits:
        """Return the owner's limits without the rails whose libraries are not installed."""
        if self.payer.can_charge:
            return self.limits
        return replace(self.limits, rails=tuple(rail for rail in self.limits.rails if rail != "mpp"))

    def _plan(self, steps: Sequence[Offers], wallet_balances: WalletBalances) -> tuple[Offer, ...]:
        limits = self._find_payable()
        plan = partial(
            policy.plan_payments,
            steps,
            pins=self.pins,
            payer=self.payer.address,
            now=self.now(),
            wallet_balances=wallet_balances,
        )
        try:
            return plan(limits=limits)
        except UnacceptableOfferError as exc:
            if limits is self.limits:
                raise
            plan(limits=self.limits)  # raises where the missing rail would not have helped
            raise ConfigError(
                "The studio offers to be paid on MPP (Tempo), whose libraries are not installed.",
                describe_install("tempo"),
            ) from exc


def _hidden_error() -> InsufficientBalanceError:
    return InsufficientBalanceError(
        "The wallet holds too little for this.", NextStep("{0}.", OwnerOnly("fund it", stop=True))
    )
