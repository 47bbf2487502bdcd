"""Compare what clients were told, the database, the store of videos and the sandbox's own record after a run.

The sandbox's chain is the truth about money, its list of jobs the truth about what was bought.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import psycopg
from psycopg.rows import dict_row

from tests.hosted.deployment import LOOK_SECONDS, Deployment
from tests.servers import NO_TLS
from tests.shelves import Shelf

OVER_SECONDS = 90
"""How long the replicas may take to end what the run left."""
NAMES_MAX = 5
"""How many cases one problem names."""
LOG_LEASES = """
    CREATE SCHEMA audit;
    CREATE TABLE audit.leases (
        id BIGINT GENERATED ALWAYS AS IDENTITY, at DOUBLE PRECISION, key TEXT, owner TEXT, term BIGINT,
        until DOUBLE PRECISION
    );
    CREATE FUNCTION audit.log_lease() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO audit.leases (at, key, owner, term, until)
        VALUES (extract(epoch FROM clock_timestamp()), NEW.key, NEW.owner, NEW.term, NEW.until);
        RETURN NULL;
    END $$;
    CREATE TRIGGER log_lease AFTER INSERT OR UPDATE ON leases FOR EACH ROW EXECUTE FUNCTION audit.log_lease()"""
"""Makes the database keep who held each lease, and when."""
_SHARED_TERMS = "SELECT key, term FROM audit.leases GROUP BY key, term HAVING count(DISTINCT owner) > 1"
_EARLY_TERMS = """
    SELECT key, term, owner FROM (
        SELECT *, lag(owner) OVER mine AS owner_before, lag(until) OVER mine AS until_before
        FROM audit.leases WINDOW mine AS (PARTITION BY key ORDER BY id)) AS held
    WHERE owner <> owner_before AND at < until_before"""
"""Terms that began while another owner's lease ran."""
_UNFINISHED = """
    SELECT (SELECT count(*) FROM payments
            WHERE state = 'signed' OR (state = 'reserved' AND hold_until > extract(epoch FROM clock_timestamp())))
         + (SELECT count(*) FROM jobs WHERE status <> 'failed' AND video_key IS NULL)"""


@dataclass(slots=True, kw_only=True)
class Order:
    """One video that a caller wants.

    Attributes:
        caller: Its name.
        picture: Number of the picture.
        prompt: Of this order alone.
        job_id: What the caller was told, once it was.
        refused: Code of the refusal that ended it, if one did.
        wait_seconds: From the first call to the finished video.
        history: How long each call took, and what came of it.
        failures: Codes of the calls that failed.
        videos: Addresses of the video that the caller was told.
    """

    caller: str
    picture: int
    prompt: str
    job_id: str | None = None
    refused: str | None = None
    wait_seconds: float = 0
    history: list[str] = field(default_factory=list[str])
    failures: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Audit:
    """What was found.

    Attributes:
        figures: Numbers for the table, by name.
        problems: Broken promises, in words.
    """

    figures: dict[str, int] = field(default_factory=dict[str, int])
    problems: list[str] = field(default_factory=list[str])

    def expect_same(self, what: str, found: int, expected: int) -> None:
        """Note a figure, and a problem unless it is what it must be."""
        self.figures[what] = found
        if found != expected:
            self.problems.append(f"{what}: {found}, expected {expected}")

    def expect_none(self, what: str, found: Iterable[object]) -> None:
        """Note a problem for what must not exist."""
        cases = [str(one) for one in found]
        if cases:
            more = f" and {len(cases) - NAMES_MAX} more" if len(cases) > NAMES_MAX else ""
            self.problems.append(f"{what}: {', '.join(cases[:NAMES_MAX])}{more}")


@dataclass(frozen=True, slots=True)
class _Records:
    """The sandbox's and the database's records at the end."""

    settlements: list[dict[str, Any]]
    studio_jobs: list[dict[str, Any]]
    payments: list[dict[str, Any]]
    jobs: list[dict[str, Any]]
    budgets: list[dict[str, Any]]
    callers: dict[str, str]

    @property
    def settled_nonces(self) -> set[str]:
        """What names the settled payments at the chain."""
        return {_name_settlement(one) for one in self.settlements}


async def audit(deployment: Deployment, orders: list[Order], caps: dict[str, int]) -> Audit:
    """Compare everything once the replicas have nothing left to do.

    Args:
        deployment: With running replicas.
        orders: What was ordered, and what came of it.
        caps: Of each caller in micro-USDC, by name; that of the wallet has no name.
    """
    found = Audit()
    await _wait_until_over(deployment, found)
    records = await _read_records(deployment)
    accepted = [order for order in orders if order.job_id is not None]
    _check_settlements(found, records, accepted)
    _check_jobs(found, records, accepted)
    _check_budgets(found, records, caps)
    await _check_videos(found, records, deployment.objects)
    found.expect_none("leases with two owners in one term", deployment.database.execute(_SHARED_TERMS))
    found.expect_none("leases taken before they ended", deployment.database.execute(_EARLY_TERMS))
    polled = "SELECT count(DISTINCT term) FROM audit.leases WHERE key LIKE 'poll:%'"
    found.figures["terms of the poller"] = _count(deployment, polled)
    return found


async def _wait_until_over(deployment: Deployment, found: Audit) -> None:
    with anyio.move_on_after(OVER_SECONDS):
        while _count(deployment, _UNFINISHED):
            await anyio.sleep(LOOK_SECONDS * 5)  # other processes, which set no event of ours
    left = _count(deployment, _UNFINISHED)
    if left:
        found.problems.append(f"unfinished after {OVER_SECONDS} s: {left} payments and jobs")


