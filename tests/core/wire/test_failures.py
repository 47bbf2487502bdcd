"""Which errors of a failed job are a refusal of its picture or prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.wire.failures import is_moderation


@pytest.mark.parametrize(
    "error",
    [
        "Generation failed: the prompt or image was rejected by content moderation",
        "Text moderation failed",
        "Face detected in the uploaded image",
        "The input may contain a real person",
        "Blocked by our content policy",
        "InputImageSensitiveContentDetected: sensitive content",
        "Request violates the terms of use",
    ],
)
def test_moderation_is_recognised_by_its_text(error: str) -> None:
    assert is_moderation(error)


@pytest.mark.parametrize(
    "error", [None, "", "server error, safe to retry", "upstream timeout", "interface not available", "out of memory"]
)
def test_other_failures_are_not_moderation(error: str | None) -> None:
    assert not is_moderation(error)


@given(st.text())
def test_any_error_text_can_be_read(error: str) -> None:
    assert is_moderation(error) in (True, False)
