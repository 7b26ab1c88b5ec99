"""The tree that the reference's process runs in: the revision's files, with this tree's benchmarks and this gate."""

import shutil
from pathlib import Path

from .places import INSTALLED
from .revision import Revision

NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*")


def side_tree(revision: Revision, module: Path, configuration: Path | None, gate: Path) -> Path:
    """Return a folder with the revision's files and this tree's benchmarks.

    Benchmarks are the folder of `module` (the module alone if it lies at the root), conftest.py in each folder above
    it, pytest's configuration file, and the gate itself if it is part of the tree.

    Args:
        revision: the reference's.
        module: the benchmark module, an absolute path below the revision's root.
        configuration: pytest's file.
        gate: the folder of the gate, resolved.

    Raises:
        RevisionError: git cannot unpack it.
    """
    root, own_gate = revision.root, []
    if is_part_of(gate, root.resolve()):
        own_gate = [gate.relative_to(root.resolve())]
    place = module.parent.relative_to(root)
    tree = revision.folder / "sides" / "-".join(("side", *place.parts))
    if tree.exists():
        return tree
    revision.extract(tree)
    for folder in [*([place] if place.parts else []), *own_gate]:
        shutil.rmtree(tree / folder, ignore_errors=True)
        shutil.copytree(root / folder, tree / folder, ignore=NOT_COPIED)
    files = [root / folder / "conftest.py" for folder in place.parents]
    files += [] if place.parts else [module]
    files += [configuration] if configuration and configuration.is_relative_to(root) else []
    for file in files:
        copy = tree / file.relative_to(root)
        copy.unlink(missing_ok=True)
        if file.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    return tree


def restore(revision: Revision, module: Path, tree: Path) -> bool:
    """Give the tree the revision's own benchmark module instead of this tree's; return whether there is one."""
    own = module.relative_to(revision.root)
    if not (revision.tree / own).exists():
        return False
    shutil.copy(revision.tree / own, tree / own)
    return True


def is_part_of(folder: Path, root: Path) -> bool:
    """Return whether a folder belongs to a tree, and not to an environment that lies in it."""
    return folder.is_relative_to(root) and not INSTALLED & set(folder.relative_to(root).parts)


def on_its_own(gate: Path, package: str, folder: Path) -> Path:
    """Return a folder to import the gate from, and nothing else: `package` is its dotted name."""
    *above, name = package.split(".")
    place = folder.joinpath("gate", *above)
    place.mkdir(parents=True, exist_ok=True)
    if not (place / name).exists():
        (place / name).symlink_to(gate, target_is_directory=True)
    return folder / "gate"
