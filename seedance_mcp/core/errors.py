"""Errors: one tree of all failures, and what each says about money.

SeedanceError
├── ConfigError                     the owner's settings or wallet need a change
├── ImageError                      the picture cannot be used
├── RequestError                    the arguments cannot be had from this studio
├── PolicyError                     the owner's limits forbid it; nothing was signed
│   ├── PriceTooHighError
│   ├── BudgetExceededError
│   ├── InsufficientBalanceError    the wallet does not hold what it costs
│   ├── RecipientChangedError       the studio is known by another recipient
│   ├── UnacceptableOfferError
│   └── SpendingFrozenError         the owner has stopped all spending
├── StudioError                     the studio did not do its part, outside a payment
│   ├── StudioUnreachableError
│   ├── StudioRejectedError
│   └── StudioProtocolError
├── ChainError                      a chain's node did not answer, or not as it must
├── PossiblyBoughtError             a job that the ledger does not know may be what is asked for
├── PaymentError                    a credential left this machine
│   ├── PaymentRefusedError         the studio refused it; the hold stays until it expires
│   ├── PaymentOutcomeUnknownError  no one can say yet; the hold stays
│   └── PurchaseUnderwayError       the same purchase is being made already; nothing more was signed
├── JobError
│   ├── JobNotFoundError
│   ├── VideoUnsavedError           the video is finished but not on disk yet
│   └── VideoGoneError              neither this disk nor the studio has the video any more
├── LedgerError                     the ledger cannot be written; nothing may be signed
└── InternalError                   the program itself broke; the ledger has whatever was paid

Every text answers three questions in this order: what failed, was I charged, what now. The first is free of any
interface's words; the last is a `NextStep`, which `server` and `cli` render each in their own. An error is not changed
after it was raised: a copy with other facts is raised from it.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import (
    TOOL_WORDS,
    Argument,
    Call,
    Command,
    NextStep,
    OwnerOnly,
    RaiseTake,
    Repeat,
    Report,
    Words,
    make_step,
)
from seedance_mcp.core.redaction import redact

PaymentState = Literal["none", "held", "settled"]

QUOTED_CHARACTERS_MAX = 300
"""How much of a untrusted text we repeat. It is data, not instructions, and it costs the reader tokens."""

_SECRET_CHARACTERS_MAX = 1000
"""How far behind the quoted part a secret may reach that begins in it."""

URL_CHARACTERS_MAX = 8192
"""How much of a URL that a person should open is repeated: a part of it is of no use."""

_QUOTES = str.maketrans("«»", "<>")
"""A untrusted text cannot end its own quotation and go on in our voice."""

UNWRITTEN_STEP = NextStep(
    "Make room on the disk, or wait for the program that locks the file. Then {0}: it continues this payment and pays "
    "nothing more.",
    Repeat(),
)
"""What to do where the ledger cannot be written after a payment was sent."""


def quote_text(text: object, characters_max: int = QUOTED_CHARACTERS_MAX) -> str:
    """Return untrusted text as one bounded, quoted line without control characters and without secrets."""
    clean = redact(str(text)[: characters_max * 4 + _SECRET_CHARACTERS_MAX])[: characters_max * 4]
    flat = "".join(c if c.isprintable() else " " for c in clean)
    flat = " ".join(flat.translate(_QUOTES).split())
    if len(flat) > characters_max:
        flat = flat[: characters_max - 1] + "…"
    return f"«{flat}»"


def show_payment_state(state: PaymentState) -> dict[str, object]:
    """Return the fields that programs read; `charge` is the deprecated name of `payment_state`."""
    return {"payment_state": state, "charge": state}


def format_duration(seconds: float) -> str:
    """Return a span of time in words for people, in its largest whole unit."""
    if seconds < 60:
        return "less than a minute"
    number, unit = (int(seconds // 60), "minute") if seconds < 3600 else (int(seconds // 3600), "hour")
    return f"{number} {unit}{'s' if number != 1 else ''}"


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
        return " ".join((self.what, *self._list_facts_sentences(), self.next_step.render(words)))

    def _list_facts_sentences(self) -> list[str]:
        return [self._money_sentence()]

    def list_facts(self) -> dict[str, object]:
        """Return what a program should know of it in addition its code."""
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


def format_clock(unix_seconds: int) -> str:
    """Return the first full minute at which it is over: a caller who comes back then is not too early."""
    minutes = -(-unix_seconds // 60) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d} UTC"


class ConfigError(SeedanceError):
    """A setting or the wallet needs the owner's hand. Never holds a secret's value."""

    code = "config"
    default_step = NextStep("{0}.", OwnerOnly("correct this, in the settings"))


class ImageError(SeedanceError):
    """The picture is missing, unreadable, too large, or not a picture."""

    code = "image"
    default_step = NextStep("Choose another picture, or convert this one.")


class RequestError(SeedanceError):
    """The arguments ask for what the studio's dialect or model cannot give."""

    code = "request"
    default_step = NextStep("Change the arguments, then {0}.", Repeat(changed=True))


