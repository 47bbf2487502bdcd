"""Receiving: take the bytes of a picture from a request, check them by decoding, and store them under an id.

A body is bounded while it is read. What is refused is not stored.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, Image, prepare_image
from seedance_mcp.adapters.media.thumbnails import shrink_image
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import LedgerError, StorageError
from seedance_mcp.core.image_names import name_upload

BODY_SECONDS = 300
"""How long a body may take to come."""
_TOO_LARGE = f"The picture is larger than {IMAGE_BYTES_MAX // 1_000_000} MB. Make it smaller and try again."


class RefusedUploadError(Exception):
    """A request whose body is not taken.

    Attributes:
        status: The HTTP status.
        text: The reason and the next step, for a person.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


async def receive_picture(request: Request, store: Callable[[Image, bytes], Awaitable[None]]) -> Image:
    """Store the picture that a request brings.

    Args:
        request: Has the picture as its body.
        store: Stores a picture that was decoded, and its bytes as they came.

    Raises:
        RefusedUploadError: Too large, too slow, or not a picture.
        StorageError, LedgerError: The store or the ledger cannot be used.
    """
    data = await _read_body(request)
    try:
        image = await prepare_image(data, "The picture")
        await store(image, data)
    except (LedgerError, StorageError):
        raise
    except SeedanceError as exc:
        raise RefusedUploadError(422, str(exc)) from exc
    return image


async def _read_body(request: Request) -> bytes:
    """Return a body, which has at most `IMAGE_BYTES_MAX` bytes."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise RefusedUploadError(415, "Send the bytes of the picture themselves, as curl -T does, not a form.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > IMAGE_BYTES_MAX:
        raise RefusedUploadError(413, _TOO_LARGE)
    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > IMAGE_BYTES_MAX:
                    raise RefusedUploadError(413, _TOO_LARGE)
    except TimeoutError as exc:
        raise RefusedUploadError(408, "The picture took too long to come. Try again.") from exc
    except ClientDisconnect as exc:
        raise RefusedUploadError(400, "The picture did not come whole. Try again.") from exc
    return bytes(body)


async def describe_received(image: Image, upload_id: str) -> dict[str, object]:
    """Return what a page shows of a picture that was stored."""
    small = await shrink_image(image)
    preview = None if small is None else f"data:image/jpeg;base64,{base64.b64encode(small).decode('ascii')}"
    return {
        "image": name_upload(upload_id),
        "width": image.width,
        "height": image.height,
        "changes": list(image.changes),
        "preview": preview,
    }


def answer_received(facts: Mapping[str, object]) -> Response:
    """Return the answer to a picture that was stored."""
    return JSONResponse(dict(facts), 201)


def answer_refused(_: Request, exc: Exception) -> Response:
    """Return the answer to a request that is refused; a handler of Starlette."""
    status, text = (exc.status, exc.text) if isinstance(exc, RefusedUploadError) else (500, "Try again.")
    return JSONResponse({"error": text}, status)
