"""Phrases: reword for a person what a failure or a result says to a model.

Errors, notes and next steps are written once, for whoever calls the tools: they name tools and arguments, and speak of
the owner. Here the reader *is* the owner, and runs commands. The phrases in question are few, so they stand in one
table, and a test reads the whole source for one that is missing. `--json` keeps the tools' own words: it is for
programs. What somebody else wrote stays as it is within its «quotation marks».
"""

import re
from collections.abc import Callable


def _name_option(argument: str, *, off: bool = False) -> str:
    """The option of `animate` that stands for a tool's argument."""
    return ("--no-" if off else "--") + argument.replace("_", "-")


_PHRASES: dict[str, str | Callable[[re.Match[str]], str]] = {
    # what to do again
    r"call animate_image with the same arguments to buy it": r"buy it with seedance-mcp animate",
    r"call (?:animate_image )?again with the same arguments": r"run the same command again",
    r"call get_job with (?:job_id )?(\S+?)( again soon| to save the video| to fetch it again|\.(?!\S))": (
        r"run seedance-mcp get \1\2"
    ),
    r"call get_job with job_id (\S+?)\. to buy another video all the same, raise take by one": (
        r"see it with seedance-mcp get \1. To buy another video all the same, raise --take by one"
    ),
    r"call list_jobs to see them, then get_job with the job_id of the right one": (
        r"see them with seedance-mcp jobs --studio, then run seedance-mcp get with the id of the right one"
    ),
    r"call get_job with (?:the job that is named|that job_id to see and save it)": (
        r"run seedance-mcp get with that id to save its video"
    ),
    r"call list_jobs in a minute to see whether": r"run seedance-mcp jobs --studio in a minute to see whether",
    r"to buy another video all the same, call again with take": r"to buy another video all the same, give --take",
    r"until then quote_price works": r"until then seedance-mcp quote works",
    r"the studio named video_url": r"the studio named the video's URL",
    r"call get_job with the job_id of one": r"run seedance-mcp get with the id of one",
    r"call get_job again": r"run the same command again",
    r"make the same call": r"run the same command",
    r"the same call (gets|works)": r"the same command \1",
    r"change the arguments and call again": r"change the command and run it again",
    r"change what it objects to and call again": r"change what it objects to and run the command again",
    r"call again: the person is": r"run the same command again: you are",
    r"call again with a higher max_price_usd": r"run it again with a higher --max-price-usd",
    r"call again": r"run the same command again",
    r"for the next call": r"for the next time",
    # arguments
    r"this call allows \(max_price_usd\)": r"this command allows (--max-price-usd)",
    r"(explicit|with) max_price_usd": r"\1 --max-price-usd",
    r"raise `?take`?": r"raise --take",
    r"leave (seed|camera_fixed) out": lambda found: f"leave {_name_option(found[1])} out",
    r"\(camera_fixed\)": r"(--camera-fixed)",
    r"(camera_fixed|generate_audio)=(true|false)": lambda found: _name_option(found[1], off=found[2] == "false"),
    r"(aspect_ratio|resolution) (\S+) is not available": lambda found: (
        f"{_name_option(found[1])} {found[2]} is not available"
    ),
    r"check the (?:job_id|id) that animate_image gave": r"check the id with seedance-mcp jobs",
    r"pass image_url \(or the same file\) as image to animate_image": r"give its address, or the same file, to animate",
    r"wallet_status lists them": r"seedance-mcp wallet payments lists them",
    r"show the user (.+)\.": r"it is in \1",
    # the owner, who is the reader
    r"do not retry; tell the owner": r"do not run it again as it is; seedance-mcp doctor looks at what is wrong",
    r"do not retry at once; if it happens again, tell the owner": (
        r"do not run it again at once; if it stays so, seedance-mcp doctor looks at what is wrong"
    ),
    r"if it breaks again, tell the owner": r"if it breaks again, seedance-mcp doctor looks at what is wrong",
    r"do not retry; the owner can compare this with the settings": r"compare this with your settings",
    r"only the owner can mend this, in the settings": r"mend it in your settings",
    r"(?:stop and tell the owner\. )?only the owner can end it": r"you can end it",
    r"(?:stop and tell the owner\. )?only the owner can (change|raise) a limit": r"only your settings can \1 a limit",
    r"tell the owner to (give|send|run|install)": r"\1",
    r"stop and tell the owner: this can be an attack\. an owner who has asked the studio can": (
        r"this can be an attack. If you have asked the studio, you can"
    ),
    r"only the owner can change that": r"you can change that",
    r"the owner lets pass without a person's yes, and this host cannot ask a person": (
        r"you let pass without a yes, and no one can be asked here"
    ),
    r"tell the owner, or give": r"give",
    r"(update seedance-mcp), or tell the owner": r"\1",
    r"(until the ledger can be written)\. tell the owner": r"\1",
    r"let the owner open": r"open",
    r"the owner (allow|send|open)(s|ed)": lambda found: f"you {found[1]}{found[2].removesuffix('s')}",
    r"by the owner": r"by you",
    r"the owner's": r"your",
    r"\((max_price_per_video|max_per_day|max_total|ask_above)\)": lambda found: f"(SEEDANCE_{found[1].upper()})",
}
"""From the tools' words to the command line's, the longer before the shorter."""

_TABLE = [(re.compile(rf"(?<!\w){phrase}", re.IGNORECASE), said) for phrase, said in _PHRASES.items()]
_QUOTED = re.compile(r"(«[^»]*»)")


def rephrase(text: object) -> str:
    """A text of the tools in the command line's words; what it quotes stays as it is."""
    parts = _QUOTED.split(str(text))
    parts[::2] = [_rephrase(part) for part in parts[::2]]
    return "".join(parts)


def _rephrase(text: str) -> str:
    for phrase, said in _TABLE:
        text = phrase.sub(lambda found, said=said: _put(found, said), text)
    return text


def _put(found: re.Match[str], said: str | Callable[[re.Match[str]], str]) -> str:
    """What stands for a phrase; it begins a sentence where the phrase did."""
    new = found.expand(said) if isinstance(said, str) else said(found)
    return new[:1].upper() + new[1:] if found[0][:1].isupper() else new
