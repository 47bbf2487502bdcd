"""What the owner allows, as arithmetic. The hostile offers are `test_hostile_offers.py`'s."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.config.profiles import LIVE
from seedance_mcp.core.errors import (
    BudgetExceededError,
    PolicyError,
    PriceTooHighError,
    RecipientChangedError,
    UnacceptableOfferError,
)
from seedance_mcp.core.limits import Approval, Limits, PinnedTerms, Recipient, Spend
from seedance_mcp.core.money import MicroUSDC, format_usdc
from seedance_mcp.core.wire.offers import Offer, Offers, read_offers
from seedance_mcp.payments import policy
from seedance_mcp.payments.policy import check_recipient
from tests.challenges import PAYER, answer_with, build_challenge

THREE_MINUTES_SECONDS = 180
"""What the README promises of a signature's life."""
AMOUNT = st.integers(min_value=0, max_value=10**12)
MAYBE = st.none() | AMOUNT


def read_challenge(**changes: Any) -> Offers:
    challenge = build_challenge()
    challenge["accepts"][0] |= changes
    answer = answer_with(challenge)
    return read_offers(answer.status, answer.headers, answer.body)


def build_offer(**changes: Any) -> Offer:
    return dataclasses.replace(read_challenge().offers[0], **changes)


LIMITS = st.builds(
    Limits,
    max_price_per_video_micro_usdc=AMOUNT,
    max_per_day_micro_usdc=AMOUNT,
    max_per_week_micro_usdc=MAYBE,
    max_per_month_micro_usdc=MAYBE,
    max_total_micro_usdc=MAYBE,
    ask_above_micro_usdc=MAYBE,
)
SPEND = st.builds(
    Spend,
    last_day_micro_usdc=AMOUNT,
    last_week_micro_usdc=AMOUNT,
    last_month_micro_usdc=AMOUNT,
    total_micro_usdc=AMOUNT,
)


@given(price=AMOUNT, fee=AMOUNT, uploads=AMOUNT, limits=LIMITS, call=MAYBE, quote=MAYBE, spend=SPEND)
def test_a_price_that_passes_is_above_zero_and_within_every_cap_to_the_micro(
    price: int, fee: int, uploads: int, limits: Limits, call: int | None, quote: int | None, spend: Spend
) -> None:
    approval = policy.agree_price(
        limits, max_price_micro_usdc=call, quoted_micro_usdc=quote, uploads_micro_usdc=uploads
    )
    whole = price + fee + uploads
    budgets = [
        (spend.last_day_micro_usdc, limits.max_per_day_micro_usdc),
        (spend.last_week_micro_usdc, limits.max_per_week_micro_usdc),
        (spend.last_month_micro_usdc, limits.max_per_month_micro_usdc),
        (spend.total_micro_usdc, limits.max_total_micro_usdc),
    ]
    caps = [whole <= limits.max_price_per_video_micro_usdc]
    caps += [spent + price + fee <= most for spent, most in budgets if most is not None]
    caps += [whole <= bound for bound in (call, limits.ask_above_micro_usdc) if bound is not None]
    caps += [price <= quote] if quote is not None else []
    try:
        policy.check_price(price, limits, spend=spend, approval=approval, fee_micro_usdc=fee)
        passed = True
    except PolicyError:
        passed = False
    assert passed == (price > 0 and all(caps))


@pytest.mark.parametrize("bound", ["cap", "call", "quote", "day", "week", "month", "total"])
@given(amount=st.integers(min_value=2, max_value=10**9))
def test_each_cap_allows_its_own_amount_and_not_one_micro_more(bound: str, amount: int) -> None:
    wide = 10**13
    limits = Limits(
        max_price_per_video_micro_usdc=amount if bound == "cap" else wide,
        max_per_day_micro_usdc=amount + 5 if bound == "day" else wide,
        max_per_week_micro_usdc=amount + 6 if bound == "week" else None,
        max_per_month_micro_usdc=amount + 8 if bound == "month" else None,
        max_total_micro_usdc=amount + 7 if bound == "total" else None,
    )
    approval = policy.agree_price(
        limits,
        max_price_micro_usdc=amount if bound == "call" else None,
        quoted_micro_usdc=amount if bound == "quote" else None,
    )
    spend = Spend(last_day_micro_usdc=5, last_week_micro_usdc=6, last_month_micro_usdc=8, total_micro_usdc=7)
    policy.check_price(amount, limits, spend=spend, approval=approval)
    expected = BudgetExceededError if bound in ("day", "week", "month", "total") else PriceTooHighError
    with pytest.raises(expected) as caught:
        policy.check_price(amount + 1, limits, spend=spend, approval=approval)
    assert f"${format_usdc(amount + 1)}" in str(caught.value)
    assert f"${format_usdc(amount)}" in str(caught.value)
    settings = {"day": "MAX_PER_DAY", "week": "MAX_PER_WEEK", "month": "MAX_PER_MONTH", "total": "MAX_TOTAL"}
    if bound in settings:
        assert str(caught.value).count("SEEDANCE_") == str(caught.value).count(f"SEEDANCE_{settings[bound]}") == 2


