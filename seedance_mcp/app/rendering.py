"""Rendering: from what the services return to the results that an interface shows."""

import time
from typing import TYPE_CHECKING

from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import Argument, Call, NextStep, RaiseTake, Repeat, Show
from seedance_mcp.core.texts import URL_CHARACTERS_MAX, format_duration, quote_text, write_time
from seedance_mcp.core.wire.failures import is_moderation
from seedance_mcp.core.wire.json import is_network
from seedance_mcp.core.wire.kinds import is_url, show_identifier, show_url
from seedance_mcp.jobs.undelivered import RESULT_SECONDS, find_url_age, find_url_time

if TYPE_CHECKING:  # these load with the first call
    from seedance_mcp.app.video_links import VideoLinks
    from seedance_mcp.config.profiles import Profile
    from seedance_mcp.core.records import Job
    from seedance_mcp.core.wire.responses import Receipt
    from seedance_mcp.generation.quotes import Quote
    from seedance_mcp.generation.service import GenerationResult
    from seedance_mcp.jobs.history import JobList
from seedance_mcp.app.results import (
    JobLine,
    JobResult,
    JobsResult,
    OfferResult,
    QuoteResult,
    ReceiptResult,
)

NEVER_CHARGED = "The chain says that this was never charged, whatever the studio's receipt says."


UNVERIFIED = "The chain does not know the transaction of this receipt; the payment itself was used."


PRUNED = "This video was saved, and deleted later because of its age (prune, SEEDANCE_KEEP_DAYS)."
"""What a job says whose video its owner no longer keeps."""


ELSEWHERE = "The video is in the object store of the hosted server, not on this machine."
"""What a job says outside of the server that can reach its video."""


ON_ANOTHER_MACHINE = "The video was saved as a file of the machine that had the ledger then; this server has no copy."
"""What a job of a ledger that was moved says."""


PROMPT_CHARACTERS_MAX = 80
"""How much of a prompt a list of jobs repeats."""


def show_quote(quote: "Quote") -> QuoteResult:
    """Return a quote as the interfaces show it."""
    price = quote.price_micro_usdc
    return QuoteResult(
        exact=quote.exact,
        price_usd=None if price is None else format_usdc(price),
        price_micro_usdc=price,
        upload_price_usd=format_usdc(quote.upload_micro_usdc),
        cost_usd=None if quote.cost is None else format_usdc(quote.cost.total_micro_usdc),
        offers=[
            OfferResult(
                rail=judged.offer.rail,
                network=judged.offer.network
                if is_network(judged.offer.network)
                else quote_text(judged.offer.network, 60),
                token_name=judged.token_name,
                price_usd=format_usdc(judged.offer.amount_micro_usdc),
                fee_usd=format_usdc(judged.fee_micro_usdc),
                balance_usd=None if judged.balance_micro_usdc is None else format_usdc(judged.balance_micro_usdc),
                pay_to=judged.offer.pay_to,
                refused_because=judged.rejection_reason,
            )
            for judged in quote.offers
        ],
        allowed=quote.refusal is None,
        needs_approval=quote.needs_approval,
        refused_because=quote.refusal,
        warning=quote.warning,
        notes=[*quote.notes, *_list_begun_notes(quote)],
        max_price_per_video_usd=format_usdc(quote.max_price_per_video_micro_usdc),
        left_today_usd=format_usdc(quote.day_left_micro_usdc),
        job_id=None if quote.job is None else quote.job.job_id,
        next_step=_find_quote_step(quote),
    )


def _list_begun_notes(quote: "Quote") -> list[str]:
    """Return why a quote is nothing, where its request was bought or has a payment that is not over."""
    if quote.job is not None:
        job = quote.job
        return [f"This video was bought before: job {job.job_id} ({job.status}) answers it, and it costs nothing."]
    if quote.stage == "begun":
        return ["A payment for this video is not finished. It is continued, and nothing is paid twice."]
    return []


def _find_quote_step(quote: "Quote") -> NextStep:
    if quote.job is not None:
        see = Call("get_job", quote.job.job_id)
        return NextStep("{0}. To buy another video all the same, {1}.", see, RaiseTake())
    if quote.stage == "begun":
        return NextStep("{0} again with the same arguments: it continues that payment.", Call("animate_image"))
    if quote.refusal is None:
        return NextStep("{0} with the same arguments to buy it.", Call("animate_image"))
    return NextStep("Do not buy it as it is.")


def show_receipt(
    receipt: "Receipt | None", profile: "Profile", fee_micro_usdc: int, *, studio: str
) -> ReceiptResult | None:
    """Return a receipt with a link for people and the network's fee."""
    if receipt is None:
        return None
    page = profile.explorer_of(receipt.rail, studio)
    link = page + receipt.transaction if page and receipt.transaction else None
    return ReceiptResult(
        network=receipt.network,
        transaction=receipt.transaction or None,
        explorer_url=link,
        fee_usd=format_usdc(fee_micro_usdc),
        verified=receipt.verified,
    )


