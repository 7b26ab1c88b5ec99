"""Where a repository has the packages that its tests import: at its root, in `src`, or where `sys.path` says."""

from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from types import ModuleType

INSTALLED = {"site-packages", "dist-packages"}


def folders(root: Path, path: Iterable[str]) -> tuple[str, ...]:
    """Return the folders at or below `root` that have packages, relative to it, in the order of search.

    Args:
        root: an absolute path.
        path: sys.path. An editable install adds its folder there, and so does pytest's `pythonpath`.
    """
    root = root.resolve()
    resolved = [Path(entry).resolve() for entry in (*path, str(root), str(root / "src"))]
    below = [folder.relative_to(root).as_posix() for folder in resolved if folder.is_relative_to(root)]
    return tuple(dict.fromkeys(below))


def find(name: str, files: Collection[str], searched: Iterable[str]) -> str | None:
    """Return a top-level package's folder (`src/a`) or module's file (`a.py`), or None.

    Args:
        name: of the package.
        files: all files, relative to the root and with slashes.
        searched: the folders, in the order of search.
    """
    for folder in searched:
        package = PurePosixPath(folder, name)
        if f"{package}/__init__.py" in files:
            return str(package)
        if f"{package}.py" in files:
            return f"{package}.py"
    return None


def find_namespace(name: str, files: Collection[str], searched: Iterable[str]) -> str | None:
    """Return the folder of a package without `__init__.py`, or None; arguments as for `find`, which has precedence."""
    for folder in searched:
        package = PurePosixPath(folder, name)
        if any(file.startswith(f"{package}/") and file.endswith(".py") for file in files):
            return str(package)
    return None


def elsewhere(module: ModuleType, root: Path) -> str | None:
    """Return where a module is from if that is not the working tree `root`, but a copy that `pip install` made, say."""
    origins = [*getattr(module, "__path__", ()), getattr(module, "__file__", None) or "nowhere"]
    for origin in map(Path, origins):
        below = origin.resolve().is_relative_to(root.resolve())
        if below and not INSTALLED & set(origin.resolve().relative_to(root.resolve()).parts):
            return None
    return str(origins[0])
