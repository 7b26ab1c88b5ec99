"""Where a server keeps what is expensive to make, on a machine where the usual places cannot be written.

In a container the tree is often read-only, there is no home directory, and the user has no name. Then a temporary
folder takes the place of the cache, with what the cache has, and ends with the process.
"""

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

from ..shared.cache import CACHE_VARIABLE, cache_folder

__all__ = ["use_writable_places"]

NUMBA_VARIABLE = "NUMBA_CACHE_DIR"

log = logging.getLogger(__name__)


def use_writable_places() -> Path | None:
    """Set the environment so that every folder that a server writes to can be written.

    Numba reads its variable when it is imported, and keeps compiled kernels beside their source where it can.

    Returns:
        The temporary folder, if there is one. The interpreter removes it when it ends.

    Raises:
        OSError: Not even a temporary folder can be made; the message says what to do.
    """
    temporary = None
    folder, reason = _cache()
    if reason:
        temporary = _temporary(reason)
        if folder:
            _link(folder, temporary)
        os.environ[CACHE_VARIABLE] = str(temporary)
        log.warning(
            "what is kept is lost at the end, and the next start is as slow as this one: %s; set %s to a folder that "
            "can be written",
            *(reason, CACHE_VARIABLE),
        )
    compiled = Path(__file__).parent / "model" / "__pycache__"
    if NUMBA_VARIABLE not in os.environ and _unwritable(compiled):
        os.environ[NUMBA_VARIABLE] = str(cache_folder() / "numba")
    return temporary


def _cache() -> tuple[Path | None, str | None]:
    """Return the folder of the cache, None if there is no home directory, and why it cannot be written, if so."""
    try:
        folder = cache_folder()
    except (OSError, RuntimeError) as error:
        return None, f"there is no home directory ({error})"
    if not folder.is_absolute():  # older versions of platformdirs leave "~" as it is
        return None, f"there is no home directory for {folder}"
    return folder, _unwritable(folder)


def _unwritable(folder: Path) -> str | None:
    """Return why a folder cannot be made or written, None if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"


def _temporary(reason: str) -> Path:
    try:
        temporary = Path(tempfile.mkdtemp(prefix="serving-"))
    except OSError as error:
        raise OSError(
            f"{reason}, and there is no temporary folder: set {CACHE_VARIABLE} to a folder that can be written"
        ) from error
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    return temporary


def _link(source: Path, target: Path) -> None:
    """Link all files of a folder that can be read into another one; what is written there replaces the links."""
    for path in source.rglob("*"):
        if path.is_file() and os.access(path, os.R_OK):
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
