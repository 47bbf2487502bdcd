"""Amounts: whole micro-USDC, never rounded."""

from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.money import MICRO_USDC_MAX, format_usdc, parse_usdc


@given(st.integers(min_value=0, max_value=MICRO_USDC_MAX))
def test_amount_is_read_as_written(amount: int) -> None:
    assert parse_usdc(format_usdc(amount)) == amount


@given(st.decimals(min_value=0, max_value=10**9, places=6))
def test_any_decimal_of_six_places_is_exact(amount: Decimal) -> None:
    assert parse_usdc(f"{amount:f}") == int(amount.scaleb(6, Context(prec=50)))


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("0", 0), ("0.40", 400_000), ("1", 1_000_000), ("1.", 1_000_000), (".5", 500_000), ("007.50", 7_500_000),
        (" 2 ", 2_000_000), ("0.000001", 1), ("0.4000000000", 400_000), ("1000000000", MICRO_USDC_MAX),
        ("999999999.999999", MICRO_USDC_MAX - 1),
    ],
)  # fmt: skip
def test_plain_decimals_are_read(text: str, micro: int) -> None:
    assert parse_usdc(text) == micro


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "-1", "+1", "$1", "1 USDC", "1,50", "1_000", "1e3", "0x10", "1.2.3", "nan", "inf", "1/2", "٣",
        "\uff11", "²", "1\n2", "True", "0.0000001", "1000000000.000001", "9" * 39, "1" * 41, "0" * 100,
    ],
)  # fmt: skip
def test_other_text_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"US dollars|six decimals") as caught:
        parse_usdc(text)
    assert len(str(caught.value)) < 140


@given(st.text())
def test_hostile_text_is_read_or_raises_only_a_value_error(text: str) -> None:
    try:
        amount = parse_usdc(text)
    except ValueError:
        return
    assert 0 <= amount <= MICRO_USDC_MAX
    assert parse_usdc(format_usdc(amount)) == amount


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0.00"), (1, "0.000001"), (400_000, "0.40"), (412_500, "0.4125"), (20_000_000, "20.00"), (-10_000, "-0.01")],
)
def test_amount_is_written_with_two_to_six_decimals(micro: int, text: str) -> None:
    assert format_usdc(micro) == text
