"""Price approval: ask a person about a price above `ask_above` or a changed recipient, on every protocol revision.

It asks before any payment, and never spends.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from mcp.server.mcpserver import AcceptedElicitation, CancelledElicitation, Elicit, ElicitationResult
from pydantic import BaseModel, Field

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import PriceTooHighError, RecipientChangedError
from seedance_mcp.core.money import format_usdc
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.server.call_context import (
    Ctx,
    begin_question,
    end_question,
    find_runtime,
    read_deadlines,
    telling_progress,
)
from seedance_mcp.server.parameters import take_request

if TYPE_CHECKING:
    from seedance_mcp.app.services import Services
    from seedance_mcp.core.limits import Limits
    from seedance_mcp.generation.questions import Proposal

RECIPIENT_SECONDS = 5
"""How long a call checks for a changed recipient if no price needs a question."""


class Question(BaseModel):
    """The form for the person."""

    approve: bool = Field(description="Tick to pay and start the video.")


@take_request
async def approve_price(ctx: Ctx, request: VideoRequest, wait_seconds: int) -> Question | Elicit[Question]:
    """Ask the person at the host about a price above `ask_above` or a changed recipient; may run twice.

    The cost is stored with the quote, so that the question has the same text in both rounds.
    """
    runtime = find_runtime(ctx)
    settings = await runtime.settings()
    limits = settings.limits
    if limits.problem is not None or not (limits.ask_above_micro_usdc is not None or _may_ask_recipient(ctx, limits)):
        return Question(approve=True)  # invalid settings: nothing can be paid
    async with telling_progress(ctx, "Reading the image and asking the price"):
        services = await runtime.services()
        if limits.ask_above_micro_usdc is None:
            proposal = await _find_changed(services, request)
        else:
            with read_deadlines(wait_seconds).bounding("Reading the picture and asking the price"):
                proposal = await services.generation.find_proposal(request)
    if proposal is None:
        return Question(approve=True)
    from seedance_mcp.generation.questions import describe_question, unasked_error  # loaded with the services

    if not can_ask(ctx):
        raise unasked_error(proposal, limits)
    begin_question(proposal)
    question = describe_question([proposal], proposal.cost, play_money=settings.profile.pins.play_money)
    return Elicit(question, Question)


def _may_ask_recipient(ctx: Ctx, limits: "Limits") -> bool:
    """Return True if a person can approve a changed recipient, which the owner's own list excludes."""
    return not limits.recipients and can_ask(ctx)


async def _find_changed(services: "Services", request: VideoRequest) -> "Proposal | None":
    """Return the proposal for a person if the recipient changed; None if that is not known in time.

    The purchase checks everything again, and refuses a changed recipient that no one has approved.
    """
    with suppress(SeedanceError), anyio.move_on_after(RECIPIENT_SECONDS):
        return await services.generation.find_proposal(request)
    return None


def read_answer(answer: ElicitationResult[Question]) -> "Proposal | None":
    """Return the proposal that the person approved in this call; None if no one had to be asked.

    Raises:
        PriceTooHighError, RecipientChangedError: The person refused, or no one answered.
    """
    asked = end_question()
    if isinstance(answer, AcceptedElicitation) and answer.data.approve:
        return asked
    changed = [] if asked is None else [one.address for one in asked.recipients if one.replaces]
    refusal = RecipientChangedError if changed else PriceTooHighError
    if isinstance(answer, CancelledElicitation):
        amount = f"${format_usdc(0 if asked is None else asked.cost.total_micro_usdc)}"
        payee = f" to the new recipient {changed[0]}" if changed else ""
        raise refusal(
            f"No one answered the question whether {amount} may be paid{payee}.",
            "Tell the user that it waits for a yes at the host, and make the same call again: it asks once more.",
        )
    what = f"new recipient {changed[0]}" if changed else "price"
    raise refusal(f"The person at the host said no to the {what}.", "Do not ask again unless the user says so.")


def can_ask(ctx: Ctx) -> bool:
    """Return True if the host can show a form to a person and return the answer."""
    capabilities = ctx.client_capabilities
    form = capabilities.elicitation if capabilities else None
    if form is None or (form.form is None and form.url is not None):
        return False
    return (ctx.protocol_version or "") >= "2026-07-28" or ctx.session.can_send_request
