"""Serve over streamable HTTP on loopback for the conformance suite, which supports nothing else. For tests only.

Usage: serve_http.py PORT
"""

import os
import sys

from mcp.server.transport_security import TransportSecuritySettings

from seedance_mcp.app.logging import configure_logging
from seedance_mcp.server import build_server

HOSTS = ["127.0.0.1:*", "localhost:*", "[::1]:*"]

configure_logging("ERROR")
build_server(os.environ).run(
    "streamable-http",
    host="127.0.0.1",
    port=int(sys.argv[1]),
    transport_security=TransportSecuritySettings(
        allowed_hosts=HOSTS, allowed_origins=[f"http://{host}" for host in HOSTS]
    ),
)
