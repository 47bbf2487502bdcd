"""Every 402 that we know how to refuse, one change away from a good one. The documentation links to these rows."""

import base64
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedance_mcp.config.profiles import LIVE
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    BudgetExceededError,
    PolicyError,
    PriceTooHighError,
    StudioProtocolError,
    UnacceptableOfferError,
)
from seedance_mcp.core.limits import Approval, Limits, Spend
from seedance_mcp.core.wire.generation import NormalisedRequest, Reference
from seedance_mcp.core.wire.json import is_address
from seedance_mcp.core.wire.offers import read_offers
from seedance_mcp.core.wire.prices import FAR_ABOVE_PERCENT, estimate_price
from seedance_mcp.core.wire.x402 import Authorization, build_payment, encode_payment, read_authorization
from seedance_mcp.payments import policy
from tests.challenges import (
    CAPTURES,
    PAYER,
    PRICE,
    REQUEST,
    ROUTE,
    Answer,
    Owner,
    add_entry,
    answer_with,
    build_challenge,
    change,
    dated,
    edit,
    encode_header,
    judge,
    without,
)

TOKEN = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
PAY_TO = build_challenge()["accepts"][0]["payTo"]
SOLANA = {
    "scheme": "exact",
    "network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    "amount": "412500",
    "asset": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    "payTo": "HqpEDUY3mMMzgvQ8bVQzs8gF5tb8BrHBFHgL9BJt6h2c",
    "maxTimeoutSeconds": 300,
    "extra": {"feePayer": "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4"},
}


def header(value: str) -> Answer:
    return Answer(headers=(("payment-required", value),))


def raw(text: str) -> Answer:
    """The header's JSON as written, which `json.dumps` would not write."""
    return header(base64.b64encode(text.encode()).decode())


def patched(old: str, new: str) -> Answer:
    """The good challenge with one piece of its JSON text replaced."""
    text = json.dumps(build_challenge())
    assert text.count(old) >= 1
    return raw(text.replace(old, new, 1))


def resource_in_body(resource: object) -> Answer:
    """The good challenge, whose header does not say what it is for, and whose body does."""
    return edit(lambda challenge: challenge.pop("resource"), body={"resource": resource})


def in_body(**changes: object) -> Answer:
    """The good challenge as a body, without the header; a field that is None is left out."""
    document = {**build_challenge(), **changes}
    return Answer(body=json.dumps({key: value for key, value in document.items() if value is not None}).encode())


@dataclass(frozen=True)
class Hostile:
    """A 402 that must not be paid.

    Attributes:
        name: Its id, linked by the documentation.
        answer: Raw status, headers and body.
        error: What it must raise.
        says: Words of the error's text that name the cause.
        owner: What the owner allows, where the default would.
    """

    name: str
    answer: Answer
    error: type[SeedanceError]
    says: str
    owner: Owner = field(default_factory=Owner)


def protocol(name: str, answer: Answer, says: str) -> Hostile:
    return Hostile(name, answer, StudioProtocolError, says)


def offer(name: str, answer: Answer, says: str) -> Hostile:
    return Hostile(name, answer, UnacceptableOfferError, says)


MODES: dict[str, NormalisedRequest] = {
    "references": replace(REQUEST, image=None, references=(Reference("image", "ab" * 32),)),
    "text-only": replace(REQUEST, image=None, text_only=True),
    "upscale": replace(REQUEST, upscale="4k"),
    "other-model": replace(REQUEST, model="seedance-next"),
}
"""What only the current dialect has; a request of 5 seconds in 720p."""


def buying(mode: str, *, names_price: bool = False) -> Owner:
    """An owner with wide limits whose caller wants a video of this mode."""
    return Owner(
        limits=Limits(max_price_per_video_micro_usdc=30_000_000, max_per_day_micro_usdc=90_000_000),
        approval=Approval(30_000_000, "is allowed for one video"),
        names_price=names_price,
        request=MODES[mode],
        dialect="current",
    )


def asking(amount_micro_usdc: int) -> Answer:
    return change("accepts.0.amount", str(amount_micro_usdc))


