"""The blob store accepts exactly what the client token allows."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account

from seedance_mcp.sandbox import Sandbox
from seedance_mcp.sandbox.storage.blob import TOKEN_PREFIX, BlobError, BlobStore

from .bodies import UPLOAD
from .client import SandboxClient, draw_image


def read_token(token: str) -> dict[str, Any]:
    payload = base64.b64decode(token.removeprefix(TOKEN_PREFIX)).decode().partition(".")[2]
    return json.loads(base64.b64decode(payload))


async def test_upload_ticket_is_bound_to_one_file(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())

    ticket = (await client.buy("/api/upload", UPLOAD)).json()

    grant = read_token(ticket["clientToken"])
    assert set(ticket) == {"uploadId", "clientToken", "pathname", "expiresAt", "curlExample"}
    assert ticket["pathname"].startswith("uploads/")
    assert ticket["pathname"].endswith("/picture.png")
    assert grant["pathname"] == ticket["pathname"]
    assert grant["allowedContentTypes"] == ["image/png"]
    assert grant["maximumSizeInBytes"] == 70
    assert grant["addRandomSuffix"] is False
    assert isinstance(grant["validUntil"], int)


async def test_stored_file_is_public_and_keeps_its_type(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    content = draw_image()

    url = await client.upload(content)

    download, head = await client.http.get(url), await client.http.head(url)
    assert download.content == content
    assert head.content == b""
    assert download.headers["content-type"] == head.headers["content-type"] == "image/png"
    assert head.headers["content-length"] == str(len(content))


@pytest.mark.parametrize(
    ("content", "content_type", "changes", "status", "code"),
    [
        (b"x" * 71, "image/png", {}, 400, "file_too_large"),
        (b"x", "image/webp", {}, 400, "content_type_not_allowed"),
        (b"x", "image/png", {"pathname": "uploads/other.png"}, 400, "client_token_pathname_mismatch"),
        (b"x", "image/png", {"token": "nonsense"}, 403, "forbidden"),
        (b"x", "image/png", {"token": f"{TOKEN_PREFIX}%%%"}, 403, "forbidden"),
        (b"x", "image/png", {"token": TOKEN_PREFIX + base64.b64encode(b"00.e30=").decode()}, 403, "forbidden"),
    ],
)
async def test_put_that_the_token_does_not_allow_is_refused(
    open_sandbox: Callable[..., Sandbox],
    open_client: Callable[..., SandboxClient],
    content: bytes,
    content_type: str,
    changes: dict[str, str],
    status: int,
    code: str,
) -> None:
    client = open_client(open_sandbox())
    ticket = (await client.buy("/api/upload", UPLOAD)).json()

    answer = await client.put_blob(ticket, content, content_type, **changes)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]


def test_token_expires_after_five_minutes() -> None:
    now = 1_000_000.0
    store = BlobStore(clock=lambda: now)
    slot = store.sell_slot("0x" + "11" * 20, filename="a.png", content_type="image/png", size_bytes=None)
    now += 301

    with pytest.raises(BlobError) as refusal:
        store.put(slot.pathname, b"x", token=slot.client_token, content_type="image/png")

    assert refusal.value.status == 403
    assert refusal.value.body == {"error": {"code": "client_token_expired", "message": "Client token has expired."}}


async def test_file_is_not_overwritten(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    ticket = (await client.buy("/api/upload", UPLOAD)).json()
    await client.put_blob(ticket, b"first", "image/png")

    answer = await client.put_blob(ticket, b"second", "image/png")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize("filename", ["../../etc/passwd", "a b?.png", "ä.png", "/", "x" * 255])
def test_hostile_file_name_stays_in_its_slot(filename: str) -> None:
    slot = BlobStore().sell_slot("0x" + "11" * 20, filename=filename, content_type="image/png", size_bytes=1)

    assert slot.pathname.count("/") == 2
    assert ".." not in slot.pathname
    assert "?" not in slot.pathname


async def test_only_the_owner_confirms_a_slot_with_a_file(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    sandbox = open_sandbox()
    client, other = open_client(sandbox), open_client(sandbox, Account.create())
    ticket = (await client.buy("/api/upload", UPLOAD)).json()
    body = {"uploadId": ticket["uploadId"], "blobUrl": f"{sandbox.url}/{ticket['pathname']}"}

    empty = await client.ask("POST", "/api/upload/confirm", json=body)
    unknown = await client.ask("POST", "/api/upload/confirm", json={**body, "uploadId": "none"})
    invalid = await client.ask("POST", "/api/upload/confirm", json={"uploadId": 1})
    await client.put_blob(ticket, draw_image((1, 1))[:70], "image/png")
    refused = await other.ask("POST", "/api/upload/confirm", json=body)
    good = await client.ask("POST", "/api/upload/confirm", json=body)

    statuses = [answer.status_code for answer in (empty, unknown, invalid, refused, good)]
    assert statuses == [400, 404, 400, 403, 200]
    assert good.json() == {
        "success": True,
        "upload": {
            "id": ticket["uploadId"],
            "blobUrl": body["blobUrl"],
            "filename": "picture.png",
            "mediaType": "image/png",
        },
    }
