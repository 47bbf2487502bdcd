"""The studio's discovery documents: openapi.json and llms.txt.

Source: the shape of `GET /openapi.json` and `GET /llms.txt` as the makers' framework serves them.
"""

from collections.abc import Sequence
from typing import Any

from seedance_mcp.sandbox.api.contract import CONFIRM_SCHEMA, GenerateRoute
from seedance_mcp.sandbox.api.schema import Schema
from seedance_mcp.sandbox.chains.tempo import TOKEN_ADDRESS
from seedance_mcp.sandbox.settings import Contract

JOB_STATUSES = ("pending", "loading", "complete", "failed")
LIST_PARAMETERS: list[dict[str, Any]] = [
    {
        "in": "query",
        "name": "limit",
        "schema": {"default": 20, "type": "integer", "minimum": 1, "maximum": 100},
    },
    {"in": "query", "name": "status", "schema": {"type": "string", "enum": list(JOB_STATUSES)}},
    {"in": "query", "name": "cursor", "schema": {"type": "string"}},
]

_PROTOCOLS: dict[str, dict[str, str]] = {
    "x402": {},
    "mpp": {"method": "tempo", "intent": "charge", "currency": TOKEN_ADDRESS.lower()},
}
_BODIES: dict[Contract, str] = {
    "classic": (
        '{prompt, image, last_image?, duration: "4".."12", resolution, aspect_ratio, camera_fixed?, '
        "generate_audio?, seed?}"
    ),
    "current": (
        '{prompt, duration: "4".."15", aspectRatio, outputResolution, mode: "keyframe", '
        'urls: [first(, last)], urlMediaTypes: ["image"(, "image")], upscaleResolution?: "4k"}; or mode: "reference" '
        "with 1 to 12 urls of images and videos that the prompt names (@image1), and at most 3 audioUrls"
    ),
}


def build_guidance(contract: Contract, origin: str) -> str:
    """Build llms.txt."""
    steps = [
        f"POST {origin}/api/upload {{filename, contentType, size?}} (paid, $0.01) "
        "-> {uploadId, clientToken, pathname, expiresAt}",
        f"PUT {origin}/api/blob/?pathname=<url-encoded pathname> with authorization: Bearer <clientToken>, "
        "x-content-type and x-api-version: 11, the file as the body -> {url}",
        f"POST {origin}/api/upload/confirm {{uploadId, blobUrl}} (signed in, free)",
        f"POST {origin}/api/generate/seedance/i2v or /api/generate/seedance-fast/i2v {_BODIES[contract]} "
        "(paid) -> {jobId, pollUrl}",
        f"GET {origin}/api/jobs/{{jobId}} (signed in, free) until status is complete or failed. "
        "Result URLs expire; download at once.",
    ]
    if contract == "current":
        steps.append("Text to video: the same without mode, urls, urlMediaTypes and audioUrls, POST to .../t2v.")
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))
    return f"""# StableStudio (sandbox)

A local stand-in for the studio. Its money is worthless; everything else behaves like the real studio.

Image to video:

{numbered}

Steps 1 to 3 are only for local files: any public image URL works.
GET /api/jobs?limit=20&status=complete (signed in, free) lists your jobs.
Never resubmit a job that is pending or loading: duplicates are paid again.
"""


def build_openapi(
    contract: Contract,
    routes: Sequence[GenerateRoute],
    *,
    origin: str,
    rails: Sequence[str],
    upload_schema: Schema,
) -> dict[str, Any]:
    """Build openapi.json for one origin."""
    protocols: list[dict[str, Any]] = [{rail: _PROTOCOLS[rail]} for rail in rails]

    def paid(price: dict[str, Any]) -> dict[str, Any]:
        return {"x-payment-info": {"price": {"currency": "USD", **price}, "protocols": protocols}}

    upload = paid({"mode": "fixed", "amount": "0.01"})
    paths: dict[str, dict[str, Any]] = {
        "/api/upload": {
            "post": _build_operation("upload", "Buy an upload slot", "Upload", body=upload_schema, **upload)
        },
        "/api/upload/confirm": {
            "post": _build_operation(
                "upload_confirm", "Confirm a finished upload", "Upload", body=CONFIRM_SCHEMA, **_SIWX
            )
        },
    }
    for route in routes:
        dynamic = paid({"mode": "dynamic", "min": route.min_usd, "max": route.max_usd})
        name = f"generate_{route.model}_{route.task}"
        paths[route.path] = {"post": _build_operation(name, route.title, "Generate", body=route.schema, **dynamic)}
    paths["/api/jobs/{jobId}"] = {
        "get": _build_operation("job_status", "Job status", "Jobs", **_SIWX),
        "delete": _build_operation("job_delete", "Hide a failed job", "Jobs", **_SIWX),
    }
    paths["/api/jobs"] = {
        "get": _build_operation("jobs", "List the caller's jobs", "Jobs", parameters=LIST_PARAMETERS, **_SIWX)
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "StableStudio",
            "description": "Pay-per-use AI image and video generation (sandbox).",
            "version": "2.0.0" if contract == "current" else "1.0.0",
            "x-guidance": build_guidance(contract, origin),
        },
        "servers": [{"url": origin}],
        "tags": [{"name": "Generate"}, {"name": "Jobs"}, {"name": "Upload"}],
        "components": {"securitySchemes": {"siwx": {"type": "apiKey", "in": "header", "name": "SIGN-IN-WITH-X"}}},
        "paths": paths,
    }


_SIWX: dict[str, Any] = {"security": [{"siwx": []}]}


def _build_operation(
    operation_id: str, summary: str, tag: str, *, body: dict[str, Any] | None = None, **extra: Any
) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": operation_id, "summary": summary, "tags": [tag], **extra}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    needs = "Payment Required" if "x-payment-info" in extra else "Authentication Required"
    operation["responses"] = {"200": {"description": "Successful response"}, "402": {"description": needs}}
    return operation
