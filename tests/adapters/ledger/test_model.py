"""The ledger against a simple model of itself: whatever the order of events, the budget is never exceeded."""

import asyncio
import contextlib
import tempfile
from abc import abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from seedance_mcp.core.errors import BudgetExceededError, LedgerError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import DAY_SECONDS, MONTH_SECONDS, WEEK_SECONDS, Spend
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.responses import Receipt, Refused, Settled
from tests.adapters.ledger.rows import NOW, reserve, sign
from tests.ledgers import PostgresStore, SQLiteStore, Store
from tests.postgres import require_postgres

CAP = 1_000
LEASE = 75
ROWS_MAX = 1_000
"""More than an example reserves."""


@dataclass
class Row:
    """What the model knows of a payment."""

    amount: int
    created_at: float
    hold_until: float
    state: str = "reserved"
    lease_until: float = 0
    chain_checked: bool = False

    def counts(self, now: float) -> bool:
        match self.state:
            case "reserved":
                return self.hold_until > now
            case "refused":
                return not self.chain_checked
            case _:
                return True


class LedgerMachine(RuleBasedStateMachine):
    """Two connections to one ledger, used in turns."""

    payments = Bundle[int]("payments")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.stack = ExitStack()
        store = self.make_store(self.stack)
        self.ledgers = [self.run(store.open()) for _ in range(2)]
        self.rows: dict[int, Row] = {}
        self.settled: dict[int, Payment] = {}
        self.now = NOW

    def teardown(self) -> None:
        for ledger in self.ledgers:
            self.run(ledger.close())
        self.runner.close()
        self.stack.close()

    @abstractmethod
    def make_store(self, stack: ExitStack) -> Store:
        """Make an empty ledger, which is there until the stack is closed."""

    @initialize()
    def begin(self) -> None:
        assert (self.run(self.ledgers[0].spend(self.now))).total_micro_usdc == 0

    def spent(self) -> int:
        return sum(row.amount for row in self.rows.values() if row.counts(self.now))

    def read(self, number: int) -> Payment:
        payment = self.run(self.ledgers[0].find_payment(number))
        assert payment is not None
        return payment

    @rule(target=payments, amount=st.integers(1, 600), who=st.integers(0, 1))
    def reserve(self, amount: int, who: int) -> Any:
        try:
            payment = self.run(reserve(self.ledgers[who], amount, cap=CAP, now=self.now))
        except BudgetExceededError:
            assert self.spent() + amount > CAP, "refused although there was room"
            return next(iter(self.rows), 0)
        assert self.spent() + amount <= CAP, "granted beyond the cap"
        for row in self.rows.values():
            if row.state == "reserved" and row.hold_until <= self.now:
                row.hold_until = 0
        self.rows[payment.id] = Row(amount, self.now, int(self.now) + 60)
        return payment.id

    @rule(number=payments, who=st.integers(0, 1))
    def sign(self, number: int, who: int) -> None:
        if number == 0:
            return
        row = self.rows[number]
        allowed = row.state == "reserved" and row.hold_until > self.now
        try:
            self.run(sign(self.ledgers[who], self.read(number), now=self.now, lease=LEASE))
        except LedgerError:
            assert not allowed
        else:
            assert allowed
            row.state, row.hold_until, row.lease_until = "signed", int(self.now) + 180, self.now + LEASE

    @rule(number=payments, who=st.integers(0, 1), settles=st.booleans(), chain=st.booleans())
    def conclude(self, number: int, who: int, settles: bool, chain: bool) -> None:
        if number == 0:
            return
        row = self.rows[number]
        if row.state == "refused" and settles and not row.counts(self.now):
            return  # no one found it out in time; the budget was given on
        receipt = Receipt(rail="x402", network="n", transaction="t")
        outcome = Settled(receipt=receipt, answer=b"{}") if settles else Refused(reason="no")
        after = self.run(self.ledgers[who].conclude(self.read(number), outcome, now=self.now, chain_checked=chain))
        if row.state in ("signed", "refused"):
            row.state, row.lease_until = ("settled" if settles else "refused"), 0
            row.chain_checked = row.chain_checked or chain
            if settles:
                self.settled[number] = after

    @rule(number=payments, who=st.integers(0, 1))
    def claim(self, number: int, who: int) -> None:
        if number == 0:
            return
        row = self.rows[number]
        free = row.state in ("signed", "refused") and row.lease_until <= self.now
        claimed = self.run(self.ledgers[who].claim(self.read(number), lease_until=self.now + LEASE, now=self.now))
        assert (claimed is not None) == free
        if free:
            row.lease_until = self.now + LEASE

    @rule(number=payments, who=st.integers(0, 1))
    def release(self, number: int, who: int) -> None:
        if number == 0:
            return
        self.run(self.ledgers[who].release(self.read(number)))
        self.rows[number].lease_until = 0

    @rule(seconds=st.sampled_from([0.25, 1, 59, 60, 61, 180, 181, 600, DAY_SECONDS, 10 * DAY_SECONDS]))
    def clock_goes_on(self, seconds: float) -> None:
        self.now += seconds

    async def look(self) -> tuple[list[Spend], list[dict[int, Payment]]]:
        """Read the spend and all rows on each connection."""
        spends = await asyncio.gather(*(ledger.spend(self.now) for ledger in self.ledgers))
        rows = await asyncio.gather(*(ledger.recent_payments(ROWS_MAX) for ledger in self.ledgers))
        return spends, [{one.id: one for one in found} for found in rows]

    @invariant()
    def the_ledger_is_the_models_and_the_spend_within_the_cap(self) -> None:
        spends, rows = self.run(self.look())
        self.check_spend(*spends)
        self.check_rows(*rows)

    def check_spend(self, one: Spend, other: Spend) -> None:
        assert one == other
        assert one.total_micro_usdc == self.spent() <= CAP
        for seconds, spent in (
            (DAY_SECONDS, one.last_day_micro_usdc),
            (WEEK_SECONDS, one.last_week_micro_usdc),
            (MONTH_SECONDS, one.last_month_micro_usdc),
        ):
            recent = [row for row in self.rows.values() if row.created_at > self.now - seconds]
            assert spent == sum(row.amount for row in recent if row.counts(self.now))

    def check_rows(self, rows: dict[int, Payment], other: dict[int, Payment]) -> None:
        assert rows == other
        assert set(rows) == set(self.rows)
        for number, row in self.rows.items():
            one = rows[number]
            assert (one.state, one.amount_micro_usdc, one.lease_until) == (row.state, row.amount, row.lease_until)
            assert not one.counts_against_budget(self.now) or row.counts(self.now), "what may still settle is counted"
        assert {number: rows[number] for number in self.settled} == self.settled, "a settled row never changes"


