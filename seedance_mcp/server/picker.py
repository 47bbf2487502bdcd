"""Picker: get a picture from the person at the host, where a model cannot name a path.

A host that can show a link to a person (URL elicitation) does it, on every protocol revision that has it, and the call
then waits a while for the picture. Otherwise the link is in the result, at once. Must not buy anything.
"""

from typing import TYPE_CHECKING

import anyio
from mcp import MCPError
from mcp.types import ElicitRequest, ElicitRequestURLParams, ElicitResult, InputRequiredResult

from seedance_mcp.app.upload_rendering import show_link, show_received
from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.image_names import find_upload_id, name_upload
from seedance_mcp.server.call_context import WAIT_SECONDS_MAX, Ctx, find_runtime, read_deadlines, telling_progress

if TYPE_CHECKING:
    from seedance_mcp.app.picker import PicturePicker
    from seedance_mcp.app.results import UploadResult
    from seedance_mcp.app.web.picker.links import PickerLink

MODERN_VERSION = "2026-07-28"
"""First revision on which a tool returns what it asks a person. Source: MCP 2026-07-28, multi round-trip requests."""
URL_VERSION = "2025-11-25"
"""First revision with URL elicitation. Source: MCP 2025-11-25, elicitation."""
ASKED = "picture"
"""Key of our one request to a person."""
QUESTION = "Open this page on your machine to give the picture for the video. Nothing is paid for it there."


async def ask_picture(ctx: Ctx) -> "UploadResult | InputRequiredResult":
    """Return a link where a person can give a picture, or the picture that came within this call.

    Raises:
        ImageError: The person did not want to give one.
    """
    picker = await find_runtime(ctx).picker()
    if ctx.request_state is not None:
        return await _take_answer(ctx, picker)
    link = await picker.open()
    if not _can_show_link(ctx):
        return show_link(link)
    if _is_modern(ctx):
        params = ElicitRequestURLParams(message=QUESTION, url=link.url)
        return InputRequiredResult(
            input_requests={ASKED: ElicitRequest(params=params)},
            request_state=f"{name_upload(link.upload_id)} {link.token}",  # sealed, and the host has the link anyway
        )
    action = await _show_link(ctx, link)
    return await _finish(ctx, picker, link, action)


async def _show_link(ctx: Ctx, link: "PickerLink") -> str:
    """Show the link in the middle of a call, as the revisions before 2026-07-28 do; returns the person's action."""
    with anyio.move_on_after(read_deadlines(WAIT_SECONDS_MAX).answer - anyio.current_time()):
        try:
            answer = await ctx.elicit_url(QUESTION, link.url, link.upload_id)
        except MCPError:  # a host that declares what it cannot do: the result has the link
            return "cancel"
        return answer.action
    return "cancel"


async def _take_answer(ctx: Ctx, picker: "PicturePicker") -> "UploadResult":
    """Go on after the host has shown the link; the sealed state names it."""
    name, _, token = (ctx.request_state or "").partition(" ")
    link = await picker.find(find_upload_id(name) or "", token)
    answer = (ctx.input_responses or {}).get(ASKED)
    action = answer.action if isinstance(answer, ElicitResult) else "cancel"
    if link is not None:
        return await _finish(ctx, picker, link, action)
    if action == "decline":
        raise _declined_error()
    found = await picker.find_received(name)
    return show_link(await picker.open()) if found is None else show_received(name, found)


async def _finish(ctx: Ctx, picker: "PicturePicker", link: "PickerLink", action: str) -> "UploadResult":
    """Wait for the picture if the person opens the page; else return the link, or refuse if they do not want it."""
    if action == "decline":
        await picker.end(link)
        raise _declined_error()
    if action == "accept":
        async with telling_progress(ctx, "Waiting for the picture"):
            with anyio.move_on_after(read_deadlines(WAIT_SECONDS_MAX).answer - anyio.current_time()):
                await picker.wait(link)
    if link.image is not None and not _is_modern(ctx):
        await ctx.session.send_elicit_complete(link.upload_id)
    return show_link(link)


def _declined_error() -> ImageError:
    return ImageError(
        "The person at the host did not want to open the page for a picture.",
        "Ask the user for the picture's path or https URL.",
    )


def _can_show_link(ctx: Ctx) -> bool:
    """Return True if the host can show a link to a person and return the answer."""
    capabilities = ctx.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    if elicitation is None or elicitation.url is None:
        return False
    return _is_modern(ctx) or ((ctx.protocol_version or "") >= URL_VERSION and ctx.session.can_send_request)


def _is_modern(ctx: Ctx) -> bool:
    return (ctx.protocol_version or "") >= MODERN_VERSION