def show_generation(result: "GenerationResult", profile: "Profile", *, links: "VideoLinks | None" = None) -> JobResult:
    """Return a requested video as the interfaces show it."""
    if result.job is not None:
        return show_job(result.job, profile, notes=result.notes, links=links)
    if result.begun:
        join = Call("animate_image")
        next_step = NextStep("Still being bought. {0} again with the same arguments; it joins this purchase.", join)
    else:
        next_step = NextStep("Nothing is bought yet: the image's host or the studio is slow. {0}.", Repeat())
    return JobResult(
        job_id=None, status="pending", progress=0, video_url=None, video_url_expires_at=None,
        video_url_age_seconds=None,
        thumbnail_url=None, file=None, price_usd=None,
        price_micro_usdc=None, rail=None, receipt=None, error=None, notes=list(result.notes),
        next_step=next_step,
    )  # fmt: skip


def show_job(
    job: "Job",
    profile: "Profile",
    *,
    notes: tuple[str, ...] = (),
    now: float | None = None,
    links: "VideoLinks | None" = None,
) -> JobResult:
    """Return a job as the interfaces show it.

    Args:
        job: What is known of it.
        profile: Whom we talk to.
        notes: What else its caller should know.
        now: Unix seconds; None for the present.
        links: Makes links to videos that replicas share; None where videos are files of this machine.
    """
    has_files = links is None
    file = job.file if has_files and job.pruned_at is None and not _is_missing(job) else None
    url, expires_at = _find_video_url(job, links)
    is_kept = file is not None or (job.saved and not has_files) or job.video_key is not None
    if now is None:
        now = time.time() if links is None else links.now()
    url_age_seconds = None if is_kept else find_url_age(job, now)
    price = job.known_price_micro_usdc
    return JobResult(
        job_id=job.job_id,
        status=job.status,
        progress=job.progress,
        video_url=url,
        video_url_expires_at=None if url is None or expires_at is None else write_time(expires_at),
        video_url_age_seconds=None if url_age_seconds is None else int(url_age_seconds),
        thumbnail_url=_find_url(job.thumbnail_url) if has_files or not job.saved else None,
        file=file,
        price_usd=format_amount(price),
        price_micro_usdc=price,
        rail=None if price is None else job.rail,
        receipt=show_receipt(job.receipt, profile, job.fee_micro_usdc or 0, studio=job.studio),
        error=_show_error(job),
        notes=[
            *notes,
            *_describe_money(job),
            *_list_hidden(job),
            *_list_job_notes(job, profile, url_age_seconds, has_files=has_files),
        ],
        next_step=_find_job_step(job, profile, has_files=has_files),
    )


def _find_video_url(job: "Job", links: "VideoLinks | None") -> tuple[str | None, float | None]:
    """Return where a video can be had, and when that ends, Unix seconds: our link if there is one, or the studio's."""
    link = None if links is None else links.sign(job)
    if link is not None:
        return link.url, link.expires_at
    named_at = find_url_time(job)
    if job.video_key is not None or (links is not None and job.saved):
        return None, None  # the studio's URL is over, or soon will be
    return _find_url(job.video_url), None if named_at is None else named_at + RESULT_SECONDS


def _is_missing(job: "Job") -> bool:
    """Whether a saved file is not there any more, though no one pruned it."""
    from seedance_mcp.adapters.media.videos import is_missing  # loaded by now

    return job.pruned_at is None and is_missing(job.file)


def _show_error(job: "Job") -> str | None:
    """Return the studio's error, quoted; the text about an expired result is ours and quotes the studio itself."""
    if job.error is None or job.expired_at is not None:
        return job.error
    return quote_text(job.error)


def _find_job_step(job: "Job", profile: "Profile", *, has_files: bool) -> NextStep:
    if job.status == "failed" and not profile.speaks_to(job.studio):
        again = Call("animate_image")
        return NextStep("{0} again with the same arguments: the sandbox in use now makes a new video.", again)
    if job.expired_at is not None:
        return NextStep(
            "Stop polling. Give the claim in notes to the studio's support. The same request answers with this job and "
            "is not bought again; to pay for another try, {0}.",
            RaiseTake(),
        )
    if job.status == "failed":
        return _find_step_after_failure(job, profile)
    if job.pruned_at is not None:
        return NextStep("{0} Do not wait for it. To buy the same video again, {1}.", PRUNED, RaiseTake())
    read = Call("get_job", job.job_id)
    if job.saved:
        return _find_step_after_saving(job, read, has_files=has_files)
    if job.status == "complete":
        return NextStep("{0} to save the video; its URL expires soon.", read)
    return NextStep("Still running. {0}.", read)


def _find_step_after_saving(job: "Job", read: Call, *, has_files: bool) -> NextStep:
    """Say where a saved video is."""
    if not has_files:
        return NextStep("Done. {0}.", Show("video_url")) if job.video_key else NextStep(ON_ANOTHER_MACHINE)
    if job.file is None:
        return NextStep(ELSEWHERE)
    if _is_missing(job):
        return NextStep("{0} to fetch it again, if the studio still has it.", read)
    return NextStep("Done. {0}.", Show(job.file))


