"""Every fault, as a client observes it."""

import time
from collections.abc import Callable

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.sandbox import FAULTS, OFFER_TAMPERINGS, Sandbox, SandboxSettings
from seedance_mcp.sandbox.faults import FaultSwitches, read_fault

from .bodies import SEEDANCE, UPLOAD, write_current
from .client import FUNDS_MICRO_USDC, POLL_SECONDS, SandboxClient, draw_image, read_amount, read_challenge

PRICE_MICRO_USDC = 360_000
Open = tuple[Callable[..., Sandbox], Callable[..., SandboxClient]]


@pytest.fixture
def studios(open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]) -> Open:
    return open_sandbox, open_client


async def prepare(studios: Open, *faults: str, job_seconds: float = 0.2) -> tuple[Sandbox, SandboxClient, str]:
    """Start a sandbox with an uploaded picture, then switch the faults on."""
    sandbox = studios[0](job_seconds=job_seconds)
    client = studios[1](sandbox)
    url = await client.upload(draw_image())
    answer = await client.http.post("/_sandbox/faults", json={"faults": list(faults)})
    assert answer.status_code == 200, answer.text
    return sandbox, client, url


def count_paid(sandbox: Sandbox) -> int:
    return sum(one.amount_micro_usdc == PRICE_MICRO_USDC for one in sandbox.chain.settlements())


async def count_jobs(client: SandboxClient) -> int:
    return len((await client.state())["jobs"])


async def send_until(
    client: SandboxClient, body: dict[str, object], signature: str, happened: Callable[[], bool]
) -> None:
    """Send a paid request whose answer does not come, until its job is there and this happened; then leave it."""
    answers: list[httpx.Response] = []

    async def send() -> None:
        answers.append(await client.send_paid(SEEDANCE, body, signature))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            while not (await count_jobs(client) and happened()):
                await anyio.sleep(POLL_SECONDS)
            tasks.cancel_scope.cancel()
    assert not answers


def test_every_fault_is_described_and_readable() -> None:
    arguments = {
        "tampered_offer": "=permit2", "slow_settle": "=0.5", "slow_answer": "=2", "slow_chain": "=2",
        "status_word": "=done", "video_encoding": "=gzip", "video_body": "=webm",
        "video_ranges": "=honest", "broken_video": "=9",
         "result_shape": "=list", "answer_shape": "=data", "list_shape": "=bare",
        "list_filter": "=ignored", "list_order": "=updated", "varied_jobs": "=0.4",
        "no_openapi": "=503", "challenge_shape": "=version_1",
    }  # fmt: skip
    for name, text in FAULTS.items():
        assert text
        assert str(read_fault(f"{name}{arguments.get(name, '')}:3")) == f"{name}{arguments.get(name, '')}:3"


@pytest.mark.parametrize(
    "spelling",
    [
        "",
        "nonsense",
        "slow_job:0",
        "slow_job:x",
        "slow_job=3",
        "tampered_offer",
        "tampered_offer=kind",
        "slow_settle",
        "status_word",
    ],
)
def test_unknown_fault_error_lists_the_known_ones(spelling: str) -> None:
    with pytest.raises(ValueError, match=r"slow_job|permit2|seconds|argument"):
        SandboxSettings(faults=(spelling,))


@given(st.text(max_size=40))
def test_any_spelling_is_read_or_a_value_error(spelling: str) -> None:
    try:
        fault = read_fault(spelling)
    except ValueError:
        return
    assert read_fault(str(fault)) == fault


def test_counted_fault_applies_that_many_times() -> None:
    switches = FaultSwitches(["slow_job:2", "stuck_job"])

    assert [switches.take("slow_job") is not None for _ in range(3)] == [True, True, False]
    assert [switches.take("stuck_job") is not None for _ in range(3)] == [True, True, True]
    assert switches.spellings() == ["stuck_job"]


async def test_drop_after_settle_takes_the_money_without_an_answer(studios: Open) -> None:
    sandbox, client, url = await prepare(studios, "drop_after_settle:1", "stuck_job")
    body = write_current(url)
    signature = client.sign_payment(await client.http.post(SEEDANCE, json=body))

    with pytest.raises(httpx.RemoteProtocolError):
        await client.send_paid(SEEDANCE, body, signature)

    again = await client.send_paid(SEEDANCE, body, signature)
    assert again.json()["reason"] == "invalid_exact_evm_nonce_already_used"
    assert (count_paid(sandbox), await count_jobs(client)) == (1, 1)


