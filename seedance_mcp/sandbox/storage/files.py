"""Routes for files: the blob store, and videos under URLs that expire.

Live, these are other hosts than the API's, and they behave differently: no payments, no sign-in, no request ids.

Source: wire captures of the blob service and of video downloads.
"""

from urllib.parse import unquote

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from seedance_mcp.sandbox.api.answers import TruncatedAnswer, build_json, read_body, read_origin
from seedance_mcp.sandbox.state import SandboxState
from seedance_mcp.sandbox.storage.blob import BlobError
from seedance_mcp.sandbox.storage.bodies import write_body, write_encoded
from seedance_mcp.sandbox.storage.pictures import build_slow_picture
from seedance_mcp.sandbox.storage.ranges import cut_video, send_in_pieces

BLOB_BYTES_MAX = 32 * 1024 * 1024


async def put_blob(studio: SandboxState, request: Request) -> Response:
    """Store a file, as Vercel Blob does."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    pathname = request.query_params.get("pathname", "")
    content_type = request.headers.get("x-content-type") or request.headers.get("content-type", "")
    if scheme.lower() != "bearer":
        token = ""
    content = await read_body(request, BLOB_BYTES_MAX)
    blob = studio.blobs.put(pathname, content, token=token, content_type=content_type)
    url = f"{read_origin(request)}/{blob.pathname}"
    return build_json(
        {
            "url": url,
            "downloadUrl": f"{url}?download=1",
            "pathname": blob.pathname,
            "contentType": blob.content_type,
            "contentDisposition": blob.disposition,
        }
    )


async def show_upload(studio: SandboxState, request: Request) -> Response:
    """Serve a stored file."""
    blob = studio.blobs.find_blob(unquote(request.url.path).lstrip("/"))
    if blob is None or studio.faults.take("gone_upload"):
        raise BlobError(404, "not_found", "The requested blob does not exist.")
    headers = {"content-type": blob.content_type, "content-disposition": blob.disposition}
    return Response(blob.content, headers=headers)


async def show_video(studio: SandboxState, request: Request) -> Response:
    """Serve a video until its URL expires."""
    rendered, status = studio.jobs.find_video(request.path_params["job_id"], request.query_params.get("expires", ""))
    if rendered is None:
        return Response(b"", status)
    content, headers = rendered.video, {"content-type": "video/mp4"}
    body, encoding = studio.faults.take("video_body"), studio.faults.take("video_encoding")
    if body is not None:
        content = await to_thread.run_sync(write_body, content, str(body.argument))
    if encoding is not None:
        content, headers["content-encoding"] = write_encoded(content, str(encoding.argument))
    ranges = studio.faults.take("video_ranges")
    part = cut_video(content, request, None if ranges is None else ranges.argument)
    headers |= part.headers
    if request.method == "GET":
        if studio.faults.take("truncated_video"):
            return TruncatedAnswer(part.content, part.status, headers=headers)
        if (broken := studio.faults.take("broken_video")) is not None:
            return TruncatedAnswer(part.content, part.status, headers=headers, bytes_sent=broken.number)
    if not part.is_measured:
        return StreamingResponse(send_in_pieces(part.content), part.status, headers)
    return Response(part.content, part.status, headers)


async def show_thumbnail(studio: SandboxState, request: Request) -> Response:
    """Serve a video's thumbnail until its URL expires."""
    rendered, status = studio.jobs.find_video(request.path_params["job_id"], request.query_params.get("expires", ""))
    if rendered is None:
        return Response(b"", status)
    if studio.faults.take("slow_thumbnail"):
        return Response(build_slow_picture(), headers={"content-type": "image/jpeg"})
    return Response(rendered.thumbnail, headers={"accept-ranges": "none", "content-type": "image/jpeg"})
