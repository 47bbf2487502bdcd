"""Installation: the source of this copy, for hints that name an install command.

A hint never names our package to an index before `RELEASED_ON_INDEX` is True: until then anyone may register the name
there and run code beside a wallet key. The installed metadata is read only when a hint is built, because start-up must
not wait for it.
"""

from __future__ import annotations

RELEASED_ON_INDEX = False
"""True once our name on the Python package index is ours. A release sets it, and adds its package to `server.json`."""

NAME = "seedance-mcp"
UNKNOWN_SOURCE = f"the folder or wheel that you installed {NAME} from"

_EXTRAS = {
    "film": ("av",),
    "hosted": ("obstore", "prometheus_client", "psycopg", "psycopg_pool"),
    "keychain": ("keyring",),
    "sandbox": ("av", "siwe", "x402"),
    "tempo": ("mpp", "pytempo"),
}
"""Libraries that an extra brings, by extra."""


def list_missing_libraries() -> list[str]:
    """Return the libraries of the extra `sandbox` that are not installed; loads none of them."""
    from importlib.util import find_spec

    return [name for name in _EXTRAS["sandbox"] if find_spec(name) is None]


def describe_install(extra: str) -> str:
    """Return a sentence that tells how to install an extra of this copy.

    Args:
        extra: Name of an optional dependency group, such as `tempo`.
    """
    installer, replaces = find_installer()
    extras = sorted({*_list_installed_extras(), extra}) if replaces else [extra]
    command = build_install_command(_read_direct_url(), ",".join(extras), installer)
    return f"Run: {command}" if command else f"Install the extra `{extra}` from {UNKNOWN_SOURCE}."


def find_installer() -> tuple[str, bool]:
    """Return the command that installs beside this copy, and True if it replaces the copy with its extras.

    Source: uv and pipx leave a file of theirs in each environment that they make for a tool.
    """
    import os
    import shutil
    import sys
    from importlib.util import find_spec

    for file, command in (
        ("uv-receipt.toml", "uv tool install --force"),
        ("pipx_metadata.json", "pipx install --force"),
    ):
        if os.path.exists(os.path.join(sys.prefix, file)):
            return command, True
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    if find_spec("pip") is None:
        return f"uv pip install --python {python}", False
    pip = shutil.which("pip")
    if pip is not None and os.path.dirname(pip) == os.path.dirname(sys.executable):
        return "pip install", False
    return f"{python} -m pip install", False


def build_install_command(direct_url: str | None, extra: str, installer: str = "pip install") -> str | None:
    """Return the command that installs an extra from the source of a copy.

    Args:
        direct_url: Text of `direct_url.json`, or None if the copy has none.
        extra: Name of an optional dependency group, or several with commas.
        installer: The command that installs.

    Returns:
        The command, or None if the source is unknown or does not exist any more.

    Source: PEP 610, "Recording the Direct URL Origin of installed distributions".
    """
    if direct_url is None:
        return f"{installer} {_quote(f'{NAME}[{extra}]')}" if RELEASED_ON_INDEX else None
    source = _read_source(direct_url)
    if source is None:
        return None
    where, path, editable = source
    if path is not None:
        return f"{installer} {'-e ' if editable else ''}{_quote(f'{path}[{extra}]')}"
    return f"{installer} {_quote(f'{NAME}[{extra}] @ {where}')}"


def _quote(text: str) -> str:
    """Return a text as the shell of this system takes it; a source has no quote of either kind."""
    import os

    return f'"{text}"' if os.name == "nt" else f"'{text}'"


def _list_installed_extras() -> list[str]:
    from importlib.util import find_spec

    return [name for name, libraries in _EXTRAS.items() if all(find_spec(one) for one in libraries)]


def find_requirement() -> str | None:
    """Return the requirement that names the source of this copy and its installed extras; None if it is unknown."""
    return build_requirement(_read_direct_url(), _list_installed_extras())


def build_requirement(direct_url: str | None, extras: list[str]) -> str | None:
    """Return the requirement that names the source of a copy, or None if it is unknown or does not exist any more.

    Source: PEP 508, direct references.
    """
    name = f"{NAME}[{','.join(extras)}]" if extras else NAME
    if direct_url is None:
        return name if RELEASED_ON_INDEX else None
    source = _read_source(direct_url)
    return None if source is None else f"{name} @ {source[0]}"


def _read_source(direct_url: str) -> tuple[str, str | None, bool] | None:
    """Return a source's URL without credentials, its path if it is local, and True if it is editable."""
    import json  # only when a hint is built
    from urllib.parse import unquote, urlsplit

    try:
        found = json.loads(direct_url)
        url = str(found["url"])
        parts = urlsplit(url)
        revision = found.get("vcs_info", {}).get("commit_id")
        vcs, editable = found.get("vcs_info", {}).get("vcs"), found.get("dir_info", {}).get("editable") is True
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not parts.scheme or not url.isprintable() or "'" in unquote(url) or not url.isascii():
        return None
    if parts.scheme == "file" and vcs is None:
        path = _find_path(url)
        return None if path is None else (url, path, editable)
    where = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # the part before the host may be a token
    if vcs is not None:
        where = f"{vcs}+{where}" + (f"@{revision}" if revision else "")
    return where, None, editable


def _find_path(url: str) -> str | None:
    """Return the path of a file URL, or None if it does not exist any more."""
    import os
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    path = url2pathname(urlsplit(url).path)
    return path if os.path.exists(path) and path.isprintable() else None


def _read_direct_url() -> str | None:
    """Return the `direct_url.json` of this copy; for sources that were never installed, one that names their folder."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from pathlib import Path

    sources = Path(__file__).resolve().parents[2]
    try:
        text = distribution(NAME).read_text("direct_url.json")
    except (PackageNotFoundError, OSError, ValueError):
        text = None
    if text is None and (sources / "pyproject.toml").is_file():
        return json.dumps({"url": sources.as_uri(), "dir_info": {}})
    return text


def check_sandbox_installed() -> None:
    """Check that the libraries of the sandbox are there; loads none of them.

    Raises:
        ConfigError: One is missing.
    """
    missing = list_missing_libraries()
    if missing:
        from seedance_mcp.core.errors import ConfigError  # needed only then

        what = f"The sandbox studio is not installed ({', '.join(missing)} missing)."
        raise ConfigError(what, describe_install("sandbox"))
