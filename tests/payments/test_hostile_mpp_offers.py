"""402s on MPP that must never be signed for, each refused with its reason before anything is reserved."""

import base64
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from seedance_mcp.config.profiles import LIVE
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    BudgetExceededError,
    InsufficientBalanceError,
    PriceTooHighError,
    UnacceptableOfferError,
)
from seedance_mcp.core.limits import Limits, PinnedTerms, Spend, WalletBalances
from seedance_mcp.core.wire.mpp import PinnedChargeTerms, is_pushed, is_sponsored
from seedance_mcp.core.wire.offers import Offer, read_offers
from seedance_mcp.payments import policy
from tests.challenges import NOW, PAYER, answer_with, build_challenge

PRICE = 412_500
PAY_TO = "0xa8049bb68181799124f98e467dd749e120abfa64"
USDC_E = "0x20c000000000000000000000b9537d11c60e8b50"
PATH_USD = "0x20c0000000000000000000000000000000000000"
BASE_USDC = ("eip155:8453", "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913")
TEMPO_USDC = ("eip155:4217", USDC_E)
FEE = 20_000


@dataclass(frozen=True)
class Owner:
    """What the owner allows, and what is known of the wallet."""

    limits: Limits = field(default_factory=Limits)
    spend: Spend = field(default_factory=Spend)
    wallet_balances: WalletBalances = field(default_factory=WalletBalances)
    pins: PinnedTerms = field(default_factory=lambda: LIVE.pins)
    now: float = NOW


def write(
    change: Callable[[dict[str, Any]], object] = lambda _: None, *, lifetime_seconds: float = 300, **parameters: str
) -> str:
    """The recorded kind of challenge with changes to its request and its parameters."""
    request: dict[str, Any] = {
        "amount": str(PRICE), "currency": USDC_E, "methodDetails": {"chainId": 4217}, "recipient": PAY_TO,
    }  # fmt: skip
    change(request)
    encoded = base64.urlsafe_b64encode(json.dumps(request).encode()).decode().rstrip("=")
    expires = datetime.fromtimestamp(NOW + lifetime_seconds, UTC).isoformat()
    fields = {"id": "V8SF", "realm": "stablestudio.dev", "method": "tempo", "intent": "charge", "request": encoded}
    return "Payment " + ", ".join(
        f'{name}="{value}"' for name, value in {**fields, "expires": expires, **parameters}.items()
    )


def put(key: str, value: object) -> str:
    """The challenge with one field of its request replaced."""
    return write(lambda request: request.update({key: value}))


def detail(key: str, value: object) -> str:
    """The challenge with one field of its methodDetails replaced."""
    return write(lambda request: request["methodDetails"].update({key: value}))


def judge(*challenges: str, owner: Owner | None = None, x402: bool = False) -> Offer:
    """Read, choose and check as `Pricing` and `PaymentExecutor.pay` do, in their order."""
    owner = owner or Owner()
    headers = [*(answer_with(build_challenge()).headers if x402 else ())]
    offers = read_offers(402, [*headers, *(("www-authenticate", challenge) for challenge in challenges)], b"")
    offer = policy.choose_offer(
        offers, owner.limits, owner.pins, payer=PAYER, now=owner.now, wallet_balances=owner.wallet_balances
    )
    approval = policy.agree_price(owner.limits, max_price_micro_usdc=500_000, quoted_micro_usdc=PRICE)
    fee = owner.wallet_balances.fee_of(offer)
    policy.check_price(offer.amount_micro_usdc, owner.limits, spend=owner.spend, approval=approval, fee_micro_usdc=fee)
    return offer


@dataclass(frozen=True)
class Hostile:
    """One 402 and why it is refused."""

    name: str
    challenges: tuple[str, ...]
    error: type[SeedanceError]
    says: str
    owner: Owner = field(default_factory=Owner)


