"""A small authorization server on loopback, with keys of its own, that also signs what a good one would not.

It gives access tokens to any client that names itself (`client_credentials`), publishes metadata and keys, and counts
what it was asked. It runs in a thread, so that tests, benchmarks and other processes can ask it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote_plus, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PRIVATE_KEYS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
TOKEN_SECONDS = 3600
SECRET = "a-secret-of-every-client"
KEYS_PATH = "/keys"


@dataclass(frozen=True)
class Key:
    """A key pair.

    Attributes:
        id: The key id, or None.
        algorithm: What it signs with.
        private: The private key.
    """

    id: str | None
    algorithm: str
    private: Any

    @classmethod
    def make(cls, key_id: str | None, algorithm: str = "ES256") -> Key:
        """Make a key pair."""
        return cls(key_id, algorithm, PRIVATE_KEYS[algorithm]())

    @property
    def public(self) -> dict[str, Any]:
        """Return the public key as a JSON Web Key."""
        writers = {"RS": RSAAlgorithm, "PS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}
        written: dict[str, Any] = writers[self.algorithm[:2]].to_jwk(self.private.public_key(), as_dict=True)
        return written | {"use": "sig"} | ({} if self.id is None else {"kid": self.id})

    @property
    def public_pem(self) -> bytes:
        """Return the public key as PEM."""
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims: Mapping[str, Any], **headers: Any) -> str:
        """Sign claims; None takes a header away."""
        named = {} if self.id is None else {"kid": self.id}
        return jwt.encode(dict(claims), self.private, self.algorithm, {"typ": "at+jwt", **named, **headers})


@dataclass
class AuthorizationServer:
    """A running authorization server.

    Attributes:
        issuer: Its URL, also where it does not run.
        keys: Published; the first signs.
        asked: The path of each request.
        answers: What it answers in the place of a document, by path: a status, headers and a body.
        metadata: Changes of its metadata.
    """

    issuer: str
    keys: list[Key]
    asked: list[str] = field(default_factory=list[str])
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict[str, Any])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    _server: ThreadingHTTPServer | None = None

    @property
    def keys_asked(self) -> int:
        """Return how often the keys were fetched."""
        return self.asked.count(KEYS_PATH)

    @property
    def metadata_path(self) -> str:
        """Return where the metadata is."""
        return f"/.well-known/oauth-authorization-server{urlsplit(self.issuer).path}"

    def rotate(self, key: Key) -> None:
        """Sign with another key from now on, and publish no other."""
        self.keys[:] = [key]

    def build_claims(self, subject: str, audience: str, *, scope: str = "read spend", **changes: Any) -> dict[str, Any]:
        """Return the claims of an access token; None takes one away."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer, "aud": audience, "sub": subject, "client_id": subject, "scope": scope, "iat": now,
            "exp": now + TOKEN_SECONDS,
        }  # fmt: skip
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def mint(self, subject: str, audience: str, *, scope: str = "read spend", **changes: Any) -> str:
        """Return an access token of a subject."""
        return self.keys[0].sign(self.build_claims(subject, audience, scope=scope, **changes))

    def build_documents(self) -> dict[str, Any]:
        """Return the documents by their paths."""
        metadata = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self._origin}{KEYS_PATH}",
            "response_types_supported": ["code"],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            **self.metadata,
        }
        return {self.metadata_path: metadata, KEYS_PATH: {"keys": [key.public for key in self.keys]}}

    @property
    def _origin(self) -> str:
        return f"http://{urlsplit(self.issuer).netloc}"

    def start(self) -> None:
        """Begin to listen, again at the same port after a `stop`."""
        parts = urlsplit(self.issuer)
        handler = type("Handler", (_Handler,), {"server_state": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", parts.port or 0), handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}{parts.path}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """End to listen: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Handler(BaseHTTPRequestHandler):
    server_state: ClassVar[AuthorizationServer]

    def do_GET(self) -> None:
        state, path = self.server_state, self.path.partition("?")[0]
        state.asked.append(path)
        if path in state.answers:
            self._send(*state.answers[path])
            return
        documents = state.build_documents()
        found = path in documents
        self._send(200 if found else 404, {}, json.dumps(documents.get(path, {})).encode())

    def do_POST(self) -> None:
        """Give a token to a client that names itself. Source: RFC 6749, section 4.4; RFC 8707, section 2.2."""
        state, size = self.server_state, int(self.headers.get("content-length", "0"))
        state.asked.append(self.path)
        form = {name: values[0] for name, values in parse_qs(self.rfile.read(size).decode()).items()}
        scheme, _, basic = self.headers.get("authorization", "").partition(" ")
        client, _, secret = base64.b64decode(basic).decode().partition(":") if scheme == "Basic" else ("", "", "")
        if unquote_plus(secret) != SECRET or form.get("grant_type") != "client_credentials" or "resource" not in form:
            self._send(400, {}, b'{"error": "invalid_request"}')
            return
        scope = form.get("scope", "read")
        token = state.mint(unquote_plus(client), form["resource"], scope=scope)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "scope": scope}
        self._send(200, {"cache-control": "no-store"}, json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        sent = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close", **headers}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def run_authorization_server(*keys: Key, path: str = "") -> Generator[AuthorizationServer]:
    """Run an authorization server; with a key of its own where none is given.

    Args:
        keys: Published; the first signs.
        path: Of its issuer.
    """
    server = AuthorizationServer(f"http://127.0.0.1:0{path}", list(keys) or [Key.make("first")])
    server.start()
    try:
        yield server
    finally:
        server.stop()


def encode_part(value: object) -> str:
    """Encode a part of a token by hand: text as it is, anything else as JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def forge_with_secret(claims: Mapping[str, Any], secret: bytes, **headers: Any) -> str:
    """Sign claims with a shared secret (HS256), such as a public key that everyone knows."""
    signed = f"{encode_part({'alg': 'HS256', 'typ': 'at+jwt', **headers})}.{encode_part(dict(claims))}"
    return f"{signed}.{encode_part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"