@pytest.mark.parametrize("price", [0, -1, -(10**9)])
def test_a_price_of_nothing_or_less_is_never_within_a_budget(price: int) -> None:
    with pytest.raises(UnacceptableOfferError, match="not above zero"):
        policy.check_price(price, Limits(), spend=Spend(), approval=Approval(10**9, "x"))


def test_a_limit_of_zero_allows_nothing() -> None:
    for limits in (Limits(max_per_day_micro_usdc=0), Limits(max_total_micro_usdc=0)):
        with pytest.raises(BudgetExceededError):
            policy.check_price(1, limits, spend=Spend(), approval=Approval(10, "x"))
    limits = Limits(max_price_per_video_micro_usdc=0)
    approval = policy.agree_price(limits, max_price_micro_usdc=None, quoted_micro_usdc=None)
    with pytest.raises(PriceTooHighError):
        policy.check_price(1, limits, spend=Spend(), approval=approval)


@given(cap=AMOUNT, call=MAYBE, quote=MAYBE)
def test_the_agreed_price_is_the_lowest_and_says_whose_it_is(cap: int, call: int | None, quote: int | None) -> None:
    limits = Limits(max_price_per_video_micro_usdc=cap)
    approval = policy.agree_price(limits, max_price_micro_usdc=call, quoted_micro_usdc=quote)
    named = {"MAX_PRICE_PER_VIDEO": cap, "this request allows": call, "was quoted": quote}
    said = {word: amount for word, amount in named.items() if amount is not None}
    assert approval.max_price_micro_usdc == min(said.values())
    (word,) = [word for word in named if word in approval.reason]
    assert said[word] == approval.max_price_micro_usdc


def test_the_error_of_a_high_price_says_what_to_do_about_it() -> None:
    def refuse(approval: Approval) -> str:
        with pytest.raises(PriceTooHighError) as caught:
            policy.check_price(10_000_000, Limits(), spend=Spend(), approval=approval)
        return str(caught.value.next_step)

    limits = Limits()
    assert "Only the owner" in refuse(policy.agree_price(limits, max_price_micro_usdc=None, quoted_micro_usdc=None))
    assert "max_price_usd" in refuse(policy.agree_price(limits, max_price_micro_usdc=1, quoted_micro_usdc=None))
    assert "risen" in refuse(policy.agree_price(limits, max_price_micro_usdc=None, quoted_micro_usdc=1))
    assert "shorter" not in refuse(policy.UPLOAD_APPROVAL)


@given(limits=LIMITS, spend=SPEND)
def test_what_is_left_of_a_budget_is_never_below_zero(limits: Limits, spend: Spend) -> None:
    budgets = [
        (limits.max_per_day_micro_usdc, spend.last_day_micro_usdc),
        (limits.max_per_week_micro_usdc, spend.last_week_micro_usdc),
        (limits.max_per_month_micro_usdc, spend.last_month_micro_usdc),
        (limits.max_total_micro_usdc, spend.total_micro_usdc),
    ]
    assert [remaining.micro_usdc for remaining in policy.find_remaining_budget(limits, spend)] == [
        max(0, most - spent) for most, spent in budgets if most is not None
    ]


@given(spend=SPEND, amount=AMOUNT)
def test_another_payment_counts_in_every_sum(spend: Spend, amount: int) -> None:
    after = spend.plus(amount)
    assert after.last_day_micro_usdc == spend.last_day_micro_usdc + amount
    assert after.last_week_micro_usdc == spend.last_week_micro_usdc + amount
    assert after.last_month_micro_usdc == spend.last_month_micro_usdc + amount
    assert after.total_micro_usdc == spend.total_micro_usdc + amount


