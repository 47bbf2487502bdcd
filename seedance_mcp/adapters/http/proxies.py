"""Proxies: those that the environment, or the system, names. Connects to nothing."""

from __future__ import annotations

import math
import time
from urllib.request import getproxies, proxy_bypass

import httpx

PROXIES_SECONDS = 5
"""How long the named proxies are believed; the whole environment is searched for them."""


class Proxies:
    """The named proxies, read again after `PROXIES_SECONDS`."""

    def __init__(self) -> None:
        self._named: dict[str, str] = {}
        self._read_at = -math.inf

    def find(self, url: httpx.URL) -> str | None:
        """Return the proxy for a URL, or None."""
        now = time.monotonic()
        if now - self._read_at > PROXIES_SECONDS:
            self._named, self._read_at = getproxies(), now
        return _choose_proxy(url, self._named)


def _choose_proxy(url: httpx.URL, named: dict[str, str]) -> str | None:
    proxy = named.get(url.scheme) or named.get("all")
    if not proxy or proxy_bypass(url.netloc.decode("ascii")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
