"""Challenges in the shapes of other studios: the same terms, in another place.

Each kind is one of `faults.CHALLENGE_SHAPES`, which describes it.
"""

import base64
import json
from typing import Any

from seedance_mcp.sandbox.api.answers import dump_json, encode_header

HEADER = "payment-required"


def reshape_challenge(headers: dict[str, str], kind: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a challenge in this shape; one without x402 terms stays unchanged."""
    if HEADER not in headers:
        return headers, b""
    document: dict[str, Any] = json.loads(base64.b64decode(headers[HEADER]))
    bare = {name: value for name, value in headers.items() if name != HEADER}
    resource = document["resource"]
    match kind:
        case "resource_in_body" | "other_resource_in_body":
            if kind.startswith("other"):
                resource = {**resource, "url": resource["url"] + "/other"}
            header = {name: value for name, value in document.items() if name != "resource"}
            return {**bare, HEADER: encode_header(header)}, dump_json({"resource": resource})
        case "whole_in_body":
            return bare, dump_json({**document, "error": "PAYMENT-SIGNATURE header is required"})
        case "version_1":
            return bare, dump_json({**document, "x402Version": 1})
        case _:
            return headers, dump_json({"error": "Payment required", "message": "Pay to use this route"})