HOSTILE = [
    # It is not a payment challenge at all.
    protocol("status-200", Answer(200, change("error", None).headers), "Expected a 402"),
    protocol("status-500", Answer(500, change("error", None).headers), "Expected a 402"),
    protocol("nothing-at-all", Answer(), "without saying how to pay"),
    offer("mpp-without-realm", Answer(headers=(("www-authenticate", 'Payment id="x", method="tempo"'),)), "realm"),
    protocol("version-1-in-body", Answer(body=b'{"x402Version":1,"accepts":[{}]}'), "version «1»"),
    protocol("sign-in-challenge", answer_with(CAPTURES["sign_in_challenge"]), "a sign-in where a price"),
    protocol("refusal-with-challenge", edit(lambda _: None, body=CAPTURES["refusal_mismatch"]), "refused a payment"),
    protocol(
        "refusal-with-accepts-in-body",
        edit(lambda _: None, body={"error": "no", "reason": "expired", **build_challenge()}),
        "refused a payment",
    ),
    protocol("sign-in-refusal", edit(lambda _: None, body=CAPTURES["sign_in_refusal"]), "refused a payment"),
    # The header.
    protocol("header-empty", header(""), "is not JSON"),
    protocol("header-blank", header("   "), "is not JSON"),
    protocol("header-not-base64", header("{}"), "is not base64"),
    protocol("header-base64-cut", header(encode_header(build_challenge())[:-5]), "is not"),
    protocol("header-not-utf-8", header(base64.b64encode(b'{"a":"\xff"}').decode()), "is not JSON"),
    protocol("header-not-json", raw("pay me"), "is not JSON"),
    protocol("header-json-list", raw("[]"), "not an object"),
    protocol("header-too-long", header("A" * 70_000), "longer than"),
    protocol("header-too-deep", raw('{"a":' * 100 + "1" + "}" * 100), "nested deeper"),
    protocol("header-bottomless", raw('{"a":' * 9000 + "1"), "is not JSON"),
    protocol("header-not-a-number", patched('"maxTimeoutSeconds": 300', '"maxTimeoutSeconds": NaN'), "is not JSON"),
    protocol("header-infinite-number", patched('"x402Version": 2', '"x402Version": 2, "x": 1e999'), "is not JSON"),
    protocol("header-half-a-character", patched("StableStudio", "\\ud800"), "not Unicode"),
    protocol("header-name-twice", patched('"amount": "412500"', '"amount": "412500", "amount": "1"'), "is not JSON"),
    protocol("header-twice", Answer(headers=change("error", None).headers * 2), "2 payment-required headers"),
    # The version.
    protocol("version-1", change("x402Version", 1), "version «1»"),
    protocol("version-3", change("x402Version", 3), "version «3»"),
    protocol("version-text", change("x402Version", "2"), "version «2»"),
    protocol("version-fraction", change("x402Version", 2.0), "version «2.0»"),
    protocol("version-true", change("x402Version", True), "version «True»"),
    protocol("version-missing", without("x402Version"), "version «None»"),
    # The list.
    protocol("accepts-missing", without("accepts"), "no list of ways to pay"),
    protocol("accepts-object", change("accepts", build_challenge()["accepts"][0]), "no list of ways to pay"),
    protocol("accepts-text", change("accepts", "exact"), "no list of ways to pay"),
    protocol("accepts-empty", change("accepts", []), "names no way to pay"),
    protocol("accepts-endless", change("accepts", build_challenge()["accepts"] * 33), "33 ways to pay"),
    offer("entry-not-an-object", change("accepts", ["exact"]), "not an object"),
    offer("entry-empty", change("accepts.0", {}), "no usable 'scheme'"),
    # Header and body that differ.
    protocol(
        "body-other-price",
        edit(lambda _: None, body={"accepts": [{**build_challenge()["accepts"][0], "amount": "1"}]}),
        "in its header and another in its body (accepts)",
    ),
    protocol(
        "body-other-resource", edit(lambda _: None, body={"resource": {"url": ROUTE + "/2"}}), "its body (resource)"
    ),
    protocol("body-resource-without-url", edit(lambda _: None, body={"resource": {"id": 1}}), "its body (resource)"),
    protocol("body-cut", edit(lambda _: None, body=b'{"error":"no","reason"'), "The 402 body is not JSON"),
    # What only the body says.
    protocol("body-alone-other-resource", resource_in_body({"url": ROUTE + "/2"}), "names something else in its body"),
    protocol("body-alone-other-host", resource_in_body({"url": "https://evil.example/api"}), "names something else"),
    protocol("body-alone-user-part", resource_in_body({"url": ROUTE.replace("//", "//me@")}), "names something else"),
    offer("body-alone-resource-text", resource_in_body(ROUTE), "does not name what it is for"),
    protocol("offer-in-body-version-3", in_body(x402Version=3), "version «3»"),
    protocol("offer-in-body-without-version", in_body(x402Version=None), "version «None»"),
    protocol("offer-in-body-other-resource", in_body(resource={"url": ROUTE + "/2"}), "names something else"),
    offer("offer-in-body-without-resource", in_body(resource=None), "does not name what it is for"),
    protocol("offer-in-body-refused", in_body(error="no", reason="expired"), "refused a payment"),
    protocol("offer-in-body-too-long", in_body(padding="x" * 70_000), "longer than"),
    protocol(
        "offer-in-body-name-twice",
        Answer(body=json.dumps(build_challenge()).replace('"amount": ', '"amount": "1", "amount": ', 1).encode()),
        "is not JSON",
    ),
    protocol("offer-in-body-sign-in", Answer(body=json.dumps(CAPTURES["sign_in_challenge"]).encode()), "a sign-in"),
    protocol("words-alone", Answer(body=b'{"error":"Payment required","message":"Pay"}'), "without saying how to pay"),
    # The resource.
    offer("resource-missing", without("resource"), "does not name what it is for"),
    offer("resource-text", change("resource", ROUTE), "does not name what it is for"),
    offer("resource-url-list", change("resource.url", [ROUTE]), "does not name what it is for"),
    offer("resource-url-empty", change("resource.url", ""), "does not name what it is for"),
    offer("resource-other-host", change("resource.url", "https://evil.example/api"), "which is not at"),
    offer("resource-host-suffix", change("resource.url", "https://stablestudio.dev.evil.example/"), "which is not at"),
    offer("resource-subdomain", change("resource.url", "https://pay.stablestudio.dev/"), "which is not at"),
    offer("resource-user", change("resource.url", "https://me@stablestudio.dev/"), "which is not at"),
    offer("resource-user-trick", change("resource.url", "https://stablestudio.dev@evil.example/"), "which is not at"),
    offer("resource-other-port", change("resource.url", "https://stablestudio.dev:8443/"), "which is not at"),
    offer("resource-plain-http", change("resource.url", "http://stablestudio.dev/"), "which is not at"),
    offer("resource-trailing-dot", change("resource.url", "https://stablestudio.dev./"), "which is not at"),
    offer("resource-line-break", change("resource.url", "https://stable\nstudio.dev/"), "which is not at"),
    offer("resource-look-alike", change("resource.url", "https://st\u0430blestudio.dev/"), "which is not at"),
    offer("resource-backslash", change("resource.url", "https://stablestudio.dev\\@evil.example/"), "which is not at"),
    offer("resource-relative", change("resource.url", "/api/generate/seedance/i2v"), "which is not at"),
    offer("resource-broken", change("resource.url", "https://[::1/"), "which is not at"),
    # Scheme, network and token.
    offer("scheme-unknown", change("accepts.0.scheme", "upto"), "scheme «upto» is not exact"),
    offer("scheme-upper-case", change("accepts.0.scheme", "EXACT"), "is not exact"),
    offer("network-testnet", change("accepts.0.network", "eip155:84532"), "«eip155:84532» is not eip155:8453"),
    offer("network-leading-zero", change("accepts.0.network", "eip155:08453"), "is not eip155:8453"),
    offer("network-by-name", change("accepts.0.network", "base"), "is not eip155:8453"),
    offer("network-solana-only", change("accepts", [SOLANA]), "asset is not an EVM address"),
    offer("token-other", change("accepts.0.asset", "0x" + "d" * 40), "is not 0x833589"),
    offer("token-look-alike", change("accepts.0.asset", TOKEN[:-1] + "4"), "is not 0x833589"),
    offer("token-full-width-digits", change("accepts.0.asset", TOKEN[:-1] + "\uff13"), "asset is not an EVM address"),
    offer("token-short", change("accepts.0.asset", TOKEN[:-1]), "asset is not an EVM address"),
    offer("token-name-other", change("accepts.0.extra.name", "USDC"), "EIP-712 name or version"),
    offer("token-version-other", change("accepts.0.extra.version", "1"), "EIP-712 name or version"),
    offer("token-version-number", change("accepts.0.extra.version", 2), "EIP-712 name or version"),
    offer("extra-missing", without("accepts.0.extra"), "EIP-712 name or version"),
    offer("extra-list", change("accepts.0.extra", ["USD Coin", "2"]), "EIP-712 name or version"),
    offer("permit2", change("accepts.0.extra.assetTransferMethod", "permit2"), "«permit2» is not eip3009"),
    offer("transfer-method-null", change("accepts.0.extra.assetTransferMethod", None), "is not eip3009"),
    # The recipient.
    offer("pay-to-ourselves", change("accepts.0.payTo", PAYER.lower()), "our own wallet"),
    offer("pay-to-no-one", change("accepts.0.payTo", "0x" + "0" * 40), "recipient is no one"),
    offer("pay-to-token", change("accepts.0.payTo", TOKEN.lower()), "recipient is no one"),
    offer("pay-to-name", change("accepts.0.payTo", "stablestudio.eth"), "payTo is not an EVM address"),
    offer("pay-to-line-break", change("accepts.0.payTo", PAY_TO + "\n"), "payTo is not an EVM address"),
    offer("pay-to-missing", without("accepts.0.payTo"), "payTo is not an EVM address"),
    Hostile(
        "pay-to-unlisted", change("accepts.0.payTo", "0x" + "e" * 40), UnacceptableOfferError, "is not among the",
        Owner(limits=Limits(recipients=(PAY_TO,))),
    ),
    # The amount.
    offer("amount-zero", change("accepts.0.amount", "0"), "not above zero"),
    offer("amount-negative", change("accepts.0.amount", "-412500"), "not a whole amount"),
    offer("amount-plus", change("accepts.0.amount", "+412500"), "not a whole amount"),
    offer("amount-leading-zeros", change("accepts.0.amount", "0412500"), "not a whole amount"),
    offer("amount-underscore", change("accepts.0.amount", "412_500"), "not a whole amount"),
    offer("amount-hexadecimal", change("accepts.0.amount", "0x64b54"), "not a whole amount"),
    offer("amount-fraction", change("accepts.0.amount", "0.4125"), "not a whole amount"),
    offer("amount-exponent", change("accepts.0.amount", "4e5"), "not a whole amount"),
    offer("amount-blank", change("accepts.0.amount", " 412500"), "not a whole amount"),
    offer("amount-line-break", change("accepts.0.amount", "412500\n"), "not a whole amount"),
    offer("amount-arabic-digits", change("accepts.0.amount", "\u0664\u0661\u0662\u0665"), "not a whole amount"),
    offer("amount-json-number", change("accepts.0.amount", 412500), "not a whole amount"),
    offer("amount-true", change("accepts.0.amount", True), "not a whole amount"),
    offer("amount-missing", without("accepts.0.amount"), "not a whole amount"),
    offer("amount-astronomic", change("accepts.0.amount", "9" * 30), "nothing costs"),
    offer("amount-4000-digits", change("accepts.0.amount", "9" * 4000), "not a whole amount"),
    # The lifetime.
    offer("lifetime-zero", change("accepts.0.maxTimeoutSeconds", 0), "lifetime of 0 s"),
    offer("lifetime-negative", change("accepts.0.maxTimeoutSeconds", -300), "lifetime of -300 s"),
    offer("lifetime-too-short", change("accepts.0.maxTimeoutSeconds", 29), "lifetime of 29 s"),
    offer("lifetime-ten-years", change("accepts.0.maxTimeoutSeconds", 315_360_000), "lifetime of 315360000 s"),
    offer("lifetime-endless", change("accepts.0.maxTimeoutSeconds", 10**4000), "not a whole number of seconds"),
    offer("lifetime-text", change("accepts.0.maxTimeoutSeconds", "300"), "not a whole number of seconds"),
    offer("lifetime-true", change("accepts.0.maxTimeoutSeconds", True), "not a whole number of seconds"),
    offer("lifetime-fraction", change("accepts.0.maxTimeoutSeconds", 300.5), "not a whole number of seconds"),
    offer("lifetime-missing", without("accepts.0.maxTimeoutSeconds"), "not a whole number of seconds"),
    # The clock, by which a signature's lifetime is reckoned.
    Hostile("clock-ahead", dated("Mon, 23 Nov 2026 16:17:56 GMT"), PolicyError, "600 s ahead of the studio's"),
    Hostile("clock-behind", dated("Mon, 23 Nov 2026 16:37:56 GMT"), PolicyError, "600 s behind the studio's"),
    # Entries that differ.
    offer("two-prices", add_entry(amount="412499"), "2 different prices or recipients"),
    offer("two-recipients", add_entry(payTo="0x" + "e" * 40), "2 different prices or recipients"),
    # The price.
    Hostile("price-above-quote", change("accepts.0.amount", str(PRICE + 1)), PriceTooHighError, "was quoted for it"),
    Hostile(
        "price-above-call", change("accepts.0.amount", "500001"), PriceTooHighError, "this request allows",
        Owner(approval=policy.agree_price(Limits(), max_price_micro_usdc=500_000, quoted_micro_usdc=None)),
    ),
    Hostile(
        "price-above-cap", change("accepts.0.amount", "1500001"), PriceTooHighError, "is allowed for one video",
        Owner(approval=policy.agree_price(Limits(), max_price_micro_usdc=None, quoted_micro_usdc=None)),
    ),
    Hostile(
        "price-above-day", edit(lambda _: None), BudgetExceededError, "budget for 24 hours",
        Owner(spend=Spend(last_day_micro_usdc=5_000_000 - PRICE + 1, total_micro_usdc=5_000_000)),
    ),
    Hostile(
        "price-above-total", edit(lambda _: None), BudgetExceededError, "total budget",
        Owner(limits=Limits(max_total_micro_usdc=1_000_000), spend=Spend(total_micro_usdc=1_000_000 - PRICE + 1)),
    ),
    protocol("price-is-the-ceiling", change("accepts.0.amount", "990000"), "quotes its ceiling"),
    protocol("price-is-20-dollars", change("accepts.0.amount", "20000000"), "quotes its ceiling"),
    # The price of a mode, of which 150% are allowed without the caller's own limit.
    Hostile("references-far-above", asking(1_800_001), PriceTooHighError, "known to cost $1.20", buying("references")),
    Hostile("text-only-far-above", asking(1_800_001), PriceTooHighError, "known to cost $1.20", buying("text-only")),
    Hostile("upscale-far-above", asking(3_600_001), PriceTooHighError, "known to cost $2.40", buying("upscale")),
    Hostile("other-model-at-any-price", asking(1), PriceTooHighError, "no price of such a", buying("other-model")),
    *(
        Hostile(
            f"{mode}-is-20-dollars", asking(20_000_000), StudioProtocolError, "its ceiling",
            buying(mode, names_price=True),
        )
        for mode in MODES
    ),
]  # fmt: skip

