"""Custom profile: another deployment of the same contract, described in the owner's TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from seedance_mcp.config.places import expand
from seedance_mcp.config.profiles import Profile
from seedance_mcp.config.sources import Source, check_keys, check_url, read_origin, read_toml, require_text
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.redaction import quote_value
from seedance_mcp.core.wire.json import is_address, is_network
from seedance_mcp.core.wire.mpp import PinnedChargeTerms
from seedance_mcp.core.wire.x402 import TokenDomain


def read_custom(source: Source) -> Profile:
    """Read the profile that `SEEDANCE_PROFILE_FILE` names.

    Raises:
        ConfigError: It is missing or invalid.
    """
    named = source.text("PROFILE_FILE")
    if named is None:
        raise ConfigError("The profile is custom, but no profile file is named.", "Set SEEDANCE_PROFILE_FILE.")
    path = expand(named, source.where("PROFILE_FILE"))
    document = read_toml(path, f"The file that {source.where('PROFILE_FILE')} names")
    where = str(path)
    check_keys(document, {"studio_url", "blob_url", "allow_loopback_http", "x402", "mpp", "pay_to"}, where)
    allow_loopback_http = document.get("allow_loopback_http", False)
    if not isinstance(allow_loopback_http, bool):
        raise ConfigError(f"allow_loopback_http in {where} is not true or false.", "Write it without quotes.")
    studio_url = read_origin(
        require_text(document, "studio_url", where), f"studio_url in {where}", allow_loopback_http=allow_loopback_http
    )
    blob_url = require_text(document, "blob_url", where)
    check_url(blob_url, f"blob_url in {where}", allow_loopback_http=allow_loopback_http)
    if "?" in blob_url or "#" in blob_url:
        raise ConfigError(f"blob_url in {where} has a query.", "Write it without; ours is added to it.")
    if urlsplit(blob_url).path in ("", "/"):
        blob_url = blob_url.rstrip("/") + "/api/blob/"
    x402 = document.get("x402")
    token, rpc_urls = None, ()
    if x402 is not None:
        token, rpc_urls = _read_token(x402, where, allow_loopback_http=allow_loopback_http)
    charges, tempo_rpc_urls = None, ()
    if document.get("mpp") is not None:
        charges, tempo_rpc_urls = _read_charges(document["mpp"], where, allow_loopback_http=allow_loopback_http)
    return Profile(
        name="custom",
        studio_url=studio_url,
        blob_url=blob_url if blob_url.endswith("/") else blob_url + "/",
        allow_loopback_http=allow_loopback_http,
        token=token,
        rpc_urls=rpc_urls,
        explorer_url=None,
        charges=charges,
        tempo_rpc_urls=tempo_rpc_urls,
        pay_to=_read_pay_to(document, where),
    )


def _read_pay_to(document: Mapping[str, object], where: str) -> tuple[str, ...]:
    """Return the profile's recipients; without `pay_to` any is allowed, and an empty `pay_to` is an error."""
    if "pay_to" not in document:
        return ()
    pay_to = document["pay_to"]
    addresses = cast("list[object]", pay_to) if isinstance(pay_to, list) else []
    if not addresses or not all(is_address(address) for address in addresses):
        raise ConfigError(
            f"pay_to in {where} is not a list of addresses.", 'Write pay_to = ["0x…"], or leave it out to allow any.'
        )
    return tuple(str(address).lower() for address in addresses)


def _read_token(table: object, where: str, *, allow_loopback_http: bool) -> tuple[TokenDomain, tuple[str, ...]]:
    if not isinstance(table, dict):
        raise ConfigError(f"[x402] in {where} is not a table.", "Write [x402] on its own line, and its keys below.")
    fields = cast("dict[str, object]", table)
    where = f"[x402] in {where}"
    check_keys(fields, {"network", "asset", "name", "version", "rpc_url"}, where)
    network, asset = require_text(fields, "network", where), require_text(fields, "asset", where)
    if not is_network(network):
        raise ConfigError(
            f"network of {where} is {quote_value(network)}.", "Write eip155:<chain id>, such as eip155:8453."
        )
    if not is_address(asset):
        raise ConfigError(f"asset of {where} is not an address.", "Write the token's contract: 0x and 40 digits.")
    token = TokenDomain(
        network=network,
        asset=asset,
        name=require_text(fields, "name", where),
        version=require_text(fields, "version", where),
    )
    return token, _read_rpc_urls(fields, where, allow_loopback_http=allow_loopback_http)


def _read_charges(table: object, where: str, *, allow_loopback_http: bool) -> tuple[PinnedChargeTerms, tuple[str, ...]]:
    if not isinstance(table, dict):
        raise ConfigError(f"[mpp] in {where} is not a table.", "Write [mpp] on its own line, and its keys below.")
    fields = cast("dict[str, object]", table)
    where = f"[mpp] in {where}"
    check_keys(fields, {"chain_id", "currencies", "rpc_url"}, where)
    chain_id, listed = fields.get("chain_id"), fields.get("currencies")
    if not isinstance(chain_id, int) or not is_network(f"eip155:{chain_id}"):
        raise ConfigError(f"chain_id of {where} is not a chain's number.", "Write it without quotes, such as 4217.")
    currencies = cast("list[object]", listed) if isinstance(listed, list) else []
    if not currencies or not all(is_address(currency) for currency in currencies):
        raise ConfigError(f"currencies of {where} is not a list of addresses.", 'Write currencies = ["0x…"].')
    lower = tuple(dict.fromkeys(str(currency).lower() for currency in currencies))
    pins = PinnedChargeTerms(chain_id=chain_id, currencies=lower)
    return pins, _read_rpc_urls(fields, where, allow_loopback_http=allow_loopback_http)


def _read_rpc_urls(fields: Mapping[str, object], where: str, *, allow_loopback_http: bool) -> tuple[str, ...]:
    """Return one URL or a list of URLs; none if there is no such key."""
    if "rpc_url" not in fields:
        return ()
    listed = fields["rpc_url"]
    urls = cast("list[object]", listed) if isinstance(listed, list) and listed else [cast("object", listed)]
    texts = tuple(require_text({"rpc_url": url}, "rpc_url", where) for url in urls)
    for text in texts:
        check_url(text, f"rpc_url of {where}", allow_loopback_http=allow_loopback_http)
    return texts
