"""Rotation: state keys and a token are replaced at two servers while a caller calls, and no call fails."""

import os
import secrets
from pathlib import Path
from typing import Any

import anyio

from tests.hosted.clients import draw_picture
from tests.hosting import Server, add_caller, start_server, work_on
from tests.server.http.calls import post

OVERLAP_SECONDS = 600
PAUSE_SECONDS = 0.5
"""Between two calls of a caller: the servers look for new keys a few times a minute."""


def write_keys(file: Path, *keys: str) -> None:
    """Replace the file of keys, as a mounted secret is replaced."""
    other = file.with_name("next")
    other.write_text("".join(f"{key}\n" for key in keys))
    os.replace(other, file)


async def test_calls_go_on_while_keys_and_token_are_replaced(
    settings: dict[str, str], database: str, tmp_path: Path
) -> None:
    old, new, file = secrets.token_urlsafe(48), secrets.token_urlsafe(48), tmp_path / "keys"
    write_keys(file, old)
    environ = {"SEEDANCE_STATE_KEYS_FILE": str(file), "SEEDANCE_ASK_ABOVE": "0.01", "SEEDANCE_DATABASE_URL": database}
    token = await add_caller(database, "rotating")
    with start_server(settings, **environ) as first, start_server(settings, **environ) as second:

        async def call(server: Server, tool: str, arguments: dict[str, Any], **params: Any) -> dict[str, Any]:
            result: dict[str, Any] = (await post(server, token, tool, arguments, **params))["result"]
            assert not result.get("isError"), result
            return result

        async def ask(server: Server, picture: int) -> dict[str, Any]:
            return await call(server, "animate_image", {"image": draw_picture(picture), "prompt": "rotated"})

        async def answer(server: Server, picture: int, question: dict[str, Any]) -> str:
            (key,) = question["inputRequests"]
            yes = {key: {"action": "accept", "content": {"approve": True}}}
            bought = await call(
                server,
                "animate_image",
                {"image": draw_picture(picture), "prompt": "rotated"},
                inputResponses=yes,
                requestState=question["requestState"],
            )
            return bought["structuredContent"]["job_id"]

        async def use_new_keys(*keys: str) -> None:
            """Write the file, and call until both servers have read it."""
            seen = {server.url: server.log.count("State keys were read again") for server in (first, second)}
            write_keys(file, *keys)
            with anyio.fail_after(60):
                for server in (first, second):
                    while server.log.count("State keys were read again") == seen[server.url]:
                        await ask(server, 90)
                        await anyio.sleep(PAUSE_SECONDS)

        before = await ask(first, 91)
        earlier = token
        token = (
            await work_on(database, lambda ledger: ledger.rotate_token("rotating", overlap_seconds=OVERLAP_SECONDS))
        ).text
        await use_new_keys(old, new)
        between = await ask(second, 92)
        await use_new_keys(new, old)
        after = await ask(first, 93)
        jobs = {
            await answer(second, 91, before),
            await answer(first, 92, between),
            await answer(second, 93, after),
        }
        await use_new_keys(new)
        assert len(jobs) == 3
        token = earlier
        await call(second, "list_jobs", {})
