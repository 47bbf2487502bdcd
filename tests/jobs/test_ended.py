"""Which page of the studio's list is read next to find what ended."""

from collections.abc import Sequence

import pytest

from seedance_mcp.core.wire.jobs import JobPage, JobStatus, Status
from seedance_mcp.jobs.ended import (
    CUT_SINGLE_EVERY,
    FAILED_EVERY,
    PAGE_JOBS,
    SINGLE_EVERY,
    SKEW_SECONDS,
    UNSEEN_MAX,
    EndedLook,
    EndedLooks,
    is_filtered,
)

OLDEST = 1_000_000.0


def build_job(
    number: int, *, updated_at: float | None, status: Status = "complete", stalled: bool = False
) -> JobStatus:
    return JobStatus(
        job_id=f"cm{number}", type=None, status=status, progress=100, error=None, video_url=None, thumbnail_url=None,
        input=None, created_at=OLDEST + number, updated_at=updated_at, stalled=stalled,
    )  # fmt: skip


def build_page(numbers: Sequence[int], *, newest: float | None, cursor: str | None = "next") -> JobPage:
    """Return a page of jobs, a second between their changes, or without the times of their changes."""
    jobs = [
        build_job(number, updated_at=None if newest is None else newest - place) for place, number in enumerate(numbers)
    ]
    return JobPage(jobs=tuple(jobs), next_cursor=cursor)


def take(look: EndedLook, page: JobPage) -> tuple[bool, str | None]:
    return look.take(page, oldest_created_at=OLDEST), look.cursor


def test_a_look_ends_where_the_one_before_began() -> None:
    look = EndedLook("complete")

    assert take(look, build_page([1, 5, 3], newest=OLDEST + 100, cursor=None)) == (False, None)
    assert take(look, build_page([2, 4, 1], newest=OLDEST + 101)) == (False, None)


def test_more_ends_than_a_page_has_are_read_at_once() -> None:
    look = EndedLook("complete")
    take(look, build_page([1, 5, 3], newest=OLDEST + 100, cursor=None))

    assert take(look, build_page([7, 9, 8], newest=OLDEST + 200, cursor="more")) == (True, "more")
    assert take(look, build_page([6, 5], newest=OLDEST + 100)) == (False, None)
    assert take(look, build_page([4, 7, 9], newest=OLDEST + 201)) == (False, None)


@pytest.mark.parametrize("newest", [None, OLDEST + 100])
def test_in_another_order_a_look_goes_on_in_the_next_round(newest: float | None) -> None:
    look = EndedLook("complete")

    assert take(look, build_page([9, 8, 7], newest=newest, cursor="more")) == (False, "more")
    assert take(look, build_page([6, 5], newest=newest and newest - 3, cursor=None)) == (False, None)


def test_a_look_ends_before_jobs_that_ended_too_early() -> None:
    look = EndedLook("complete")

    assert take(look, build_page([1, 5, 3], newest=OLDEST - SKEW_SECONDS)) == (False, None)
    assert not look.is_cut


def test_a_page_that_comes_twice_ends_the_look() -> None:
    look = EndedLook("complete")
    take(look, build_page([9, 8, 7], newest=None, cursor="more"))

    assert take(look, build_page([9, 8, 7], newest=None, cursor="more")) == (False, None)
    assert look.is_cut


def test_a_full_page_without_a_next_one_is_cut() -> None:
    looks = EndedLooks()
    assert take(looks.complete, build_page(range(PAGE_JOBS), newest=None, cursor=None)) == (False, None)

    turns = [looks.next_look() for _ in range(4 * CUT_SINGLE_EVERY)]

    assert turns.count(None) == 4


def test_failed_jobs_and_single_jobs_have_their_turns() -> None:
    looks = EndedLooks()

    turns = [looks.next_look() for _ in range(FAILED_EVERY * SINGLE_EVERY)]

    assert turns.count(looks.failed) == SINGLE_EVERY
    assert turns.count(None) == FAILED_EVERY


def test_a_look_for_failed_jobs_is_finished_before_another_begins() -> None:
    looks = EndedLooks()
    looks.next_look()
    take(looks.failed, build_page([9, 8], newest=None, cursor="more"))

    assert looks.next_look() is looks.failed


def test_a_filter_that_tells_of_no_end_is_left_alone() -> None:
    looks = EndedLooks()
    for by_list in [False] * (UNSEEN_MAX - 1) + [True] + [False] * (UNSEEN_MAX - 1):
        looks.note_end(by_list=by_list, now=5, pause=60)
    usable_from = looks.unusable_until
    looks.note_end(by_list=False, now=5, pause=60)

    assert usable_from < 0
    assert looks.unusable_until == 65


@pytest.mark.parametrize(
    ("status", "stalled", "heeded"), [("failed", False, True), ("loading", True, True), ("loading", False, False)]
)
def test_a_running_job_shows_that_the_filter_is_not_heeded(status: Status, stalled: bool, heeded: bool) -> None:
    ended, other = build_job(1, updated_at=None), build_job(2, updated_at=None, status=status, stalled=stalled)

    assert is_filtered(JobPage(jobs=(ended, other), next_cursor=None)) is heeded
