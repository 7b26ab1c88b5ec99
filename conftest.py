"""Loads the gate, and adds the one option that belongs to a case. Everything else lives beside what it serves."""

import os

import pytest

pytest_plugins = ["benchmarks.gate.plugin", "pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--mnist-root", metavar="DIR", help="evaluate on the MNIST in DIR/MNIST/raw (default: see README)")


def pytest_configure(config: pytest.Config) -> None:
    """Hand the option on as impl.evaluation reads it, to the processes that tests start as well."""
    if root := config.getoption("mnist_root"):
        os.environ["MNIST_ROOT"] = root