GOOD = {
    "as-recorded": edit(lambda _: None),
    "body-a-copy": edit(lambda _: None, body=build_challenge()),
    "body-checkout-session": edit(lambda _: None, body={"checkout_session": {"id": "cs_1"}}),
    "body-same-resource": edit(lambda _: None, body={"resource": {"url": ROUTE}}),
    "body-alone-resource": resource_in_body(build_challenge()["resource"]),
    "body-alone-resource-default-port": resource_in_body({"url": ROUTE.replace(".dev", ".dev:443")}),
    "body-error-in-words": edit(lambda _: None, body={"error": "Payment required", "message": "Pay for this"}),
    "offer-in-body": in_body(),
    "offer-in-body-error-in-words": in_body(error="PAYMENT-SIGNATURE header is required"),
    "body-page": edit(lambda _: None, body=b"<html>Payment Required</html>"),
    "header-unpadded": header(encode_header(build_challenge()).rstrip("=")),
    "header-url-safe": header(base64.urlsafe_b64encode(json.dumps(build_challenge()).encode()).decode()),
    "host-upper-case": change("resource.url", ROUTE.replace("stablestudio", "StableStudio")),
    "port-spelt-out": change("resource.url", ROUTE.replace(".dev", ".dev:443")),
    "solana-first": edit(lambda challenge: challenge["accepts"].insert(0, SOLANA)),
    "unknown-scheme-first": edit(
        lambda challenge: challenge["accepts"].insert(0, {**challenge["accepts"][0], "scheme": "upto", "amount": "1"})
    ),
    "nonsense-beside": edit(lambda challenge: challenge["accepts"].extend([None, 7, {"scheme": []}])),
    "other-token-beside": add_entry(asset="0x" + "d" * 40, amount="1"),
    "same-terms-twice": add_entry(),
    "same-terms-other-case": add_entry(payTo=PAY_TO.upper().replace("0X", "0x"), asset=TOKEN.lower()),
    "sign-in-beside": edit(
        lambda challenge: challenge["extensions"].update(CAPTURES["sign_in_challenge"]["extensions"])
    ),
    "error-in-words": change("error", "Payment required"),
    "dated": dated("Mon, 23 Nov 2026 16:27:56 GMT"),
    "dated-in-no-zone": dated("Mon, 23 Nov 2026 16:27:56 -0000"),
    "dated-by-nonsense": dated("yesterday"),
    "cheaper-than-quoted": change("accepts.0.amount", "1"),
    "transfer-method-eip3009": change("accepts.0.extra.assetTransferMethod", "eip3009"),
}


