"""Find benchmarks that are elsewhere and not here: who looks only at what is left passes what was removed."""

from pathlib import Path

import pytest

from ..compare.revision import RevisionError
from ..plugin.session import Gate


def complaints(gate: Gate, config: pytest.Config) -> list[str]:
    """Return what is missing in this run, a sentence each; nothing where nothing is."""
    found = []
    known = {test: f"in the saved run {run.name}" for run in gate.runs for test in run.tests}
    if gate.revision:
        try:
            known |= dict.fromkeys(gate.revision.benchmarks(_paths(config)), f"at {gate.revision}")
        except RevisionError as error:
            found.append(str(error))
    collected, gone = set(gate.collected), []
    for test, where in sorted(known.items()):
        if test in collected or not _asked_for(test, config):
            continue
        if any(admits(name, test) for name in gate.removed):
            gone.append(test)
        else:
            found.append(
                f"{test} is {where} and not here: removed or renamed? Where that is meant, say "
                f"--removed '{test.partition('::')[2]}'"
            )
    found += [
        f"--removed {name!r} admits nothing: no benchmark of that name is missing"
        for name in gate.removed
        if not any(admits(name, test) for test in gone)
    ]
    unsupported = {row.test for row in gate.report.compared if row.verdict == "unsupported"}
    found += [
        f"{test} is {known[test]} and was skipped here: {reason}"
        for test, reason in gate.skipped.items()
        if test in known and test not in unsupported and not any(admits(name, test) for name in gate.removed)
    ]
    if not gate.report.compared and not gate.report.duels and not gate.failed & collected:
        found.append("no benchmark ran: a comparison was asked for, and nothing was measured")
    gate.report.notes += [f"{test} is removed, as --removed says" for test in gone]
    return found


def admits(name: str, test: str) -> bool:
    """Return whether a name given with --removed means a test: its id, its name, or its function's name."""
    function = test.partition("::")[2]
    return name in {test, function, function.partition("[")[0]}


def _paths(config: pytest.Config) -> list[str]:
    """Return the files and folders pytest was asked to collect, relative to its root."""
    return [str(path.relative_to(config.rootpath)) for path, _ in _arguments(config)]


def _asked_for(test: str, config: pytest.Config) -> bool:
    file, _, name = test.partition("::")
    place = config.rootpath / file
    return any(
        place.is_relative_to(path) and (not wanted or name == wanted or name.startswith((f"{wanted}[", f"{wanted}::")))
        for path, wanted in _arguments(config)
    )


def _arguments(config: pytest.Config) -> list[tuple[Path, str]]:
    """Return the (path, name within) pairs that pytest collects."""
    found = []
    for argument in config.args:
        path, _, name = argument.partition("::")
        place = (config.invocation_params.dir / path).resolve()
        if place.is_relative_to(config.rootpath):
            found.append((place, name))
    return found