async def test_hang_after_settle_takes_the_money_and_never_answers(studios: Open) -> None:
    sandbox, client, url = await prepare(studios, "hang_after_settle", "stuck_job")
    body = write_current(url)
    signature = client.sign_payment(await client.http.post(SEEDANCE, json=body))

    await send_until(client, body, signature, lambda: count_paid(sandbox) == 1)

    assert (count_paid(sandbox), await count_jobs(client)) == (1, 1)


async def test_hung_request_does_not_block_stopping(studios: Open) -> None:
    sandbox, client, url = await prepare(studios, "hang_after_settle", "stuck_job")
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def pay() -> None:
                with pytest.raises(httpx.HTTPError):
                    await client.buy(SEEDANCE, write_current(url))

            tasks.start_soon(pay)
            while not count_paid(sandbox):
                await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(sandbox.stop)


async def test_second_402_offers_again_and_settles_nothing(studios: Open) -> None:
    sandbox, client, url = await prepare(studios, "second_402:1", "stuck_job")
    body = write_current(url)
    signature = client.sign_payment(await client.http.post(SEEDANCE, json=body))

    answer = await client.send_paid(SEEDANCE, body, signature)

    assert (answer.status_code, answer.content, read_amount(answer)) == (402, b"", PRICE_MICRO_USDC)
    assert (count_paid(sandbox), await count_jobs(client)) == (0, 0)
    assert (await client.send_paid(SEEDANCE, body, signature)).status_code == 200


async def test_settle_then_500_takes_the_money_and_denies_it(studios: Open) -> None:
    sandbox, client, url = await prepare(studios, "settle_then_500:1", "stuck_job")

    answer = await client.buy(SEEDANCE, write_current(url))

    assert (answer.status_code, answer.json()) == (500, {"success": False, "error": "Settlement failed"})
    assert (count_paid(sandbox), await count_jobs(client)) == (1, 1)


async def test_fail_settlement_moves_nothing_but_leaves_the_job(studios: Open) -> None:
    sandbox, client, url = await prepare(studios, "fail_settlement:1", "stuck_job")
    began = time.monotonic()

    answer = await client.buy(SEEDANCE, write_current(url))

    assert (answer.status_code, answer.json()) == (500, {"success": False, "error": "Settlement failed"})
    assert time.monotonic() - began >= 1.5
    assert (count_paid(sandbox), await count_jobs(client)) == (0, 1)


@pytest.mark.parametrize(("fault", "is_settled"), [("slow_settle=30", False), ("slow_answer=30", True)])
async def test_slow_faults_delay_before_and_after_settlement(studios: Open, fault: str, is_settled: bool) -> None:
    sandbox, client, url = await prepare(studios, fault, "stuck_job")
    body = write_current(url)
    signature = client.sign_payment(await client.http.post(SEEDANCE, json=body))

    await send_until(client, body, signature, lambda: count_paid(sandbox) == is_settled)

    assert (count_paid(sandbox), await count_jobs(client)) == (is_settled, 1)


@pytest.mark.parametrize(
    ("fault", "status", "content_type"),
    [
        ("server_error:1", 500, "application/json"),
        ("rate_limited:1", 429, "application/json"),
        ("not_json:1", 200, "text/html; charset=utf-8"),
        ("bot_check:1", 403, "text/html; charset=utf-8"),
    ],
)
async def test_edge_fault_answers_before_the_api(studios: Open, fault: str, status: int, content_type: str) -> None:
    _, client, _ = await prepare(studios, fault)

    broken = await client.http.post("/api/upload", json=UPLOAD)
    after = await client.http.post("/api/upload", json=UPLOAD)

    assert (broken.status_code, broken.headers["content-type"]) == (status, content_type)
    assert broken.headers.get("retry-after") == ("1" if status == 429 else None)
    assert after.status_code == 402


async def test_edge_fault_answers_a_paid_request_unread(studios: Open) -> None:
    sandbox, client, url = await prepare(studios)
    body = write_current(url)
    signature = client.sign_payment(await client.http.post(SEEDANCE, json=body))
    await client.http.post("/_sandbox/faults", json={"faults": ["server_error:1"]})

    answer = await client.send_paid(SEEDANCE, body, signature)

    assert answer.status_code == 500
    assert (count_paid(sandbox), await count_jobs(client)) == (0, 0)


async def test_failed_job_is_charged(studios: Open) -> None:
    sandbox, client, url = await prepare(studios, "failed_job:1")
    with anyio.fail_after(60):
        made = (await client.buy(SEEDANCE, write_current(url))).json()
        job = await client.wait_for(made["jobId"], "failed", "complete")

    assert job["status"] == "failed"
    assert "moderation" in job["error"]
    assert job["result"] is None
    assert count_paid(sandbox) == 1


