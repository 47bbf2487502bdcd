"""Questions: what a person is asked before money is spent, in the same words in MCP clients and terminals.

Builds text only. Untrusted text (a prompt, a file name, a URL) is quoted, cut to one line of a terminal, and stands on
a line without facts, so that it cannot look like one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from seedance_mcp.core.errors import PolicyError
from seedance_mcp.core.limits import Cost, Limits, Recipient
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.texts import quote_text
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.payments import policy
from seedance_mcp.payments.policy import SHOWN_MAX

LINE_COLUMNS_MAX = 79
"""How wide a line with untrusted text is at most: a terminal of 80 columns does not break it."""
NAMED_MAX = 3
"""How many videos of a batch are named."""
READ_CHARACTERS_MAX = 5000
"""How much of an untrusted text is read before it is cut; a path has at most 4096 characters."""

_INDENT = "  "
_TEXT_COLUMNS_MAX = LINE_COLUMNS_MAX - len(_INDENT) - len("«»")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One purchase that a person can agree to.

    Attributes:
        image: A path or a URL; None for a video without a first frame.
        last_image: The same for the last frame, or None.
        references: The same for each reference.
        prompt: What moves.
        video: What is bought, such as "4 s 480p video by seedance-fast".
        cost: The most that it can cost.
        recipients: Whom its payments go to, each once.
    """

    image: str | None
    last_image: str | None
    prompt: str
    video: str
    cost: Cost
    recipients: tuple[Recipient, ...]
    references: tuple[str, ...] = ()

    @property
    def has_changed(self) -> bool:
        """Whether a recipient is another one than the studio is known by."""
        return any(recipient.replaces for recipient in self.recipients)


WARNING = (
    "WARNING: the studio's recipient has changed. This can be an attack.",
    "Say yes only if the studio has told you the new address.",
)


def describe_question(proposals: Sequence[Proposal], cost: Cost, *, play_money: bool) -> str:
    """Return the question to a person about purchases that are made after one yes.

    Args:
        proposals: What is bought; at least one.
        cost: The most that all of it can cost together.
        play_money: Whether the money is a sandbox's.
    """
    is_single = len(proposals) == 1
    what = f"a {proposals[0].video}" if is_single else f"{len(proposals)} videos"
    amount = f"{'up to ' if cost.fees_micro_usdc else ''}${format_usdc(cost.total_micro_usdc)}"
    has_changed = any(proposal.has_changed for proposal in proposals)
    lines = [
        *(WARNING if has_changed else ()),
        f"{'Play money (sandbox)' if play_money else 'Real USDC'}: {amount} for {what}.",
        _describe_parts(cost, len(proposals)),
        *(_describe_video(proposals[0]) if is_single else _describe_videos(proposals)),
        *_describe_recipients(dict.fromkeys(one for proposal in proposals for one in proposal.recipients)),
        f"Pay {amount}{' to the new recipient' if has_changed else ''}?",
    ]
    return "\n".join(lines)


def _describe_parts(cost: Cost, videos: int) -> str:
    uploads = f"{_count(cost.uploads, 'image upload')} ${format_usdc(cost.upload_price_micro_usdc)}"
    parts = (
        f"{_count(videos, 'video')} ${format_usdc(cost.price_micro_usdc)}",
        uploads if cost.uploads else "no image upload",
        f"network fee up to ${format_usdc(cost.fees_micro_usdc)}" if cost.fees_micro_usdc else "no network fee",
    )
    return f"Price: {', '.join(parts)}."


def _describe_video(proposal: Proposal) -> list[str]:
    lines = _describe_references(proposal.references)
    if proposal.image is not None:
        lines = _label("Picture", _quote_image(proposal.image))
    if proposal.last_image is not None:
        lines += _label("Last picture", _quote_image(proposal.last_image))
    return [*lines, *_label("Prompt", _quote(proposal.prompt))]


def _describe_references(references: Sequence[str]) -> list[str]:
    """Name the first references; a video that has none is made from its prompt alone."""
    lines: list[str] = []
    for number, reference in enumerate(references[:NAMED_MAX], 1):
        lines += _label(f"Reference {number}", _quote_image(reference))
    left = len(references) - NAMED_MAX
    return [*lines, f"And {_count(left, 'more reference')}."] if left > 0 else lines or ["No picture."]


def _describe_videos(proposals: Sequence[Proposal]) -> list[str]:
    lines: list[str] = []
    for number, proposal in enumerate(proposals[:NAMED_MAX], 1):
        named = proposal.image or next(iter(proposal.references), None)
        lines += [f"Video {number}: no picture"] if named is None else _label(f"Video {number}", _quote_image(named))
        lines.append(_INDENT + _quote(proposal.prompt))
    left = len(proposals) - NAMED_MAX
    return [*lines, f"And {_count(left, 'more video')}."] if left > 0 else lines


def _describe_recipients(recipients: Sequence[Recipient] | dict[Recipient, None]) -> list[str]:
    lines: list[str] = []
    for one in recipients:
        lines += [f"Old recipient: {address}" for address in one.replaces[:SHOWN_MAX]]
        lines.append(f"{'New recipient' if one.replaces else 'Recipient'}: {one.address}")
        lines.append(f"{_INDENT}in {one.money}")
    return lines


def _label(label: str, quoted: str) -> list[str]:
    """Put a quoted text behind its label, or where it is too wide, below it."""
    line = f"{label}: {quoted}"
    return [line] if _measure(line) <= LINE_COLUMNS_MAX else [f"{label}:", _INDENT + quoted]


def _quote_image(image: str) -> str:
    """Return a quoted URL from its beginning, where its host is, or the end of a path, where the file's name is."""
    return _quote(image, keep_end=not image.lower().startswith(("http://", "https://")))


def _quote(text: str, *, keep_end: bool = False) -> str:
    flat = quote_text(text, READ_CHARACTERS_MAX)[1:-1]
    if _measure(flat) <= _TEXT_COLUMNS_MAX:
        return f"«{flat}»"
    if keep_end:
        return f"«…{_cut(flat[::-1])[::-1]}»"
    return f"«{_cut(flat)}…»"


def _cut(text: str) -> str:
    """Return the beginning of a text that leaves a column for the mark of what is missing."""
    end = columns = 0
    while end < len(text) and columns + _measure(text[end]) < _TEXT_COLUMNS_MAX:
        columns += _measure(text[end])
        end += 1
    return text[:end]


def _measure(text: str) -> int:
    """Return how many columns of a terminal a text takes at most."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def build_proposal(request: VideoRequest, cost: Cost, recipients: tuple[Recipient, ...]) -> Proposal:
    """Return what a person is shown of a request."""
    return Proposal(
        image=request.image,
        last_image=request.last_image,
        prompt=request.prompt,
        references=request.references,
        video=f"{request.duration} s {request.upscale or request.resolution} video by {request.model}",
        cost=cost,
        recipients=recipients,
    )


def unasked_error(proposal: Proposal, limits: Limits) -> PolicyError:
    """Return the refusal of a proposal for which no person can be asked."""
    changed = next((one for one in proposal.recipients if one.replaces), None)
    return policy.unasked_error(limits, proposal.cost) if changed is None else policy.recipient_changed_error(changed)
