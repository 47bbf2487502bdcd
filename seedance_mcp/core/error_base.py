"""Error base: what every error says about money, and how interfaces render it."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import (
    TOOL_WORDS,
    NextStep,
    Report,
    Words,
    make_step,
)
from seedance_mcp.core.redaction import redact
from seedance_mcp.core.texts import format_clock

PaymentState = Literal["none", "held", "settled"]


def show_payment_state(state: PaymentState) -> dict[str, object]:
    """Return the fields that programs read; `charge` is the deprecated name of `payment_state`."""
    return {"payment_state": state, "charge": state}


class SeedanceError(Exception):
    """The root; raise one of its children.

    Args:
        what: What failed, as a sentence.
        next_step: What to do now, as sentences; the class's own `default_step` where none is given.
        payment_state: `none` (no money moved or can move), `held` (a credential may still be used), `settled`.
        amount_micro_usdc: The amount held or settled; 0 where it is not known.
        payment_id: The ledger's number of the payment, where there is one.
        held_until: Unix seconds at which the hold ends by itself, where known.
    """

    code: ClassVar[str] = "error"
    default_step: ClassVar[NextStep] = NextStep("Do not retry; {0}.", Report())

    def __init__(
        self,
        what: str,
        next_step: NextStep | str = "",
        *,
        payment_state: PaymentState = "none",
        amount_micro_usdc: int = 0,
        payment_id: int | None = None,
        held_until: int | None = None,
    ) -> None:
        what = redact(what)  # whatever a call site put into it
        super().__init__(what)
        self.what = what
        self.next_step = make_step(next_step) if next_step else self.default_step
        self.payment_state: PaymentState = payment_state
        self.amount_micro_usdc = amount_micro_usdc
        self.payment_id = payment_id
        self.held_until = held_until
        self.upload_micro_usdc = 0
        """What an image upload just before this failure cost; the upload is kept and used again."""

    def __str__(self) -> str:
        """Return the three answers in the words of the tools."""
        return self.render(TOOL_WORDS)

    def render(self, words: Words) -> str:
        """Return the three answers, in order, in the words of one interface."""
        return f"{self.describe()} {self.next_step.render(words)}"

    def describe(self, *, may_pay: bool = True) -> str:
        """Return what failed, and what happened to the money.

        Args:
            may_pay: False for a command that never pays: it need not say that nothing was paid.
        """
        is_free = self.payment_state == "none" and not self.upload_micro_usdc
        return " ".join((self.what, *(self._list_facts_sentences() if may_pay or not is_free else ())))

    def _list_facts_sentences(self) -> list[str]:
        return [self._money_sentence()]

    def list_facts(self) -> dict[str, object]:
        """Return what a program should know of it in addition to its code."""
        return {
            **show_payment_state(self.payment_state),
            "amount_micro_usdc": self.amount_micro_usdc,
            "payment_id": self.payment_id,
        }

    def with_payment_state(
        self,
        state: PaymentState,
        *,
        amount_micro_usdc: int,
        payment_id: int | None,
        held_until: int | None = None,
        next_step: NextStep | None = None,
    ) -> Self:
        """Return a copy that says what happened to a payment that was sent before this failure."""
        return self._copy(
            payment_state=state,
            amount_micro_usdc=amount_micro_usdc,
            payment_id=payment_id,
            held_until=held_until,
            next_step=next_step or self.next_step,
        )

    def with_upload_cost(self, upload_micro_usdc: int) -> Self:
        """Return a copy that says what an image upload just before this failure cost."""
        return self._copy(upload_micro_usdc=upload_micro_usdc)

    def at(self, place: str) -> Self:
        """Return a copy that says where it failed, such as the row of a file."""
        return self._copy(what=f"{place}: {self.what}")

    def _copy(self, **changes: object) -> Self:
        copy = type(self).__new__(type(self), *self.args)
        copy.__dict__.update(self.__dict__, **changes)
        copy.__cause__ = self
        return copy

    def _money_sentence(self) -> str:
        amount = f"${format_usdc(self.amount_micro_usdc)}"
        number = f" (payment {self.payment_id})" if self.payment_id is not None else ""
        sentences: list[str] = []
        match self.payment_state:
            case "none" if self.upload_micro_usdc:
                pass
            case "none":
                sentences.append("Nothing was paid.")
            case "settled":
                sentences.append(f"{amount} was paid{number}.")
            case "held" if not self.amount_micro_usdc:
                sentences.append("What was paid, if anything, is in the ledger.")
            case "held":
                until = f" until {format_clock(self.held_until)}" if self.held_until is not None else ""
                sentences.append(f"Up to {amount} is held{until}{number}.")
        if self.upload_micro_usdc:
            upload = f"${format_usdc(self.upload_micro_usdc)}"
            sentences.append(f"The image upload before it cost {upload} and is kept and used again.")
        return " ".join(sentences)