@given(lifetime=st.integers(min_value=30, max_value=3600), now=st.floats(min_value=0, max_value=10**11))
def test_a_signature_lives_no_longer_than_the_offer_likes_or_we_allow(lifetime: int, now: float) -> None:
    after, before = policy.authorization_window(build_offer(lifetime_seconds=lifetime), now)
    assert after == 0
    assert before - now <= min(lifetime, THREE_MINUTES_SECONDS)
    assert before - now > min(lifetime, THREE_MINUTES_SECONDS) - 1


@pytest.mark.parametrize(("answered_at", "ahead_seconds"), [(930.0, 31), (1000.0, 0), (None, 60)])
def test_a_credential_is_held_until_it_is_void_by_the_slower_clock(
    answered_at: float | None, ahead_seconds: int
) -> None:
    assert policy.credential_hold_until(1180, 960.5, answered_at=answered_at) == 1180 + ahead_seconds


@given(skew=st.integers(min_value=-(10**6), max_value=10**6))
def test_a_clock_may_be_wrong_by_its_bound_and_not_by_a_second_more(skew: int) -> None:
    offers = dataclasses.replace(read_challenge(), answered_at=10.0**9)
    try:
        policy.check_clock(offers, 10.0**9 + skew)
        passed = True
    except PolicyError:
        passed = False
    assert passed == (abs(skew) <= policy.CLOCK_SKEW_SECONDS_MAX)
    policy.check_clock(dataclasses.replace(offers, answered_at=None), 10.0**9 + skew)


def test_a_reservation_lapses_by_itself_in_a_minute() -> None:
    assert policy.hold_until(1000.9) == 1060


def test_the_recorded_offer_has_no_objection_and_is_the_one_to_sign() -> None:
    offers = read_challenge()
    assert policy.find_rejection_reason(offers.offers[0], Limits(), LIVE.pins, payer=PAYER) is None
    assert policy.choose_offer(offers, Limits(), LIVE.pins, payer=PAYER) is offers.offers[0]


def test_a_lifetime_at_its_bounds_is_acceptable() -> None:
    for lifetime in (policy.AUTHORIZATION_SECONDS_MIN, policy.OFFERED_SECONDS_MAX):
        assert (
            policy.find_rejection_reason(build_offer(lifetime_seconds=lifetime), Limits(), LIVE.pins, payer=PAYER)
            is None
        )
    for lifetime in (policy.AUTHORIZATION_SECONDS_MIN - 1, policy.OFFERED_SECONDS_MAX + 1):
        assert policy.find_rejection_reason(build_offer(lifetime_seconds=lifetime), Limits(), LIVE.pins, payer=PAYER)


def test_a_profile_without_a_token_signs_nothing_on_x402() -> None:
    pins = PinnedTerms(studio_origin=LIVE.studio_url, x402=None)
    with pytest.raises(UnacceptableOfferError, match="x402 is not a rail of this profile"):
        policy.choose_offer(read_challenge(), Limits(), pins, payer=PAYER)


def test_an_offer_on_a_rail_that_the_owner_does_not_allow_is_named() -> None:
    with pytest.raises(UnacceptableOfferError, match="x402 is not among the allowed rails"):
        policy.choose_offer(read_challenge(), Limits(rails=("mpp",)), LIVE.pins, payer=PAYER)
    mpp = dataclasses.replace(read_challenge(), offers=(build_offer(rail="mpp", scheme="charge"),))
    with pytest.raises(UnacceptableOfferError, match="mpp is not a rail of this profile"):
        policy.choose_offer(mpp, Limits(rails=("mpp",)), dataclasses.replace(LIVE.pins, mpp=None), payer=PAYER)


def test_a_long_list_of_objections_is_cut_and_not_repeated() -> None:
    entry = build_challenge()["accepts"][0]
    answer = answer_with(
        {**build_challenge(), "accepts": [{**entry, "network": f"eip155:{n % 9 + 1}"} for n in range(30)]}
    )
    offers = read_offers(answer.status, answer.headers, answer.body)
    with pytest.raises(UnacceptableOfferError) as caught:
        policy.choose_offer(offers, Limits(), LIVE.pins, payer=PAYER)
    assert caught.value.what.count("is not eip155:8453") == 6


