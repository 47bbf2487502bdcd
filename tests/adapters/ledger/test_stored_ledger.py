"""A ledger that an earlier version wrote is migrated, and what it bought is recognised."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.core.idempotency import generation_keys, upload_keys
from seedance_mcp.core.limits import Spend

STORED = Path(__file__).with_name("version-13.sqlite3")
"""Written by version 13 of the schema, before the package was restructured: one upload and two videos."""
WALLET, STUDIO = "0xa95d238CF46BE466819C9F9F509EB78dDc510297", "http://127.0.0.1:39785"
PICTURE = "1f64c9634f344d47fa0a98d085dcd2b8bad86d2fb021a26fed1142d00202e0c2"
BOUGHT_AT = 1_795_955_840
UPLOAD, VIDEO = 10_000, 320_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(STORED, tmp_path / "ledger.sqlite3"))


@pytest.mark.parametrize(
    ("prompt", "job_id"),
    [("The boat sails on", "cmx1tqgd5veyothjkrdf3j149"), ("Rain begins", "cmx1tqhv4bxywal30x8d97ed9")],
)
async def test_bought_videos_are_found_by_the_same_request(file: Path, prompt: str, job_id: str) -> None:
    request = {
        "model": "seedance-fast",
        "prompt": prompt,
        "image": PICTURE,
        "last_image": None,
        "duration": 4,
        "resolution": "480p",
        "aspect_ratio": "16:9",
        "camera_fixed": None,
        "generate_audio": None,
        "seed": None,
        "take": 1,
    }
    ledger = await SQLiteLedger.open(file)
    found = await ledger.find_latest_job(generation_keys(request, wallet=WALLET, studio=STUDIO).all)
    await ledger.close()

    assert found is not None
    assert (found.job_id, found.status) == (job_id, "complete")


async def test_uploads_are_found_and_the_budget_counts_them(file: Path) -> None:
    ledger = await SQLiteLedger.open(file)
    payment = await ledger.find_latest_payment(upload_keys(PICTURE, wallet=WALLET, studio=STUDIO))
    upload = await ledger.find_upload(PICTURE, studio=STUDIO, wallet=WALLET)
    first, later = await ledger.spend(BOUGHT_AT), await ledger.spend(BOUGHT_AT + 2 * 24 * 3600)
    await ledger.close()

    assert payment is not None
    assert upload is not None
    assert (payment.state, payment.amount_micro_usdc) == ("settled", UPLOAD)
    assert first == Spend().plus(UPLOAD + 2 * VIDEO)
    assert later == replace(first, last_day_micro_usdc=0)


async def test_every_sum_follows_every_change_of_a_row(file: Path) -> None:
    ledger = await SQLiteLedger.open(file)

    async def read_sums() -> int:
        spend = await ledger.spend(BOUGHT_AT)
        sums = {spend.last_day_micro_usdc, spend.last_week_micro_usdc, spend.last_month_micro_usdc}
        assert {spend.total_micro_usdc} == sums
        assert await ledger.find_wrong_totals() == []
        return spend.total_micro_usdc

    with sqlite3.connect(file) as db:
        db.execute("UPDATE payments SET state = 'refused' WHERE id = 2")
    unasked = await read_sums()
    with sqlite3.connect(file) as db:
        db.execute("UPDATE payments SET chain_checked = 1 WHERE id = 2")
    refused = await read_sums()
    with sqlite3.connect(file) as db:
        db.execute("UPDATE payments SET fee_micro_usdc = 7 WHERE id = 2")
    with_fee = await read_sums()
    with sqlite3.connect(file) as db:
        db.execute("UPDATE payments SET created_at = created_at - 7200")
    earlier = await read_sums()
    with sqlite3.connect(file) as db:
        db.execute("DELETE FROM jobs WHERE payment_id = 3")
        db.execute("DELETE FROM payments WHERE id = 3")
    deleted = await read_sums()
    await ledger.close()

    assert unasked == UPLOAD + 2 * VIDEO, "a studio may refuse a payment and settle it"
    assert (refused, with_fee, deleted) == (UPLOAD + VIDEO, UPLOAD + VIDEO + 7, UPLOAD + 7)
    assert earlier == with_fee
