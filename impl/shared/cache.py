"""Where weights and what was prepared of them are kept, and how they get there in one piece."""

import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["CACHE_VARIABLE", "cache_folder", "write_whole"]

CACHE_VARIABLE = "ML_PERFORMANCE_SUITE_CACHE"


def cache_folder() -> Path:
    """Return the folder: $ML_PERFORMANCE_SUITE_CACHE, or one in the place the system has for caches."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    home = Path.home()
    if platform.system() == "Darwin":
        base = home / "Library" / "Caches"
    elif platform.system() == "Windows":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "ml-performance-suite"


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Have `write` fill a file that appears under its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
