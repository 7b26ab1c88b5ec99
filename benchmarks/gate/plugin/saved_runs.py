"""The saved runs that --benchmark-compare means, out of pytest-benchmark's storage."""

from pathlib import Path

import pytest
from pytest_benchmark.utils import get_machine_id, load_storage

from ..compare import saved
from ..measure import machine
from .session import Session


def anchor_storage(config: pytest.Config) -> None:
    """Make a storage folder of the configuration file relative to that file, wherever pytest was started."""
    folder = config.option.benchmark_storage.removeprefix("file://")
    given = any(str(argument).startswith("--benchmark-storage") for argument in config.invocation_params.args)
    if "://" not in folder and not given:
        config.option.benchmark_storage = f"file://{config.rootpath / folder}"


def choose_runs(config: pytest.Config, session: Session) -> None:
    """Read the runs that --benchmark-compare means, and judge the session by those of a machine like this one.

    A bare --benchmark-compare means the last run of such a machine, or, as in pytest-benchmark, the last of all if
    there is none. pytest-benchmark is given the same choice, so that its table compares with the same run.

    Raises:
        SavedRunError: A named run does not exist, is damaged, or, with --same-machine, is of another machine; or there
            is no run at all and an option needs one.
    """
    option, remarks = config.option, session.findings.remarks
    paths = _paths(option.benchmark_storage, option.benchmark_compare)
    if not paths:
        message = f"there is no saved run in {option.benchmark_storage} (make baseline saves one)"
        if option.benchmark_compare is not True:
            # --benchmark-compare takes the next word for itself, which may be meant as a path.
            message = f"no saved run matches {option.benchmark_compare!r} in {option.benchmark_storage}"
        if option.benchmark_compare is not True or option.same_machine or option.benchmark_compare_fail:
            raise saved.SavedRunError(message)
        remarks.append(f"{message}: floors only")
        option.benchmark_compare = []  # or pytest-benchmark warns, and a warning at this stage ends in a traceback
        return
    if option.benchmark_compare is True:
        runs = [saved.newest(paths, session.machine)]
        option.benchmark_compare = str(runs[0].path)
    else:
        runs = [saved.read(path) for path in paths]
    session.known_seconds = runs[-1].seconds
    for run in runs:
        unlike = "; ".join(machine.differences(session.machine, run.machine))
        if not unlike:
            session.runs.append(run)
            remarks.append(f"compared with the saved run {run.name}, of a like machine")
            if run.full is None and not session.settings.full:
                remarks.append(
                    f"the saved run {run.name} does not say which of its benchmarks are quick, so one that is quick no "
                    "more goes unnoticed: save a new one (make baseline)"
                )
        elif option.same_machine:
            raise saved.SavedRunError(f"the saved run {run.path} is of another machine: {unlike}")
        else:
            remarks.append(f"the saved run {run.name} is of another machine ({unlike}): floors only")


def _paths(location: str, wanted: str | bool) -> list[Path]:
    """Return the files that pytest-benchmark considers, in its order: the last is the newest."""
    # Its functions have no types. The storage logs nothing while it only lists names.
    storage = load_storage(location, logger=None, default_machine_id=get_machine_id(), netrc="")  # type: ignore[no-untyped-call]
    if not hasattr(storage, "query"):
        raise saved.SavedRunError(f"duels are read from saved files only, and {location} is something else")
    try:
        return list(storage.query("[0-9][0-9][0-9][0-9]_" if wanted is True else wanted))
    except ValueError as error:
        raise saved.SavedRunError(str(error)) from error
