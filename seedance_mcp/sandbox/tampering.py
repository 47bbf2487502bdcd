"""Changes an offer on its way to the client, in the ways a client must notice.

Each kind is one function in a table; `faults.OFFER_TAMPERINGS` says in words what it does.
"""

from collections.abc import Callable

from x402.schemas import PaymentRequirements

STRANGER = "0x57a4632600000000000000000000000000000bad"
BASE_NETWORK = "eip155:8453"
OTHER_TOKEN = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"  # noqa: S105  # USDC on Base, public
TEN_YEARS_SECONDS = 10 * 365 * 24 * 3600


def tamper_offer(offer: PaymentRequirements, kind: str, *, ceiling_micro_usdc: int) -> PaymentRequirements:
    """Return a changed copy of an offer.

    Raises:
        KeyError: If there is no such kind.
    """
    if kind == "ceiling":
        return offer.model_copy(update={"amount": str(ceiling_micro_usdc)})
    return offer.model_copy(update=_CHANGES[kind](offer))


_CHANGES: dict[str, Callable[[PaymentRequirements], dict[str, object]]] = {
    "price_x100": lambda offer: {"amount": str(100 * int(offer.amount))},
    "other_asset": lambda _: {"asset": OTHER_TOKEN},
    "other_network": lambda _: {"network": BASE_NETWORK},
    "other_domain_name": lambda offer: {"extra": {**offer.extra, "name": "USD Coin"}},
    "other_recipient": lambda _: {"pay_to": STRANGER},
    "permit2": lambda offer: {"extra": {**offer.extra, "assetTransferMethod": "permit2"}},
    "long_lifetime": lambda _: {"max_timeout_seconds": TEN_YEARS_SECONDS},
}
