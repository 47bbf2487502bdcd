"""Payment URIs: the text of a QR code with which a wallet opens a token transfer, filled in.

Source: EIP-681, "URL Format for Transaction Requests".
"""

_EVM = "eip155:"


def build_payment_uri(network: str, token: str, recipient: str, amount_micro_usdc: int | None = None) -> str:
    """Return the URI of a token transfer.

    Args:
        network: CAIP-2 name of the chain, such as `eip155:8453`.
        token: Address of the token's contract.
        recipient: Address that gets the money.
        amount_micro_usdc: What to send, in the token's smallest unit; None leaves it to the person who pays.

    Raises:
        ValueError: The chain is no EVM chain.
    """
    chain = network.removeprefix(_EVM)
    if chain == network or not chain.isdigit():
        raise ValueError(f"{network} is not an EVM chain")
    amount = "" if amount_micro_usdc is None else f"&uint256={amount_micro_usdc}"
    return f"ethereum:{token}@{chain}/transfer?address={recipient}{amount}"
