"""When a job is asked for, and how often the studio is."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.jobs.schedule import (
    HURRIED_MAX,
    LATE_POLL_SECONDS,
    POLL_SECONDS_MAX,
    REQUESTS_PER_WINDOW,
    EndEstimate,
    PauseDebt,
    RequestWindow,
    pause_before_next,
)

SHORTEST = 3.0


def test_a_job_is_asked_for_often_around_its_expected_end() -> None:
    pauses = [pause_before_next(age, 60, SHORTEST) for age in (18, 30, 60, 120, 180)]

    assert pauses == [SHORTEST] * 5


def test_a_young_and_an_overdue_job_are_asked_for_seldom() -> None:
    young, overdue, late = (pause_before_next(age, 60, SHORTEST) for age in (2, 210, 601))

    assert SHORTEST * 2 < young <= 24 - 2
    assert SHORTEST * 2 < overdue <= POLL_SECONDS_MAX * 1.05
    assert late == pytest.approx(LATE_POLL_SECONDS, rel=0.06)


def test_a_job_that_is_usually_short_is_asked_for_sooner() -> None:
    first, second, longer = (pause_before_next(age, usual, SHORTEST) for age, usual in ((0.5, 4), (1.7, 4), (0, 8)))

    assert first == pytest.approx(1.1)
    assert second == longer == SHORTEST


def test_a_job_that_usually_takes_long_is_not_late_early() -> None:
    assert pause_before_next(900, 900, SHORTEST) == SHORTEST


def see(estimate: EndEstimate, *sights: tuple[float, int]) -> None:
    for now, progress in sights:
        estimate.see(progress, now, tolerance=SHORTEST)


def test_the_next_request_meets_the_extrapolated_end() -> None:
    estimate = EndEstimate()
    see(estimate, (30, 30), (40, 40), (50, 50))
    far = estimate.refine(SHORTEST, 50, shortest=SHORTEST)
    see(estimate, (98, 98))
    near = estimate.refine(SHORTEST, 98, shortest=SHORTEST)

    assert far == SHORTEST * 1.5
    assert 2 < near < 2.5


@pytest.mark.parametrize("sights", [[(30, 0), (40, 0), (50, 0)], [(30, 25), (40, 50), (50, 55)], [(30, 30)]])
def test_progress_that_promises_no_end_changes_nothing(sights: list[tuple[float, int]]) -> None:
    estimate = EndEstimate()
    see(estimate, *sights)

    assert estimate.refine(SHORTEST, 50, shortest=SHORTEST) == SHORTEST


def test_a_promised_end_that_does_not_come_costs_few_requests() -> None:
    estimate, now, pauses = EndEstimate(), 90.0, list[float]()
    see(estimate, (60, 60), (80, 80), (90, 90))
    for _ in range(20):
        estimate.see(99, now, tolerance=1000)
        pauses.append(estimate.refine(SHORTEST, now, shortest=SHORTEST))
        now += pauses[-1]

    assert sum(pause < SHORTEST for pause in pauses) <= HURRIED_MAX


@given(st.lists(st.integers(0, 8), min_size=30, max_size=60))
def test_no_window_has_more_requests_than_it_may(pauses: list[int]) -> None:
    window, now, asked_at = RequestWindow(60), 0.0, list[float]()
    for pause in pauses:
        now = max(now + pause, window.opens_at)
        room = window.room(now)
        assert not window.is_closed(now)
        assert room > 0
        window.note(now)
        assert window.room(now) == room - 1
        asked_at.append(now)

    assert all(
        asked_at[place + REQUESTS_PER_WINDOW] - first >= 60
        for place, first in enumerate(asked_at[:-REQUESTS_PER_WINDOW])
    )
    assert all(first <= second for first, second in pairwise(asked_at))
    assert window.count == len(pauses)


def test_a_pause_that_is_owed_is_spread_over_rounds() -> None:
    debt = PauseDebt()
    paid = [debt.pay(1), *(debt.pay(0) for _ in range(99))]

    assert max(paid) < 0.2
    assert sum(paid) == pytest.approx(1, abs=0.1)


@given(st.lists(st.integers(0, 9), max_size=60))
def test_no_more_pauses_are_made_than_are_owed(added: list[int]) -> None:
    debt = PauseDebt()
    paid = [debt.pay(requests) for requests in added]

    assert all(pauses >= 0 for pauses in paid)
    assert debt.owed >= 0
    assert debt.owed + sum(paid) == pytest.approx(sum(added))