class SQLiteMachine(LedgerMachine):
    """On a file."""

    def make_store(self, stack: ExitStack) -> Store:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        return SQLiteStore(Path(folder) / "ledger.sqlite3")


class PostgresMachine(LedgerMachine):
    """In a database."""

    def make_store(self, stack: ExitStack) -> Store:
        return PostgresStore(stack.enter_context(require_postgres().database()))


CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]
TestSQLiteMachine = SQLiteMachine.TestCase
TestSQLiteMachine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=30, suppress_health_check=CHECKS
)
TestPostgresMachine = PostgresMachine.TestCase
TestPostgresMachine.settings = settings(
    max_examples=settings().max_examples // 7, stateful_step_count=30, suppress_health_check=CHECKS
)


async def test_no_order_of_clock_jumps_lets_two_signatures_share_one_budget(ledger: Ledger) -> None:
    reserved: list[tuple[Payment, float]] = []
    for jump in (0, 61, -61, 120, -200, 3600, -3600, 0):
        now = NOW + jump
        with contextlib.suppress(BudgetExceededError):
            reserved.append((await reserve(ledger, CAP, cap=CAP, now=now), now))
        for payment, _ in reserved:
            with contextlib.suppress(LedgerError):
                await sign(ledger, payment, now=now)
    async with ledger.lock_budget() as transaction:
        assert (await transaction.spend(NOW)).total_micro_usdc == CAP
    signed = await ledger.unfinished_payments(NOW)
    assert len(signed) == 1
