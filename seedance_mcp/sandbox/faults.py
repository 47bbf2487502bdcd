"""Named misbehaviours of the studio, switched on for a test or a sandbox run.

A fault is written `name[=argument][:times]`: `slow_job` is on until it is switched off, `slow_job:2` applies to the
next two jobs, `tampered_offer=permit2:1` to the next offer. This module has the table of names and the countdown. The
code that a fault changes calls `take(name)`.
"""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

TIMES_MAX = 10_000
SECONDS_MAX = 600.0
SIGMA_MAX = 2.0

_SPELLING = re.compile(r"(?P<name>[a-z_0-9]+)(=(?P<argument>[a-z_0-9.]+))?(:(?P<times>[1-9][0-9]*))?")

FAULTS: dict[str, str] = {
    "slow_job": "the job takes ten times as long",
    "varied_jobs": "=SIGMA a job takes a log-normal time; SIGMA is the standard deviation of its logarithm",
    "failed_job": "the job fails with a moderation text and is charged",
    "crashed_job": "the job fails with a server error and is charged",
    "stuck_job": "the job stays in loading forever",
    "drop_after_settle": "money moves and the job exists, then the connection closes without an answer",
    "hang_after_settle": "money moves and the job exists, then the connection stays open without an answer",
    "second_402": "a valid paid request is answered by a fresh challenge; nothing is settled, no job is made",
    "settle_then_402": "money moves and the job exists, then the answer is a fresh challenge",
    "settle_then_500": "money moves and the job exists, then the answer is 500 Settlement failed",
    "fail_settlement": "the job exists, no money moves; after two retries: 500 Settlement failed",
    "no_job": "money moves, no job is made, and the answer to the generation names no job",
    "hidden_input": "a job's document does not repeat the request that made it",
    "no_list": "the list of jobs answers 503",
    "gone_upload": "an uploaded picture answers 404",
    "false_receipt": "the job exists, no money moves, and the receipt names a transaction that does not exist",
    "wrong_hash": "money moves, and the receipt names a transaction that does not exist",
    "no_logs": "the chains' nodes refuse eth_getLogs",
    "slow_settle": "=SECONDS pass between the job and the settlement of a paid request",
    "slow_answer": "=SECONDS pass between the settlement and the answer of a paid request",
    "slow_chain": "=SECONDS pass before the chains' RPC addresses answer",
    "server_error": "an API call is answered by 500 before anything happens",
    "rate_limited": "an API call is answered by 429 with Retry-After: 1 before anything happens",
    "not_json": "an API call is answered by 200 and an HTML page before anything happens",
    "error_for_payment": "only a paid request is answered by 500 before anything happens",
    "page_for_payment": "only a paid request is answered by 200 and an HTML page before anything happens",
    "dead_result_url": "a job's first result URLs answer 404; the next poll gives good ones",
    "short_result_url": "each answer about a finished job names new result URLs, and the earlier ones answer 403",
    "truncated_video": "a video download ends in the middle",
    "broken_video": "=BYTES a video download ends after this many bytes",
    "video_ranges": "=KIND a video has an ETag, and a request for the rest of it is answered in this way",
    "only_pictures": "an upload of a video or a sound is neither declared nor taken",
    "bot_check": "an API call is answered by 403 and the page of a bot check before anything happens",
    "bot_check_for_payment": "only a paid request is answered by the page of a bot check",
    "no_openapi": "=STATUS openapi.json is answered by this status, while every other route works",
    "other_dialect": "the generate routes and openapi.json use the dialect that was not chosen",
    "challenge_shape": "=KIND an x402 challenge has the shape that another studio sends",
    "echo_credential": "every answer repeats the credentials, sign-ins and upload tokens that were received",
    "talking_upload_id": "the id of an upload ends with a sentence",
    "slow_thumbnail": "a job's thumbnail is a small picture that takes half a minute to decode",
    "expired_result": "result URLs answer 403, and no poll names newer ones",
    "video_encoding": "=NAME a video is sent under another content-encoding",
    "video_body": "=KIND other bytes than a plain MP4 are sent",
    "varied_videos": "a video has another size, frame rate, encoder profile or sound than the one before",
    "status_word": "=WORD an ended job has this status word, capitalised and followed by a blank",
    "result_shape": "=SHAPE a finished job's result has another shape",
    "answer_shape": "=SHAPE the answer about one job has another shape",
    "list_shape": "=SHAPE the list of jobs has another shape",
    "list_filter": "=KIND the list of jobs does not heed its status filter",
    "list_order": "=updated the list of jobs has the latest change first",
    "numeric_job_id": "a new job's id is a number",
    "tampered_offer": "=KIND the offer is changed before it is sent, and honoured if it is signed",
}

