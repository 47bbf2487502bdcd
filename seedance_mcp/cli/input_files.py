"""Input files: read a text file that a command names, up to a size."""

from pathlib import Path

from seedance_mcp.core.errors import RequestError

KIB = 1024


def read_input(file: Path, *, bytes_max: int, larger_hint: str) -> str:
    """Return the text of a file, without a byte order mark.

    Args:
        file: UTF-8.
        bytes_max: Size of the largest file that is read.
        larger_hint: What to do about a larger one.

    Raises:
        RequestError: It cannot be read, is too large, or is not UTF-8.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise RequestError(f"{file.name} is larger than {bytes_max // KIB} KiB.", larger_hint)
        return data.decode("utf-8-sig")
    except OSError as exc:
        raise RequestError(f"{file} cannot be read: {exc.strerror or exc}.", "Name another file.") from exc
    except UnicodeDecodeError as exc:
        raise RequestError(f"{file.name} is not UTF-8 text.", "Save it as UTF-8.") from exc
