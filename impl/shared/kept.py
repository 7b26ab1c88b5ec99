"""Compiled functions that are kept on disk, and compiled anew when any source that they are made from changes.

Numba's own `njit(cache=True)` looks at one file only, the one that defines the function. When a module changes that the
function calls or takes constants from, the old machine code runs on. `kept` also looks at the source of every module
that is imported, directly or not, within the same top-level package. So kernels can be spread over modules.

Numba's cache does the rest: it works in a read-only tree, with NUMBA_CACHE_DIR, and with processes that start at once.
"""

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

__all__ = ["kept", "sources_digest"]


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
        self._cache_file = IndexDataCacheFile(self.cache_path, self._impl.filename_base, stamp)  # type: ignore[no-untyped-call]  # likewise


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