CHALLENGE_SHAPES: dict[str, str] = {
    "resource_in_body": "the header does not name the resource; the body does",
    "other_resource_in_body": "the same, and the body names another route",
    "error_in_body": "the header is valid; the body has an error and a message",
    "whole_in_body": "there is no header; the body has the whole document",
    "version_1": "there is no header; the body has a document of x402 version 1",
}

OFFER_TAMPERINGS: dict[str, str] = {
    "price_x2": "the amount is twice the price",
    "price_x100": "the amount is a hundred times the price",
    "video_price_x2": "the amount of a video is twice the price, that of an upload is as always",
    "ceiling": "the amount is the route's ceiling although the body is valid",
    "other_asset": "the asset is a token that is not the pinned one",
    "other_network": "the network is Base, where money is real",
    "other_domain_name": "the EIP-712 domain is that of another token",
    "other_recipient": "the money goes to an unknown address",
    "permit2": "the transfer method is Permit2 instead of EIP-3009",
    "long_lifetime": "the authorization is valid for ten years",
    "other_realm": "an MPP challenge names another host",
    "split": "an MPP charge pays half of the amount to an unknown address",
}

RESULT_SHAPES: dict[str, str] = {
    "video_object": "the URL is at result.video.url",
    "url": "the URL is at result.url",
    "video_url": "the URL is at result.video_url",
    "list": "the result is a list of objects with a url",
    "string": "the result is the URL",
    "output": "there is no result; output is a list of the URL",
    "top_level": "there is no result; videoUrl is a field of the job",
    "json_text": "the result is a JSON document written as text",
    "two": "the result names two URLs, and neither as the video",
    "text": "the result is a sentence without a URL",
    "still": "the result names pictures only",
    "inputs": "the result repeats the URLs of the request",
    "nothing": "there is no result",
    "talking_url": "the URLs end with a sentence in non-ASCII letters",
    "long_url": "the URLs are 3000 characters long",
}
ANSWER_SHAPES: dict[str, str] = {
    "no_id": "the job has no id",
    "data": "the job is inside data",
    "job": "the job is inside job",
    "other_job": "the job is the wallet's latest other one",
}
LIST_SHAPES: dict[str, str] = {
    "bare": "the list is an array",
    "data": "the jobs are in data",
    "results": "the jobs are in results",
    "jobs": "the jobs are in jobs",
    "nested": "the jobs are in data.items",
    "unreadable": "the jobs are in page.rows",
}
LIST_FILTERS: dict[str, str] = {
    "ignored": "the list has jobs of every status",
    "refused": "the list with a filter answers 400",
}
LIST_ORDERS: dict[str, str] = {"updated": "the latest change comes first"}
VIDEO_ENCODINGS: dict[str, str] = {
    "gzip": "compressed, with the matching header",
    "deflate": "compressed, with the matching header",
    "cut_gzip": "compressed, and its end is missing",
    "plain_gzip": "labelled as compressed, but not compressed",
    "aws_chunked": "aws-chunked, left over from the upload",
    "none": "the word none, which is no encoding",
    "empty": "an empty header",
    "br": "labelled with an encoding that the client did not accept",
}
VIDEO_BODIES: dict[str, str] = {
    "trailing": "five bytes follow the last box",
    "styp": "the file begins with styp instead of ftyp",
    "matroska": "a Matroska file",
    "webm": "a WebM file",
    "blank": "nothing",
    "json": "a JSON document",
    "xml": "an XML document",
    "html": "a web page",
}

VIDEO_RANGES: dict[str, str] = {
    "honest": "the rest, if the video is still the same",
    "ignored": "the whole video",
    "refused": "416 and nothing",
    "new_etag": "the ETag is another one each time",
    "weak_etag": "the ETag is weak",
    "other_range": "206 and the whole video",
    "other_position": "206 with the range that was requested and the first bytes of the video",
    "more_bytes": "206 with a thousand bytes more, without a length",
    "fewer_bytes": "206 with a thousand bytes fewer, without a length",
}

