"""How a hosted server ends after SIGTERM, and what its metrics say meanwhile."""

import base64
import re
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from mcp.shared.subscriptions import ResourceUpdated

from tests.hosting import ACCEPT, Server, build_message, open_http, start_server

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

METRICS = re.compile(r"Serving metrics at (\S+)")
NAMES = (
    "mcp_server_operation_duration_seconds_count", "seedance_payments_total", "seedance_payment_seconds_count",
    "seedance_reserve_seconds_count", "seedance_spent_micro_usdc", "seedance_held_micro_usdc",
    "seedance_unfinished_payments", "seedance_oldest_unfinished_seconds", "seedance_clip_unsaved_seconds",
    "seedance_poll_leader", "seedance_draining", "seedance_wallet_balance_micro_usdc", "seedance_cap_left_micro_usdc",
    "seedance_webhooks_total", "seedance_webhook_undelivered_seconds",
)  # fmt: skip
BUY = build_message("tools/call", name="animate_image", arguments={"image": "https://x.example/a.png", "prompt": "x"})
READ = build_message("tools/call", name="list_jobs", arguments={})


@pytest.fixture(scope="module")
def ending(settings: dict[str, str], database: str) -> Generator[Server]:
    """A server with metrics; the last test that uses it ends it."""
    environ = {**settings, "SEEDANCE_METRICS_LISTEN": "127.0.0.1:0", "SEEDANCE_MAX_TOTAL": "20"}
    with start_server(environ, SEEDANCE_DATABASE_URL=database) as server:
        yield server


async def read_metrics(server: Server) -> dict[str, float]:
    """Return the values of all metrics, by name and labels."""
    await server.wait_for_record("Serving metrics")
    found = METRICS.search(server.log)
    assert found is not None
    async with open_http() as http:
        text = (await http.get(found[1].rstrip('"}'))).text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


async def test_metrics_name_operations_money_and_age_without_callers_or_jobs(ending: Server, token: str) -> None:
    async with ending.connect(token) as host:
        await host.call("list_jobs")
        await host.call("get_job", job_id="no-such-job")
    values = await read_metrics(ending)
    for name in NAMES:
        assert any(key.split("{")[0] == name for key in values) or name == "seedance_payments_total", name
    labels = 'error_type="%s",gen_ai_tool_name="%s",mcp_method_name="tools/call"'
    count = f"mcp_server_operation_duration_seconds_count{{{labels}}}"
    assert values[count % ("", "list_jobs")] == 1
    assert values[count % ("job_not_found", "get_job")] == 1
    assert values['seedance_cap_left_micro_usdc{cap="max_total"}'] <= 20_000_000
    assert values['seedance_spent_micro_usdc{scope="wallet"}'] >= 0
    assert any(key.startswith("seedance_studio_requests_total{") for key in values)
    assert not [key for key in values if "ann" in key or "no-such-job" in key]


async def test_server_drains_after_sigterm_and_ends_with_0(ending: Server, token: str) -> None:
    events: list[str] = []

    async def listen() -> None:
        async with ending.connect(token) as host:
            async with host.client.listen(resource_subscriptions=["seedance://jobs/x"]) as stream:
                events.append("open")
                async for event in stream:
                    assert isinstance(event, ResourceUpdated)
            events.append("closed")

    async with anyio.create_task_group() as tasks, open_http(token) as http:
        tasks.start_soon(listen)
        with anyio.fail_after(60):
            while not events:
                await anyio.sleep(0.02)
        ending.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(60):
            while (await http.get(f"{ending.url}/readyz")).status_code != 503:
                await anyio.sleep(0.02)
        assert (await http.get(f"{ending.url}/healthz")).status_code == 200
        assert (await read_metrics(ending))["seedance_draining"] == 1
        refused = await wait_for_refusal(http, ending)
        assert refused.headers["retry-after"] == "5"
        assert refused.headers["connection"] == "close"
        assert refused.json()["id"] == 1
        assert "Nothing was paid. Make the same call again." in refused.json()["error"]["message"]
        await anyio.to_thread.run_sync(ending.process.wait, 60)
    assert ending.process.returncode == 0
    assert events == ["open", "closed"]
    assert "are cut off" not in ending.log


async def wait_for_refusal(http: httpx.AsyncClient, server: Server) -> httpx.Response:
    """Call until a purchase is refused with 503; until then the server takes calls as ever."""
    with anyio.fail_after(60):
        while True:
            answer = await http.post(f"{server.url}/mcp", json=BUY, headers=ACCEPT)
            if answer.status_code == 503:
                return answer
            assert answer.status_code == 200
            await anyio.sleep(0.1)


async def test_call_in_progress_is_not_cut_off_in_either_era(
    settings: dict[str, str],
    database: str,
    token: str,
    make_sandbox: Callable[..., "Sandbox"],
    funded_key: str,
    make_picture: Callable[..., Path],
) -> None:
    """The SDK's own end cuts a call of the earlier revisions off 0.4 seconds after the signal."""
    studio = make_sandbox(job_seconds=7)
    own = {"SEEDANCE_STUDIO_URL": studio.url, "SEEDANCE_WALLET_KEY": funded_key, "SEEDANCE_DATABASE_URL": database}
    plain = {name: value for name, value in settings.items() if name != "SEEDANCE_WALLET_FILE"}
    picture = "data:image/png;base64," + base64.b64encode(make_picture().read_bytes()).decode()
    statuses: dict[str, str] = {}
    with start_server(plain, **own) as server:

        async def buy(mode: Any, take: int) -> None:
            async with server.connect(token, mode=mode) as host:
                await host.client.list_tools()  # by which the client checks a result, in the end
                bought = await host.call("animate_image", image=picture, prompt="x", take=take, wait_seconds=45)
            statuses[mode] = bought.text if bought.failed else bought["status"]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(buy, "auto", 1)
            tasks.start_soon(buy, "legacy", 2)
            with anyio.fail_after(60):
                while len(await read_jobs(studio.url)) < 2:
                    await anyio.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(server.process.wait, 60)
    assert statuses == {"auto": "complete", "legacy": "complete"}
    assert server.process.returncode == 0


async def read_jobs(studio_url: str) -> list[Any]:
    """Return the jobs of a sandbox."""
    async with open_http() as http:
        return (await http.get(f"{studio_url}/_sandbox/state")).json()["jobs"]
