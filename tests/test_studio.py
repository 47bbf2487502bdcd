"""The studio's room: against a real sandbox, and against servers that mean harm."""

import asyncio
import gzip
import ipaddress
import json
import logging
import socket
import traceback
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from seedance_mcp import studio as room
from seedance_mcp.errors import (
    ConfigError,
    StudioError,
    StudioProtocolError,
    StudioRejectedError,
    StudioUnreachableError,
)
from seedance_mcp.policy import Approval, Limits, Pins, choose_offer
from seedance_mcp.studio import Address, Studio, is_public, read_retry_after
from seedance_mcp.wallet import Wallet, open_wallet
from seedance_mcp.wire import generation
from seedance_mcp.wire.encoding import JSON_BYTES_MAX, encode_base64_json, encode_json
from seedance_mcp.wire.exchange import PaidRequest, Response
from seedance_mcp.wire.jobs import UploadTicket, read_submitted_job, read_upload_ticket
from seedance_mcp.wire.offers import Credential, read_offers
from seedance_mcp.wire.x402 import Authorization, TokenDomain, build_payment
from tests.servers import Asked, RawServer, build_answer, say, serve_raw

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox
    from tests.conftest import HttpsServer
