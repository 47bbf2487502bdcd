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
│   ├── SpendingFrozenError         the owner has stopped all spending
│   ├── LedgerClosedError           the ledger was restored and may lack payments
│   ├── PermissionDeniedError       the caller's token may not do it
│   └── TooManyCallsError           the caller has made all calls of this minute
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
│   ├── VideoGoneError              neither this disk nor the studio has the video any more
│   └── FilmError                   videos cannot be joined or drawn; they stay as they are
├── LedgerError                     the ledger cannot be written; nothing may be signed
├── StorageError                    the store of videos and pictures cannot be used
└── InternalError                   the program itself broke; the ledger has whatever was paid

Every text answers three questions in this order: what failed, was I charged, what now. The first is free of any
interface's words; the last is a `NextStep`, which `server` and `cli` render each in their own. An error is not changed
after it was raised: a copy with other facts is raised from it.
"""

from __future__ import annotations

from seedance_mcp.core.error_base import PaymentState, SeedanceError
from seedance_mcp.core.next_steps import (
    Argument,
    Call,
    Command,
    NextStep,
    OwnerOnly,
    RaiseTake,
    Repeat,
    Report,
)
from seedance_mcp.core.texts import URL_CHARACTERS_MAX, format_duration, quote_text

UNWRITTEN_STEP = NextStep(
    "Wait until the ledger's database answers, or its file is not locked and its disk has room. Then {0}: "
    "it continues this payment and pays nothing more.",
    Repeat(),
)
"""What to do where the ledger cannot be written after a payment was sent."""


class ConfigError(SeedanceError):
    """A setting or the wallet must be corrected by the owner. The text never contains a secret."""

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
    default_step = NextStep("{0} with {1}.", OwnerOnly("end it", stop=True), Command("unfreeze", in_sandbox_too=True))


class LedgerClosedError(PolicyError):
    """The ledger may lack payments; nothing is signed until it was read against the studio's list and the chains."""

    code = "ledger_closed"
    default_step = NextStep(
        "It opens by itself once the studio's list and the chains were read, about five minutes after a restore. "
        "Running jobs go on. {0} then.",
        Repeat(),
    )


class PermissionDeniedError(PolicyError):
    """The caller's token has no scope for it."""

    code = "permission_denied"
    default_step = NextStep("{0}.", OwnerOnly("give a token more scopes", stop=True))


class TooManyCallsError(PolicyError):
    """The caller has made more calls in a minute than the owner allows.

    Args:
        retry_after_seconds: After how many seconds another call is allowed.
    """

    code = "too_many_calls"

    def __init__(self, what: str, next_step: NextStep | str = "", *, retry_after_seconds: int = 60) -> None:
        super().__init__(what, next_step or NextStep(f"Wait {retry_after_seconds} seconds. Then {{0}}.", Repeat()))
        self.retry_after_seconds = retry_after_seconds

    def list_facts(self) -> dict[str, object]:
        """Return the money's facts, and when to call again."""
        return {**super().list_facts(), "retry_after_seconds": self.retry_after_seconds}


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
    """The studio refused the credential. It did not settle it, but still has it until it expires."""

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


class FilmError(JobError):
    """Videos cannot be joined to a film, or one cannot be read for it. The videos themselves stay saved."""

    code = "film"
    default_step = NextStep("Look at the video; if it plays, {0}.", Report())


class LedgerError(SeedanceError):
    """The ledger cannot be read or written. Without the ledger nothing is signed."""

    code = "ledger"
    default_step = NextStep("Nothing is signed until the ledger can be written: {0}.", Report())


class StorageError(SeedanceError):
    """The store in which replicas keep videos and pictures cannot be used. No payment depends on it."""

    code = "storage"
    default_step = NextStep("{0}; if it fails again, {1}.", Repeat(), Report())


class InternalError(SeedanceError):
    """The program itself failed. What was paid, if anything, is in the ledger, and the next call continues it."""

    code = "internal"
    default_step = NextStep("{0}; if it fails again, {1}.", Repeat(), Report())
