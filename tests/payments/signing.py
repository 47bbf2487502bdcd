"""A process that has a key and signs for others over a Unix socket: by RFC 6979, or differently each time.

The second way is that of key services. The key comes on stdin, and leaves by no way.
"""

import json
import secrets
import socket
import sys
from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_defunct, encode_typed_data
from eth_keys.backends.native.jacobian import fast_multiply
from eth_keys.constants import SECPK1_G, SECPK1_N
from eth_utils.crypto import keccak


def sign_randomly(message: SignableMessage, key: int) -> str:
    """Return a valid signature with a nonce of its own. Source: SEC 1, section 4.1.3; EIP-2 (low s)."""
    digest = keccak(b"\x19" + message.version + message.header + message.body)
    nonce = secrets.randbelow(SECPK1_N - 1) + 1
    x, y = fast_multiply(SECPK1_G, nonce)
    r = x % SECPK1_N
    s = pow(nonce, -1, SECPK1_N) * (int.from_bytes(digest, "big") + r * key) % SECPK1_N
    is_high = s * 2 > SECPK1_N
    v = 27 + (y % 2 ^ is_high)
    s = SECPK1_N - s if is_high else s
    return "0x" + (r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])).hex()


def main() -> None:
    """Serve until killed."""
    place, kind = sys.argv[1:]
    account: Any = Account.from_key(sys.stdin.readline().strip())
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        print("ready", flush=True)  # noqa: T201 - tells the test
        while True:
            connection, _ = server.accept()
            with connection, connection.makefile("rw") as lines:
                question = json.loads(lines.readline())
                message = (
                    encode_defunct(text=question["text"])
                    if "text" in question
                    else encode_typed_data(full_message=question["typed_data"])
                )
                if kind == "random":
                    answer = sign_randomly(message, int.from_bytes(account.key, "big"))
                else:
                    answer = "0x" + account.sign_message(message).signature.hex().removeprefix("0x")
                lines.write(f"{answer}\n")


if __name__ == "__main__":
    main()
