"""Compiled functions that are kept on disk, and compiled anew when any source that they are made from changes.

Numba's own `njit(cache=True)` looks at one file only, the one that defines the function. When a module changes that the
function calls or takes constants from, the old machine code runs on. `kept` also looks at the source of every module
that is imported, directly or not, within the same top-level package. So kernels can be spread over modules.

Numba's cache does the rest: it works in a read-only tree, with NUMBA_CACHE_DIR, and with processes that start at once.
But it runs what it finds. Here every file begins with its digest, and a kernel whose file is damaged is compiled anew.
"""

import ast
import functools
import hashlib
import importlib.util
import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

__all__ = ["kept", "sources_digest"]

log = logging.getLogger(__name__)


def kept(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator like `numba.njit(cache=True, **options)` that notices changes in imported modules too.

    It is for the functions that Python calls. What those call needs only `njit`: it becomes part of their code.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**options)(function)
        dispatcher._cache = _SourcesCache(function)  # noqa: SLF001 - as Dispatcher.enable_caching does
        return dispatcher

    return decorate


class _SourcesCache(FunctionCache):
    """Numba's cache of one function, with a stamp of several sources instead of one.

    Numba offers no public way to change the stamp; a test in tests/shared fails if this one stops working.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]  # Numba has no types here
        stamp = self._impl.locator.get_source_stamp(), sources_digest(function.__module__)
        self._cache_file = _CheckedFiles(self.cache_path, self._impl.filename_base, stamp)


class _CheckedFiles(IndexDataCacheFile):
    """The files of Numba's cache, an index and machine code, each with its SHA-256 in front."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]  # likewise
        self._version = f"{self._version} with digests"  # other files count as those of another version

    def _dump(self, content: Any) -> bytes:
        data: bytes = super()._dump(content)  # type: ignore[no-untyped-call]  # likewise
        return hashlib.sha256(data).digest() + data

    def _load_index(self) -> dict[Any, str]:
        """Return the names of the files by signature; none without an index of this version and these sources."""
        try:
            found = Path(self._index_path).read_bytes()
        except FileNotFoundError:
            return {}
        version = pickle.dumps(self._version, protocol=-1)
        if not found.startswith(version):
            return {}
        try:
            stamp, names = self._checked(found[len(version) :], self._index_path)
        except OSError:
            return {}
        return dict(names) if stamp == self._source_stamp else {}

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)  # type: ignore[no-untyped-call]  # likewise
        return self._checked(Path(path).read_bytes(), path)

    @staticmethod
    def _checked(found: bytes, path: str) -> Any:
        """Return the content of a file; an OSError counts for Numba as a file that is not there."""
        digest, data = found[:32], found[32:]
        if hashlib.sha256(data).digest() != digest:
            log.warning("%s is damaged: the kernel is compiled anew", path)
            raise OSError(f"{path} is damaged")
        return pickle.loads(data)  # noqa: S301 - Numba's own format, in the user's own folder


def sources_digest(module: str) -> str:
    """Return a digest of the source of a loaded module and of all modules that it imports within its package.

    Imports inside functions do not count: a kernel cannot import while it runs.
    """
    pending, sources = [module], dict[str, str]()
    while pending:
        name = pending.pop()
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if name in sources or spec is None:
            continue
        sources[name] = spec.loader.get_source(name) or ""
        package = name if spec.submodule_search_locations is not None else spec.parent
        pending += _imported(sources[name], package)
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name.partition('.')[2]}\0{len(sources[name])}\0{sources[name]}".encode())
    return digest.hexdigest()


@functools.cache
def _imported(source: str, package: str) -> tuple[str, ...]:
    """Return the names of what the top level of a source imports within its package: modules, and names in them."""
    return tuple(_names(ast.parse(source), package))


def _names(tree: ast.Module, package: str) -> Iterator[str]:
    top = package.partition(".")[0]
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == top)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            if module.partition(".")[0] == top:
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
