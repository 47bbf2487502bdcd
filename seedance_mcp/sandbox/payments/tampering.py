"""Changes to offers that a client must notice.

Each kind is one function in a table; `faults.OFFER_TAMPERINGS` describes it.
"""

from collections.abc import Callable
from typing import Any

from x402.schemas import PaymentRequirements

OTHER_RECIPIENT = "0x57a4632600000000000000000000000000000bad"
BASE_NETWORK = "eip155:8453"
OTHER_TOKEN = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"  # noqa: S105  # USDC on Base, public
TEMPO_TOKEN = "0x20c000000000000000000000b9537d11c60e8b50"  # noqa: S105  # USDC.e on Tempo, public
TEMPO_CHAIN_ID = 4217
TEN_YEARS_SECONDS = 10 * 365 * 24 * 3600
CHEAPEST_VIDEO_MICRO_USDC = 40_000
"""No upload costs as much."""


def tamper_offer(offer: PaymentRequirements, kind: str, *, ceiling_micro_usdc: int) -> PaymentRequirements:
    """Return a changed copy of an offer; a kind of another rail changes nothing."""
    if kind == "ceiling":
        return offer.model_copy(update={"amount": str(ceiling_micro_usdc)})
    change = _CHANGES.get(kind)
    return offer if change is None else offer.model_copy(update=change(offer))


def tamper_charge(
    charge: dict[str, Any], realm: str, lifetime_seconds: int, kind: str, *, ceiling_micro_usdc: int
) -> tuple[dict[str, Any], str, int]:
    """Return a changed copy of an MPP charge, with its realm and its lifetime."""
    details = charge["methodDetails"]
    match kind:
        case "price_x2" | "price_x100":
            charge = {**charge, "amount": str(int(kind.removeprefix("price_x")) * int(charge["amount"]))}
        case "video_price_x2":
            charge = {**charge, "amount": _double_video(charge["amount"])}
        case "ceiling":
            charge = {**charge, "amount": str(ceiling_micro_usdc)}
        case "other_asset":
            charge = {**charge, "currency": TEMPO_TOKEN}
        case "other_network":
            charge = {**charge, "methodDetails": {**details, "chainId": TEMPO_CHAIN_ID}}
        case "other_recipient":
            charge = {**charge, "recipient": OTHER_RECIPIENT}
        case "split":
            half = {"amount": str(int(charge["amount"]) // 2), "recipient": OTHER_RECIPIENT}
            charge = {**charge, "methodDetails": {**details, "splits": [half]}}
        case "other_realm":
            realm = "stablestudio.example"
        case "long_lifetime":
            lifetime_seconds = TEN_YEARS_SECONDS
        case _:
            pass
    return charge, realm, lifetime_seconds


def _double_video(amount: str) -> str:
    return amount if int(amount) < CHEAPEST_VIDEO_MICRO_USDC else str(2 * int(amount))


_CHANGES: dict[str, Callable[[PaymentRequirements], dict[str, object]]] = {
    "price_x2": lambda offer: {"amount": str(2 * int(offer.amount))},
    "price_x100": lambda offer: {"amount": str(100 * int(offer.amount))},
    "video_price_x2": lambda offer: {"amount": _double_video(offer.amount)},
    "other_asset": lambda _: {"asset": OTHER_TOKEN},
    "other_network": lambda _: {"network": BASE_NETWORK},
    "other_domain_name": lambda offer: {"extra": {**offer.extra, "name": "USD Coin"}},
    "other_recipient": lambda _: {"pay_to": OTHER_RECIPIENT},
    "permit2": lambda offer: {"extra": {**offer.extra, "assetTransferMethod": "permit2"}},
    "long_lifetime": lambda _: {"max_timeout_seconds": TEN_YEARS_SECONDS},
}
