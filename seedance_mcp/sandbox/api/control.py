"""Routes that only a sandbox has: its state, free money, faults and the chains' JSON-RPC.

Everything is under `/_sandbox/`, except the chains' JSON-RPC endpoints `/rpc` and `/tempo/rpc`. These routes need no
sign-in: the sandbox listens on the loopback address and its money is worthless.
"""

import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import move_on_after
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from seedance_mcp.sandbox.api.answers import RefusalError, build_json, build_refusal
from seedance_mcp.sandbox.api.sign_in import format_time
from seedance_mcp.sandbox.chains.local_chain import NETWORK, Settlement
from seedance_mcp.sandbox.chains.rpc import answer_rpc, build_parse_error, build_receipt
from seedance_mcp.sandbox.chains.tempo import NETWORK as TEMPO_NETWORK
from seedance_mcp.sandbox.chains.tempo import TempoSettlement
from seedance_mcp.sandbox.chains.tempo_rpc import answer_tempo, build_tempo_receipt
from seedance_mcp.sandbox.settings import RAILS
from seedance_mcp.sandbox.state import SandboxState

Control = Callable[[SandboxState, Request], Awaitable[Response]]


def build_control_routes(studio: SandboxState) -> list[Route]:
    """Build the routes that only a sandbox has."""
    return [
        _build_route(studio, "/_sandbox/state", show_state, "GET"),
        _build_route(studio, "/_sandbox/fund", fund, "POST"),
        _build_route(studio, "/_sandbox/faults", replace_faults, "POST"),
        _build_route(studio, "/_sandbox/tx/{transaction}", show_transaction, "GET"),
        _build_route(studio, "/rpc", serve_rpc, "POST"),
        _build_route(studio, "/tempo/rpc", serve_tempo_rpc, "POST"),
    ]


def _build_route(studio: SandboxState, path: str, control: Control, method: str) -> Route:
    async def serve(request: Request) -> Response:
        try:
            return await control(studio, request)
        except ClientDisconnect:
            return Response(status_code=400)  # the client has gone
        except RefusalError as refusal:
            return build_refusal(refusal)

    return Route(path, serve, methods=[method])


async def show_state(studio: SandboxState, _: Request) -> Response:
    """Return the whole state of the studio."""
    settings = dataclasses.asdict(dataclasses.replace(studio.settings, funded=dict(studio.settings.funded)))
    return build_json(
        {
            "settings": settings,
            "network": NETWORK,
            "balances": studio.chain.balances(),
            "tempo_balances": studio.tempo.balances(),
            "settlements": _describe_settlements(studio),
            "payments_seen": studio.paywall.seen_payments,
            "jobs": _describe_jobs(studio),
            "uploads": studio.blobs.describe(),
            "requests": studio.requests(),
            "faults": studio.faults.spellings(),
        }
    )


async def fund(studio: SandboxState, request: Request) -> Response:
    """Mint worthless money for an address, on one rail's chain."""
    body = await _read_json(request)
    match body:
        case {"address": str(address), "amount_micro_usdc": int(amount)}:
            rail = body.get("rail", "x402")
        case _:
            raise RefusalError(400, "Expected {address, amount_micro_usdc, rail?}")
    if rail not in RAILS:
        raise RefusalError(400, f"unknown rail; choose from: {', '.join(RAILS)}")
    chain = studio.tempo if rail == "mpp" else studio.chain
    try:
        chain.mint(address, amount)
    except ValueError as exc:
        raise RefusalError(400, str(exc)) from exc
    return build_json({"address": address, "balance_micro_usdc": chain.balance_of(address)})


async def replace_faults(studio: SandboxState, request: Request) -> Response:
    """Switch on exactly the listed faults."""
    match await _read_json(request):
        case {"faults": [*spellings]}:
            pass
        case _:
            raise RefusalError(400, "Expected {faults: [...]}")
    try:
        studio.faults.replace([str(spelling) for spelling in spellings])
    except ValueError as exc:
        raise RefusalError(400, str(exc)) from exc
    return build_json({"faults": studio.faults.spellings()})