def _count(deployment: Deployment, query: str) -> int:
    [(count,)] = deployment.database.execute(query)
    return int(str(count))


async def _read_records(deployment: Deployment) -> _Records:
    state = await deployment.read_studio()
    with psycopg.connect(deployment.database.url) as connection:
        db = connection.cursor(row_factory=dict_row)
        return _Records(
            settlements=[one for one in state["settlements"] if one["from"].lower() == deployment.wallet.lower()],
            studio_jobs=[one for one in state["jobs"] if one["owner"].lower() == deployment.wallet.lower()],
            payments=db.execute("SELECT * FROM payments ORDER BY id").fetchall(),
            jobs=db.execute("SELECT * FROM jobs").fetchall(),
            budgets=db.execute("SELECT scope, spent_micro_usdc FROM budgets").fetchall(),
            callers={row["id"]: row["name"] for row in db.execute("SELECT id, name FROM callers").fetchall()},
        )


def _check_settlements(found: Audit, records: _Records, accepted: list[Order]) -> None:
    """Settlements = orders + distinct pictures; an upload whose answer was lost is bought once more and is counted."""
    paths = [str(one["path"]) for one in records.settlements]
    uploads = paths.count("/api/upload")
    lost = sum(
        one["purpose"] == "upload" and one["state"] == "settled" and not one["answer"] for one in records.payments
    )
    found.expect_same("settled videos", len(paths) - uploads, len(accepted))
    found.expect_same("settled uploads", uploads - lost, len({order.picture for order in accepted}))
    found.figures["upload answers lost"] = lost
    nonces = Counter(_name_settlement(one) for one in records.settlements)
    found.expect_none("settled twice", [nonce for nonce, times in nonces.items() if times > 1])


def _check_jobs(found: Audit, records: _Records, accepted: list[Order]) -> None:
    """No job unseen, none crossed callers, and each order has a job of its own."""
    known = {job["job_id"]: job for job in records.jobs}
    payments = {payment["id"]: payment for payment in records.payments}
    found.expect_none("jobs unseen", [one["id"] for one in records.studio_jobs if one["id"] not in known])
    told = Counter(order.job_id for order in accepted)
    found.expect_none("jobs that no caller was told", [one for one in known if one not in told])
    found.expect_none("jobs told for two orders", [job_id for job_id, times in told.items() if times > 1])
    for order in accepted:
        job = known.get(str(order.job_id))
        if job is None:
            found.problems.append(f"unknown to the ledger: {order.job_id}")
            continue
        payment = payments[job["payment_id"]]
        mine = records.callers.get(payment["caller"]) == order.caller and job["caller"] == payment["caller"]
        if not mine or json.loads(payment["arguments"]).get("prompt") != order.prompt:
            found.problems.append(f"answers crossed: {order.caller} was told {order.job_id} for {order.prompt!r}")
    found.expect_none("answers crossed", [problem for order in accepted for problem in order.problems])


def _check_budgets(found: Audit, records: _Records, caps: dict[str, int]) -> None:
    """Each budget counts exactly what the chain moved, and no cap is passed."""
    by_nonce = {_name_payment(payment): payment["caller"] for payment in records.payments if payment["document"]}
    moved: Counter[str] = Counter()
    for one in records.settlements:
        amount = int(one["amount_micro_usdc"]) + int(one.get("fee_micro_usdc", 0))
        scope = by_nonce.get(_name_settlement(one))
        if scope is None:
            found.problems.append(f"paid without a record: {one['transaction']}")
            continue
        moved.update({"": amount, scope: amount} if scope else {"": amount})
    for row in records.budgets:
        scope, name = row["scope"], records.callers.get(row["scope"], "")
        if row["spent_micro_usdc"] != moved[scope]:
            found.problems.append(
                f"budget of {name or 'the wallet'}: counts {row['spent_micro_usdc']}, the chain moved {moved[scope]}"
            )
        if name in caps and moved[scope] > caps[name]:
            found.problems.append(f"cap of {name or 'the wallet'} passed: {moved[scope]} of {caps[name]}")
    found.figures["micro-USDC moved"] = moved[""]


async def _check_videos(found: Audit, records: _Records, objects: Shelf) -> None:
    """Each video is stored once, byte for byte as the studio has it; a killed writer may leave a partial file."""
    keys = await objects.list_keys()
    videos = [key for key in keys if key.endswith(".mp4")]
    found.figures["partial files"] = sum(key.endswith(".part") for key in keys)
    found.expect_same("stored videos", len(videos), len(records.jobs))
    found.expect_none("expired unsaved", [job["job_id"] for job in records.jobs if job["expired_at"] is not None])
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as studio:
        for job in records.jobs:
            if job["video_key"] not in keys:
                found.problems.append(f"not stored: the video of {job['job_id']} ({job['status']})")
                continue
            answer = await studio.get(job["video_url"])
            if answer.status_code == 200 and answer.content != await objects.read(job["video_key"]):
                found.problems.append(f"stored otherwise than the studio has it: {job['job_id']}")


def _name_payment(payment: dict[str, Any]) -> str:
    """Return what names a payment at its chain: an authorization's nonce, or on Tempo the memo."""
    document = json.loads(payment["document"])
    if "transaction" in document:
        return str(document["transaction"]["memo"]).lower()
    return str(document["payload"]["authorization"]["nonce"]).lower()


def _name_settlement(settlement: dict[str, Any]) -> str:
    return str(settlement.get("memo") or settlement["nonce"]).lower()