SHORT = Owner(wallet_balances=WalletBalances(balances={TEMPO_USDC: PRICE}))
DEAR_GAS = WalletBalances(gas_price=10**12)
NO_MPP = Owner(pins=dataclasses.replace(LIVE.pins, mpp=None))
PUSHING = Owner(limits=Limits(push_allowed=True))
PUSH_SPONSORED = {"chainId": 4217, "feePayer": True, "supportedModes": ["push"]}
SPONSORED = detail("feePayer", True)
SPONSORED_SPLIT = put(
    "methodDetails", {"chainId": 4217, "feePayer": True, "splits": [{"amount": "1", "recipient": "0x" + "e" * 40}]}
)
OTHER_RECIPIENT = put("recipient", "0x" + "e" * 40)


def offer(name: str, challenge: str, says: str, owner: Owner | None = None) -> Hostile:
    return Hostile(name, (challenge,), UnacceptableOfferError, says, owner or Owner())


HOSTILE = [
    offer("realm-other-host", write(realm="evil.example"), "is not the studio's host"),
    offer("realm-look-alike", write(realm="stablestudio.dev.evil.example"), "is not the studio's host"),
    offer("realm-user-part", write(realm="stablestudio.dev@evil.example"), "is not the studio's host"),
    offer("realm-other-port", write(realm="stablestudio.dev:8443"), "is not the studio's host"),
    offer("realm-url", write(realm="https://stablestudio.dev"), "is not the studio's host"),
    offer("realm-empty", write(realm=""), "without realm"),
    offer("method-stripe", write(method="stripe"), "not tempo and charge"),
    offer("intent-session", write(intent="session"), "not tempo and charge"),
    offer("chain-testnet", detail("chainId", 42431), "is not eip155:4217"),
    offer("chain-base", detail("chainId", 8453), "is not eip155:4217"),
    offer("chain-text", detail("chainId", "4217"), "names no chain"),
    offer("chain-true", detail("chainId", True), "names no chain"),
    offer("chain-missing", put("methodDetails", {}), "names no chain"),
    offer("currency-other", put("currency", "0x" + "d" * 40), "not on the list of the profile"),
    offer("currency-not-an-address", put("currency", "usd"), "currency is not an address"),
    offer("recipient-ourselves", put("recipient", PAYER.lower()), "our own wallet"),
    offer("recipient-no-one", put("recipient", "0x" + "0" * 40), "recipient is no one"),
    offer("recipient-the-token", put("recipient", USDC_E), "recipient is no one"),
    offer("recipient-a-name", put("recipient", "stablestudio.eth"), "recipient is not an address"),
    offer(
        "recipient-unlisted", put("recipient", "0x" + "e" * 40), "is not among the allowed",
        Owner(limits=Limits(recipients=(PAY_TO,))),
    ),
    offer("amount-zero", put("amount", "0"), "not above zero"),
    offer("amount-number", put("amount", PRICE), "not a whole amount"),
    offer("amount-fraction", put("amount", "0.41"), "not a whole amount"),
    offer("amount-negative", put("amount", "-1"), "not a whole amount"),
    offer("expired", write(lifetime_seconds=-1), "challenge is over"),
    offer("expiring", write(lifetime_seconds=14), "challenge is over"),
    offer("expires-in-ten-years", write(lifetime_seconds=315_360_000), "lives for more than 3600 s"),
    offer("expires-never", write(expires="never"), "is not a time"),
    offer("no-clock", write(), "challenge is over", Owner(now=float("inf"))),
    offer("split", detail("splits", [{"amount": "1", "recipient": "0x" + "e" * 40}]), "splits the amount"),
    offer("fee-payer-url-alone", detail("feePayerUrl", "https://evil.example"), "not one that we know"),
    offer("fee-payer-text", detail("feePayer", "yes"), "who pays the network's fee"),
    offer("fee-payer-number", detail("feePayer", 1), "who pays the network's fee"),
    Hostile("sponsored-and-split", (SPONSORED_SPLIT,), UnacceptableOfferError, "splits the amount"),
    offer("unknown-detail", detail("escrow", "0x" + "e" * 40), "«escrow» is not one that we know"),
    offer("unknown-field", put("recurring", True), "«recurring» is not one that we know"),
    offer("push-only", detail("supportedModes", ["push"]), "sent to the chain before"),
    offer("push-only-sponsored", put("methodDetails", PUSH_SPONSORED), "takes only from the chain", PUSHING),
    offer("modes-of-its-own", detail("supportedModes", ["teleport"]), "who brings the payment to the chain", PUSHING),
    offer("modes-empty", detail("supportedModes", []), "who brings the payment to the chain", PUSHING),
    offer("modes-text", detail("supportedModes", "push"), "who brings the payment to the chain", PUSHING),
    offer("header-of-its-own", write(header="Cookie"), "a header of its own"),
    offer("network-fee", write(), "network's fee may be $1.00", Owner(wallet_balances=DEAR_GAS)),
    offer("rail-not-allowed", write(), "mpp is not among the allowed rails", Owner(limits=Limits(rails=("x402",)))),
    offer("rail-not-pinned", write(), "not a rail of this profile", NO_MPP),
    Hostile("two-prices", (write(), put("amount", "1")), UnacceptableOfferError, "2 different prices"),
    Hostile("two-recipients", (write(), OTHER_RECIPIENT), UnacceptableOfferError, "2 different prices"),
    Hostile("price-above-quote", (put("amount", str(PRICE + 1)),), PriceTooHighError, "was quoted for it"),
    Hostile(
        "fee-above-cap", (write(),), PriceTooHighError, "above the $0.42",
        Owner(limits=Limits(max_price_per_video_micro_usdc=PRICE + FEE - 12_500)),
    ),
    Hostile(
        "fee-above-day", (write(),), BudgetExceededError, "budget for 24 hours",
        Owner(spend=Spend(last_day_micro_usdc=5_000_000 - PRICE - FEE + 1, total_micro_usdc=5_000_000)),
    ),
    Hostile(
        "fee-above-total", (write(),), BudgetExceededError, "total budget",
        Owner(limits=Limits(max_total_micro_usdc=1_000_000), spend=Spend(total_micro_usdc=1_000_000 - PRICE)),
    ),
    Hostile(
        "purse-too-small-for-the-fee", (write(),), InsufficientBalanceError,
        "$0.4325 with the network fee ($0.02 at most)", SHORT,
    ),
]  # fmt: skip

