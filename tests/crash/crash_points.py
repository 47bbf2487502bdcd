"""The real server with a crash point: it SIGKILLs itself at a named point of a purchase.

Usage: python -m tests.crash.crash_points POINT upload|generation|film

Nothing is mocked. At each point one real method is wrapped; it does all of its work before the kill, or none of it.
Only the purchase of the named purpose falls through, so that a generation's trap lets the upload before it pass. A
film's traps are where no purchase is under way.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import anyio
import httpx

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger, SQLiteTransaction
from seedance_mcp.adapters.media import films, videos
from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.adapters.wallet import Wallet
from seedance_mcp.core.wire.ranges import OpenStream, Resume, VideoStream
from seedance_mcp.generation import film_files
from seedance_mcp.generation.film_work import FilmWork
from seedance_mcp.payments.executor import PaymentExecutor
from seedance_mcp.payments.push import ChargeBroadcaster
from seedance_mcp.server.stdio import serve
from tests.decoders import REAL_VARIABLE
from tests.servers import NO_TLS

Seen = Callable[[dict[str, Any]], bool]
Trap = Callable[[], None]

LOOK_SECONDS = 0.02

purchases: list[tuple[str, str]] = []
"""Purpose and payer of every purchase that began in this process."""


def die() -> NoReturn:
    """End as a pulled plug would: no handler, no flush, no goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def fall() -> None:
    """Die if this is the purchase that the trap is for."""
    if sys.argv[2] == "film" or (purchases and purchases[-1][0] == sys.argv[2]):
        die()


def before(owner: Any, name: str) -> Trap:
    """Die before this method does anything."""

    def set_trap() -> None:
        work = getattr(owner, name)

        @wraps(work)
        def fatal(*args: Any, **kwargs: Any) -> Any:
            fall()
            return work(*args, **kwargs)

        setattr(owner, name, fatal)

    return set_trap


def after(owner: Any, name: str) -> Trap:
    """Die once this method has done its work, before its caller learns of it."""

    def set_trap() -> None:
        work = getattr(owner, name)

        @wraps(work)
        async def fatal_later(*args: Any, **kwargs: Any) -> Any:
            result = await work(*args, **kwargs)
            fall()
            return result

        @wraps(work)
        def fatal(*args: Any, **kwargs: Any) -> Any:
            result = work(*args, **kwargs)
            fall()
            return result

        setattr(owner, name, fatal_later if inspect.iscoroutinefunction(work) else fatal)

    return set_trap


def each(*traps: Trap) -> Trap:
    """Set several traps for one point."""

    def set_traps() -> None:
        for set_trap in traps:
            set_trap()

    return set_traps


def during(owner: Any, name: str, seen: Seen) -> Trap:
    """Die while this method waits for the studio, as soon as the studio's own state shows how far it came."""

    def set_trap() -> None:
        work = getattr(owner, name)

        @wraps(work)
        async def fatal(*args: Any, **kwargs: Any) -> Any:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_die_when, seen)
                try:
                    return await work(*args, **kwargs)
                finally:
                    fall()
                    tasks.cancel_scope.cancel()
            raise AssertionError("a task group does not swallow a result")

        setattr(owner, name, fatal)

    return set_trap


async def _die_when(seen: Seen) -> None:
    async with httpx.AsyncClient(base_url=os.environ["SEEDANCE_STUDIO_URL"], trust_env=False, verify=NO_TLS) as studio:
        while True:
            if seen((await studio.get("/_sandbox/state")).json()):
                fall()
            await anyio.sleep(LOOK_SECONDS)


def _is_ours(address: str) -> bool:
    return address.lower() == purchases[-1][1].lower()


def is_worked_on(state: dict[str, Any]) -> bool:
    """The studio has made what we are buying, but has not settled it yet."""
    made = state["jobs" if purchases[-1][0] == "generation" else "uploads"]
    return any(_is_ours(one["owner"]) for one in made)


def is_settled(state: dict[str, Any]) -> bool:
    """The money moved."""
    path = "/api/generate/" if purchases[-1][0] == "generation" else "/api/upload"
    return any(_is_ours(one["from"]) and str(one["path"]).startswith(path) for one in state["settlements"])


