"""Answers of systems between us and the studio: bot checks, log-in pages, proxies.

The studio's API answers JSON or nothing. An HTML page with a refusing status is not from the studio, so it says nothing
about the request, the job or the money.
"""

from __future__ import annotations

from seedance_mcp.core.wire.json import Headers

_CHALLENGE_HEADERS = {
    "cf-mitigated": ("challenge",),
    "x-vercel-mitigated": ("challenge", "deny"),
    "x-amzn-waf-action": ("challenge", "captcha"),
}
"""Headers that identify a bot check, with their values.

Source: Cloudflare, "Detect a Challenge Page response"; Vercel, "Attack Challenge Mode"; AWS WAF, "CAPTCHA and
Challenge".
"""
_CHALLENGE_WORDS = (
    b"just a moment", b"cf-chl", b"challenge-platform", b"attention required", b"checking your browser",
    b"checking your connection", b"verify you are human", b"are you a robot", b"captcha", b"security checkpoint",
    b"ddos-guard", b"_incapsula_", b"datadome", b"enable javascript and cookies to continue",
)  # fmt: skip
_PAGE_STATUSES = frozenset({401, 403, 405, 407})
"""Statuses with which an HTML page is not the studio's. With a higher one the studio's host may have failed."""
_READ_BYTES_MAX = 16 * 1024

BOT_CHECK = "a bot check answered, not the studio"
WEB_PAGE = "a web page answered, not the studio"
EDGE_HINT = "The request is not at fault, so do not change it. Try again in a minute, or from another network."


def find_edge_answer(status: int, headers: Headers, body: bytes) -> str | None:
    """Return a description of what answered instead of the studio, or None if the studio may have answered.

    Args:
        status: HTTP status of the answer.
        headers: Response headers, names in lower case.
        body: Response body; empty for HEAD.
    """
    if 200 <= status < 400 and status != 202:
        return None
    if any(value.strip().lower() in _CHALLENGE_HEADERS.get(name, ()) for name, value in headers):
        return BOT_CHECK
    if not _is_page(headers, body):
        return None
    start = body[:_READ_BYTES_MAX].lower()
    if any(word in start for word in _CHALLENGE_WORDS):
        return BOT_CHECK
    return WEB_PAGE if status in _PAGE_STATUSES else None


def _is_page(headers: Headers, body: bytes) -> bool:
    """Return True for HTML, by its header or its first characters."""
    if any(name == "content-type" and "html" in value.lower() for name, value in headers):
        return True
    return body[:_READ_BYTES_MAX].lstrip().lower().startswith((b"<!doctype html", b"<html"))