def test_every_hostile_row_has_a_name_of_its_own() -> None:
    names = [row.name for row in HOSTILE]
    assert len(set(names)) == len(names) >= 45
    assert all(name == name.lower() and " " not in name for name in names)


@pytest.mark.parametrize("row", HOSTILE, ids=[row.name for row in HOSTILE])
def test_a_hostile_402_is_refused_before_anything_is_signed(row: Hostile) -> None:
    with pytest.raises(SeedanceError) as caught:
        judge(row.answer, row.owner)
    text = str(caught.value)
    assert type(caught.value) is row.error
    assert row.says in text
    assert caught.value.payment_state == "none"
    assert "Nothing was paid." in text
    assert text.isprintable()
    assert len(text) < 1500


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD)
def test_a_good_402_passes_the_same_judgement(answer: Answer) -> None:
    assert judge(answer).pay_to == PAY_TO


def test_the_owner_of_a_list_may_pay_those_on_it() -> None:
    assert judge(GOOD["as-recorded"], Owner(limits=Limits(recipients=(PAY_TO.lower(),)))).amount_micro_usdc == PRICE


@pytest.mark.parametrize("mode", MODES)
def test_price_of_a_mode_is_good_up_to_its_band_or_the_callers_limit(mode: str) -> None:
    estimate = estimate_price("current", MODES[mode])
    if estimate is not None:
        most = estimate * FAR_ABOVE_PERCENT // 100
        assert judge(asking(most), buying(mode)).amount_micro_usdc == most
    assert (estimate is None) == (mode == "other-model")
    assert judge(asking(19_000_000), buying(mode, names_price=True)).amount_micro_usdc == 19_000_000


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PATHS = [
    "x402Version", "error", "resource", "resource.url", "accepts", "accepts.0", "accepts.0.scheme", "accepts.0.network",
    "accepts.0.amount", "accepts.0.asset", "accepts.0.payTo", "accepts.0.maxTimeoutSeconds", "accepts.0.extra",
    "accepts.0.extra.name", "extensions", "extensions.payment-identifier",
]  # fmt: skip
TELLING = st.sampled_from([ROUTE, PAYER, TOKEN, "exact", "412500", "eip155:8453", 300, {"info": [1]}, {"info": "ab"}])


