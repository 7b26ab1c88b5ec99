"""The two processes of a comparison in two environments: one for each side, for the tests of one benchmark module.

A process draws one memory layout for life, and so each pair of processes adds differences of its own (up to 4 % on
unchanged code, 2026-11-25), where one process for both sides has none of them. So there are two only where there must
be: one process cannot load two versions of a dependency. Fresh pairs confirm what a pair calls slower.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ..compare.environments import Environments
from ..compare.revision import Revision
from ..compare.side_process import Refusal, SideError, SideProcess
from ..compare.side_tree import is_part_of, on_its_own, restore, side_tree

GATE = Path(__file__).resolve().parents[1]
PACKAGE = __name__.rpartition(".plugin.")[0]  # the gate's own name, here and where it is installed


@dataclass
class Pair:
    """The processes of the two sides; that of the reference is None if the revision has no such module."""

    reference: SideProcess | None
    candidate: SideProcess

    def begin(self, test: str) -> tuple[Refusal | None, Refusal | None]:
        """Have both sides build a test's work, the reference first; return their refusals.

        Raises:
            SideError: A process has ended.
        """
        there = self.reference.begin(test) if self.reference else Refusal("absent", "the revision has no such module")
        return there, self.candidate.begin(test)

    def end(self) -> None:
        """End the test, on those sides that have begun it.

        Raises:
            SideError: A process has ended.
        """
        for side in (self.reference, self.candidate):
            if side:
                side.end()

    def close(self) -> None:
        """End both processes."""
        for side in (self.reference, self.candidate):
            if side:
                side.close()


@dataclass
class Pairs:
    """What starts the processes: those of one benchmark module at a time.

    Attributes:
        config: of the session that compares.
        revision: the reference's.
        environments: of both sides.
        candidate_first: whether the candidate's process starts first, as in every second one that confirms.
        remark: called with a sentence for the report.
    """

    config: pytest.Config
    revision: Revision
    environments: Environments
    candidate_first: bool
    remark: Callable[[str], object]
    _open: tuple[Path, Pair] | None = field(default=None, repr=False)

    def of(self, module: Path) -> Pair:
        """Return the processes for a module; they are started unless the last test was of the same one.

        Raises:
            SideError: The module's tests cannot be collected, in the working tree or at the revision.
            RevisionError: git cannot unpack the revision.
        """
        if self._open and self._open[0] != module:
            self.close()
        if self._open is None:
            self._open = module, self._start(module)
        return self._open[1]

    def close(self) -> None:
        """End the processes."""
        if self._open:
            self._open[1].close()
            self._open = None

    def _start(self, module: Path) -> Pair:
        config, revision = self.config, self.revision
        tree = side_tree(revision, module, config.inipath, GATE)
        there, here = self.environments.reference, self.environments.candidate
        if there is None or here is None:
            raise ValueError("without two environments there are no two processes")
        with ExitStack() as undo:

            def start(name: str, python: Path, folder: Path) -> SideProcess:
                words = [*_options(config, folder), *_gate_options(config), str(module.relative_to(config.rootpath))]
                process = SideProcess(name, python, folder, words, self._path(folder))
                undo.callback(process.close)
                return process

            def reference() -> SideProcess:
                return start(str(revision), there.interpreter, tree)

            first = None if self.candidate_first else reference()
            candidate = start("the working tree", here.interpreter, config.rootpath)
            first = first or reference()
            candidate.collect()
            started = self._collected(first, reference, module, tree)
            undo.pop_all()
        return Pair(started, candidate)

    def _collected(
        self, process: SideProcess, again: Callable[[], SideProcess], module: Path, tree: Path
    ) -> SideProcess | None:
        """Return the reference's process when it has collected its tests; None if the revision has no such module.

        This tree's module may import what the revision does not have. Then the revision's own one runs there.
        """
        try:
            process.collect()
        except SideError as error:
            if not restore(self.revision, module, tree):
                return None
            process = again()
            try:
                process.collect()
            except SideError:
                raise error from None
            self.remark(f"{module.name} runs at {self.revision} as it is there: this tree's cannot be imported there")
        return process

    def _path(self, tree: Path) -> list[str]:
        return [*self._path_of_gate(), *map(str, self.revision.folders_of(tree))]

    def of_revision(self) -> dict[str, Any]:
        """Return the arguments with which the revision's own benchmarks run in its environment."""
        if self.environments.reference is None:
            raise ValueError("without two environments there are no two processes")
        return {
            "python": str(self.environments.reference.interpreter),
            "options": _gate_options(self.config),
            "path": self._path_of_gate(),
        }

    def _path_of_gate(self) -> list[str]:
        """Return the folder to import this gate from; none if it is part of the tree."""
        return [] if _in_tree(self.config) else [str(on_its_own(GATE, PACKAGE, self.revision.folder))]


def _gate_options(config: pytest.Config) -> list[str]:
    """Return what loads this gate, and no other one that the environment may have, unless the tree itself loads it."""
    return [] if _in_tree(config) else ["-p", "no:performance_gate", "-p", f"{PACKAGE}.plugin"]


def _in_tree(config: pytest.Config) -> bool:
    return is_part_of(GATE, config.rootpath.resolve())


def _options(config: pytest.Config, tree: Path) -> list[str]:
    """Return those of the session's options that change how tests run."""
    inifile = config.inipath
    if inifile and inifile.is_relative_to(config.rootpath):
        inifile = tree / inifile.relative_to(config.rootpath)
    values = {"-p": config.option.plugins, "-W": config.option.pythonwarnings, "-o": config.option.override_ini}
    words = [word for option, given in values.items() for value in given or () for word in (option, value)]
    words += ["--starts"] if config.getoption("starts") else []
    return [*(["-c", str(inifile)] if inifile else []), *words]
