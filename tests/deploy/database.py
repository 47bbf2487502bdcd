"""PostgreSQL as its image runs it: a user with a password over TCP, and TLS."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.hosted.deployment import find_free_port
from tests.postgres import become_server, find_programs, give_to_server

START_SECONDS = 60


@contextmanager
def run_postgres(folder: Path, environ: Mapping[str, str], authority: trustme.CA) -> Generator[int]:
    """Do what the image `postgres` does with its variables; yields the port once the server answers."""
    programs = find_programs()
    assert programs is not None
    user, database, port = environ["POSTGRES_USER"], environ["POSTGRES_DB"], find_free_port()
    folder.mkdir()
    password, data = folder / "password", folder / "data"
    password.write_text(Path(environ["POSTGRES_PASSWORD_FILE"]).read_text())
    _write_certificate(folder, authority)
    for one in (folder, password, folder / "key.pem", folder / "cert.pem"):
        give_to_server(one)
    initdb = [programs / "initdb", "-D", data, "-U", user, "--auth=scram-sha-256", f"--pwfile={password}"]
    _run(folder, *map(str, initdb), *environ.get("POSTGRES_INITDB_ARGS", "").split(), "--no-sync")
    settings = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "ssl": "on",
        "ssl_cert_file": folder / "cert.pem", "ssl_key_file": folder / "key.pem",
    }  # fmt: skip
    options = [f"--{name}={value}" for name, value in settings.items()]
    server = subprocess.Popen(
        [*become_server(), programs / "postgres", "-D", data, *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, start_new_session=True,
    )  # fmt: skip
    try:
        address = ["--host=127.0.0.1", f"--port={port}", f"--username={user}"]
        subprocess.run(["sh", "-c", f'until {programs / "pg_isready"} -q "$@"; do sleep 0.1; done', "sh", *address],
                       check=True, timeout=START_SECONDS)  # fmt: skip
        # The variable is the server's own way to make a database without a person who types.
        made = [programs / "createdb", *address, database]
        subprocess.run(made, check=True, env={"PGPASSWORD": password.read_text().strip()}, timeout=START_SECONDS)
        yield port
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _write_certificate(folder: Path, authority: trustme.CA) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)


def _run(folder: Path, *words: str) -> None:
    done = subprocess.run([*become_server(), *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
