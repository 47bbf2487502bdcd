"""Callers over HTTP: what one of them bought is like nothing to another, in both protocol eras."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp.server.subscriptions import ResourceUpdated, ServerEvent

from seedance_mcp.core.callers import CallerCaps
from seedance_mcp.server.subscriptions import CallerBus
from tests.hosting import Server, add_caller
from tests.integration.host import Host
from tests.integration.person import Person
from tests.server.http.test_http_security import draw_uri

BOTH_ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


async def fail_to_read(host: Host, uri: str, job_id: str) -> str:
    """Return the error of a resource, without the id of the job."""
    with pytest.raises(MCPError) as failed:
        await host.client.read_resource(f"{uri}/{job_id}")
    return str(failed.value).replace(job_id, "ID")


async def fail_to_get(host: Host, job_id: str) -> str:
    answer = await host.call("get_job", job_id=job_id, wait_seconds=0)
    assert answer.failed
    return answer.text.replace(job_id, "ID")


@BOTH_ERAS
async def test_what_a_caller_bought_is_unknown_to_another(
    server: Server, database: str, make_picture: Callable[..., Path], mode: Any
) -> None:
    ann, eve = await add_caller(database, f"ann-of-{mode}"), await add_caller(database, f"eve-of-{mode}")
    call = {"image": draw_uri(make_picture()), "prompt": f"isolated {mode}"}
    async with server.connect(ann, mode=mode) as host:
        bought = await host.animate_to_the_end(**call)
        job_id, again = bought["job_id"], await host.call("quote_price", **call)
    async with server.connect(eve, mode=mode) as host:
        quote, status = await host.call("quote_price", **call), await host.call("wallet_status")

        assert await fail_to_get(host, job_id) == await fail_to_get(host, "unknown-job")
        for uri in ("seedance://jobs", "seedance://pictures", "seedance://videos"):
            assert await fail_to_read(host, uri, job_id) == await fail_to_read(host, uri, "unknown-job")
        assert (await host.call("list_jobs"))["jobs"] == []
    assert (again["job_id"], again["price_usd"]) == (job_id, "0.00")
    assert (quote["job_id"], quote["price_usd"]) == (None, "0.32")
    assert {offer["balance_usd"] for offer in quote["offers"]} == {None}
    assert (status["spent_total_usd"], status["unfinished_payments"], status["balances"]) == ("0.00", [], [])


@pytest.mark.parametrize("is_team", [False, True])
async def test_only_a_team_is_told_of_the_changes_of_each_others_jobs(is_team: bool) -> None:
    bus, told = CallerBus(), list[ServerEvent]()
    bus.shares_jobs = is_team

    async def find_owner(job_id: str) -> str | None:
        return "ann" if job_id == "of-ann" else None

    bus.find_owner = find_owner
    bus.subscribe(told.append)  # another caller
    for job_id in ("of-ann", "unknown"):
        await bus.publish(ResourceUpdated(uri=f"seedance://jobs/{job_id}"))

    assert [getattr(event, "uri", "") for event in told] == (["seedance://jobs/of-ann"] if is_team else [])


async def test_a_callers_cap_is_named_in_its_own_words(
    server: Server, database: str, make_picture: Callable[..., Path]
) -> None:
    token = await add_caller(database, "capped", caps=CallerCaps(max_per_day_micro_usdc=100_000, max_open=1))
    async with server.connect(token) as host:
        refused = await host.call("animate_image", image=draw_uri(make_picture()), prompt="capped")
        status = await host.call("wallet_status")

    assert refused.failed
    assert "left of the caller's budget per day" in refused.text
    assert "Nothing was paid" in refused.text
    assert status["caps"] == ["caller's budget per day: $0.10, $0.10 left", "caller's open purchases: 0 of 1"]


async def test_where_no_person_can_be_asked_the_setting_is_named(
    asking: Server, token: str, make_picture: Callable[..., Path]
) -> None:
    """An old client over stateless HTTP cannot be asked, whatever it says that it can do; nor one without forms."""
    person = Person("accept", approve=True)
    for mode, elicitation in (("legacy", person), ("legacy", None), ("auto", None)):
        async with asking.connect(token, mode=mode, elicitation=elicitation) as host:
            refused = await host.call("animate_image", image=draw_uri(make_picture()), prompt="unasked")
        assert refused.failed
        assert "SEEDANCE_ASK_ABOVE" in refused.text
        assert "Nothing was paid" in refused.text
    async with asking.connect(token, elicitation=person) as host:
        bought = await host.animate_to_the_end(image=draw_uri(make_picture()), prompt="unasked")
    assert bought["status"] == "complete"
    assert len(person.questions) == 1