GOOD = {
    "as-recorded": write(),
    "realm-with-port": write(realm="stablestudio.dev:443"),
    "realm-upper-case": write(realm="StableStudio.dev"),
    "path-usd": put("currency", PATH_USD),
    "currency-checksummed": put("currency", "0x20C000000000000000000000b9537d11c60E8b50"),
    "no-fee-payer": detail("feePayer", False),
    "fee-payer": SPONSORED,
    "fee-payer-at-an-address": put(
        "methodDetails", {"chainId": 4217, "feePayer": True, "feePayerUrl": "https://sponsor.example"}
    ),
    "both-modes": detail("supportedModes", ["push", "pull"]),
    "no-splits": detail("splits", []),
    "described": put("description", "A clip"),
    "payment-authorization": write(header="Payment-Authorization"),
    "cheaper-than-quoted": put("amount", "1"),
}


def test_every_row_has_a_name_of_its_own() -> None:
    names = [row.name for row in HOSTILE]
    assert len(set(names)) == len(names) >= 15


@pytest.mark.parametrize("row", HOSTILE, ids=[row.name for row in HOSTILE])
def test_a_hostile_challenge_is_refused_before_anything_is_signed(row: Hostile) -> None:
    with pytest.raises(SeedanceError) as caught:
        judge(*row.challenges, owner=row.owner)
    text = str(caught.value)
    assert type(caught.value) is row.error
    assert row.says in text
    assert "Nothing was paid." in text
    assert text.isprintable()
    assert len(text) < 1500


@pytest.mark.parametrize("challenge", GOOD.values(), ids=GOOD)
def test_a_good_challenge_passes_the_same_judgement(challenge: str) -> None:
    assert judge(challenge).pay_to == PAY_TO


