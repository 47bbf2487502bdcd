"""Settings of the object store: a folder that all servers share, or an S3-compatible bucket.

A bucket's endpoint and keys are read from the variables that its other tools use (`AWS_*`). Opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from seedance_mcp.config.places import expand
from seedance_mcp.config.sources import Source
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.objects import BucketAddress, BucketKey

FOLDER_OR_BUCKET = "Write s3://bucket/prefix, or file:///folder."

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_=-][A-Za-z0-9_.=-]{0,99}/){0,9}")


def read_objects(source: Source) -> Path | BucketAddress | None:
    """Return the folder or the bucket of pictures and videos; None where the owner names none.

    Raises:
        ConfigError: It is neither, or its keys are not a pair.
    """
    url = source.text("OBJECTS_URL")
    if url is None:
        return None
    where = source.where("OBJECTS_URL")
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _read_bucket(source.environ, url, where)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or len(parts.path) < 2 or parts.query:
        raise ConfigError(f"{where} is not s3:// with a bucket, or file:/// with a folder.", FOLDER_OR_BUCKET)
    return expand(unquote(parts.path), where)


def _read_bucket(environ: Mapping[str, str], url: str, where: str) -> BucketAddress:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/")
    if not _BUCKET.fullmatch(bucket) or not _PREFIX.fullmatch(f"{prefix}/" if prefix else ""):
        raise ConfigError(
            f"{where} is not s3:// with the name of a bucket and a plain prefix.", "Write s3://bucket/prefix."
        )
    return BucketAddress(
        bucket=bucket,
        prefix=prefix,
        endpoint=_read_endpoint(environ),
        region=_find(environ, "AWS_REGION", "AWS_DEFAULT_REGION"),
        key=_read_key(environ),
    )


def _read_endpoint(environ: Mapping[str, str]) -> str | None:
    """Return the URL of the store; plain http is used only where it is written there."""
    url = _find(environ, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise ConfigError("AWS_ENDPOINT_URL is not a plain http or https URL.", "Write it as https://host.")
    return url.rstrip("/")


def _read_key(environ: Mapping[str, str]) -> BucketKey | None:
    """Return the key pair; None where neither half is there."""
    key_id, secret = _find(environ, "AWS_ACCESS_KEY_ID"), _find(environ, "AWS_SECRET_ACCESS_KEY")
    if key_id is None and secret is None:
        return None
    if key_id is None or secret is None:
        missing = "AWS_ACCESS_KEY_ID" if key_id is None else "AWS_SECRET_ACCESS_KEY"
        raise ConfigError(f"{missing} is not set, but the other half of the key is.", "Set both, or none.")
    return BucketKey(key_id, secret, _find(environ, "AWS_SESSION_TOKEN"))


def _find(environ: Mapping[str, str], *names: str) -> str | None:
    """Return the first of several variables that has a value."""
    return next((value for name in names if (value := environ.get(name, "").strip())), None)