_CHOICES = {
    "video_ranges": VIDEO_RANGES,
    "video_encoding": VIDEO_ENCODINGS,
    "video_body": VIDEO_BODIES,
    "tampered_offer": OFFER_TAMPERINGS,
    "challenge_shape": CHALLENGE_SHAPES,
    "result_shape": RESULT_SHAPES,
    "answer_shape": ANSWER_SHAPES,
    "list_shape": LIST_SHAPES,
    "list_filter": LIST_FILTERS,
    "list_order": LIST_ORDERS,
}
"""Names that a fault takes as its argument, by fault."""
_TAKES_SECONDS = frozenset({"slow_settle", "slow_answer", "slow_chain"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault that is on; `times` is how often it still applies, or None for always."""

    name: str
    argument: str | None = None
    times: int | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds that the fault waits."""
        return float(self.argument or 0)

    @property
    def number(self) -> int:
        """Return the argument of a fault that takes a number."""
        return int(self.argument or 0)

    def __str__(self) -> str:
        argument = "" if self.argument is None else f"={self.argument}"
        times = "" if self.times is None else f":{self.times}"
        return f"{self.name}{argument}{times}"


def read_fault(spelling: str) -> Fault:
    """Read one `name[=argument][:times]`.

    Raises:
        ValueError: If the name, the argument or the count is not valid; the text lists the valid ones.
    """
    match = _SPELLING.fullmatch(spelling.strip())
    if match is None or match["name"] not in FAULTS:
        raise ValueError(f"unknown fault {spelling!r}; choose from: {', '.join(sorted(FAULTS))}")
    fault = Fault(name=match["name"], argument=match["argument"], times=int(match["times"]) if match["times"] else None)
    if fault.times is not None and fault.times > TIMES_MAX:
        raise ValueError(f"{spelling!r}: at most {TIMES_MAX} times")
    _check_argument(fault)
    return fault


def _check_argument(fault: Fault) -> None:
    if fault.name in _CHOICES:
        if fault.argument not in _CHOICES[fault.name]:
            raise ValueError(f"{fault.name} needs one of: {', '.join(sorted(_CHOICES[fault.name]))}")
    elif fault.name == "status_word":
        if fault.argument is None:
            raise ValueError("status_word needs a word as its argument, as in status_word=done")
    elif fault.name == "no_openapi":
        if re.fullmatch(r"[45][0-9]{2}", fault.argument or "") is None:
            raise ValueError("no_openapi needs a status, as in no_openapi=503")
    elif fault.name == "broken_video":
        if re.fullmatch(r"[0-9]{1,9}", fault.argument or "") is None:
            raise ValueError("broken_video needs a number of bytes, as in broken_video=200000")
    elif fault.name == "varied_jobs":
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", fault.argument or "") is None or float(fault.argument or 0) > SIGMA_MAX:
            raise ValueError(f"varied_jobs needs a number, as in varied_jobs=0.4, at most {SIGMA_MAX:.0f}")
    elif fault.name in _TAKES_SECONDS:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", fault.argument or "") is None or fault.seconds > SECONDS_MAX:
            raise ValueError(f"{fault.name} needs seconds, as in {fault.name}=2.5, at most {SECONDS_MAX:.0f}")
    elif fault.argument is not None:
        raise ValueError(f"{fault.name} takes no argument")


class FaultSwitches:
    """The faults that are on; they may be changed while the studio runs."""

    def __init__(self, spellings: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, Fault] = {}
        self.replace(spellings)

    def replace(self, spellings: Iterable[str]) -> None:
        """Switch on exactly these faults; an empty list switches off all.

        Raises:
            ValueError: If one is unknown; then nothing changes.
        """
        faults = {fault.name: fault for fault in map(read_fault, spellings)}
        with self._lock:
            self._faults = faults

    def take(self, name: str) -> Fault | None:
        """Return the fault if it is on, and count it down once."""
        with self._lock:
            fault = self._faults.get(name)
            if fault is None or fault.times is None:
                return fault
            if fault.times == 1:
                del self._faults[name]
            else:
                self._faults[name] = replace(fault, times=fault.times - 1)
            return fault

    def spellings(self) -> list[str]:
        """Return the faults that are on, each as `name[=argument][:times]`."""
        with self._lock:
            return [str(fault) for fault in self._faults.values()]