@settings(max_examples=4 * settings().max_examples)
@given(changes=st.dictionaries(st.sampled_from(PATHS), JSON_VALUES | TELLING, min_size=1, max_size=3))
def test_whatever_passes_is_within_every_rule_and_can_be_echoed(changes: dict[str, Any]) -> None:
    challenge = build_challenge()
    for path in sorted(changes, key=len, reverse=True):
        parent: Any = challenge
        *steps, last = path.split(".")
        for step in steps:
            parent = parent[int(step) if isinstance(parent, list) else step]
        parent[int(last) if isinstance(parent, list) else last] = changes[path]
    answer = answer_with(challenge)
    try:
        chosen = judge(answer)
    except SeedanceError:
        return
    token = LIVE.token
    assert token is not None
    assert (chosen.scheme, chosen.network, chosen.asset.lower()) == ("exact", token.network, token.asset.lower())
    assert 0 < chosen.amount_micro_usdc <= PRICE
    assert is_address(chosen.pay_to)
    after, before = policy.authorization_window(chosen, 1000.0)
    assert after == 0
    assert 1030 <= before <= 1180
    authorization = Authorization(
        payer=PAYER,
        pay_to=chosen.pay_to,
        amount_micro_usdc=chosen.amount_micro_usdc,
        valid_after=after,
        valid_before=before,
        nonce="0x" + "7" * 64,
    )
    payment = build_payment(authorization, chosen, read_offers(answer.status, answer.headers, answer.body))
    assert read_authorization(payment) == authorization
    assert encode_payment(payment, "0x" + "1" * 130)


@settings(max_examples=4 * settings().max_examples)
@given(
    status=st.sampled_from([200, 400, 402, 500]),
    headers=st.lists(st.tuples(st.sampled_from(["payment-required", "www-authenticate"]), st.text()), max_size=3),
    body=st.binary(max_size=200),
)
def test_hostile_bytes_raise_only_our_errors(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    with pytest.raises(SeedanceError):
        judge(Answer(status, tuple(headers), body))
