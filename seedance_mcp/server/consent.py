"""Consent: a person's yes above the owner's `ask_above`, in both eras of the protocol, and never by spending."""

from mcp.server.mcpserver import AcceptedElicitation, Elicit, ElicitationResult
from pydantic import BaseModel, Field

from seedance_mcp.errors import PriceTooHighError
from seedance_mcp.money import format_usdc
from seedance_mcp.server.call import (
    Ctx,
    begin_question,
    end_question,
    find_engine,
    read_deadlines,
    telling_progress,
)
from seedance_mcp.server.parameters import AspectRatio, ModelName, Resolution, make_order


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
    wait_seconds: int,
) -> Question | Elicit[Question]:
    """Ask the person at the host about a price above the owner's `ask_above`; never spends, and may run twice.

    The price is pinned by the quote, so that the question stays the same word for word between two rounds.
    """
    engine = find_engine(ctx)
    limits = (await engine.settings()).limits
    ask_above = limits.ask_above_micro_usdc
    if ask_above is None or limits.problem is not None:  # where settings are not understood, nothing can be bought
        return Question(approve=True)
    async with telling_progress(ctx, "Reading the image and asking the price"):
        animator = await engine.animator()
        order = await make_order(
            image=image, prompt=prompt, last_image=last_image, model=model, duration=duration, resolution=resolution,
            aspect_ratio=aspect_ratio, camera_fixed=camera_fixed, generate_audio=generate_audio, seed=seed, take=take,
        )  # fmt: skip
        with read_deadlines(wait_seconds).bounding("Reading the picture and asking the price"):
            price = await animator.price_to_ask(order)
    if price is None or price <= ask_above:
        return Question(approve=True)
    if not _can_ask(ctx):
        raise PriceTooHighError(
            f"${format_usdc(price)} is above the ${format_usdc(ask_above)} that the owner lets pass without a person's "
            "yes, and this host cannot ask a person.",
            "Only the owner can change that: SEEDANCE_ASK_ABOVE, or a host that shows questions (elicitation).",
        )
    begin_question(price)
    return Elicit(f"Pay ${format_usdc(price)} for a {duration} s {resolution} video by {model}?", Question)


def read_answer(answer: ElicitationResult[Question]) -> int:
    """The price in micro-USDC that the person said yes to in this very call; 0 where nobody had to be asked.

    Raises:
        PriceTooHighError: The person did not.
    """
    asked_micro_usdc = end_question()
    if not (isinstance(answer, AcceptedElicitation) and answer.data.approve):
        raise PriceTooHighError("The person at the host did not agree to the price.", "Do not ask again unasked.")
    return asked_micro_usdc


def _can_ask(ctx: Ctx) -> bool:
    """Whether the host can put a form before a person and send the answer back."""
    capabilities = ctx.client_capabilities
    form = capabilities.elicitation if capabilities else None
    if form is None or (form.form is None and form.url is not None):
        return False
    return (ctx.protocol_version or "") >= "2026-07-28" or ctx.session.can_send_request