def test_of_two_dollars_the_one_is_chosen_that_the_wallet_holds() -> None:
    both = (put("currency", PATH_USD), write())
    assert judge(*both).asset == USDC_E
    wallet_balances = WalletBalances(balances={TEMPO_USDC: 1, ("eip155:4217", PATH_USD): 10**6})
    assert judge(*both, owner=Owner(wallet_balances=wallet_balances)).asset == PATH_USD


def test_a_sponsored_charge_costs_its_price_and_is_preferred() -> None:
    just_enough = Owner(
        limits=Limits(max_price_per_video_micro_usdc=PRICE),
        spend=Spend(last_day_micro_usdc=5_000_000 - PRICE),
        wallet_balances=WalletBalances(balances={TEMPO_USDC: PRICE}, gas_price=10**12),
    )
    assert is_sponsored(judge(SPONSORED, owner=just_enough))
    assert is_sponsored(judge(write(), SPONSORED))


def test_what_moves_before_the_work_is_accepted_is_chosen_only_where_nothing_else_is_offered() -> None:
    push = detail("supportedModes", ["push"])
    rich = dataclasses.replace(PUSHING, wallet_balances=WalletBalances(balances={TEMPO_USDC: 10**6, BASE_USDC: 0}))
    assert is_pushed(judge(push, owner=rich))
    assert not is_pushed(judge(push, write(), owner=rich))
    with pytest.raises(InsufficientBalanceError, match="on Base"):
        judge(push, x402=True, owner=rich)
    with pytest.raises(UnacceptableOfferError, match="does not answer now"):
        judge(push, owner=PUSHING)


@pytest.mark.parametrize(
    ("rails", "base", "tempo", "chosen"),
    [
        (("x402", "mpp"), None, None, "x402"),
        (("mpp", "x402"), None, None, "mpp"),
        (("x402", "mpp"), 0, 10**6, "mpp"),
        (("x402", "mpp"), PRICE - 1, None, "mpp"),
        (("x402", "mpp"), PRICE, 10**6, "x402"),
        (("mpp", "x402"), 10**6, PRICE, "x402"),
        (("mpp", "x402"), 0, PRICE + FEE, "mpp"),
        (("mpp",), 10**6, None, "mpp"),
    ],
)
def test_the_rail_is_the_owners_first_that_the_wallet_can_pay_on(
    rails: Any, base: int | None, tempo: int | None, chosen: str
) -> None:
    known = {BASE_USDC: base, TEMPO_USDC: tempo}
    wallet_balances = WalletBalances(balances={key: value for key, value in known.items() if value is not None})
    assert (
        judge(write(), x402=True, owner=Owner(limits=Limits(rails=rails), wallet_balances=wallet_balances)).rail
        == chosen
    )


def test_an_empty_wallet_is_told_what_it_lacks_on_both_chains() -> None:
    with pytest.raises(InsufficientBalanceError) as caught:
        judge(
            write(),
            x402=True,
            owner=Owner(wallet_balances=WalletBalances(balances={BASE_USDC: 5, TEMPO_USDC: 400_000})),
        )
    text = str(caught.value)
    for part in (PAYER, "$0.4125 is needed and $0.000005 of USDC on Base is there",
                 "$0.4325 with the network fee", "$0.40 of USDC.e on Tempo is there",
                 "seedance-mcp wallet fund"):  # fmt: skip
        assert part in text


def test_a_charge_lives_for_seconds_and_never_longer_than_its_challenge() -> None:
    chosen = judge(write())
    before = policy.charge_valid_before(chosen, NOW, answered_at=None)
    assert before == NOW + policy.CHARGE_SECONDS_MAX
    short = judge(write(lifetime_seconds=20))
    assert policy.charge_valid_before(short, NOW, answered_at=None) == NOW + 20
    # Where the studio says what time it is, its clock is believed: ours may be a minute wrong.
    for skew in (-60, 60):
        valid_before = policy.charge_valid_before(chosen, NOW + skew, answered_at=NOW)
        assert NOW + policy.CHARGE_SECONDS_MAX <= valid_before <= NOW + policy.CHARGE_SECONDS_MAX + 5


def test_pins_name_their_network() -> None:
    assert PinnedChargeTerms(chain_id=7, currencies=()).network == "eip155:7"
