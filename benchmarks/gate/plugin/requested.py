"""Which benchmarks of another revision or a saved run a command line asks for."""

from pathlib import Path

import pytest


def requested_paths(config: pytest.Config) -> list[str]:
    """Return the files and folders that pytest collects, relative to its root."""
    return [str(path.relative_to(config.rootpath)) for path, _ in _arguments(config)]


def is_requested(test: str, config: pytest.Config) -> bool:
    """Return whether pytest would collect a test, given by its id, if it existed."""
    return bool(_requests(test, config))


def is_named(test: str, config: pytest.Config) -> bool:
    """Return whether the command line names a test, by its id or its function's or class's, not only by its file."""
    return any(_requests(test, config))


def _requests(test: str, config: pytest.Config) -> list[str]:
    """Return the names, empty for a whole file or folder, by which the command line asks for a test."""
    file, _, name = test.partition("::")
    place = config.rootpath / file
    return [
        wanted
        for path, wanted in _arguments(config)
        if place.is_relative_to(path)
        and (not wanted or name == wanted or name.startswith((f"{wanted}[", f"{wanted}::")))
    ]


def is_narrowed(config: pytest.Config) -> bool:
    """Return whether the command line names files or tests, and not folders alone."""
    return any(wanted or path.is_file() for path, wanted in _arguments(config))


def _arguments(config: pytest.Config) -> list[tuple[Path, str]]:
    """Return the (path, name within) pairs of the command line."""
    pairs = []
    for argument in config.args:
        path, _, name = argument.partition("::")
        place = (config.invocation_params.dir / path).resolve()
        if place.is_relative_to(config.rootpath):
            pairs.append((place, name))
    return pairs