def is_stored(state: dict[str, Any]) -> bool:
    """The bytes of the picture are in the store."""
    return any(_is_ours(one["owner"]) and one["stored"] for one in state["uploads"])


def while_process_runs(owner: Any, name: str) -> Trap:
    """Die while a process of its own does this method's work."""

    def set_trap() -> None:
        work, run_alone = getattr(owner, name), films.run_alone

        @wraps(run_alone)
        async def fatal_alone(*args: Any, **kwargs: Any) -> Any:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_die_beside_child)
                return await run_alone(*args, **kwargs)
            raise AssertionError("a task group does not swallow a result")

        @wraps(work)
        async def fatal(*args: Any, **kwargs: Any) -> Any:
            films.run_alone = fatal_alone
            os.environ[REAL_VARIABLE] = "1"  # a child of ours
            return await work(*args, **kwargs)

        setattr(owner, name, fatal)

    return set_trap


async def _die_beside_child() -> None:
    command = f"{films.__name__.rpartition('.')[0]}.film_worker".encode()
    while True:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == os.getpid() and command in (process / "cmdline").read_bytes():
                    fall()
        await anyio.sleep(LOOK_SECONDS)


def break_off_download() -> None:
    """Die when the video has its `.part` file and a part of it was received."""
    work = videos.save_video

    async def fatal(open_stream: OpenStream, *args: Any, **kwargs: Any) -> Any:
        @asynccontextmanager
        async def opened(resume: Resume | None) -> AsyncGenerator[VideoStream]:
            async with open_stream(resume) as stream:
                yield replace(stream, chunks=first_only(stream.chunks))

        async def first_only(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk[: len(chunk) // 2 + 1]
                fall()

        return await work(opened, *args, **kwargs)

    videos.save_video = fatal


PURCHASE_POINTS: dict[str, Trap] = {
    "before_reserve": before(SQLiteTransaction, "reserve"),
    "after_reserve": each(before(Wallet, "sign_payment"), before(Wallet, "sign_charge")),
    "after_sign": each(after(Wallet, "sign_payment"), after(Wallet, "sign_charge")),
    "after_record": after(SQLiteLedger, "record_signed"),
    "during_post": during(Studio, "send_paid", is_worked_on),
    "after_settlement_before_answer": during(Studio, "send_paid", is_settled),
    "after_answer_before_ledger": before(SQLiteLedger, "conclude"),
    "after_conclude_before_result": after(SQLiteLedger, "conclude"),
}
UPLOAD_POINTS: dict[str, Trap] = {
    "during_blob_put": during(Studio, "put_blob", is_stored),
    "after_blob_put": after(Studio, "put_blob"),
    "after_confirm": after(Studio, "confirm_upload"),
}
GENERATION_POINTS: dict[str, Trap] = {
    "after_job": after(SQLiteLedger, "add_job"),
    "during_polling": after(Studio, "fetch_job"),
    "during_download": break_off_download,
    "after_download": before(SQLiteLedger, "finish_job"),
}
PUSH_POINTS: dict[str, Trap] = {"after_push": after(ChargeBroadcaster, "broadcast")}
"""At a studio that takes a charge only once its money has moved."""
POINTS = PURCHASE_POINTS | UPLOAD_POINTS | GENERATION_POINTS | PUSH_POINTS
FILM_POINTS: dict[str, Trap] = {
    "after_sum_is_reserved": before(FilmWork, "run"),
    "between_shots": before(film_files, "extract_last_frame"),
    "while_last_frame_is_made": while_process_runs(film_files, "extract_last_frame"),
    "while_joining": while_process_runs(film_files, "join_videos"),
    "after_joining": after(film_files, "join_videos"),
}


def remember_purchases() -> None:
    """Know which purchase is under way, for traps in rooms that do not."""
    work: Callable[..., Coroutine[Any, Any, Any]] = PaymentExecutor.pay

    @wraps(work)
    def buy(self: PaymentExecutor, request: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        purchases.append((request.purpose, self.wallet.address))
        return work(self, request, *args, **kwargs)

    setattr(PaymentExecutor, "pay", buy)  # noqa: B010 - a frozen dataclass's method, to a type checker


if __name__ == "__main__":
    remember_purchases()
    (POINTS | FILM_POINTS)[sys.argv[1]]()
    serve()
