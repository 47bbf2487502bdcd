"""The wallet: sources of keys, secrecy, and deterministic signatures."""

import json
import logging
import os
import stat
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.backends import get_backend
from eth_keys.backends.coincurve import CoinCurveECCBackend
from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.datatypes import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.adapters.wallet.key_files import KEY_FILE_BYTES_MAX, create_key_file
from seedance_mcp.adapters.wallet.signers import LocalSigner
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.money import MicroUSDC
from seedance_mcp.core.wire.json import decode_base64_json
from seedance_mcp.core.wire.offers import Offer, Offers
from seedance_mcp.core.wire.x402 import Authorization, TokenDomain, build_payment, build_typed_data

KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
"""A known pair from the documentation of web3."""
WITHOUT_COINCURVE = find_spec("coincurve") is None
DOMAIN = TokenDomain(network="eip155:8453", asset="0x" + "ab" * 20, name="USD Coin", version="2")


def write(file: Path, content: str | bytes, mode: int = 0o600) -> Path:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(mode)
    return file


def build_document() -> dict[str, object]:
    terms = {"scheme": "exact", "note": "ümläut ☃", "extra": {"name": "USD Coin", "version": "2", "n": 1.5}}
    offer = Offer(
        rail="x402", scheme="exact", network=DOMAIN.network, asset=DOMAIN.asset, pay_to="0x" + "cd" * 20,
        amount_micro_usdc=MicroUSDC(40_000), lifetime_seconds=300, terms=terms,
    )  # fmt: skip
    authorization = Authorization(
        payer=ADDRESS, pay_to=offer.pay_to, amount_micro_usdc=40_000, valid_after=0, valid_before=1_800_000_180,
        nonce="0x" + "01" * 32,
    )  # fmt: skip
    return build_payment(authorization, offer, Offers(resource={"url": "u"}, extensions={}, offers=(), passed_over=()))


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", [KEY, f"0x{KEY}", f" 0x{KEY.upper().replace('X', 'x')}\n"])
async def test_key_is_read_with_or_without_its_prefix(key: str, tmp_path: Path) -> None:
    assert (await open_wallet(key, tmp_path / "unused")).address == ADDRESS


@pytest.mark.parametrize(
    "content", [KEY, f"0x{KEY}\n", json.dumps({"private_key": f"0x{KEY}"}), b"\xef\xbb\xbf" + KEY.encode()]
)
async def test_key_file_is_plain_text_or_json(content: str | bytes, tmp_path: Path) -> None:
    assert (await open_wallet(None, write(tmp_path / "wallet", content))).address == ADDRESS


async def test_link_to_an_own_key_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(tmp_path / "wallet", KEY))
    assert (await open_wallet(None, tmp_path / "link")).address == ADDRESS


async def test_missing_wallet_error_tells_how_to_create_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No wallet is set\. .*SEEDANCE_WALLET_KEY.*SEEDANCE_PROFILE=sandbox"):
        await open_wallet(None, tmp_path / "wallet.json")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601], ids=lambda mode: f"{mode:o}")
