"""Settlement: find out from the chain whether a payment moved.

On Base it is `authorizationState` of the nonce; on Tempo the receipt of the very transaction that we signed, or, where
a sponsor signed, too, and so decided its hash, the event with our memo. Used means that the money moved. "Unused" is
final only at a block after the credential's expiry, from a node that has come so far, on the right chain; where the
owner names several nodes, from every one of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import anyio

from seedance_mcp.adapters.chain.rpc import ChainRpc
from seedance_mcp.core.errors import ChainError, StudioError
from seedance_mcp.core.limits import PinnedTerms
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.mpp import (
    Charge,
    build_log_query,
    find_transaction,
    read_charge,
    read_inclusion,
    read_log_transaction,
)
from seedance_mcp.core.wire.offers import Offer, Rail
from seedance_mcp.core.wire.transfers import Payee, Transfer, build_transfer_query, read_transfers
from seedance_mcp.core.wire.x402 import (
    Authorization,
    TokenDomain,
    build_authorization_state_call,
    build_use_query,
    find_use,
    read_authorization,
    read_word,
)

FATE_SECONDS = 60
"""How long finding out what became of one payment may take, at each node."""
CHARGE_WINDOW_SECONDS = 45
"""How long before its expiry a charge's event is looked for: longer than a charge lives."""
USE_WINDOW_SECONDS = 300
"""How long before its expiry an authorization's event is looked for: longer than an authorization lives."""
USE_SECONDS = 20
"""How long looking for the transaction of a payment that moved may take."""
NODES_LAG_SECONDS = 15
"""How far behind the node that looks for a charge may be: behind one address there are several."""
QUERY_BLOCKS_MAX = 5_000
"""How many blocks one question for transfers spans; public nodes refuse more than some thousands."""
TRANSFERS_MAX = 200
"""How many transfers are looked at, the latest first."""
ALL_TRANSFERS_MAX = 10_000
"""How many transfers are looked at where all of them count."""
STEPS_MAX = 64
"""How many blocks are looked at on the way back to a moment; each step doubles or halves the way."""
GUESSES_MAX = 4
"""How many of these blocks are guessed from the times of two others, before the way is halved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of a credential, for good.

    Attributes:
        used: Whether the money moved; False where it never will.
        transaction: Its hash, where it is known.
        fee_micro_usdc: What the network kept; None where no one said.
    """

    used: bool
    transaction: str = ""
    fee_micro_usdc: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block: its number, its time in Unix seconds, and the hashes of its transactions."""

    number: int
    time: int
    transactions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettlementChecker:
    """Asks the chains of one profile.

    Attributes:
        rpc: Carries the questions.
        pins: Which token is asked about.
    """

    rpc: ChainRpc
    pins: PinnedTerms

    def has_one(self, payment: Payment) -> bool:
        """Whether there is a chain that can be asked about a payment."""
        pinned = self.pins.x402 if payment.rail == "x402" else self.pins.mpp
        return pinned is not None and self.rpc.count_nodes(payment.rail) > 0

    async def check_settlement(self, payment: Payment) -> Settlement | None:
        """Return the chain's verdict on a payment, or None if it is not known now.

        One node's word is enough that the money moved. That it never will is believed only where every node says so.
        """
        document = payment.document
        if document is None or not self.has_one(payment):
            return None
        claimed = payment.receipt.transaction if payment.receipt is not None else ""
        settlements: list[Settlement | None] = []

        async def ask(number: int) -> None:
            node = ChainNode(self.rpc, self.pins, payment.rail, number, claimed=claimed)
            settlement = await node.check_settlement(document, payment.network)
            settlements.append(settlement)
            if settlement is not None and settlement.used:
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for number in range(self.rpc.count_nodes(payment.rail)):
                tasks.start_soon(ask, number)
        known = [settlement for settlement in settlements if settlement is not None]
        moved = [settlement for settlement in known if settlement.used]
        if moved or len(known) == len(settlements):
            return max(moved or known, key=lambda settlement: settlement.fee_micro_usdc or 0)
        return None

    async def list_transfers(self, offer: Offer, payer: str, *, since: float) -> list[Transfer] | None:
        """Return what a payer sent to an offer's recipient since a moment, oldest first; None where no node says.

        Args:
            offer: Names the rail, the token and the recipient.
            payer: The paying address.
            since: Unix seconds.
        """
        for number in range(self.rpc.count_nodes(offer.rail)):
            with contextlib.suppress(ChainError):
                return await ChainNode(self.rpc, self.pins, offer.rail, number).list_transfers(
                    offer, payer, since=since
                )
        return None

    async def list_all_transfers(self, payee: Payee, payer: str, *, since: float, until: float) -> list[Transfer]:
        """Return everything that a payer sent to a recipient since a moment, by the word of all nodes, oldest first.

        Args:
            payee: The recipient.
            payer: The paying address.
            since: Unix seconds.
            until: The moment that each node must have come to, in Unix seconds.

        Raises:
            ChainError: A node does not say or is behind, there is none, or there are too many transfers.
        """
        found: dict[str, Transfer] = {}
        for number in range(self.rpc.count_nodes(payee.rail)):
            node = ChainNode(self.rpc, self.pins, payee.rail, number)
            transfers = await node.list_transfers(
                payee, payer, since=since, until=until, transfers_max=ALL_TRANSFERS_MAX
            )
            found |= {transfer.transaction: transfer for transfer in transfers}
        if not self.rpc.count_nodes(payee.rail):
            raise ChainError(f"There is no node to ask about {payee.network}.")
        if len(found) >= ALL_TRANSFERS_MAX:
            raise ChainError(f"There are more than {ALL_TRANSFERS_MAX} payments on {payee.network} to look at.")
        return sorted(found.values(), key=lambda transfer: transfer.time or 0)

    async def knows(self, transaction: str, rail: Rail) -> bool | None:
        """Return True if the chain has a transaction, False if every node says that it has not; None in doubt."""
        answers: list[bool | None] = []
        for number in range(self.rpc.count_nodes(rail)):
            with contextlib.suppress(ChainError), anyio.move_on_after(USE_SECONDS):
                receipt = await self.rpc.call("eth_getTransactionReceipt", [transaction], rail=rail, node=number)
                answers.append(receipt is not None)
                continue
            answers.append(None)
        if True in answers:
            return True
        return None if None in answers or not answers else False


@dataclass(frozen=True, slots=True)
class ChainNode:
    """One node of a rail's chain, by the place of its address.

    Attributes:
        claimed: The transaction that the studio named for the payment, or empty.
    """

    rpc: ChainRpc
    pins: PinnedTerms
    rail: Rail
    number: int
    claimed: str = ""

    async def check_settlement(self, document: Json, network: str) -> Settlement | None:
        """Return this node's verdict on a payment, or None if it does not answer in time or does not know."""
        try:
            with anyio.fail_after(FATE_SECONDS):
                # The block first, the state second and at that block or later: "unused" is then final.
                latest = await self._read_block("latest")
                if self.rail == "mpp":
                    settlement = await self._find_charge_fate(document, latest)
                else:
                    settlement = await self._find_authorization_fate(document, latest)
                if settlement is not None and not settlement.used:
                    await self._check_chain(network)
                return settlement
        except (ChainError, StudioError, TimeoutError):
            return None

    async def list_transfers(
        self,
        payee: Payee | Offer,
        payer: str,
        *,
        since: float,
        until: float = 0,
        transfers_max: int = TRANSFERS_MAX,
    ) -> list[Transfer]:
        """Return what a payer sent to a recipient since a moment; the latest `transfers_max`, oldest first.

        Raises:
            ChainError: The node does not say, has not come to `until`, or belongs to another chain.
        """
        await self._check_chain(payee.network)
        latest = await self._read_block("latest")
        if latest.time < until:
            raise ChainError("The chain's node is behind.")
        last, first = latest.number, (await self._find_last_block(int(since), latest)).number
        found: list[Transfer] = []
        while last >= first and len(found) < transfers_max:
            start = max(first, last - QUERY_BLOCKS_MAX + 1)
            query = build_transfer_query(
                token=payee.asset, payer=payer, pay_to=payee.pay_to, first_block=start, last_block=last
            )
            found = read_transfers(await self._ask("eth_getLogs", query)) + found
            last = start - 1
        return [await self._date(transfer) for transfer in found[-transfers_max:]]

    async def _date(self, transfer: Transfer) -> Transfer:
        if transfer.time is not None:
            return transfer
        return replace(transfer, time=(await self._read_block(hex(transfer.block_number))).time)

    async def _ask(self, method: str, parameters: list[object]) -> object:
        return await self.rpc.call(method, parameters, rail=self.rail, node=self.number)

    async def _check_chain(self, network: str) -> None:
        """Raise unless it is the right chain that knows nothing of a payment.

        Raises:
            ChainError: It is another chain: the owner's RPC address is wrong.
        """
        if read_word(await self._ask("eth_chainId", [])) != _chain_id(network):
            raise ChainError("The RPC address leads to another chain.")

    async def _read_block(self, block: str) -> Block:
        found = await self._ask("eth_getBlockByNumber", [block, False])
        if not isinstance(found, Mapping):
            raise ChainError(f"The chain does not know its block {block}.")
        fields = cast("Mapping[str, object]", found)
        number, listed = read_word(fields.get("number")), fields.get("transactions")
        if block != "latest" and number != int(block, 16):
            raise ChainError("The chain answers with another block than the one that was asked for.")
        transactions = tuple(str(one) for one in cast("list[object]", listed)) if isinstance(listed, list) else ()
        return Block(number=number, time=read_word(fields.get("timestamp")), transactions=transactions)

    async def _find_authorization_fate(self, document: Json, latest: Block) -> Settlement | None:
        authorization = read_authorization(document)
        assert self.pins.x402 is not None  # noqa: S101 - `has_one` said so
        # Of a dead credential we ask at that very block: a node that has not come so far answers with an error.
        block = latest.number if latest.time >= authorization.valid_before else None
        call = build_authorization_state_call(authorization, self.pins.x402, block=block)
        if read_word(await self._ask("eth_call", call)) != 0:
            return Settlement(used=True, transaction=await self._find_use(authorization, self.pins.x402, latest))
        return None if block is None else Settlement(used=False)

    async def _find_use(self, authorization: Authorization, token: TokenDomain, latest: Block) -> str:
        """Return the transaction that used an authorization: the one that was named, or by the token's event.

        Empty where this node does not tell: it changes nothing about the payment.
        """
        with anyio.move_on_after(USE_SECONDS), contextlib.suppress(ChainError):
            if self.claimed:
                receipt = await self._ask("eth_getTransactionReceipt", [self.claimed])
                logs = cast("Mapping[str, object]", receipt).get("logs") if isinstance(receipt, Mapping) else None
                found = find_use(logs, authorization, token)
                if found is not None:
                    return found
            last = await self._find_last_block(authorization.valid_before, latest)
            first = await self._find_last_block(authorization.valid_before - USE_WINDOW_SECONDS, last)
            query = build_use_query(authorization, token, first.number, last.number)
            return find_use(await self._ask("eth_getLogs", query), authorization, token) or ""
        return ""

    async def _find_charge_fate(self, document: Json, latest: Block) -> Settlement | None:
        """By the receipt of what we signed; "unused" also takes that no event with our memo is in any block until then.

        A reverted transaction is over as well: its nonce is spent, and its fee.
        """
        charge, transaction = read_charge(document), find_transaction(document)
        if transaction is not None:
            receipt = await self._ask("eth_getTransactionReceipt", [transaction])
            inclusion = read_inclusion(receipt, transaction)
            if inclusion is not None:
                return Settlement(
                    used=inclusion.succeeded, transaction=transaction, fee_micro_usdc=inclusion.fee_micro_usdc
                )
        is_over = latest.time >= charge.valid_before + NODES_LAG_SECONDS
        if not is_over and not charge.sponsored:
            return None
        found = await self._find_event(charge, latest, is_over=is_over)
        if found is not None:
            return Settlement(used=True, transaction=found, fee_micro_usdc=0 if charge.sponsored else None)
        return Settlement(used=False, fee_micro_usdc=0) if is_over else None

    async def _find_event(self, charge: Charge, latest: Block, *, is_over: bool) -> str | None:
        """Return the transaction that moved a charge's money, by the memo in its event.

        Once the charge is over, None is a verdict, and only a node that could know better may give it.
        """
        last = await self._find_last_block(charge.valid_before, latest)
        first = await self._find_last_block(charge.valid_before - CHARGE_WINDOW_SECONDS, last)
        query = build_log_query(charge, first.number, last.number)
        found = read_log_transaction(await self._ask("eth_getLogs", query))
        if found is None and is_over:
            await self._check_memory(first, last)
        return found

    async def _check_memory(self, first: Block, last: Block) -> None:
        """Raise unless the node still knows what happened in these blocks: one that forgot has no events either.

        They are those of `CHARGE_WINDOW_SECONDS`, and `FATE_SECONDS` ends it where a node makes them many.

        Raises:
            ChainError: It has no receipt of a transaction that it lists there itself.
        """
        block = last
        while block.number >= first.number:
            if block.transactions:
                receipt = await self._ask("eth_getTransactionReceipt", [block.transactions[-1]])
                if not isinstance(receipt, Mapping):
                    raise ChainError("The node does not keep the receipts of that time.")
                return
            if block.number == first.number:
                return  # nothing at all happened in between
            block = await self._read_block(hex(block.number - 1))

    async def _find_last_block(self, moment: int, latest: Block) -> Block:
        """Return the last Tempo block at a moment or before, going back from a known one, or the chain's first.

        Raises:
            ChainError: The chain does not know its own blocks.
        """
        low = high = latest
        step = max(1, latest.time - moment)  # a block per second: Tempo has two, and Base one in two seconds
        for _ in range(STEPS_MAX):
            if low.time <= moment or low.number == 0:
                break
            high, low = low, await self._read_block(hex(max(0, latest.number - step)))
            step *= 2
        for guesses in range(STEPS_MAX):
            if high.number - low.number <= 1 or not low.time <= moment < high.time:
                break
            middle = await self._read_block(
                hex(_guess(moment, low, high) if guesses < GUESSES_MAX else (low.number + high.number) // 2)
            )
            low, high = (middle, high) if middle.time <= moment else (low, middle)
        if low.time > moment and low.number > 0:
            raise ChainError("The chain has no block of that time.")
        return low


def _guess(moment: int, low: Block, high: Block) -> int:
    """Return the number of the block between two others that has a moment, if all blocks take equally long."""
    blocks = (moment - low.time) * (high.number - low.number) // (high.time - low.time)
    return min(max(low.number + blocks, low.number + 1), high.number - 1)


def _chain_id(network: str) -> int:
    return int(network.rpartition(":")[2])
