"""Limits: the values that the policy compares: limits, balances, spending and approvals."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.next_steps import NextStep, OwnerOnly
from seedance_mcp.core.wire.mpp import GAS_PRICE_DEFAULT, PinnedChargeTerms, is_sponsored, network_fee
from seedance_mcp.core.wire.offers import Offer, Rail
from seedance_mcp.core.wire.x402 import TokenDomain

CHEAPER = NextStep("A shorter video, a lower resolution or seedance-fast costs less. {0}.", OwnerOnly("raise a limit"))
"""Next step for a price above a limit."""

DAY_SECONDS = 24 * 3600
"""Length of the window of the daily limit."""
WEEK_SECONDS = 7 * DAY_SECONDS
"""Length of the window of the weekly limit."""
MONTH_SECONDS = 30 * DAY_SECONDS
"""Length of the window of the monthly limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The owner's limits. They come from settings only; no tool can change them.

    Attributes:
        max_price_per_video_micro_usdc: Cap on one generation.
        max_per_day_micro_usdc: Cap on all payments in any 24 hours.
        max_per_week_micro_usdc: Cap on all payments in any 7 days, or None.
        max_per_month_micro_usdc: Cap on all payments in any 30 days, or None.
        max_per_film_micro_usdc: Cap on the sum of one film, or None.
        max_total_micro_usdc: Cap on all payments of this ledger, or None.
        ask_above_micro_usdc: Price above which a person must approve a generation, or None.
        rails: Allowed rails, preferred first.
        recipients: Allowed recipients in lower case; empty allows any.
        models: Allowed models; empty allows any.
        push_allowed: True if the client may broadcast a charge before the studio accepts the work, at a studio that
            accepts no other payment.
        problem: An error in the owner's settings, or None. While there is one, nothing is signed, because a limit that
            the owner believes to be set may be missing here.
    """

    max_price_per_video_micro_usdc: int = 1_500_000
    max_per_day_micro_usdc: int = 5_000_000
    max_per_week_micro_usdc: int | None = None
    max_per_month_micro_usdc: int | None = None
    max_per_film_micro_usdc: int | None = None
    max_total_micro_usdc: int | None = None
    ask_above_micro_usdc: int | None = None
    rails: tuple[Rail, ...] = ("x402", "mpp")
    recipients: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    push_allowed: bool = False
    problem: ConfigError | None = None

    @property
    def unlimited(self) -> tuple[str, ...]:
        """Return the names of the limits that are not set."""
        unset = {
            "MAX_PER_WEEK": self.max_per_week_micro_usdc is None,
            "MAX_PER_MONTH": self.max_per_month_micro_usdc is None,
            "MAX_TOTAL": self.max_total_micro_usdc is None,
            "ASK_ABOVE": self.ask_above_micro_usdc is None,
            "RECIPIENTS": not self.recipients,
            "MODELS": not self.models,
        }
        return tuple(f"SEEDANCE_{name}" for name, is_unset in unset.items() if is_unset)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedTerms:
    """The studio, tokens and recipients that are accepted; from the profile, never from the network.

    Attributes:
        studio_origin: `https://host` or `http://127.0.0.1:port`, without a path.
        x402: The token that an x402 offer must name exactly, or None if the profile has no such rail.
        mpp: The chain and the tokens of an MPP charge, or None if the profile has no such rail.
        recipients: The studio's published recipients in lower case, by network.
        token_names: The common name of each token, such as "USDC on Base", by `(network, token in lower case)`.
        play_money: True if the money is a sandbox's.
    """

    studio_origin: str
    x402: TokenDomain | None
    mpp: PinnedChargeTerms | None = None
    recipients: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    token_names: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    play_money: bool = False

    def name_token(self, offer: Offer) -> str:
        """Return the common name of an offer's token; its address and network if the profile has no name."""
        return self.find_token_name(offer.network, offer.asset) or f"token {offer.asset} on {offer.network}"

    def find_token_name(self, network: str, token: str) -> str | None:
        """Return the common name of a pinned token and its network, such as "USDC on Base"; None for another token."""
        return self.token_names.get((network, token.lower()))


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletBalances:
    """The wallet's balances and the gas price before a choice, as far as the chains could be read.

    Attributes:
        balances: Micro-USDC held, by `(network, token in lower case)`; a missing balance is unknown.
        gas_price: Gas price of the Tempo chain, in attodollars.
        is_known: True if there is a wallet whose balances can be read; without one, nothing is compared.
    """

    balances: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    gas_price: int = GAS_PRICE_DEFAULT
    is_known: bool = True

    def find_balance(self, offer: Offer) -> int | None:
        """Return the wallet's balance of an offer's token, or None if it is unknown."""
        return self.balances.get((offer.network, offer.asset.lower()))

    def fee_of(self, offer: Offer) -> int:
        """Return the maximum network fee on top of the price; 0 if the studio pays for gas."""
        return network_fee(self.gas_price) if offer.rail == "mpp" and not is_sponsored(offer) else 0

    def cost_of(self, offer: Offer) -> int:
        """Return the balance that paying an offer needs."""
        return offer.amount_micro_usdc + self.fee_of(offer)

    def can_pay(self, offer: Offer) -> bool:
        """Return True unless the wallet is known to hold too little for an offer."""
        balance = self.find_balance(offer)
        return balance is None or balance >= self.cost_of(offer)

    def after(self, offer: Offer) -> WalletBalances:
        """Return the balances after an offer is paid; an unknown balance stays unknown."""
        balance = self.find_balance(offer)
        if balance is None:
            return self
        left = {(offer.network, offer.asset.lower()): balance - self.cost_of(offer)}
        return replace(self, balances={**self.balances, **left})


