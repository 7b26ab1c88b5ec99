"""Which files of the benchmarks differ between another revision and the working tree."""

import importlib.util
import sys
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

GATE = Path(__file__).resolve().parents[2]
CONFTEST = "conftest.py"
DOCUMENTS = {".md", ".rst"}


def benchmark_files(
    changed: Iterable[str], root: Path, package: str, *, collected: Collection[str], modules: Collection[str]
) -> list[str]:
    """Return those of the changed files that may say what the benchmarks do.

    These are conftest.py, what is below a test module's folder or the collected path that it is in, and what is
    imported. The duelled package is none of them, as each side has its own, unless the test modules are inside it. Nor
    is the gate.

    Args:
        changed: files, relative to `root` and with slashes, as are the next two.
        root: of the repository's part that pytest runs in.
        package: that is duelled, with dots.
        collected: the paths that pytest collects.
        modules: the files of the tests that compare.
    """
    gate, duelled = _below(GATE, root), _places(package.partition(".")[0], root)
    folders = {PurePosixPath(module).parent for module in modules}
    within = {folder for folder in folders if _is_in(folder, duelled)}
    searched = {path for path in map(PurePosixPath, collected) if any(_is_in(folder, [path]) for folder in folders)}

    def counts(name: str) -> bool:
        file = PurePosixPath(name)
        if file.suffix in DOCUMENTS or (gate and file.is_relative_to(gate)):
            return False
        if file.name == CONFTEST or name in modules or _is_in(file, within):
            return True
        return not _is_in(file, duelled) and (_is_in(file, searched | folders) or _is_imported(root / name))

    return list(filter(counts, changed))


def _is_in(file: PurePosixPath, places: Iterable[PurePosixPath]) -> bool:
    return any(file.is_relative_to(place) for place in places)


def _places(top: str, root: Path) -> list[PurePosixPath]:
    """Return the folders of a package, or the file of a module, relative to `root`."""
    spec = importlib.util.find_spec(top)
    paths = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
    places = (_below(Path(path), root) for path in paths if path)
    return [place for place in places if place is not None]


def _below(path: Path, root: Path) -> PurePosixPath | None:
    path, root = path.resolve(), root.resolve()
    return PurePosixPath(path.relative_to(root).as_posix()) if path.is_relative_to(root) else None


def _is_imported(file: Path) -> bool:
    for module in list(sys.modules.values()):
        origin = getattr(module, "__file__", None)
        # The name first: there are thousands of modules.
        if isinstance(origin, str) and origin.endswith(file.name) and Path(origin).resolve() == file.resolve():
            return True
    return False
