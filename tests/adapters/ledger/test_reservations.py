"""A film's sum is reserved at once, its payments draw from it, and nothing counts twice, on both databases."""

from dataclasses import replace

import pytest

from seedance_mcp.core.errors import BudgetExceededError, LedgerError, PolicyError
from seedance_mcp.core.films import RESERVED_SECONDS, Film, Shot
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.wire.responses import Refused
from tests.adapters.ledger.rows import NOW, STUDIO, WALLET, reserve, settle, sign

CAP = 1_000


def write_film(film_id: str = "film_1", *, shots: int = 1) -> Film:
    return Film(
        film_id=film_id,
        studio=STUDIO,
        wallet=WALLET,
        definition={"shots": ["ü ☃"]},
        shots=tuple(Shot(share_micro_usdc=100) for _ in range(shots)),
        created_at=NOW,
    )


async def open_film(ledger: Ledger, amount: int, film_id: str = "film_1", *, now: float = NOW) -> Film:
    async with ledger.lock_budget() as budget:
        return await budget.open_film(write_film(film_id), amount_micro_usdc=amount, now=now, lease_until=now + 60)


async def total(ledger: Ledger, now: float = NOW) -> int:
    return (await ledger.spend(now)).total_micro_usdc


async def test_a_reserved_sum_counts_and_a_payment_of_another_finds_no_room(ledger: Ledger) -> None:
    await open_film(ledger, 700)
    assert (await ledger.spend(NOW)).last_day_micro_usdc == await total(ledger) == 700
    await reserve(ledger, 300, cap=CAP)
    with pytest.raises(BudgetExceededError):
        await reserve(ledger, 1, cap=CAP)


async def test_what_a_payment_occupies_shrinks_the_sum_and_counts_once(ledger: Ledger) -> None:
    film = await open_film(ledger, 700)
    own = ledger.drawing_from(film.reservation_id)
    assert await total(own) == 0, "the film's own sum does not stand in its way"

    payment = await sign(own, await reserve(own, 400, cap=CAP))
    assert await total(ledger) == 700
    assert [one.left_micro_usdc for one in await ledger.list_reservations(NOW)] == [300]

    await settle(own, payment)
    assert await total(ledger) == 700
    await reserve(own, 600, cap=CAP)  # more than the sum has left, in a budget that has room for it
    assert await total(ledger) == CAP
    with pytest.raises(BudgetExceededError):
        await reserve(own, 1, cap=CAP)


async def test_a_payment_that_never_moved_gives_its_part_back_to_the_film(ledger: Ledger) -> None:
    film = await open_film(ledger, 700)
    own = ledger.drawing_from(film.reservation_id)
    refused = await own.conclude(await sign(own, await reserve(own, 400)), Refused(reason="no"), now=NOW)
    assert [one.left_micro_usdc for one in await ledger.list_reservations(NOW)] == [300]
    await own.conclude(refused, Refused(reason="no"), now=NOW + 200, chain_checked=True, fee_micro_usdc=0)
    assert [one.left_micro_usdc for one in await ledger.list_reservations(NOW)] == [700]
    assert await total(ledger) == 700


async def test_a_lapsed_payment_of_a_film_gives_its_part_back(ledger: Ledger) -> None:
    film = await open_film(ledger, 700)
    await reserve(ledger.drawing_from(film.reservation_id), 400)
    assert [one.left_micro_usdc for one in await ledger.list_reservations(NOW + 61)] == [700]


async def test_an_ended_film_releases_what_was_not_used(ledger: Ledger) -> None:
    film = await open_film(ledger, 700)
    own = ledger.drawing_from(film.reservation_id)
    await settle(own, await sign(own, await reserve(own, 400)))
    ended = await ledger.record_film(write_film_ended(film), now=NOW)
    assert (ended.state, ended.ended_at, ended.lease_until) == ("complete", NOW, 0)
    assert await total(ledger) == 400
    assert await ledger.list_reservations(NOW) == []


