"""MPP challenges: the content of `WWW-Authenticate` headers, as plain values.

This module has the grammar: several headers, several challenges in one header, other schemes in between, quoted strings
and unknown parameters. A damaged challenge does not affect the others. It needs no library, so that reading a price
loads none. `offers` interprets challenges, and `policy` decides about them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.json import HEADER_CHARACTERS_MAX, Headers, Json, decode_base64_json

WWW_AUTHENTICATE_HEADER = "www-authenticate"
SCHEME = "payment"
CHALLENGES_MAX = 32
"""Most challenges of one 402."""
ECHOED = ("id", "realm", "method", "intent", "request", "expires", "digest", "header", "opaque")
"""The parameters that a credential echoes. Source: draft-ietf-httpauth-payment, "Credentials"; `mpp.ChallengeEcho`."""
REQUIRED = ("id", "realm", "method", "intent", "request")

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a word
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))(?=[ \t]*(?:,|$))', re.DOTALL)
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t,]|$)")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_GAP = re.compile(r"[ \t,]*")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One `Payment` challenge.

    Attributes:
        parameters: The parameters to echo, unchanged.
        request: The decoded `request`: for a Tempo charge its amount, currency and recipient.
        expires_at: Unix seconds.
    """

    parameters: dict[str, str]
    request: Json
    expires_at: float

    @property
    def method(self) -> str:
        """Return the payment method's name, such as `tempo`."""
        return self.parameters["method"]

    @property
    def intent(self) -> str:
        """Return the kind of payment, such as `charge`."""
        return self.parameters["intent"]


def read_challenges(headers: Headers) -> tuple[list[Challenge], list[str]]:
    """Read every `Payment` challenge.

    Returns:
        The challenges in order, and one line for each unreadable one.

    Source: RFC 9110, section 11.6.1; draft-ietf-httpauth-payment.
    """
    found: list[dict[str, str]] = []
    unread: list[str] = []
    for name, value in headers:
        if name == WWW_AUTHENTICATE_HEADER:
            try:
                found += _split(value)
            except StudioProtocolError as exc:
                unread.append(exc.what.rstrip("."))
    if len(found) > CHALLENGES_MAX:
        return [], [f"{len(found)} MPP challenges, where at most {CHALLENGES_MAX} are read"]
    challenges: list[Challenge] = []
    for parameters in found:
        try:
            challenges.append(_read(parameters))
        except StudioProtocolError as exc:
            unread.append(exc.what.rstrip("."))
    return challenges, unread


def _split(header: str) -> list[dict[str, str]]:
    """Return the parameters of each `Payment` challenge in one header value."""
    if len(header) > HEADER_CHARACTERS_MAX:
        raise StudioProtocolError(f"a WWW-Authenticate header of more than {HEADER_CHARACTERS_MAX} characters")
    found: list[dict[str, str]] = []
    current: dict[str, str] | None = None
    position, end = 0, len(header)
    while (position := _skip(_GAP, header, position)) < end:
        parameter = _PARAMETER.match(header, position)
        if parameter is not None and current is not None:
            _add(current, parameter)
            position = parameter.end()
            continue
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            raise StudioProtocolError(f"a WWW-Authenticate header that cannot be read: {quote_text(header, 60)}")
        current = {}
        if scheme[1].lower() == SCHEME:
            found.append(current)
        position = _skip(_GAP, header, scheme.end())
        if _PARAMETER.match(header, position) is None and _SCHEME.match(header, position) is None:
            position = _skip(_TOKEN68, header, position)  # such as Negotiate's or Bearer's own
    return found


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _add(parameters: dict[str, str], match: re.Match[str]) -> None:
    """Add one parameter; a repeated name gets a value that equals no valid one."""
    name = match[1].lower()
    value = match[3] if match[2] is None else _QUOTED_PAIR.sub(r"\1", match[2])
    parameters[name] = "\0" if name in parameters else value


def _read(parameters: dict[str, str]) -> Challenge:
    for name in REQUIRED:
        if not parameters.get(name):
            raise StudioProtocolError(f"an MPP challenge without {name}")
    echoed = {name: parameters[name] for name in ECHOED if name in parameters}
    for name, value in echoed.items():
        if _PLAIN.fullmatch(value) is None:
            raise StudioProtocolError(f"an MPP challenge whose {name} is given twice, or is not plain ASCII")
    return Challenge(
        parameters=echoed,
        request=decode_base64_json(echoed["request"], "an MPP challenge's request"),
        expires_at=_read_expiry(echoed.get("expires")),
    )


def _read_expiry(text: str | None) -> float:
    """Read the expiry, which is required: without one a credential could settle at any time.

    Source: draft-ietf-httpauth-payment, `expires`.
    """
    try:
        moment = datetime.fromisoformat(text or "")
        if moment.tzinfo is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    raise StudioProtocolError(f"an MPP challenge that expires at {quote_text(text, 40)}, which is not a time")