async def show_transaction(studio: SandboxState, request: Request) -> Response:
    """Return one transaction, as a block explorer does."""
    transaction = request.path_params["transaction"]
    settlement = studio.chain.find_settlement(transaction)
    if settlement is not None:
        return build_json(_describe_settlement(studio, settlement) | {"receipt": build_receipt(settlement)})
    charged = studio.tempo.find_settlement(transaction)
    if charged is None:
        raise RefusalError(404, "Transaction not found")
    return build_json(_describe_charge(studio, charged) | {"receipt": build_tempo_receipt(charged)})


async def serve_rpc(studio: SandboxState, request: Request) -> Response:
    """Answer JSON-RPC to the x402 token's chain."""
    return await _serve_rpc(studio, request, lambda decoded: answer_rpc(studio.chain, decoded))


async def serve_tempo_rpc(studio: SandboxState, request: Request) -> Response:
    """Answer JSON-RPC to the Tempo chain."""
    return await _serve_rpc(studio, request, lambda decoded: answer_tempo(studio.tempo, decoded))


async def _serve_rpc(studio: SandboxState, request: Request, answer: Callable[[Any], Any]) -> Response:
    studio.count(request.method, request.url.path)
    slow = studio.faults.take("slow_chain")
    if slow is not None:
        with move_on_after(slow.seconds):
            await studio.stopping.wait()
    try:
        decoded = json.loads(await request.body())
    except (ValueError, RecursionError):
        return build_json(build_parse_error())
    if b"eth_getLogs" in await request.body() and studio.faults.take("no_logs"):
        return build_json({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "eth_getLogs is disabled"}})
    return build_json(answer(decoded))


async def _read_json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as exc:
        raise RefusalError(400, "Invalid JSON", issues=[]) from exc


def _describe_settlements(studio: SandboxState) -> list[dict[str, Any]]:
    """Return the transfers of both chains in one list, oldest first."""
    rows = [(one.at, _describe_settlement(studio, one)) for one in studio.chain.settlements()]
    rows += [(one.at, _describe_charge(studio, one)) for one in studio.tempo.settlements()]
    return [row for _, row in sorted(rows, key=lambda row: row[0])]


def _describe_charge(studio: SandboxState, settlement: TempoSettlement) -> dict[str, Any]:
    return {
        "rail": "mpp",
        "transaction": settlement.transaction,
        "network": TEMPO_NETWORK,
        "from": settlement.payer,
        "to": settlement.recipient,
        "amount_micro_usdc": settlement.amount_micro_usdc,
        "fee_micro_usdc": settlement.fee_micro_usdc,
        "fee_payer": settlement.fee_payer,
        "nonce": settlement.nonce_hash,
        "memo": settlement.memo,
        "path": studio.paywall.purposes.get(settlement.transaction),
        "block_number": settlement.block_number,
        "at": format_time(settlement.at),
    }


def _describe_settlement(studio: SandboxState, settlement: Settlement) -> dict[str, Any]:
    return {
        "rail": "x402",
        "transaction": settlement.transaction,
        "network": NETWORK,
        "from": settlement.payer,
        "to": settlement.recipient,
        "amount_micro_usdc": settlement.amount_micro_usdc,
        "nonce": settlement.nonce,
        "path": studio.paywall.purposes.get(settlement.transaction),
        "block_number": settlement.block_number,
        "at": format_time(settlement.at),
    }


def _describe_jobs(studio: SandboxState) -> list[dict[str, Any]]:
    return [
        {
            "id": job.id,
            "owner": job.owner,
            "type": job.kind,
            "path": job.path,
            "input": dict(job.request.body),
            "status": studio.jobs.read_state(job).status,
            "price_micro_usdc": job.request.price_micro_usdc,
            "created_at": format_time(job.created_at),
            "deleted": job.deleted,
        }
        for job in studio.jobs.jobs()
    ]