@given(amounts=st.lists(st.sampled_from([1, 2]), min_size=1, max_size=4), bad=st.integers(min_value=0, max_value=3))
def test_acceptable_offers_must_agree_and_the_others_do_not_matter(amounts: list[int], bad: int) -> None:
    good = [build_offer(amount_micro_usdc=MicroUSDC(amount)) for amount in amounts]
    others = [build_offer(network="eip155:1", amount_micro_usdc=MicroUSDC(9))] * bad
    offers = dataclasses.replace(read_challenge(), offers=(*others, *good))
    if len(set(amounts)) > 1:
        with pytest.raises(UnacceptableOfferError, match="different prices"):
            policy.choose_offer(offers, Limits(), LIVE.pins, payer=PAYER)
    else:
        assert policy.choose_offer(offers, Limits(), LIVE.pins, payer=PAYER) is good[0]


@given(st.text() | st.text().map(lambda text: "https://stablestudio.dev" + text))
def test_only_the_studios_own_origin_is_paid_for(url: str) -> None:
    offers = dataclasses.replace(read_challenge(), resource={"url": url})
    try:
        policy.check_resource(offers, LIVE.pins)
    except UnacceptableOfferError:
        return
    assert url.isascii()
    assert url.removeprefix("https://stablestudio.dev").removeprefix(":443")[:1] in ("", "/", "?", "#")


def test_a_studio_with_a_port_is_its_own_origin() -> None:
    pins = PinnedTerms(studio_origin="http://127.0.0.1:8402", x402=LIVE.token)
    for url, same in (
        ("http://127.0.0.1:8402/a", True),
        ("http://127.0.0.1:840/a", False),
        ("http://127.0.0.1/a", False),
    ):
        offers = dataclasses.replace(read_challenge(), resource={"url": url})
        if same:
            policy.check_resource(offers, pins)
        else:
            with pytest.raises(UnacceptableOfferError):
                policy.check_resource(offers, pins)


def judge_recipient(
    offer: Offer,
    limits: Limits,
    pins: PinnedTerms,
    *,
    paid_before: frozenset[str] = frozenset(),
    agreed: tuple[Recipient, ...] | None = None,
) -> None:
    check_recipient(Recipient.of(offer, limits, pins, paid_before=paid_before), agreed=agreed)


def test_the_live_studio_is_known_by_its_published_recipient() -> None:
    published = "0x07F067959297767c887dbfA3C72379c66E82a045"
    limits, offer = Limits(), build_offer(network="eip155:8453", pay_to=published)
    judge_recipient(offer, limits, LIVE.pins)
    other = dataclasses.replace(offer, pay_to="0x" + "9" * 40)
    with pytest.raises(RecipientChangedError, match=published.lower()):
        judge_recipient(other, limits, LIVE.pins)
    shown = Recipient.of(other, limits, LIVE.pins, paid_before=frozenset())
    assert shown.replaces == (published.lower(),)
    judge_recipient(other, limits, LIVE.pins, agreed=(shown,))
    judge_recipient(other, limits, LIVE.pins, paid_before=frozenset({other.pay_to}))
    judge_recipient(other, Limits(recipients=(other.pay_to,)), LIVE.pins)
    on_tempo = dataclasses.replace(other, network="eip155:4217")  # none is published: the first one is remembered
    judge_recipient(on_tempo, limits, LIVE.pins)
    with pytest.raises(RecipientChangedError):
        judge_recipient(on_tempo, limits, LIVE.pins, paid_before=frozenset({published.lower()}))


def test_a_yes_counts_only_for_the_change_that_was_shown() -> None:
    limits, pins = Limits(), dataclasses.replace(LIVE.pins, recipients={})
    offer = build_offer(network="eip155:8453", pay_to="0x" + "9" * 40)
    first = Recipient.of(offer, limits, pins, paid_before=frozenset())
    judge_recipient(offer, limits, pins, agreed=(first,))
    for agreed in ((), (first,), (dataclasses.replace(first, replaces=("0x" + "7" * 40,)),)):
        with pytest.raises(RecipientChangedError, match="was not shown"):
            judge_recipient(offer, limits, pins, paid_before=frozenset({"0x" + "8" * 40}), agreed=agreed)
    with pytest.raises(RecipientChangedError, match="was not shown"):
        judge_recipient(dataclasses.replace(offer, network="eip155:4217"), limits, pins, agreed=(first,))


def test_network_fee_counts_against_the_daily_limit() -> None:
    limits = policy.Limits(max_per_day_micro_usdc=100)
    approval = policy.Approval(100, "a test says so")
    policy.check_price(90, limits, spend=policy.Spend(), approval=approval, fee_micro_usdc=10)

    with pytest.raises(BudgetExceededError):
        policy.check_price(90, limits, spend=policy.Spend(), approval=approval, fee_micro_usdc=11)
