"""An independent client: the official x402 client SDK and eth-account, over a local port."""

import base64
import io
import json
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from PIL import Image
from x402.client import x402ClientSync
from x402.http.utils import decode_payment_required_header, encode_payment_signature_header
from x402.mechanisms.evm.exact.client import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    ExactEvmScheme,
)
from x402.mechanisms.evm.signers import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    EthAccountSigner,
)
from x402.schemas import PaymentRequired

FUNDS_MICRO_USDC = 100_000_000
POLL_SECONDS = 0.02


def read_challenge(response: httpx.Response) -> dict[str, Any]:
    """Decode a 402's header."""
    return json.loads(base64.b64decode(response.headers["payment-required"], validate=True))


def read_amount(response: httpx.Response) -> int:
    """Return the amount of a 402 in micro-USDC."""
    return int(read_challenge(response)["accepts"][0]["amount"])


def draw_image(size: tuple[int, int] = (320, 180), *, kind: str = "PNG", colour: str = "teal") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


class SandboxClient:
    """One wallet and one HTTP client."""

    def __init__(self, http: httpx.AsyncClient, account: LocalAccount) -> None:
        self.http = http
        self.account = account
        # Its spending policy would refuse an unknown token; these tests are of the studio.
        self.sdk = x402ClientSync()
        self.sdk.set_spend_controls(False)
        self.sdk.register("eip155:*", ExactEvmScheme(EthAccountSigner(account)))

    @property
    def address(self) -> str:
        return self.account.address

    def sign_payment(self, challenge: httpx.Response) -> str:
        """Sign the offer of a 402 with the official client."""
        required = decode_payment_required_header(challenge.headers["payment-required"])
        assert isinstance(required, PaymentRequired)
        return encode_payment_signature_header(self.sdk.create_payment_payload(required))

    async def buy(self, path: str, body: Any) -> httpx.Response:
        challenge = await self.http.post(path, json=body)
        assert challenge.status_code == 402, challenge.text
        return await self.send_paid(path, body, self.sign_payment(challenge))

    async def send_paid(self, path: str, body: Any, signature: str) -> httpx.Response:
        return await self.http.post(path, json=body, headers={"PAYMENT-SIGNATURE": signature})

    def sign_in(self, challenge: httpx.Response | None, **changes: Any) -> str:
        """Answer a sign-in challenge; `changes` make the answer wrong."""
        if challenge is None:
            info = self.make_info()
        else:
            info = read_challenge(challenge)["extensions"]["sign-in-with-x"]["info"]
        info = {**info, "address": self.address, **changes}
        signature = self.account.sign_message(encode_defunct(text=write_message(info))).signature.hex()
        return base64.b64encode(json.dumps({**info, "signature": f"0x{signature}"}).encode()).decode()

    def make_info(self) -> dict[str, Any]:
        """Build a challenge's fields without requesting a challenge."""
        origin = str(self.http.base_url).rstrip("/")
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "domain": self.http.base_url.host,
            "uri": f"{origin}/api/jobs",
            "version": "1",
            "chainId": "eip155:402402",
            "type": "eip191",
            "nonce": base64.b16encode(Account.create().key[:16]).decode().lower(),
            "issuedAt": now,
            "statement": "Sign in to verify your wallet identity",
        }

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a signed-in request."""
        challenge = await self.http.request(method, path, **options)
        assert challenge.status_code == 402, challenge.text
        return await self.http.request(method, path, headers={"SIGN-IN-WITH-X": self.sign_in(challenge)}, **options)

    async def upload(self, content: bytes, content_type: str = "image/png") -> str:
        """Pay for a slot, upload, confirm, and return the blob's URL."""
        body = {"filename": "picture.png", "contentType": content_type, "size": len(content)}
        ticket = (await self.buy("/api/upload", body)).json()
        put = await self.put_blob(ticket, content, content_type)
        assert put.status_code == 200, put.text
        url = put.json()["url"]
        confirm = {"uploadId": ticket["uploadId"], "blobUrl": url}
        confirmed = await self.ask("POST", "/api/upload/confirm", json=confirm)
        assert confirmed.status_code == 200, confirmed.text
        return url

    async def put_blob(
        self, ticket: dict[str, Any], content: bytes, content_type: str, **changes: str
    ) -> httpx.Response:
        headers = {
            "authorization": f"Bearer {changes.get('token', ticket['clientToken'])}",
            "x-content-type": content_type,
            "x-api-version": "11",
        }
        pathname = changes.get("pathname", ticket["pathname"])
        return await self.http.put("/api/blob/", params={"pathname": pathname}, content=content, headers=headers)

    async def wait_for(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """Poll a job until it has one of these statuses. The caller bounds the wait."""
        while True:
            job = (await self.ask("GET", f"/api/jobs/{job_id}")).json()
            if job["status"] in statuses:
                return job
            await anyio.sleep(POLL_SECONDS)  # the studio's thread makes the job, and sets no event of ours

    async def state(self) -> dict[str, Any]:
        return (await self.http.get("/_sandbox/state")).json()


def write_message(info: dict[str, Any]) -> str:
    """Write the EIP-4361 text of a proof by hand, as the captures show it."""
    lines = [
        f"{info['domain']} wants you to sign in with your Ethereum account:",
        info["address"],
        "",
        info["statement"],
        "",
        f"URI: {info['uri']}",
        f"Version: {info['version']}",
        f"Chain ID: {info['chainId'].partition(':')[2]}",
        f"Nonce: {info['nonce']}",
        f"Issued At: {info['issuedAt']}",
    ]
    if "expirationTime" in info:
        lines.append(f"Expiration Time: {info['expirationTime']}")
    return "\n".join(lines)