async def test_key_file_that_others_can_open_is_refused(mode: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can be read by others\. .*chmod 600"):
        await open_wallet(None, write(tmp_path / "wallet", KEY, mode))


def mount_secret(folder: Path, mode: int) -> Path:
    """Lay a key file as Kubernetes mounts a secret: behind two links, with a group that may read it."""
    data = folder / "..2026_11_30_00_00_00.123"
    data.mkdir(parents=True)
    write(data / "wallet", KEY, mode)
    (folder / "..data").symlink_to(data.name)
    (folder / "wallet").symlink_to("..data/wallet")
    return folder / "wallet"


@pytest.mark.parametrize("mode", [0o440, 0o640], ids=lambda mode: f"{mode:o}")
async def test_mounted_secret_of_a_group_is_read_where_the_owner_accepts_it(mode: int, tmp_path: Path) -> None:
    file = mount_secret(tmp_path / "secret", mode)
    with pytest.raises(ConfigError, match="can be read by others"):
        await open_wallet(None, file)
    assert (await open_wallet(None, file, group_readable=True)).address == ADDRESS


@pytest.mark.parametrize("mode", [0o660, 0o444, 0o644, 0o460], ids=lambda mode: f"{mode:o}")
async def test_a_group_that_can_write_and_others_are_never_accepted(mode: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can be read by others"):
        await open_wallet(None, write(tmp_path / "wallet", KEY, mode), group_readable=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
async def test_key_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "wallet", KEY)
    os.chown(file, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to another user"):
        await open_wallet(None, file)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda file: write(file, ""), "does not hold a private key"),
    "words": (lambda file: write(file, f"my key is {KEY}"), "does not hold a private key"),
    "short": (lambda file: write(file, KEY[:-1]), "does not hold a private key"),
    "zero": (lambda file: write(file, "0" * 64), "does not hold a usable private key"),
    "above the curve": (lambda file: write(file, "f" * 64), "does not hold a usable private key"),
    "broken JSON": (lambda file: write(file, '{"private_key": "' + KEY), "is not JSON"),
    "deep JSON": (lambda file: write(file, '{"a":' + "[" * 60_000), "is not JSON"),
    "keystore": (lambda file: write(file, '{"crypto": {}}'), "has no private_key"),
    "number": (lambda file: write(file, '{"private_key": 7}'), "has no private_key"),
    "not text": (lambda file: write(file, KEY.encode() + b"\xff\xfe"), "is not text"),
    "huge": (lambda file: write(file, KEY + " " * KEY_FILE_BYTES_MAX), "larger than"),
    "folder": (lambda file: file.mkdir(mode=0o700), "is not a file|Is a directory"),
    "pipe": (lambda file: os.mkfifo(file, 0o600), "is not a file"),
    "dangling link": (lambda file: file.symlink_to(file.with_name("gone")), "No wallet is set"),
    "loop of links": (lambda file: file.symlink_to(file), "cannot be read: Too many levels"),
}


@pytest.mark.parametrize("name", BAD_FILES)
async def test_bad_key_file_error_does_not_contain_the_key(name: str, tmp_path: Path) -> None:
    make, text = BAD_FILES[name]
    make(tmp_path / "wallet.json")
    with anyio.fail_after(60), pytest.raises(ConfigError, match=text) as caught:
        await open_wallet(None, tmp_path / "wallet.json")
    told = "".join(traceback.format_exception(caught.value))
    assert KEY[:-1] not in told
    assert "f" * 64 not in told


@pytest.mark.parametrize(
    "key", ["", "0x", KEY + "0", KEY[:-1], "0" * 64, "f" * 64, "twelve words are not a key", f"{KEY}\n{KEY}"]
)
async def test_bad_key_in_the_environment_is_not_in_the_error(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SEEDANCE_WALLET_KEY does not hold a") as caught:
        await open_wallet(key, tmp_path / "unused")
    assert len(key) < 20 or key not in "".join(traceback.format_exception(caught.value))


# ── creating ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_new_key_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "wallet.json"
    umask = os.umask(0)
    try:
        create_key_file(file)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [one.name for one in file.parent.iterdir()] == ["wallet.json"]
    assert (await open_wallet(None, file)).address.startswith("0x")


def test_key_file_is_never_overwritten(tmp_path: Path) -> None:
    file = write(tmp_path / "wallet.json", KEY)
    with pytest.raises(ConfigError, match="already"):
        create_key_file(file)
    assert file.read_text() == KEY
    assert [one.name for one in tmp_path.iterdir()] == ["wallet.json"]


def test_key_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "wallet.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="already"):
        create_key_file(tmp_path / "wallet.json")
    assert not (tmp_path / "elsewhere").exists()


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written|already"):
        create_key_file(tmp_path / "file" / "wallet.json")


# ── signing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_same_payment_gives_the_same_bytes_also_when_stored(tmp_path: Path) -> None:
    document = build_document()
    first = await (await open_wallet(KEY, tmp_path)).sign_payment(document, DOMAIN)
    again = await (await open_wallet(f"0x{KEY}", tmp_path)).sign_payment(json.loads(json.dumps(document)), DOMAIN)
    assert (first.header, first.value) == (again.header, again.value)


@pytest.mark.skipif(WITHOUT_COINCURVE, reason="coincurve has no wheel for this machine")
@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**256 - 2**130))
@settings(max_examples=20)
def test_a_server_without_coincurve_makes_the_same_signature_again(digest: bytes, number: int) -> None:
    key = PrivateKey(number.to_bytes(32, "big"))
    compiled, pure = CoinCurveECCBackend(), NativeECCBackend()
    assert compiled.ecdsa_sign(digest, key).to_bytes() == pure.ecdsa_sign(digest, key).to_bytes()


@pytest.mark.skipif(WITHOUT_COINCURVE, reason="coincurve has no wheel for this machine")
def test_coincurve_signs_where_it_is_installed() -> None:
    assert isinstance(get_backend(), CoinCurveECCBackend)


async def test_payment_signature_is_over_the_pinned_token(tmp_path: Path) -> None:
    document = build_document()
    credential = await (await open_wallet(KEY, tmp_path)).sign_payment(document, DOMAIN)
    sent = decode_base64_json(credential.value, "the credential")
    payload = sent["payload"]
    assert isinstance(payload, dict)
    fields = Authorization(
        payer=ADDRESS, pay_to="0x" + "cd" * 20, amount_micro_usdc=40_000, valid_after=0, valid_before=1_800_000_180,
        nonce="0x" + "01" * 32,
    )  # fmt: skip
    typed = Account.sign_typed_data(KEY, full_message=build_typed_data(fields, DOMAIN))
    assert payload["signature"] == "0x" + typed.signature.hex().removeprefix("0x")


async def test_sign_in_is_signed_as_personal_text(tmp_path: Path) -> None:
    signature = await (await open_wallet(KEY, tmp_path)).sign_in("hello\nworld")
    assert Account.recover_message(encode_defunct(text="hello\nworld"), signature=signature) == ADDRESS


async def test_wallet_and_credential_repr_show_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wallet = await open_wallet(KEY, tmp_path)
    credential = await wallet.sign_payment(build_document(), DOMAIN)
    shown = f"{wallet!r} {wallet} {credential!r} {caplog.text}"
    assert KEY not in shown
    assert credential.value not in shown
    assert repr(wallet) == f"Wallet({ADDRESS})"
    assert KEY[2:] not in repr(vars(LocalSigner(Account.from_key(KEY))))
