"""Files: pictures on the owner's disk, only in folders that the owner allows."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import anyio.to_thread

from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, Image, prepare_image
from seedance_mcp.adapters.media.opened import find_opened
from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.image_names import CHAT_HINT, NAME_HINT, is_in_chat, list_variants, name_in_wsl, normalise_name
from seedance_mcp.core.next_steps import NextStep, OwnerOnly, Setting
from seedance_mcp.core.texts import quote_text

PATH_CHARACTERS_MAX = 200
"""How many characters of a path an error quotes."""

_SYSTEM_DIRS = ("/etc", "/proc", "/sys", "/dev", "/boot", "/run", "/var/run", "/private/etc")
_MEDIA_MOUNTS = "/run/media"
"""Folder in which a Linux desktop mounts removable media."""
_OPENING = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_NOCTTY", "O_BINARY", "O_CLOEXEC")
)
"""Flags for opening a file: a pipe or a device that replaced it must not block."""


async def read_image(path: str, image_dirs: tuple[Path, ...]) -> Image:
    """Read and decode a local picture; see `read_file`.

    Raises:
        ImageError: Missing, not a file, not allowed, too large, or not a picture.
    """
    return await prepare_image(*await read_file(path, image_dirs))


async def read_file(path: str, image_dirs: tuple[Path, ...]) -> tuple[bytes, str]:
    """Read a local file, and return its bytes and what an error calls it.

    Args:
        path: A path or a `file://` URL.
        image_dirs: Resolved folders that must contain it; empty allows all except hidden and system folders.

    Raises:
        ImageError: Missing, not a file, or not allowed.
    """
    return await anyio.to_thread.run_sync(
        _read_file,
        path,
        image_dirs,
        abandon_on_cancel=True,  # a mounted file system may never answer
    )


def check_file(path: str, image_dirs: tuple[Path, ...]) -> None:
    """Check that there is a file that may be read, before anything is loaded that reads it.

    Args:
        path: A path or a `file://` URL.
        image_dirs: See `read_file`.

    Raises:
        ImageError: Missing, not a file, or not allowed.
    """
    with _naming_file(path):
        _find_file(path, image_dirs)


def _read_file(text: str, image_dirs: tuple[Path, ...]) -> tuple[bytes, str]:
    with _naming_file(text):
        path = _find_file(text, image_dirs)
        return _read_opened(path, image_dirs), str(path)


@contextmanager
def _naming_file(text: str) -> Generator[None]:
    """Raise what the operating system reports as an `ImageError` that names the file."""
    try:
        yield
    # ValueError: a NUL or a broken URL; RuntimeError: a loop of symlinks, or a home that no one has.
    except (OSError, ValueError, RuntimeError) as exc:
        named = quote_text(text, PATH_CHARACTERS_MAX)
        raise ImageError(f"{named} cannot be read: {getattr(exc, 'strerror', None) or exc}.") from exc


def _find_file(text: str, image_dirs: tuple[Path, ...]) -> Path:
    """Return the file that a text names: as it stands, or else the one that it can only mean.

    Raises:
        ImageError: There is none, there are several, it is no file, or it may not be read.
    """
    path = _find_path(text, image_dirs)
    if not path.is_file():
        raise _not_a_file(path)
    return path


def _find_path(text: str, image_dirs: tuple[Path, ...]) -> Path:
    literal = _read_path(text).expanduser().resolve()
    variants = [Path(variant).expanduser().resolve() for variant in list_variants(text)]
    allowed = [path for path in (literal, *variants) if _find_rejection(path, image_dirs) is None]
    for path in allowed:
        if path.exists():
            return path
    alike = sorted({found for path in allowed for found in _list_alike(path)})
    if len(alike) == 1:
        return alike[0].resolve()
    meant = variants[0] if variants else literal
    if alike:
        names = ", ".join(quote_text(one.name, 80) for one in alike[:5])
        raise ImageError(f"The name matches several files in {meant.parent}: {names}.", "Give the exact name of one.")
    _check_place(meant, image_dirs)  # before anything is said about what is there
    raise _missing_error(text, meant)


def _list_alike(path: Path) -> list[Path]:
    """Return the files beside a path whose names differ only in how blanks and accents are encoded."""
    wanted = normalise_name(path.name)
    try:
        return [found for found in path.parent.iterdir() if normalise_name(found.name) == wanted]
    except OSError:
        return []


def _missing_error(text: str, path: Path) -> ImageError:
    if is_in_chat(text):
        return ImageError(
            f"{quote_text(text, PATH_CHARACTERS_MAX)} is inside the chat, not on this machine.", CHAT_HINT
        )
    mounted = name_in_wsl(text)
    if mounted is not None and os.name == "posix":
        where = quote_text(mounted, PATH_CHARACTERS_MAX)
        return ImageError(f"There is no file {where}.", "Under WSL a Windows drive is a folder below /mnt, if mounted.")
    return ImageError(f"There is no file {path}.", NAME_HINT)


def _read_opened(path: Path, image_dirs: tuple[Path, ...]) -> bytes:
    """Read a file and check its location once it is open: its path may have been replaced since the first check."""
    descriptor = os.open(path, _OPENING)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_a_file(path)
        _check_place(find_opened(descriptor, path), image_dirs)
        return file.read(IMAGE_BYTES_MAX + 1)


def _not_a_file(path: Path) -> ImageError:
    return ImageError(f"{path} is not a file.", "Give the path of a picture.")


def _read_path(text: str) -> Path:
    """Return a path, also from a `file:` URL. Source: RFC 8089, section 2."""
    if not text.lower().startswith("file:"):
        return Path(text)
    parts = urlsplit(text)
    if parts.netloc.lower() not in ("", "localhost"):
        raise ImageError(f"{quote_text(text, PATH_CHARACTERS_MAX)} is on another machine.", "Give a local path.")
    return Path(unquote(parts.path))


def _name_folders(image_dirs: tuple[Path, ...]) -> str:
    """Return the names of the folders that exist; the name of a missing one may be a secret in the wrong setting."""
    found = [str(folder) for folder in image_dirs[:5] if folder.is_dir()]
    return ", ".join(found) or "a folder of SEEDANCE_IMAGE_DIRS, none of which exists"


def _check_place(path: Path, image_dirs: tuple[Path, ...]) -> None:
    rejection_reason = _find_rejection(path, image_dirs)
    if rejection_reason is not None:
        raise rejection_reason


def _find_rejection(path: Path, image_dirs: tuple[Path, ...]) -> ImageError | None:
    """Return why the owner does not let a file be read, or None."""
    if image_dirs:
        if any(path.is_relative_to(folder) for folder in image_dirs):
            return None
        return ImageError(
            f"{path} is outside the allowed folders (SEEDANCE_IMAGE_DIRS).",
            f"Use a picture below {_name_folders(image_dirs)}.",
        )
    system = any(path.is_relative_to(folder) for folder in _SYSTEM_DIRS) and not path.is_relative_to(_MEDIA_MOUNTS)
    if system or any(part.startswith(".") for part in path.parts[1:]):
        return ImageError(
            f"{path} is in a hidden or system folder.",
            NextStep("Copy the picture elsewhere. {0} with {1}.", OwnerOnly("open its folder"), Setting("IMAGE_DIRS")),
        )
    return None
