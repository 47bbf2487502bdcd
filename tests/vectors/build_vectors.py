"""Make the known answers of `authorizations.json` and `sign_ins.json` with other people's code.

    python tests/vectors/build_vectors.py

The first come from the official `x402` SDK (its EIP-712 hashing and its signer), the second from
`signinwithethereum`. Keys are those of the public test mnemonic "test test … junk", worthless everywhere.
`captures.json` is not made here: it is transcribed from a recording, which its `origin` describes.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eth_account import Account
from siwe import SiweMessage  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
from x402.mechanisms.evm.eip712 import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    hash_eip3009_authorization,
)
from x402.mechanisms.evm.types import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    ExactEIP3009Authorization,
)

HERE = Path(__file__).parent
KEYS = (
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
)
BASE_USDC = ("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin", "2")
OTHER_TOKEN = ("eip155:402402", "0x5A4dB0c500000000000000000000000000000402", "Sandbox USDC", "1")
PAY_TO = "0xa8049bb68181799124f98e467dd749e120abfa64"

AUTHORIZATIONS = [
    (BASE_USDC, PAY_TO, "412500", "0", "1795451576", "0x" + "07" * 32),
    (BASE_USDC, PAY_TO, "1", "1795451000", "1795451576", "0x" + "00" * 31 + "01"),
    (BASE_USDC, "0x07F067959297767c887dbfA3C72379c66E82a045", "20000000", "0", "1795451576", "0x" + "ff" * 32),
    (OTHER_TOKEN, PAY_TO, "10000", "0", "1795451576", "0x" + "a5" * 32),
]

STATEMENT = "Sign in to verify your wallet identity"
SIGN_INS = [
    ("stablestudio.dev", "https://stablestudio.dev/api/upload/confirm", 8453, STATEMENT),
    ("stablestudio.dev", "https://stablestudio.dev/api/jobs?limit=20&status=complete", 8453, None),
    ("127.0.0.1", "http://127.0.0.1:4020/api/jobs/c0345474-2310-42b6-af81-3147eb10f3ab", 402402, STATEMENT),
    ("127.0.0.1:4020", "http://127.0.0.1:4020/api/jobs", 402402, None),
]


def build_authorizations() -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for key in KEYS:
        account = Account.from_key(key)
        for (network, asset, name, revision), pay_to, value, after, before, nonce in AUTHORIZATIONS:
            authorization = ExactEIP3009Authorization(
                from_address=account.address,
                to=pay_to,
                value=value,
                valid_after=after,
                valid_before=before,
                nonce=nonce,
            )
            chain_id = int(network.removeprefix("eip155:"))
            digest = hash_eip3009_authorization(authorization, chain_id, asset, name, revision)
            rows.append(
                {
                    "key": key,
                    "token": {"network": network, "asset": asset, "name": name, "version": revision},
                    "authorization": {
                        "from": account.address,
                        "to": pay_to,
                        "value": value,
                        "validAfter": after,
                        "validBefore": before,
                        "nonce": nonce,
                    },
                    "digest": "0x" + digest.hex(),
                    "signature": "0x" + account.unsafe_sign_hash(digest).signature.hex().removeprefix("0x"),
                }
            )
    return {
        "origin": f"x402 {version('x402')}, mechanisms.evm.eip712.hash_eip3009_authorization; build_vectors.py",
        "rows": rows,
    }


def build_sign_ins() -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    address = Account.from_key(KEYS[0]).address
    for domain, uri, chain_id, statement in SIGN_INS:
        fields: dict[str, Any] = {
            "domain": domain,
            "uri": uri,
            "nonce": "7e7da93dddcc4728b24d1817d7f6d27b",
            "issued_at": "2026-11-23T16:27:56.616Z",
            "expiration_time": "2026-11-23T16:32:56.616Z",
            "statement": statement,
        }
        message = SiweMessage.model_validate({**fields, "address": address, "version": "1", "chain_id": chain_id})
        rows.append(
            {
                "address": address,
                "fields": {**fields, "chain_id": f"eip155:{chain_id}"},
                "message": message.prepare_message(),
            }
        )
    return {
        "origin": f"signinwithethereum {version('signinwithethereum')}, prepare_message; build_vectors.py",
        "rows": rows,
    }


BUILDERS = {"authorizations": build_authorizations, "sign_ins": build_sign_ins}


def main() -> None:
    """Write the files anew."""
    for name, build in BUILDERS.items():
        (HERE / f"{name}.json").write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{name}.json\n")


if __name__ == "__main__":
    main()
