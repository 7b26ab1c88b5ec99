"""The two processes of a comparison with another revision: one for each side, for the tests of one benchmark module."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..compare.revision import Revision
from ..compare.side_process import Refusal, SideError, SideProcess

CACHES = "gate_caches"  # the ini option that names environment variables


@dataclass
class Pair:
    """The processes of the two sides; that of the reference is None if the revision has no such module.

    Attributes:
        reference: in the revision's tree.
        candidate: in the working tree.
        own_module: whether the reference runs the revision's own benchmark module, because this tree's fails there.
    """

    reference: SideProcess | None
    candidate: SideProcess
    own_module: bool = False

    def begin(self, test: str) -> tuple[Refusal | None, Refusal | None]:
        """Have both sides build a test's work, the reference first; return their refusals.

        Raises:
            SideError: A process has ended.
        """
        there = self.reference.begin(test) if self.reference else Refusal("absent", "the revision has no such module")
        return there, self.candidate.begin(test)

    def end(self, refusals: tuple[Refusal | None, Refusal | None]) -> None:
        """Let those sides that did not refuse go on to the next test."""
        for side, refusal in zip((self.reference, self.candidate), refusals, strict=True):
            if side and refusal is None:
                side.end()

    def close(self) -> None:
        """End both processes."""
        for side in (self.reference, self.candidate):
            if side:
                side.close()


def open_pair(config: pytest.Config, revision: Revision, tests: Sequence[str]) -> Pair:
    """Start the processes.

    Args:
        config: of the session that compares.
        revision: the reference's.
        tests: ids of tests, all in one module.

    Raises:
        SideError: The tests cannot be collected, in the working tree or at the revision.
        RevisionError: git cannot unpack the revision.
    """
    module, options = config.rootpath / tests[0].partition("::")[0], _options(config)
    tree = revision.side(module, config.inipath)
    caches = {name: revision.folder / "caches" / name for name in config.getini(CACHES)}
    with ExitStack() as undo:

        def start(name: str, folder: Path, caches: Mapping[str, Path]) -> SideProcess:
            process = SideProcess(name, folder, tests, options, caches)
            undo.callback(process.close)
            return process

        candidate = start("the working tree", config.rootpath, {})
        reference = start(str(revision), tree, caches)
        candidate.collect()
        own_module = False
        try:
            reference.collect()
        except SideError as error:
            # This tree's module may import what the revision does not have. If it has no such module, all of it is new.
            own_module = revision.restore(module, tree)
            if not own_module:
                undo.pop_all()
                return Pair(None, candidate)
            reference = start(str(revision), tree, caches)
            _collect_or(reference, error)
        undo.pop_all()
    return Pair(reference, candidate, own_module)


def _collect_or(process: SideProcess, first: SideError) -> None:
    """Wait for a second attempt; if it fails as well, raise the error of the first."""
    try:
        process.collect()
    except SideError:
        raise first from None


@contextmanager
def fresh_pair(config: pytest.Config, revision: Revision, test: str) -> Iterator[tuple[SideProcess, SideProcess]]:
    """Start two processes that build one test's work, the reference's and the candidate's, and end them.

    Raises:
        SideError: A side refuses what it ran before, or ends.
    """
    pair = open_pair(config, revision, [test])
    try:
        for refusal in pair.begin(test):
            if refusal:
                raise SideError(f"it ran before and does not in a fresh process: {refusal.reason}")
        if pair.reference is None:
            raise SideError("the revision has it no longer")
        yield pair.reference, pair.candidate
    finally:
        pair.close()


def _options(config: pytest.Config) -> list[str]:
    """Return those of the session's options that change how tests run."""
    values = {"-p": config.option.plugins, "-W": config.option.pythonwarnings, "-o": config.option.override_ini}
    inifile = ["-c", str(config.inipath)] if config.option.inifilename and config.inipath else []
    return [*inifile, *(word for option, given in values.items() for value in given or () for word in (option, value))]
