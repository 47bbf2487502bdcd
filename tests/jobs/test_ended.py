"""Which page of the studio's list is read next to find what ended."""

from collections.abc import Sequence

import pytest

from seedance_mcp.core.wire.jobs import JobPage, JobStatus, Status
from seedance_mcp.jobs.ended import (
    CUT_SINGLE_EVERY,
    ENDS_KNOWN,
    FAILED_BESIDE_EVERY,
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


def open_looks() -> EndedLooks:
    """Return looks at a list that has shown that the latest change comes first."""
    looks = EndedLooks()
    take(looks.complete, build_page([1, 5, 3], newest=OLDEST + 100, cursor=None))
    return looks


def count_beside(looks: EndedLooks, rounds: int, *, is_behind: bool = False) -> tuple[int, int]:
    """Return in how many rounds failed jobs and a single job come beside the jobs that are complete."""
    beside: list[EndedLook | None] = []
    for _ in range(rounds):
        assert looks.next_look() is looks.complete
        beside += looks.next_beside(is_behind=is_behind, room=2)
    return beside.count(looks.failed), beside.count(None)


def test_the_latest_ends_are_read_in_every_round() -> None:
    looks = open_looks()
    for _ in range(100):
        looks.count_end(failed=False)

    assert count_beside(looks, FAILED_BESIDE_EVERY * SINGLE_EVERY) == (SINGLE_EVERY, FAILED_BESIDE_EVERY)


def test_nothing_comes_beside_in_another_order() -> None:
    looks = EndedLooks()
    for _ in range(SINGLE_EVERY):
        looks.next_look()

        assert looks.next_beside(is_behind=False, room=2) == []


def test_failed_jobs_are_looked_for_as_often_as_jobs_fail() -> None:
    looks = open_looks()
    for number in range(5 * ENDS_KNOWN):
        looks.count_end(failed=number % 5 == 0)
    often = count_beside(looks, 20)
    for _ in range(5 * ENDS_KNOWN):
        looks.count_end(failed=False)
    seldom = count_beside(looks, 24)

    assert often[0] == 10
    assert seldom[0] == 24 / FAILED_BESIDE_EVERY


def test_ends_that_fill_pages_come_before_failed_jobs() -> None:
    assert count_beside(open_looks(), 2 * SINGLE_EVERY, is_behind=True) == (2, 2)


def test_what_has_no_room_beside_comes_in_the_next_round() -> None:
    looks = open_looks()
    looks.next_look()

    assert looks.next_beside(is_behind=False, room=0) == []
    assert looks.next_beside(is_behind=False, room=1) == [looks.failed]
    assert looks.next_beside(is_behind=False, room=1) == []


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
