"""The journey of a driver: a refused argument, a quote, a video, its job.

It is used inside the clients' own environments, so it needs only the standard library.
"""

import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any

CALLS_MAX = 10
Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]
"""Calls a tool by its name; returns the text that a model reads, and True if it was an error."""
_BEGIN = re.compile(r"\{")


def read_arguments() -> tuple[str, str, list[str]]:
    """Return the picture, and the server's command and arguments."""
    picture, command, *arguments = sys.argv[1:]
    return picture, command, arguments


def find_facts(text: str) -> dict[str, Any]:
    """Return the JSON object in a text, which a client may have wrapped in its own words."""
    for found in _BEGIN.finditer(text):
        try:
            facts, _ = json.JSONDecoder().raw_decode(text, found.start())
        except ValueError:
            continue
        return facts.get("structuredContent") or facts  # a client may hand over the whole result
    raise ValueError(f"no facts in {text[:500]!r}")


async def travel(call: Call, picture: str) -> dict[str, Any]:
    """Quote, buy and read a video."""
    request = {"image": picture, "prompt": "x"}
    refused, is_error = await call("quote_price", {**request, "max_prize_usd": "1"})
    quote, _ = await call("quote_price", request)
    told, failed = await call("animate_image", request)
    job: dict[str, Any] = {}
    for _ in range(CALLS_MAX):
        job = find_facts(told)
        if failed or job["file"]:
            break
        told, failed = await call("get_job", {"job_id": job["job_id"]})
    again, _ = await call("get_job", {"job_id": job["job_id"]})
    return {
        "refused": refused,
        "refused_is_error": is_error,
        "price": find_facts(quote)["price_usd"],
        "job": job,
        "again": find_facts(again),
        "model_read": told,
    }


def build_environ() -> dict[str, str]:
    """Return the server's environment."""
    return dict(os.environ)


def report(tools: dict[str, Any], described: list[str], seen: dict[str, Any], *, protocol: str | None = None) -> None:
    """Print what a client got: its tools with the schemas that a model gets, and the journey."""
    sys.stdout.write("\n" + json.dumps({"protocol": protocol, "tools": tools, "described": described, **seen}) + "\n")
