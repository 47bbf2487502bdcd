"""Consent: a person's yes above the owner's `ask_above`, in both eras of the protocol, and never by spending."""

from mcp.server.mcpserver import AcceptedElicitation, CancelledElicitation, Elicit, ElicitationResult
from pydantic import BaseModel, Field

from seedance_mcp import policy
from seedance_mcp.errors import PriceTooHighError
from seedance_mcp.money import format_usdc
from seedance_mcp.questions import describe_question
from seedance_mcp.server.call import (
    Ctx,
    begin_question,
    end_question,
    find_engine,
    read_deadlines,
    telling_progress,
)
from seedance_mcp.server.parameters import AspectRatio, ModelName, Resolution, make_order, read_price


class Question(BaseModel):
    """What a person is asked."""

    approve: bool = Field(description="Tick to pay and start the video.")


async def approve_price(
    ctx: Ctx,
    image: str,
    prompt: str,
    last_image: str | None,
    model: ModelName,
    duration: int,
    resolution: Resolution,
    aspect_ratio: AspectRatio,
    camera_fixed: bool | None,
    generate_audio: bool | None,
    seed: int | None,
    take: int,
    max_price_usd: str | None,
    wait_seconds: int,
) -> Question | Elicit[Question]:
    """Ask the person at the host about a price above the owner's `ask_above`; never spends, and may run twice.

    The cost is remembered with the quote, so that the question stays the same word for word between two rounds.
    """
    engine = find_engine(ctx)
    limits = (await engine.settings()).limits
    if limits.ask_above_micro_usdc is None or limits.problem is not None:  # not understood: nothing can be bought
        return Question(approve=True)
    async with telling_progress(ctx, "Reading the image and asking the price"):
        animator = await engine.animator()
        order = await make_order(
            image=image, prompt=prompt, last_image=last_image, model=model, duration=duration, resolution=resolution,
            aspect_ratio=aspect_ratio, camera_fixed=camera_fixed, generate_audio=generate_audio, seed=seed, take=take,
        )  # fmt: skip
        with read_deadlines(wait_seconds).bounding("Reading the picture and asking the price"):
            proposal = await animator.find_proposal(order, max_price_micro_usdc=read_price(max_price_usd))
    if proposal is None or not policy.needs_approval(limits, proposal.cost):
        return Question(approve=True)
    if not can_ask(ctx):
        raise policy.unasked_error(limits, proposal.cost)
    begin_question(proposal.cost.total_micro_usdc)
    play_money = (await engine.settings()).profile.pins.play_money
    return Elicit(describe_question([proposal], proposal.cost, play_money=play_money), Question)


def read_answer(answer: ElicitationResult[Question]) -> int:
    """Return the cost in micro-USDC that the person agreed to in this very call; 0 where no one had to be asked.

    Raises:
        PriceTooHighError: The person did not, or no one answered.
    """
    asked_micro_usdc = end_question()
    if isinstance(answer, AcceptedElicitation) and answer.data.approve:
        return asked_micro_usdc
    if isinstance(answer, CancelledElicitation):
        raise PriceTooHighError(
            f"No one answered the question whether ${format_usdc(asked_micro_usdc)} may be paid.",
            "Tell the user that it waits for a yes at the host, and make the same call again: it asks once more.",
        )
    raise PriceTooHighError("The person at the host said no to the price.", "Do not ask again unless the user says so.")


def can_ask(ctx: Ctx) -> bool:
    """Whether the host can put a form before a person and send the answer back."""
    capabilities = ctx.client_capabilities
    form = capabilities.elicitation if capabilities else None
    if form is None or (form.form is None and form.url is not None):
        return False
    return (ctx.protocol_version or "") >= "2026-07-28" or ctx.session.can_send_request