def write_film_ended(film: Film) -> Film:
    return replace(film, state="complete", file="/film.mp4")


async def test_a_film_that_no_one_touches_gives_its_sum_back_after_an_hour(ledger: Ledger) -> None:
    film = await open_film(ledger, 700)
    late = NOW + RESERVED_SECONDS + 1
    assert await total(ledger, late) == 0

    assert await ledger.renew_film(film.film_id, now=NOW + 1_000, lease_until=NOW + 1_060)
    assert await total(ledger, late) == 700, "working on the film kept its sum"

    own = ledger.drawing_from(film.reservation_id)
    lapsed = NOW + 3_000 + RESERVED_SECONDS
    await reserve(own, 600, now=lapsed, cap=CAP)
    assert await total(ledger, lapsed) == 600, "a lapsed sum does not come to life again"


async def test_cancelling_stops_every_payment_that_was_not_signed(ledger: Ledger) -> None:
    film = await open_film(ledger, 700)
    own = ledger.drawing_from(film.reservation_id)
    reserved = await reserve(own, 400)

    cancelled = await ledger.cancel_film(film.film_id, now=NOW)

    assert cancelled is not None
    assert cancelled.state == "cancelled"
    assert await total(ledger) == 0
    with pytest.raises(LedgerError, match="not reserved any more"):
        await sign(own, reserved)
    with pytest.raises(PolicyError, match="cancelled"):
        await reserve(own, 1)
    assert not await ledger.renew_film(film.film_id, now=NOW, lease_until=NOW + 60)
    assert (await ledger.record_film(write_film_ended(film), now=NOW)).state == "cancelled"


async def test_ordering_a_film_again_replaces_its_sum(ledger: Ledger) -> None:
    await open_film(ledger, 700)
    async with ledger.lock_budget() as budget:
        found = await budget.find_film("film_1")
        assert found is not None
        assert found.shots == (Shot(share_micro_usdc=100),)
        await budget.release_sum("film_1", now=NOW)
        assert (await budget.spend(NOW)).total_micro_usdc == 0
        again = await budget.open_film(write_film(), amount_micro_usdc=200, now=NOW + 1, lease_until=NOW + 60)
    assert again.created_at == NOW
    assert again.reservation_id != found.reservation_id
    assert await total(ledger.drawing_from(found.reservation_id)) == 0, "the film's new sum is its own as well"
    assert await total(ledger) == 200


async def test_films_are_listed_newest_first_and_found_by_id(ledger: Ledger) -> None:
    await open_film(ledger, 1)
    later = await open_film(ledger, 0, "film_2", now=NOW + 1)
    assert later.reservation_id is None
    assert [one.film_id for one in await ledger.recent_films(5)] == ["film_2", "film_1"]
    assert [one.film_id for one in await ledger.running_films()] == ["film_1", "film_2"]
    assert await ledger.find_film("film_3") is None
    found = await ledger.find_film("film_1")
    assert found is not None
    assert found.definition == {"shots": ["ü ☃"]}
    await ledger.leave_film("film_1")
    assert [one.lease_until > 0 for one in await ledger.running_films()] == [False, True]


async def test_a_film_that_was_left_is_claimed_once(ledger: Ledger) -> None:
    film = await open_film(ledger, 1)
    assert not await ledger.claim_film(film.film_id, now=NOW + 59, lease_until=NOW + 120)
    assert not await ledger.claim_film("film_none", now=NOW + 61, lease_until=NOW + 120)
    assert await ledger.claim_film(film.film_id, now=NOW + 61, lease_until=NOW + 120)
    assert not await ledger.claim_film(film.film_id, now=NOW + 62, lease_until=NOW + 120)
    await ledger.leave_film(film.film_id)
    assert await ledger.claim_film(film.film_id, now=NOW + 63, lease_until=NOW + 120)
    await ledger.cancel_film(film.film_id, now=NOW + 64)
    assert not await ledger.claim_film(film.film_id, now=NOW + 200, lease_until=NOW + 300)
