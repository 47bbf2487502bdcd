"""Secrets stay in their room: the whole journey with every logger open, and nothing to find afterwards."""

import json
import os
import re
from pathlib import Path

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.forks import build_command
from tests.integration.host import ON_BOTH_RAILS, Bench, Host

TOKEN = re.compile(rb"vercel_blob_client_[A-Za-z0-9]+_[A-Za-z0-9+/]{20,}")
SIGNATURE = re.compile(rb"0x[0-9a-fA-F]{130}")
OURS = re.compile(rb"eyJ(?:jaGFsbGVuZ2Ui|4NDAyVmVyc2lvbi|kb21haW4i)(?:[A-Za-z0-9+_-]|\\?/){150,}")
"""A credential of either rail, or a sign-in; what the studio asked for is base64 too, and no secret."""
CREDENTIAL = re.compile(rb"eyJ[A-Za-z0-9+/_-]{200,}")


async def test_neither_logs_nor_results_nor_ledger_hold_key_signature_or_credential(
    bench: Bench, picture: Path, tmp_path: Path
) -> None:
    key = str(json.loads(bench.wallet_file.read_text())["private_key"]).removeprefix("0x")
    log = tmp_path / "stderr.txt"
    said: list[str] = []
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
    command, *words = build_command("seedance_mcp")
    server = StdioServerParameters(
        command=command,
        args=words,
        env={**environ, **bench.environ, "SEEDANCE_LOG_LEVEL": "DEBUG", "SEEDANCE_WALLET_KEY": key},
    )
    with log.open("w") as errlog:
        async with Client(stdio_client(server, errlog=errlog)) as client:
            host = Host(client)
            said.append((await host.animate_to_the_end(image=str(picture), prompt="x")).text)
            for fault in ("failed_job", "second_402", "server_error", "not_json", "drop_after_settle:1"):
                await bench.break_with(fault)
                said.append((await host.call("animate_image", image=str(picture), prompt=fault, wait_seconds=3)).text)
            await bench.break_with()
            said.append((await host.call("get_job", job_id="unknown")).text)

    stderr = log.read_bytes()
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert "DEBUG" in {line["level"] for line in lines}, "the loggers were not open"
    assert {"complete", "failed"} <= {line.get("status") for line in lines}
    assert [line["payment_state"] for line in lines if line.get("code") == "payment_refused"] == ["held"]
    ledger = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("ledger.sqlite3*"))
    assert len(ledger) > 10_000
    for name, data in {"stderr": stderr, "results": "\n".join(said).encode(), "ledger": ledger}.items():
        assert key.encode() not in data.lower(), f"the key is in {name}"
        assert SIGNATURE.search(data) is None, f"a signature is in {name}"
        assert CREDENTIAL.search(data) is None, f"a credential is in {name}"


@ON_BOTH_RAILS
async def test_a_studio_that_repeats_our_secrets_gets_none_into_ledger_log_or_result(
    bench: Bench, picture: Path, tmp_path: Path, rail: str
) -> None:
    log, said = tmp_path / "stderr.txt", list[str]()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
    command, *words = build_command("seedance_mcp")
    server = StdioServerParameters(
        command=command,
        args=words,
        env={**environ, **bench.environ, "SEEDANCE_LOG_LEVEL": "DEBUG"},
    )
    with log.open("w") as errlog:
        async with Client(stdio_client(server, errlog=errlog)) as client:
            host = Host(client)
            await bench.break_with("echo_credential")
            video = await host.animate_to_the_end(image=str(picture), prompt="x")
            said.append(video.text)
            for fault in ("failed_job", "second_402", "settle_then_500:1"):
                await bench.break_with("echo_credential", fault)
                answer = await host.call("animate_image", image=str(picture), prompt=fault, wait_seconds=3)
                said.append(f"{answer.text} {json.dumps(answer.result.structured_content)}")
            said.append((await host.call("list_jobs")).text)

    assert Path(video["file"]).read_bytes()[4:8] == b"ftyp"
    ledger = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("ledger.sqlite3*"))
    assert b"[redacted]" in ledger, "nothing was repeated"
    secrets = {"signature": SIGNATURE, "credential": OURS, "token": TOKEN}
    for name, data in {"stderr": log.read_bytes(), "results": "\n".join(said).encode(), "ledger": ledger}.items():
        for kind, pattern in secrets.items():
            assert pattern.search(data) is None, f"a {kind} is in {name}"
