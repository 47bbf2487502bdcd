"""The token contract: the supply is constant, and no authorization moves money twice."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from hypothesis import given, settings
from hypothesis import strategies as st
from x402.mechanisms.evm.eip712 import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    hash_eip3009_authorization,
)
from x402.mechanisms.evm.types import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    ExactEIP3009Authorization,
)

from seedance_mcp.sandbox.chains.local_chain import (
    CHAIN_ID,
    TOKEN_ADDRESS,
    TOKEN_NAME,
    TOKEN_VERSION,
    Authorization,
    LocalChain,
    RevertError,
)
from seedance_mcp.sandbox.chains.signer import ChainSigner

NOW = 1_800_000_000
SIGNERS: list[LocalAccount] = [Account.from_key(f"0x{number:064x}") for number in (1, 2, 3)]
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def sign(signer: LocalAccount, authorization: Authorization) -> bytes:
    """Sign the digest that the official SDK computes."""
    digest = hash_eip3009_authorization(
        ExactEIP3009Authorization(
            from_address=authorization.payer,
            to=authorization.recipient,
            value=str(authorization.amount_micro_usdc),
            valid_after=str(authorization.valid_after),
            valid_before=str(authorization.valid_before),
            nonce="0x" + authorization.nonce.hex(),
        ),
        CHAIN_ID,
        TOKEN_ADDRESS,
        TOKEN_NAME,
        TOKEN_VERSION,
    )
    return bytes(signer.unsafe_sign_hash(Hash32(digest)).signature)


def authorize(payer: LocalAccount, recipient: LocalAccount, **changes: Any) -> Authorization:
    fields: dict[str, Any] = {
        "payer": payer.address,
        "recipient": recipient.address,
        "amount_micro_usdc": 100,
        "valid_after": NOW - 1,
        "valid_before": NOW + 60,
        "nonce": bytes(32),
        **changes,
    }
    return Authorization(**fields)


def open_chain(**funded: int) -> LocalChain:
    amounts = {signer.address: 1_000 for signer in SIGNERS} | funded
    return LocalChain(amounts, clock=lambda: NOW)


def test_transfer_moves_money_once_and_leaves_a_receipt() -> None:
    chain = open_chain()
    payer, recipient, _ = SIGNERS
    authorization = authorize(payer, recipient)
    signature = sign(payer, authorization)

    transaction = chain.transfer(authorization, signature)

    assert (chain.balance_of(payer.address), chain.balance_of(recipient.address)) == (900, 1_100)
    assert chain.authorization_state(payer.address, bytes(32))
    assert not chain.authorization_state(recipient.address, bytes(32))
    receipt = ChainSigner(chain).wait_for_transaction_receipt(transaction)
    assert receipt.status == 1
    with pytest.raises(RevertError, match="authorization is used or canceled"):
        chain.transfer(authorization, signature)
    assert chain.balance_of(payer.address) == 900


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"valid_after": NOW}, "not yet valid"),
        ({"valid_before": NOW}, "expired"),
        ({"amount_micro_usdc": 1_001}, "exceeds balance"),
    ],
)
def test_contract_refuses_an_invalid_transfer(changes: dict[str, Any], reason: str) -> None:
    chain = open_chain()
    payer, recipient, _ = SIGNERS
    authorization = authorize(payer, recipient, **changes)

    with pytest.raises(RevertError, match=reason):
        chain.transfer(authorization, sign(payer, authorization))

    assert chain.settlements() == ()


def test_signature_of_another_key_is_refused() -> None:
    payer, recipient, other = SIGNERS
    authorization = authorize(payer, recipient)

    with pytest.raises(RevertError, match="invalid signature"):
        open_chain().transfer(authorization, sign(other, authorization))


def test_upper_half_signature_is_refused() -> None:
    payer, recipient, _ = SIGNERS
    authorization = authorize(payer, recipient)
    signature = sign(payer, authorization)
    s = CURVE_ORDER - int.from_bytes(signature[32:64])
    mirrored = signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]])

    with pytest.raises(RevertError, match="invalid signature"):
        open_chain().transfer(authorization, mirrored)


@given(st.binary(max_size=70))
def test_arbitrary_bytes_are_not_a_signature(signature: bytes) -> None:
    payer, recipient, _ = SIGNERS

    with pytest.raises(RevertError, match="invalid signature"):
        open_chain().transfer(authorize(payer, recipient), signature)


def test_block_number_gives_the_time() -> None:
    now = float(NOW)
    chain = LocalChain(clock=lambda: now)
    born = chain.block_number()
    now += 61.5

    assert chain.timestamp() == NOW + 61
    assert chain.block_number() == born + 61
    assert chain.block_timestamp(chain.block_number()) == NOW + 61
    assert chain.block_timestamp(chain.block_number() + 1) is None


@pytest.mark.parametrize(("address", "amount"), [("0x1", 1), (SIGNERS[0].address, -1), (SIGNERS[0].address, 10**16)])
def test_minting_refuses_bad_addresses_and_amounts(address: str, amount: int) -> None:
    with pytest.raises(ValueError, match="not an"):
        LocalChain().mint(address, amount)


TRANSFERS = st.tuples(
    st.integers(0, 2), st.integers(0, 2), st.integers(0, 1_500), st.integers(0, 3), st.integers(-2, 2)
)


@settings(max_examples=25)
@given(st.lists(TRANSFERS, max_size=8))
def test_total_supply_is_constant_and_no_balance_negative(transfers: list[tuple[int, ...]]) -> None:
    chain = open_chain()
    moved: set[tuple[int, int]] = set()
    for payer, recipient, amount, nonce, lifetime in transfers:
        authorization = authorize(
            SIGNERS[payer],
            SIGNERS[recipient],
            amount_micro_usdc=amount,
            nonce=nonce.to_bytes(32),
            valid_before=NOW + lifetime,
        )
        signature = sign(SIGNERS[payer], authorization)
        may_move = lifetime > 0 and (payer, nonce) not in moved and amount <= chain.balance_of(SIGNERS[payer].address)
        if may_move:
            chain.transfer(authorization, signature)
            moved.add((payer, nonce))
        else:
            with pytest.raises(RevertError):
                chain.transfer(authorization, signature)

        assert chain.supply() == 3_000
        assert min(chain.balances().values()) >= 0
    assert len(chain.settlements()) == len(moved)