def _find_step_after_failure(job: "Job", profile: "Profile") -> NextStep:
    """Say what to do about a job that failed at the studio: whom to ask about the money, then the next try."""
    refund = (
        f"No refund is documented: {_name_support(profile)} can be asked, with the job id and the transaction. "
        if job.known_price_micro_usdc is not None
        else ""
    )
    if is_moderation(job.error):
        return NextStep(
            "The studio refused the picture or the prompt. {0}Change the picture or the prompt before another try: the "
            "same request would be refused and paid again, whatever its take.",
            refund,
        )
    text = "It failed at the studio and is not tried again by itself. {0}To pay for another try, {1}."
    return NextStep(text, refund, RaiseTake())


def _name_support(profile: "Profile") -> str:
    return "the studio's support" + (f" ({profile.support})" if profile.support else "")


def _list_job_notes(job: "Job", profile: "Profile", url_age_seconds: float | None, *, has_files: bool) -> list[str]:
    """Return what a person should know of a job in addition to its fields."""
    if job.expired_at is not None:
        return [build_claim(job, profile)]
    if has_files and _is_missing(job):
        return [f"The saved file {job.file} is missing."]
    if job.saved:
        return [job.note] if job.note and job.pruned_at is None else []
    if job.status != "complete" or url_age_seconds is None:
        return []
    age = format_duration(url_age_seconds)
    return [f"The studio named the video's URL {age} ago; a URL expires about 20 minutes after that."]


def build_claim(job: "Job", profile: "Profile") -> str:
    """Return what to send to the studio's support about a paid result that is lost."""
    receipt = job.receipt
    transaction = show_identifier(receipt.transaction) if receipt and receipt.transaction else "not known"
    network = receipt.network if receipt else f"the {job.rail} rail"
    ended = "not known" if job.ended_at is None else write_time(job.ended_at)
    expired = "not known" if job.expired_at is None else write_time(job.expired_at)
    last = f" Last URL: {quote_text(job.video_url, URL_CHARACTERS_MAX)}." if job.video_url else ""
    return (
        f"Claim for {_name_support(profile)}: job {job.job_id}, paid ${format_amount(job.price_micro_usdc)} on "
        f"{network} by wallet {job.wallet}, transaction {transaction}, payment {job.payment_id}. Bought "
        f"{write_time(job.created_at)}, finished {ended}, result expired {expired} without a download. Please restore "
        f"the video or refund the payment.{last}"
    )


def _find_url(text: str | None) -> str | None:
    """Return the studio's URL if it is one."""
    return text if text is not None and is_url(text) else None


def _list_hidden(job: "Job") -> tuple[str, ...]:
    """Return a note about a studio's URL that is not shown as one."""
    named = {"video_url": job.video_url, "thumbnail_url": job.thumbnail_url}
    return tuple(
        f"The studio's {name} is not a plain URL: {show_url(text)}."
        for name, text in named.items()
        if text is not None and not is_url(text)
    )


def _describe_money(job: "Job") -> list[str]:
    """Return what the chain says of a job's payment, where it is not what the studio said."""
    if not job.charged:
        return [NEVER_CHARGED]
    if job.receipt is None:
        return []
    if job.receipt.verified is False:
        return [UNVERIFIED]
    if not job.receipt.transaction and job.receipt.nonce:
        return [f"The payment's transaction is not known; on the chain it has the nonce {job.receipt.nonce}."]
    return []


def show_jobs(recent: "JobList", *, has_files: bool = True) -> JobsResult:
    """Return recent jobs as the interfaces show them.

    Args:
        recent: The jobs.
        has_files: Whether videos are files of this machine.
    """
    lines = [
        JobLine(
            job_id=job.job_id,
            status=job.status,
            progress=job.progress,
            file=job.file if has_files and job.pruned_at is None and not _is_missing(job) else None,
            price_usd=format_amount(job.known_price_micro_usdc),
            prompt=quote_text(job.arguments.get("prompt") or "", PROMPT_CHARACTERS_MAX),
            created_at=write_time(job.created_at),
        )
        for job in recent.jobs
    ]
    open_jobs = any(
        job.status in ("pending", "loading") or (job.status == "complete" and not job.saved) for job in recent.jobs
    )
    if open_jobs:
        which = "has no file yet" if has_files else "is not complete"
        next_step = NextStep("{0} with the {1} of one that {2}.", Call("get_job"), Argument("job_id"), which)
    elif recent.notes:
        next_step = NextStep("Nothing is running that this machine knows of. {0} in a minute for the others.", Repeat())
    else:
        next_step = NextStep("Nothing is running.")
    return JobsResult(jobs=lines, notes=list(recent.notes), next_step=next_step)


def format_amount(amount_micro_usdc: int | None) -> str | None:
    """Return an amount in US dollars, or None."""
    return None if amount_micro_usdc is None else format_usdc(amount_micro_usdc)
