"""Opened files: the real path of an open file, as the operating system reports it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "darwin":
    import fcntl
elif sys.platform == "win32":
    import ctypes
    import msvcrt

_PATH_LENGTH_MAX = 32_768


def find_opened(descriptor: int, path: Path) -> Path:
    """Return the path, free of links, of an open file.

    Args:
        descriptor: The file.
        path: The path that was opened; used only if the system cannot report one.

    Raises:
        OSError: The system reports no path, or the file was replaced meanwhile.
    """
    if sys.platform == "linux":
        found = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.fstat(descriptor).st_nlink == 0 or not found.startswith("/"):
            raise OSError("it was replaced while it was read")
        return Path(found)
    if sys.platform == "darwin":
        answer = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024))
        return Path(os.fsdecode(answer.partition(b"\0")[0]))
    if sys.platform == "win32":
        return _query_windows(descriptor)
    found = path.resolve()
    if not os.path.samestat(found.stat(), os.fstat(descriptor)):
        raise OSError("it was replaced while it was read")
    return found


def _query_windows(descriptor: int) -> Path:
    """Return the path from Windows, which has one of two prefixes. Source: Win32 API, GetFinalPathNameByHandleW."""
    if sys.platform != "win32":
        raise AssertionError("only on Windows")
    buffer = ctypes.create_unicode_buffer(_PATH_LENGTH_MAX)
    ask = ctypes.WinDLL("kernel32", use_last_error=True).GetFinalPathNameByHandleW
    length = ask(ctypes.c_void_p(msvcrt.get_osfhandle(descriptor)), buffer, len(buffer), 0)
    if not 0 < length < len(buffer):
        raise OSError("Windows does not report its path")
    return Path(buffer.value.replace("\\\\?\\UNC\\", "\\\\", 1).removeprefix("\\\\?\\"))
