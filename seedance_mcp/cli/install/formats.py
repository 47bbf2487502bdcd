"""Formats: one interface to the JSON, TOML and YAML files of hosts.

It takes and returns text; reading and writing files is not its task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from seedance_mcp.cli.install.json_edit import cut_json, parse_json, read_object, set_json
from seedance_mcp.cli.install.shapes import Form, find_key
from seedance_mcp.cli.install.toml_edit import cut_toml, parse_toml, read_table, set_toml, write_toml
from seedance_mcp.cli.install.yaml_edit import cut_yaml, parse_yaml, set_yaml, write_yaml


def read_servers(form: Form, text: str, file: Path) -> dict[str, object]:
    """Return the servers in a host's file, by name.

    Raises:
        ConfigError: It cannot be read.
    """
    if form == "codex":
        return read_table(parse_toml(text, file), find_key(form), file)
    return read_object(_parse(form, text, file), find_key(form), file)


def has_key(form: Form, text: str, file: Path) -> bool:
    """Return True if a host's file has the key of its servers.

    Raises:
        ConfigError: It cannot be read.
    """
    return find_key(form) in (parse_toml(text, file) if form == "codex" else _parse(form, text, file))


def _parse(form: Form, text: str, file: Path) -> dict[str, object]:
    return parse_yaml(text, file) if form == "goose" else parse_json(text, file)


def set_server(form: Form, text: str, file: Path, name: str, entry: Mapping[str, object]) -> str:
    """Return a file's text with a server in it.

    Raises:
        ConfigError: It cannot be read, or not be changed safely.
    """
    change = {"codex": set_toml, "goose": set_yaml}.get(form, set_json)
    return change(text, file, find_key(form), name, entry)


def cut_server(form: Form, text: str, file: Path, name: str, *, with_key: bool) -> str:
    """Return a file's text without a server, and without the key of all servers if it is empty and was ours.

    Raises:
        ConfigError: As `set_server`.
    """
    if form == "codex":
        return cut_toml(text, file, find_key(form), name)
    change = cut_yaml if form == "goose" else cut_json
    return change(text, file, find_key(form), name, with_key=with_key)


def write_server(form: Form, name: str, entry: object) -> str:
    """Return a server as a document of its own, for people."""
    if isinstance(entry, dict) and form in ("codex", "goose"):
        write = write_toml if form == "codex" else write_yaml
        return write(find_key(form), name, entry)  # pyright: ignore[reportUnknownArgumentType]  # from the file
    return json.dumps({find_key(form): {name: entry}}, indent=2, ensure_ascii=False)
