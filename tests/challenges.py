"""Payment challenges as raw HTTP answers, and the judgement that they meet, in the order in which a purchase makes it.

The good challenge is a recorded one (`vectors/captures.json`), moved to the live studio's origin. Tests change one
thing about it.
"""

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedance_mcp.config.profiles import LIVE
from seedance_mcp.core.errors import PriceTooHighError, StudioProtocolError
from seedance_mcp.core.limits import Approval, Limits, Spend
from seedance_mcp.core.wire.generation import NormalisedRequest
from seedance_mcp.core.wire.offers import Offer, read_offers
from seedance_mcp.core.wire.prices import estimate_price, is_ceiling, warn_price
from seedance_mcp.core.wire.routes import Dialect, Route, read_route_contract
from seedance_mcp.payments import policy

VECTORS = Path(__file__).parent / "vectors"
PAYER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
STUDIO = LIVE.studio_url
ROUTE = f"{STUDIO}/api/generate/seedance/i2v"


def read_vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


CAPTURES = read_vectors("captures")

REQUEST = NormalisedRequest(
    model="seedance",
    prompt="a boat leaves the harbour",
    image="ab" * 32,
    last_image=None,
    duration_seconds=5,
    resolution="720p",
    aspect_ratio="16:9",
    camera_fixed=None,
    generate_audio=None,
    seed=None,
    take=1,
)
NOW = 1_795_451_276.0
"""2026-11-23, 16:27:56 UTC: when the challenge was recorded."""
PRICE = 412_500
"""What the recorded studio asked for `REQUEST`."""
CONTRACT = read_route_contract(json.dumps(CAPTURES["openapi_classic"]).encode(), Route("seedance"))


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as the studio's client hands it on."""

    status: int = 402
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True)
class Owner:
    """What the owner and the caller allow, what was spent before, and what is bought.

    Attributes:
        names_price: Whether the caller named a limit of their own.
        request: What is bought, at a studio of this `dialect`.
    """

    limits: Limits = field(default_factory=Limits)
    spend: Spend = field(default_factory=Spend)
    approval: Approval = field(default_factory=lambda: policy.agree_price(Limits(), **_AGREED))
    names_price: bool = True
    request: NormalisedRequest = REQUEST
    dialect: Dialect = "classic"


_AGREED = {"max_price_micro_usdc": 500_000, "quoted_micro_usdc": PRICE}


def build_challenge() -> dict[str, Any]:
    """The good challenge, to be changed."""
    challenge = copy.deepcopy(CAPTURES["generate_challenge"])
    challenge["resource"]["url"] = ROUTE
    return challenge


def encode_header(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def answer_with(document: object, *, body: object = b"") -> Answer:
    """A 402 with this document in its header."""
    return Answer(
        headers=(("content-type", "application/json"), ("payment-required", encode_header(document))),
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
    )


def change(path: str, value: object) -> Answer:
    """The good challenge with one value replaced: `change("accepts.0.amount", "0")`."""
    return edit(lambda challenge: _set(challenge, path.split("."), value))


def dated(date: str) -> Answer:
    """The good challenge with this Date header."""
    answer = answer_with(build_challenge())
    return Answer(headers=(*answer.headers, ("date", date)))


def without(path: str) -> Answer:
    """The good challenge without one field."""

    def drop(challenge: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        del _walk(challenge, parents)[last]

    return edit(drop)


def edit(edit_challenge: Callable[[dict[str, Any]], object], *, body: object = b"") -> Answer:
    """The good challenge after one edit."""
    challenge = build_challenge()
    edit_challenge(challenge)
    return answer_with(challenge, body=body)


def add_entry(**changes: object) -> Answer:
    """The good challenge with a second entry, a copy of the first with these changes."""
    return edit(lambda challenge: challenge["accepts"].append({**challenge["accepts"][0], **changes}))


def judge(answer: Answer, owner: Owner | None = None) -> Offer:
    """Read, choose and check as `Pricing` and `PaymentExecutor.pay` do; returns the offer that would be signed."""
    owner = owner or Owner()
    offers = read_offers(answer.status, answer.headers, answer.body, url=ROUTE)
    estimate = estimate_price(owner.dialect, owner.request)
    for offer in offers.offers:
        if is_ceiling(offer.amount_micro_usdc, CONTRACT, estimate):
            raise StudioProtocolError("The studio quotes its ceiling.")
    policy.check_clock(offers, NOW)
    offer = policy.choose_offer(offers, owner.limits, LIVE.pins, payer=PAYER)
    warning = warn_price(offer.amount_micro_usdc, estimate)
    if warning is not None and not owner.names_price:
        raise PriceTooHighError(warning)
    policy.check_price(offer.amount_micro_usdc, owner.limits, spend=owner.spend, approval=owner.approval)
    return offer


def _walk(document: Any, path: list[str]) -> Any:
    for step in path:
        document = document[int(step) if isinstance(document, list) else step]
    return document


def _set(document: Any, path: list[str], value: object) -> None:
    parent = _walk(document, path[:-1])
    parent[int(path[-1]) if isinstance(parent, list) else path[-1]] = value