class PolicyError(SeedanceError):
    """The owner's limits forbid it."""

    code = "policy"
    default_step = NextStep("{0}.", OwnerOnly("change a limit", stop=True))


class PriceTooHighError(PolicyError):
    """One price is above a cap, or above what was quoted."""

    code = "price_too_high"


class BudgetExceededError(PolicyError):
    """A day's or the wallet's budget has no room for it."""

    code = "budget_exceeded"


class InsufficientBalanceError(PolicyError):
    """The wallet holds too little of every token that could be paid in."""

    code = "insufficient_balance"


class RecipientChangedError(PolicyError):
    """The studio asks to be paid at an address that it was not known by."""

    code = "recipient_changed"


class UnacceptableOfferError(PolicyError):
    """No offer of the studio is one that we may sign."""

    code = "unacceptable_offer"


class SpendingFrozenError(PolicyError):
    """The owner has stopped all spending; nothing new is signed until the owner ends that."""

    code = "spending_frozen"
    default_step = NextStep(
        "{0} with {1}, in the sandbox with --sandbox.", OwnerOnly("end it", stop=True), Command("unfreeze")
    )


class StudioError(SeedanceError):
    """The studio did not do its part."""

    code = "studio"


class StudioUnreachableError(StudioError):
    """No connection, no answer in time, or an overloaded studio."""

    code = "studio_unreachable"
    default_step = NextStep("Try again in a minute.")

    def __init__(
        self,
        what: str,
        next_step: NextStep | str = "",
        *,
        retry_after_seconds: float | None = None,
        answered: bool = False,
    ) -> None:
        super().__init__(what, next_step)
        self.retry_after_seconds = retry_after_seconds
        self.answered = answered
        """Whether something answered at the studio's address; False where there was no connection or no answer."""


class StudioRejectedError(StudioError):
    """The studio understood us and said no."""

    code = "studio_rejected"
    default_step = NextStep(
        "Change what it objects to, then {0}; without a change the answer is the same.", Repeat(changed=True)
    )

    def __init__(
        self,
        what: str,
        next_step: NextStep | str = "",
        *,
        status: int,
        payment_state: PaymentState = "none",
        amount_micro_usdc: int = 0,
        payment_id: int | None = None,
    ) -> None:
        super().__init__(
            what, next_step, payment_state=payment_state, amount_micro_usdc=amount_micro_usdc, payment_id=payment_id
        )
        self.status = status


class StudioProtocolError(StudioError):
    """The studio's answer is not one that the contract allows."""

    code = "studio_protocol"
    default_step = NextStep("Do not retry at once; if it happens again, {0}.", Report())


class ChainError(SeedanceError):
    """A chain's node did not answer, or answered what it must not."""

    code = "chain"
    default_step = NextStep("Try again in a minute.")