NO_BALANCES = WalletBalances()
"""Balances of a wallet when no chain was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The sums of the ledger: settled payments, and all others that may still settle.

    Attributes:
        last_day_micro_usdc: In the last 24 hours.
        last_week_micro_usdc: In the last 7 days.
        last_month_micro_usdc: In the last 30 days.
        total_micro_usdc: In all.
        is_private: True if they include payments of others, so that no text for the caller may name what is left.
    """

    last_day_micro_usdc: int = 0
    last_week_micro_usdc: int = 0
    last_month_micro_usdc: int = 0
    total_micro_usdc: int = 0
    is_private: bool = False

    def plus(self, amount_micro_usdc: int) -> Spend:
        """Return the sums after another payment of this amount."""
        return replace(
            self,
            last_day_micro_usdc=self.last_day_micro_usdc + amount_micro_usdc,
            last_week_micro_usdc=self.last_week_micro_usdc + amount_micro_usdc,
            last_month_micro_usdc=self.last_month_micro_usdc + amount_micro_usdc,
            total_micro_usdc=self.total_micro_usdc + amount_micro_usdc,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetCap:
    """One cap that the ledger keeps itself, such as a caller's per day, and what counts against it.

    Attributes:
        is_private: True if others' payments count against it, too, so that no text for the caller may name the rest.
    """

    max_micro_usdc: int
    spent_micro_usdc: int
    name: str
    is_private: bool = False

    @property
    def left_micro_usdc(self) -> int:
        """Return what may still be spent, never below zero."""
        return max(0, self.max_micro_usdc - self.spent_micro_usdc)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCap:
    """How many purchases may be open at a time, and how many are: running jobs, and payments without a job yet."""

    max_open: int
    open: int
    name: str
    is_private: bool = False


Cap = BudgetCap | OpenCap


@dataclass(frozen=True, slots=True)
class Bound:
    """The maximum that one party allows for a whole call: price, image uploads and network fees together.

    Attributes:
        max_micro_usdc: The maximum.
        reason: Its source, for the error text.
        next_step: The next step if the cost is higher.
    """

    max_micro_usdc: int
    reason: str
    next_step: NextStep


@dataclass(frozen=True, slots=True)
class Recipient:
    """The recipient of a payment.

    Attributes:
        network: CAIP-2 name of the chain.
        address: In lower case.
        money: The common name of the token, such as "USDC on Base".
        replaces: The studio's known addresses in lower case, if this is not one of them; otherwise empty.
    """

    network: str
    address: str
    money: str
    replaces: tuple[str, ...] = ()

    @classmethod
    def of(cls, offer: Offer, limits: Limits, pins: PinnedTerms, *, paid_before: AbstractSet[str]) -> Recipient:
        """Return the recipient of an offer.

        Args:
            offer: The offer to sign.
            limits: The owner's limits.
            pins: The profile's terms.
            paid_before: Recipients of this studio's earlier payments on this network, in lower case.
        """
        return cls(offer.network, offer.pay_to.lower(), pins.name_token(offer)).compare(
            limits, pins, paid_before=paid_before
        )

    def compare(self, limits: Limits, pins: PinnedTerms, *, paid_before: AbstractSet[str]) -> Recipient:
        """Return the recipient with `replaces` computed again.

        If the owner has set a list (`recipients`), it alone decides, and the policy checks terms against it. The first
        payment to a studio without a published recipient may go to any address.
        """
        known = set(paid_before) | set(pins.recipients.get(self.network, ()))
        is_known = bool(limits.recipients) or self.address in known
        return replace(self, replaces=() if is_known else tuple(sorted(known)))


@dataclass(frozen=True, slots=True)
class Approval:
    """The approval of a purchase before the offers are read.

    Attributes:
        max_price_micro_usdc: The highest price to sign.
        reason: Its source, for the error text.
        next_step: The next step if the price is higher.
        cost_bounds: The bounds on the cost of the whole call.
        uploads_micro_usdc: The cost of the image uploads of the same call, including their network fees.
        recipients: The recipients that a person was shown and approved, or None if no one was asked.
    """

    max_price_micro_usdc: int
    reason: str
    next_step: NextStep = CHEAPER
    cost_bounds: tuple[Bound, ...] = ()
    uploads_micro_usdc: int = 0
    recipients: tuple[Recipient, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The maximum cost of one call, in micro-USDC.

    Attributes:
        price_micro_usdc: The video's price.
        fee_micro_usdc: The maximum network fee of its payment.
        uploads_micro_usdc: The image uploads that the call pays for, including their network fees.
        uploads: The number of these uploads.
        upload_fees_micro_usdc: The maximum network fees of their payments.
    """

    price_micro_usdc: int
    fee_micro_usdc: int = 0
    uploads_micro_usdc: int = 0
    uploads: int = 0
    upload_fees_micro_usdc: int = 0

    @property
    def total_micro_usdc(self) -> int:
        """Return the total cost."""
        return self.price_micro_usdc + self.fee_micro_usdc + self.uploads_micro_usdc

    @property
    def fees_micro_usdc(self) -> int:
        """Return the maximum network fees of all payments."""
        return self.fee_micro_usdc + self.upload_fees_micro_usdc

    @property
    def upload_price_micro_usdc(self) -> int:
        """Return the cost of the image uploads without their network fees."""
        return self.uploads_micro_usdc - self.upload_fees_micro_usdc

    def with_uploads(self, uploads_max: int) -> Cost:
        """Return the cost with at most this many uploads; all uploads of a call cost the same."""
        if self.uploads <= uploads_max:
            return self
        return replace(
            self,
            uploads=uploads_max,
            uploads_micro_usdc=-(-self.uploads_micro_usdc * uploads_max // self.uploads),
            upload_fees_micro_usdc=-(-self.upload_fees_micro_usdc * uploads_max // self.uploads),
        )

    def plus(self, other: Cost) -> Cost:
        """Return the maximum cost of two calls together."""
        return Cost(
            price_micro_usdc=self.price_micro_usdc + other.price_micro_usdc,
            fee_micro_usdc=self.fee_micro_usdc + other.fee_micro_usdc,
            uploads_micro_usdc=self.uploads_micro_usdc + other.uploads_micro_usdc,
            uploads=self.uploads + other.uploads,
            upload_fees_micro_usdc=self.upload_fees_micro_usdc + other.upload_fees_micro_usdc,
        )
