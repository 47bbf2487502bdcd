"""A fault: the studio repeats the secrets that it received, in every answer and in every error text."""

import base64
import binascii
import json
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

HEADERS = ("payment-signature", "authorization", "sign-in-with-x")
KEPT_MAX = 20

_HEX = re.compile(r"0x[0-9a-fA-F]{100,}")


class Echo:
    """Remembers received secrets and adds them to answers."""

    def __init__(self) -> None:
        self._seen: list[str] = []

    def remember(self, request: Request) -> None:
        """Store the secrets of a request."""
        for name in HEADERS:
            value = request.headers.get(name)
            if value is not None:
                self._seen = [*self._seen, value, *_HEX.findall(_decode(value))][-KEPT_MAX:]

    def repeat(self, response: Response) -> Response:
        """Return a JSON answer with all stored secrets added; return any other answer unchanged."""
        try:
            document: Any = json.loads(bytes(response.body))
        except ValueError:
            return response
        if not isinstance(document, dict) or not self._seen:
            return response
        said: dict[str, Any] = {**document, "echo": list(self._seen)}
        error = said.get("error")
        if isinstance(error, str):
            said["error"] = f"{error} ({self._seen[-1]}) {' '.join(self._seen)}"
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return Response(json.dumps(said).replace("/", "\\/"), response.status_code, headers=headers)


def _decode(value: str) -> str:
    token = value.rpartition(" ")[2].replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4)).decode("latin-1")
    except (binascii.Error, ValueError):
        return ""