class PossiblyBoughtError(SeedanceError):
    """The wallet may have bought it before, by a job that the ledger does not know. Nothing was signed."""

    code = "possibly_bought"
    default_step = NextStep(
        "{0} with the job that is named. To buy another video all the same, {1}.", Call("get_job"), RaiseTake()
    )


class PaymentError(SeedanceError):
    """A credential left this machine."""

    code = "payment"


class PaymentRefusedError(PaymentError):
    """The studio refused the credential. It settled nothing by this sending, yet still has it."""

    code = "payment_refused"
    default_step = NextStep("Fix the cause. Once the hold is over, {0}.", Repeat())


class PaymentOutcomeUnknownError(PaymentError):
    """The answer was lost. The same credential may be sent again; another must not be signed."""

    code = "payment_outcome_unknown"
    default_step = NextStep("{0}: it continues this payment and never makes a second one.", Repeat())


class PurchaseUnderwayError(PaymentError):
    """The same purchase is unfinished in this process or another; it is joined, never made twice."""

    code = "purchase_underway"
    default_step = NextStep("{0} to join it.", Repeat())


class JobError(SeedanceError):
    """Something about one job."""

    code = "job"


class JobNotFoundError(JobError):
    """Neither our ledger nor the studio knows the job."""

    code = "job_not_found"
    default_step = NextStep("Check the {0}; {1} to see the jobs.", Argument("job_id"), Call("list_jobs"))


class VideoUnsavedError(JobError):
    """The video is finished at the studio but not on disk yet; asking again tries again.

    Args:
        job_id: The job, where it is known.
        video_url: Where the studio has the video; untrusted, shown whole because a person can open it.
        url_age_seconds: For how long this URL has been known.
    """

    code = "video_unsaved"
    default_step = NextStep(
        "{0} again soon: the video's URL expires about 20 minutes after completion.", Call("get_job")
    )

    def __init__(
        self,
        what: str,
        next_step: NextStep | str = "",
        *,
        payment_state: PaymentState = "none",
        amount_micro_usdc: int = 0,
        payment_id: int | None = None,
        job_id: str | None = None,
        video_url: str | None = None,
        url_age_seconds: float | None = None,
    ) -> None:
        super().__init__(
            what, next_step, payment_state=payment_state, amount_micro_usdc=amount_micro_usdc, payment_id=payment_id
        )
        self.job_id = job_id
        self.video_url = video_url
        self.url_age_seconds = url_age_seconds

    def _list_facts_sentences(self) -> list[str]:
        return list(filter(None, (self._money_sentence(), self._url_sentence())))

    def list_facts(self) -> dict[str, object]:
        """Return the money's facts and the video's URL."""
        age = None if self.url_age_seconds is None else int(self.url_age_seconds)
        facts = {"job_id": self.job_id, "video_url": self.video_url, "video_url_age_seconds": age}
        return {**super().list_facts(), **facts}

    def _url_sentence(self) -> str:
        if self.video_url is None:
            return ""
        age = "" if self.url_age_seconds is None else f", first seen {format_duration(self.url_age_seconds)} ago"
        return f"Its URL{age}: {quote_text(self.video_url, URL_CHARACTERS_MAX)}"


class VideoGoneError(JobError):
    """Neither this disk nor the studio has the video any more."""

    code = "video_gone"
    default_step = NextStep("Restore the file from a backup. Do not ask for it again.")


class LedgerError(SeedanceError):
    """The ledger cannot be read or written. Without ledger there is no signing."""

    code = "ledger"
    default_step = NextStep("Nothing is signed until the ledger can be written: {0}.", Report())


class InternalError(SeedanceError):
    """The program itself broke. What was paid, if anything, is in the ledger, and the next call takes it up."""

    code = "internal"
    default_step = NextStep("{0}; if it breaks again, {1}.", Repeat(), Report())
