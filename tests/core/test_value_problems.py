"""What is wrong with a value is told in our words, whatever the validation library calls it."""

from typing import Any

import pytest
from pydantic import ValidationError

from seedance_mcp.core.value_problems import describe_problem
from seedance_mcp.generation.validation import build_model

PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "too large": ({"duration": 61}, "must be at most 60"),
    "too small": ({"take": 0}, "must be at least 1"),
    "no number": ({"duration": "long"}, "must be a whole number"),
    "a fraction": ({"duration": 4.5}, "must be a whole number"),
    "a list": ({"duration": [4]}, "must be a whole number"),
    "no choice": ({"resolution": "8k"}, "must be '480p', '720p' or '1080p'"),
    "no truth value": ({"text_only": "perhaps"}, "must be true or false"),
    "no text": ({"image": ["a.png"]}, "must be a text"),
    "no list": ({"references": "a.png"}, "must be a list"),
    "too many": ({"references": ["a.png"] * 16}, "must have at most 15 entries"),
    "a rule of ours": ({"max_price_usd": "lots"}, "'lots' is not an amount in US dollars such as 0.40"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problem_of_a_value_is_in_our_words(name: str) -> None:
    values, words = PROBLEMS[name]
    with pytest.raises(ValidationError) as caught:
        build_model().model_validate({"prompt": "x", **values})
    assert [describe_problem(error) for error in caught.value.errors()] == [words]


def test_missing_value_is_in_our_words() -> None:
    with pytest.raises(ValidationError) as caught:
        build_model().model_validate({})
    assert [describe_problem(error) for error in caught.value.errors()] == ["is missing"]
