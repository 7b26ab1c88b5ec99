"""Whether the two sides need environments of their own, and what makes them.

They do where the declared dependencies differ, or another interpreter is asked for. Otherwise both sides share this
process, because two processes each draw a memory layout and so add noise (see `pair`).
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from ..compare.dependencies import LOCKS, Declared, DependenciesError, matching, named_files
from ..compare.environments import Environments, InstallError, make
from ..compare.revision import Revision, RevisionError

INSTALL, LOCKED = "gate_install", "gate_locks"  # the ini options
# Set by `bisect`, whose commits are compared with the dependencies of BAD. An option would be unknown to older gates.
ONE_ENVIRONMENT_VARIABLE = "PERFORMANCE_GATE_ONE_ENVIRONMENT"


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add the options about environments, and the ini options."""
    group.addoption(
        "--one-environment",
        action="store_true",
        default=bool(os.environ.get(ONE_ENVIRONMENT_VARIABLE)),
        help="with --against: compare in this environment, although the dependencies differ",
    )
    group.addoption(
        "--against-python",
        metavar="PATH",
        help="with --against: the interpreter of the other revision's side, in an environment of its own",
    )
    group.addoption("--gate-side", type=int, help=argparse.SUPPRESS)  # in a side's process: the pipe's descriptor
    parser.addini(
        INSTALL,
        "arguments of `uv pip install`, run in the root of each side's tree, where dependencies differ: "
        "-r pyproject.toml -c requirements.lock",
        type="args",
        default=[],
    )
    parser.addini(
        LOCKED, f"lock files, as patterns relative to the root (default: {' '.join(LOCKS)})", type="args", default=[]
    )


@dataclass(frozen=True)
class Plan:
    """What each side's environment is made of.

    Attributes:
        revision: the reference's.
        differs: what the trees declare differently.
        reference, candidate: what they declare.
        arguments: of `uv pip install`.
        python: the reference's interpreter.
    """

    revision: Revision
    differs: tuple[str, ...]
    reference: Declared
    candidate: Declared
    arguments: tuple[str, ...]
    python: str

    def make(self, config: pytest.Config) -> Environments:
        """Make both environments, or find them in the cache.

        Raises:
            UsageError: One cannot be made.
        """
        reporter = config.pluginmanager.getplugin("terminalreporter")
        say = reporter.write_line if reporter else str
        try:
            there = make(
                str(self.revision), self.revision.tree, self.arguments, self.reference, python=self.python, say=say
            )
            here = make("the working tree", config.rootpath, self.arguments, self.candidate, say=say)
        except (InstallError, RevisionError) as error:
            raise pytest.UsageError(f"--against {self.revision.name}: {error}") from error
        return Environments(self.differs, there, here)


def plan(config: pytest.Config, revision: Revision) -> Plan | Environments | None:
    """Return the plan of two environments; what is not compared, with --one-environment; None if nothing differs.

    Raises:
        UsageError: Two environments are needed and cannot be made, or the options make no sense.
    """
    one, python = config.getoption("one_environment"), config.getoption("against_python")
    if one and python:
        raise pytest.UsageError("--against-python takes a second environment, and --one-environment rules it out")
    arguments, patterns = config.getini(INSTALL), config.getini(LOCKED)
    try:
        reference, candidate = _declared(revision, arguments, patterns)
    except (DependenciesError, RevisionError) as error:
        raise pytest.UsageError(f"--against {revision.name}: {error}") from error
    differs = reference.differences(candidate)
    if one:
        return Environments(differs) if differs else None
    if not (differs or python):
        return None
    why = f"differ from {revision} ({', '.join(differs)})" if differs else "are for two interpreters (--against-python)"
    if not arguments:
        raise pytest.UsageError(
            f"the dependencies {why}, so each side needs an environment of its own, and nothing says how one is made. "
            f"Set pytest's ini option {INSTALL} to the arguments of `uv pip install`, run in the root of each side's "
            f'tree, such as "-r pyproject.toml -c requirements.lock"; or leave the dependencies out of the comparison '
            "with --one-environment"
        )
    if sys.platform == "win32":
        raise pytest.UsageError(f"the dependencies {why}, and two environments take POSIX signals: --one-environment")
    return Plan(revision, differs, reference, candidate, tuple(arguments), _interpreter(python))


def _declared(revision: Revision, arguments: Sequence[str], patterns: Sequence[str]) -> tuple[Declared, Declared]:
    """Return what both trees declare: in the lock files, and in files that the installation names."""
    there, here = revision.files, revision.files_here()
    named = named_files(arguments, {*there, *here})
    locks = [*(patterns or LOCKS), *named]
    reference = Declared.of(there, revision.read, locks)
    candidate = Declared.of(here, lambda name: (revision.root / name).read_bytes(), locks)
    for pattern in patterns:
        if not matching({*there, *here}, [pattern]):
            raise DependenciesError(
                f"the ini option {LOCKED} names {pattern}, and neither tree has such a file below {revision.root}"
            )
    return reference, candidate


def _interpreter(given: str | None) -> str:
    if given is None:
        return sys.executable
    if found := shutil.which(given):
        return os.path.abspath(found)  # noqa: PTH100 - not resolved: the link of an environment is its interpreter
    raise pytest.UsageError(f"--against-python: there is no interpreter {given}; give its path")
