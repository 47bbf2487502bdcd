"""A deployment whose parts are killed, frozen, drained and crashed keeps its promises.

How long clients waited is judged by the benchmark alone: it depends on the machine.
"""

from __future__ import annotations

import pytest

from benchmarks.hosted_chaos import Plan, play
from tests.hosted.database import HarnessError
from tests.hosted.deployment import require_faketime

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

ORDERS = 40
SEED = 1


@pytest.fixture
def _other_clock() -> None:  # pyright: ignore[reportUnusedFunction]  # used by name
    try:
        require_faketime()
    except HarnessError as exc:
        pytest.skip(str(exc))


@pytest.mark.usefixtures("_other_clock")
async def test_a_deployment_whose_parts_keep_dying_keeps_its_promises() -> None:
    shown = await play(Plan.for_orders(ORDERS, seed=SEED))
    assert shown["problems"] == [], shown
    assert shown["strikes"]["kill"] >= 6
    assert shown["strikes"]["crash"] >= 1
