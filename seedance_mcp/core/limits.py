"""Limits: the values that the policy compares: limits, balances, spending and approvals."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.wire.mpp import GAS_PRICE_DEFAULT, MppPins, is_sponsored, network_fee
from seedance_mcp.core.wire.offers import Offer, Rail
from seedance_mcp.core.wire.x402 import TokenDomain

DAY_SECONDS = 24 * 3600
"""The length of the window that the daily limit counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The owner's limits. Only settings make one; no tool can change it.

    Attributes:
        max_price_per_video_micro_usdc: Cap on one generation.
        max_per_day_micro_usdc: Cap on everything in any 24 hours.
        max_total_micro_usdc: Cap on everything this ledger ever paid, or None.
        ask_above_micro_usdc: A person must agree to a generation above this, or None.
        rails: Allowed rails, preferred first.
        recipients: Allowed recipients in lower case; empty allows any.
        models: Allowed models; empty allows any.
        push_allowed: Whether a charge may be brought to the chain before the studio accepts the work, where a studio
            takes no other payment.
        problem: What is wrong in the owner's settings, or None. While there is a problem nothing is signed: a limit
            that its owner believes to be set may be missing here.
    """

    max_price_per_video_micro_usdc: int = 1_500_000
    max_per_day_micro_usdc: int = 5_000_000
    max_total_micro_usdc: int | None = None
    ask_above_micro_usdc: int | None = None
    rails: tuple[Rail, ...] = ("x402", "mpp")
    recipients: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    push_allowed: bool = False
    problem: ConfigError | None = None

    @property
    def unlimited(self) -> tuple[str, ...]:
        """Names of the settings that are not set and so limit nothing."""
        unset = {
            "MAX_TOTAL": self.max_total_micro_usdc is None,
            "ASK_ABOVE": self.ask_above_micro_usdc is None,
            "RECIPIENTS": not self.recipients,
            "MODELS": not self.models,
        }
        return tuple(f"SEEDANCE_{name}" for name, is_unset in unset.items() if is_unset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What we are willing to pay in, and to whom we talk; from the profile, never from the network.

    Attributes:
        studio_origin: `https://host` or `http://127.0.0.1:port`, without a path.
        x402: The token that an x402 offer must name exactly, or None where the profile has no such rail.
        mpp: The chain and the dollars of an MPP charge, or None where the profile has no such rail.
        recipients: The studio's published recipients in lower case, by network.
        token_names: What people call each token, such as "USDC on Base", by `(network, token in lower case)`.
        play_money: Whether the money is a sandbox's.
    """

    studio_origin: str
    x402: TokenDomain | None
    mpp: MppPins | None = None
    recipients: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    token_names: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    play_money: bool = False

    def name_token(self, offer: Offer) -> str:
        """Return what people call an offer's token; its address and network where the profile does not say."""
        return self.token_names.get((offer.network, offer.asset.lower()), f"token {offer.asset} on {offer.network}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What the chains say before a choice, as far as they could be asked.

    Attributes:
        balances: Micro-USDC held, by `(network, token in lower case)`; what is missing is not known.
        gas_price: Of the Tempo chain, in attodollars.
        is_known: Whether there is a wallet whose balances can be asked for; without one, nothing is compared.
    """

    balances: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    gas_price: int = GAS_PRICE_DEFAULT
    is_known: bool = True

    def find_balance(self, offer: Offer) -> int | None:
        """What the wallet holds of an offer's token, or None where nobody could say."""
        return self.balances.get((offer.network, offer.asset.lower()))

    def fee_of(self, offer: Offer) -> int:
        """The most that the network may keep besides the price: nothing where the studio pays for gas."""
        return network_fee(self.gas_price) if offer.rail == "mpp" and not is_sponsored(offer) else 0

    def cost_of(self, offer: Offer) -> int:
        """What paying an offer needs in the wallet."""
        return offer.amount_micro_usdc + self.fee_of(offer)

    def can_pay(self, offer: Offer) -> bool:
        """Return True unless the wallet is known to hold too little for an offer."""
        balance = self.find_balance(offer)
        return balance is None or balance >= self.cost_of(offer)

    def after(self, offer: Offer) -> Purse:
        """Return what is left once an offer is paid; an unknown balance stays unknown."""
        balance = self.find_balance(offer)
        if balance is None:
            return self
        left = {(offer.network, offer.asset.lower()): balance - self.cost_of(offer)}
        return replace(self, balances={**self.balances, **left})


EMPTY_PURSE = Purse()
"""Nobody was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What the ledger counts: settled payments, and every other one that still may settle."""

    last_day_micro_usdc: int = 0
    total_micro_usdc: int = 0

    def plus(self, amount_micro_usdc: int) -> Spend:
        """The sums after another payment of this size."""
        return Spend(
            last_day_micro_usdc=self.last_day_micro_usdc + amount_micro_usdc,
            total_micro_usdc=self.total_micro_usdc + amount_micro_usdc,
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that one party allows for a whole call: price, image uploads and network fees together.

    Attributes:
        max_micro_usdc: Not one micro-USDC more.
        reason: Who says so, for the error text.
        hint: What to do about a higher cost.
    """

    max_micro_usdc: int
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a payment goes to.

    Attributes:
        network: CAIP-2 name of the chain.
        address: In lower case.
        money: What people call what is paid, such as "USDC on Base".
        replaces: The addresses in lower case that the studio is known by, where this one is none of them; else empty.
    """

    network: str
    address: str
    money: str
    replaces: tuple[str, ...] = ()

    @classmethod
    def of(cls, offer: Offer, limits: Limits, pins: Pins, *, paid_before: AbstractSet[str]) -> Recipient:
        """Return the recipient that an offer names.

        Args:
            offer: What would be signed.
            limits: What the owner allows.
            pins: What is published of the studio.
            paid_before: Recipients on this network, in lower case, that the ledger remembers for this studio.
        """
        return cls(offer.network, offer.pay_to.lower(), pins.name_token(offer)).compare(
            limits, pins, paid_before=paid_before
        )

    def compare(self, limits: Limits, pins: Pins, *, paid_before: AbstractSet[str]) -> Recipient:
        """Return it with what it replaces now.

        The owner's own list (`recipients`) decides alone where there is one; terms are checked against it elsewhere.
        The first payment to a studio without a published recipient may go to any.
        """
        known = set(paid_before) | set(pins.recipients.get(self.network, ()))
        is_known = bool(limits.recipients) or self.address in known
        return replace(self, replaces=() if is_known else tuple(sorted(known)))


@dataclass(frozen=True, slots=True)
class Approval:
    """What was agreed about this one purchase before the offers came.

    Attributes:
        max_price_micro_usdc: Never sign more than this for it.
        reason: Who says so, for the error text.
        hint: What to do about a higher price.
        cost_bounds: What the whole call may cost.
        uploads_micro_usdc: What the image uploads of the same call cost, their network fees included.
        recipients: Whom a person was shown and said yes to, or None where no one was asked.
    """

    max_price_micro_usdc: int
    reason: str
    hint: str = "A shorter clip, a lower resolution or seedance-fast costs less. Only the owner can raise a limit."
    cost_bounds: tuple[Bound, ...] = ()
    uploads_micro_usdc: int = 0
    recipients: tuple[Recipient, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The most that one call can cost, in micro-USDC.

    Attributes:
        price_micro_usdc: The video's price.
        fee_micro_usdc: What the network may keep of its payment.
        uploads_micro_usdc: The image uploads that the call buys, their network fees included.
        uploads: How many they are.
        upload_fees_micro_usdc: What the network may keep of their payments.
    """

    price_micro_usdc: int
    fee_micro_usdc: int = 0
    uploads_micro_usdc: int = 0
    uploads: int = 0
    upload_fees_micro_usdc: int = 0

    @property
    def total_micro_usdc(self) -> int:
        """All of it."""
        return self.price_micro_usdc + self.fee_micro_usdc + self.uploads_micro_usdc

    @property
    def fees_micro_usdc(self) -> int:
        """What the network may keep of all payments."""
        return self.fee_micro_usdc + self.upload_fees_micro_usdc

    @property
    def upload_price_micro_usdc(self) -> int:
        """The image uploads without their network fees."""
        return self.uploads_micro_usdc - self.upload_fees_micro_usdc

    def with_uploads(self, uploads_max: int) -> Cost:
        """Return the cost where only so many uploads are bought; all of a call cost the same."""
        if self.uploads <= uploads_max:
            return self
        return replace(
            self,
            uploads=uploads_max,
            uploads_micro_usdc=-(-self.uploads_micro_usdc * uploads_max // self.uploads),
            upload_fees_micro_usdc=-(-self.upload_fees_micro_usdc * uploads_max // self.uploads),
        )

    def plus(self, other: Cost) -> Cost:
        """Return what two calls can cost together."""
        return Cost(
            price_micro_usdc=self.price_micro_usdc + other.price_micro_usdc,
            fee_micro_usdc=self.fee_micro_usdc + other.fee_micro_usdc,
            uploads_micro_usdc=self.uploads_micro_usdc + other.uploads_micro_usdc,
            uploads=self.uploads + other.uploads,
            upload_fees_micro_usdc=self.upload_fees_micro_usdc + other.upload_fees_micro_usdc,
        )
