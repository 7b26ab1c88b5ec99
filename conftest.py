"""Loads the gate, adds the one option that belongs to a case, and skips what this machine cannot run."""

import os
from collections.abc import Generator

import pytest

from impl.variant import UnsupportedError

pytest_plugins = ["benchmarks.gate.plugin", "pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--mnist-root", metavar="DIR", help="evaluate on the MNIST in DIR/MNIST/raw (default: see README)")


def pytest_configure(config: pytest.Config) -> None:
    """Pass the option on as the environment variable that impl.evaluation reads, also in child processes."""
    if root := config.getoption("mnist_root"):
        os.environ["MNIST_ROOT"] = root


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test whose variant this machine cannot run, with the variant's own reason."""
    try:
        return (yield)
    except UnsupportedError as error:
        pytest.skip(str(error))