async def test_slow_job_takes_ten_times_as_long(studios: Open) -> None:
    _, client, url = await prepare(studios, "slow_job:1", job_seconds=0.1)
    with anyio.fail_after(60):
        began = time.monotonic()
        made = (await client.buy(SEEDANCE, write_current(url))).json()
        await client.wait_for(made["jobId"], "complete")

    assert time.monotonic() - began >= 0.95


async def test_stuck_job_stays_in_loading(studios: Open) -> None:
    _, client, url = await prepare(studios, "stuck_job:1", job_seconds=0.05)
    with anyio.fail_after(60):
        made = (await client.buy(SEEDANCE, write_current(url))).json()
        job = await client.wait_for(made["jobId"], "loading")
        while job["progress"] < 99:
            job = (await client.ask("GET", f"/api/jobs/{made['jobId']}")).json()
            await anyio.sleep(POLL_SECONDS)
        later = [(await client.ask("GET", f"/api/jobs/{made['jobId']}")).json() for _ in range(3)]

    assert [job["status"] for job in later] == ["loading"] * 3


async def test_dead_result_url_is_replaced_at_the_next_poll(studios: Open) -> None:
    _, client, url = await prepare(studios, "dead_result_url:1")
    with anyio.fail_after(60):
        made = (await client.buy(SEEDANCE, write_current(url))).json()
        first = (await client.wait_for(made["jobId"], "complete"))["result"]
        second = (await client.wait_for(made["jobId"], "complete"))["result"]
        answers = [await client.http.get(result["videoUrl"]) for result in (first, second)]

    assert [answer.status_code for answer in answers] == [404, 200]


async def test_truncated_video_ends_in_the_middle(studios: Open) -> None:
    _, client, url = await prepare(studios, "truncated_video:1")
    with anyio.fail_after(60):
        made = (await client.buy(SEEDANCE, write_current(url))).json()
        video_url = (await client.wait_for(made["jobId"], "complete"))["result"]["videoUrl"]
        with pytest.raises(httpx.RemoteProtocolError):
            await client.http.get(video_url)
        whole = await client.http.get(video_url)

    assert len(whole.content) == int(whole.headers["content-length"])


EXPECTED_TAMPERINGS: dict[str, dict[str, object]] = {
    "price_x2": {"amount": "720000"},
    "price_x100": {"amount": "36000000"},
    "video_price_x2": {"amount": "720000"},
    "ceiling": {"amount": "20000000"},
    "other_asset": {"asset": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"},
    "other_network": {"network": "eip155:8453"},
    "other_domain_name": {"extra": {"name": "USD Coin", "version": "1"}},
    "other_recipient": {"payTo": "0x57a4632600000000000000000000000000000bad"},
    "permit2": {"extra": {"name": "Sandbox USDC", "version": "1", "assetTransferMethod": "permit2"}},
    "long_lifetime": {"maxTimeoutSeconds": 315_360_000},
    "other_realm": {},  # these two are MPP's: on x402 the offer is unchanged
    "split": {},
}


async def test_tampered_offer_differs_in_one_field(studios: Open) -> None:
    _, client, url = await prepare(studios)
    body = write_current(url)
    honest = read_challenge(await client.http.post(SEEDANCE, json=body))["accepts"][0]
    assert set(EXPECTED_TAMPERINGS) == set(OFFER_TAMPERINGS)
    for kind, change in EXPECTED_TAMPERINGS.items():
        await client.http.post("/_sandbox/faults", json={"faults": [f"tampered_offer={kind}:1"]})

        tampered = read_challenge(await client.http.post(SEEDANCE, json=body))["accepts"][0]
        after = read_challenge(await client.http.post(SEEDANCE, json=body))["accepts"][0]

        assert (kind, tampered) == (kind, {**honest, **change})
        assert after == honest


@pytest.mark.parametrize("kind", ["price_x100", "other_recipient", "long_lifetime"])
async def test_signed_tampered_offer_is_charged(studios: Open, kind: str) -> None:
    sandbox, client, url = await prepare(studios, f"tampered_offer={kind}:1", "stuck_job")

    answer = await client.buy(SEEDANCE, write_current(url))

    lost = FUNDS_MICRO_USDC - 10_000 - sandbox.chain.balance_of(client.address)
    assert answer.status_code == 200, answer.text
    assert lost == (36_000_000 if kind == "price_x100" else PRICE_MICRO_USDC)


async def test_unknown_fault_is_refused_and_changes_nothing(studios: Open) -> None:
    _, client, _ = await prepare(studios, "slow_job")

    answer = await client.http.post("/_sandbox/faults", json={"faults": ["slow_jab"]})

    assert answer.status_code == 400
    assert "slow_job" in answer.json()["error"]
    assert (await client.state())["faults"] == ["slow_job"]
