"""Texts: bound and quote untrusted text, and write times for people. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from seedance_mcp.core.redaction import redact

QUOTED_CHARACTERS_MAX = 300
"""How much of a untrusted text we repeat. It is data, not instructions, and it costs the reader tokens."""


_SECRET_CHARACTERS_MAX = 1000
"""How far behind the quoted part a secret may reach that begins in it."""


URL_CHARACTERS_MAX = 8192
"""How much of a URL that a person should open is repeated: a part of it is of no use."""


_QUOTES = str.maketrans("«»", "<>")
"""A untrusted text cannot end its own quotation and go on in our voice."""


def quote_text(text: object, characters_max: int = QUOTED_CHARACTERS_MAX) -> str:
    """Return untrusted text as one bounded, quoted line without control characters and without secrets."""
    clean = redact(str(text)[: characters_max * 4 + _SECRET_CHARACTERS_MAX])[: characters_max * 4]
    flat = "".join(c if c.isprintable() else " " for c in clean)
    flat = " ".join(flat.translate(_QUOTES).split())
    if len(flat) > characters_max:
        flat = flat[: characters_max - 1] + "…"
    return f"«{flat}»"


def format_duration(seconds: float) -> str:
    """Return a span of time in words for people, in its largest whole unit."""
    if seconds < 60:
        return "less than a minute"
    number, unit = (int(seconds // 60), "minute") if seconds < 3600 else (int(seconds // 3600), "hour")
    return f"{number} {unit}{'s' if number != 1 else ''}"


def format_clock(unix_seconds: int) -> str:
    """Return the first full minute at which it is over: a caller who comes back then is not too early."""
    minutes = -(-unix_seconds // 60) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d} UTC"


def describe_pace(age_seconds: float, expected_seconds: float) -> str:
    """Return how long such a video takes, and once that has passed, how long this one has taken so far."""
    if age_seconds <= expected_seconds:
        return f"such videos take about {expected_seconds:.0f} s"
    return f"later than the usual {expected_seconds:.0f} s, {age_seconds:.0f} s so far"


def write_time(unix_seconds: float) -> str:
    """Return a time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_count(number: int, noun: str) -> str:
    """Return a number of things, such as "1 video" or "2 videos".

    Args:
        number: How many.
        noun: For one of them; its plural ends in s.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
