"""The folder for files that are expensive to make, and how a file is written there in one piece."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from platformdirs import user_cache_path

__all__ = ["CACHE_VARIABLE", "cache_folder", "write_whole"]

CACHE_VARIABLE = "ML_PERFORMANCE_SUITE_CACHE"


def cache_folder() -> Path:
    """Return $ML_PERFORMANCE_SUITE_CACHE, or the suite's folder among the user's caches."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    return user_cache_path("ml-performance-suite", appauthor=False)


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Create a file by `write(file)`; it appears under its name only once it is complete.

    Folders are created as needed. Readers never see a partial file, and when `write` raises, no file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
