"""Upload rendering: from an uploaded picture, or a link for one, to the result that an interface shows."""

from typing import TYPE_CHECKING

from seedance_mcp.app.results import UploadResult
from seedance_mcp.core.image_names import name_upload
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import Argument, AskUser, Call, NextStep
from seedance_mcp.core.texts import write_time
from seedance_mcp.core.wire.kinds import show_identifier, show_url

if TYPE_CHECKING:  # these load with the first call
    from seedance_mcp.adapters.media.images import Image
    from seedance_mcp.app.web.picker.links import PickerLink
    from seedance_mcp.generation.uploads import CompletedUpload


def show_upload(hosted: "CompletedUpload") -> UploadResult:
    """Return an upload as the interfaces show it."""
    upload = hosted.upload
    return UploadResult(
        image=None,
        upload_url=None,
        expires_at=None,
        curl=None,
        image_url=show_url(upload.image_url),
        upload_id=show_identifier(upload.upload_id),
        sha256=upload.sha256,
        media_type=upload.media_type,
        size_bytes=upload.size_bytes,
        price_usd=format_usdc(hosted.paid_micro_usdc),
        price_micro_usdc=hosted.paid_micro_usdc,
        notes=list(hosted.notes),
        next_step=NextStep(
            "{0} with {1} (or the same file) as the image.", Call("animate_image"), Argument("image_url")
        ),
    )


def show_link(link: "PickerLink") -> UploadResult:
    """Return a link to the page for a picture, or the picture that came over it, as the interfaces show it."""
    name, image = name_upload(link.upload_id), link.image
    if image is not None:
        return show_received(name, image)
    result = _show_given(name)
    result["upload_url"], result["expires_at"] = link.url, write_time(link.expires_at)
    result["curl"] = f'curl -T "PICTURE_FILE" "{link.url}"'
    where = " on this machine" if link.is_local else ""
    upload_step = AskUser(f"open {link.url}{where} and drop the picture there")
    result["next_step"] = NextStep("{0}; then {1} with {2} {3}.", upload_step, *_use_given(name))
    return result


def show_received(name: str, image: "Image") -> UploadResult:
    """Return a picture that a person gave on a page of ours as the interfaces show it; it is not hosted yet."""
    result = _show_given(name)
    result["sha256"], result["media_type"], result["size_bytes"] = image.sha256, image.media_type, image.size_bytes
    result["notes"] = [f"The picture has {image.width} x {image.height} pixels."]
    return result


def _show_given(name: str) -> UploadResult:
    """Return what is the same before and after a person has given a picture."""
    return UploadResult(
        image=name, upload_url=None, expires_at=None, curl=None, image_url=None, upload_id=None, sha256=None,
        media_type=None, size_bytes=0, price_usd=format_usdc(0), price_micro_usdc=0, notes=[],
        next_step=NextStep("{0} with {1} {2}.", *_use_given(name)),
    )  # fmt: skip


def _use_given(name: str) -> tuple[Call, Argument, str]:
    return Call("animate_image"), Argument("image"), name
