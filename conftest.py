"""Loads the gate, adds the one option that belongs to a case, and skips what this machine cannot run."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Generator, Mapping, Sequence

import pytest

import impl
from benchmarks.gate.report.findings import DescribedVariant
from impl.variant import UnsupportedError, Variant

pytest_plugins = ["benchmarks.gate.plugin", "pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--mnist-root", metavar="DIR", help="evaluate on the MNIST in DIR/MNIST/raw (default: see README)")


def pytest_configure(config: pytest.Config) -> None:
    """Pass the option on as the environment variable that impl.evaluation reads, also in child processes."""
    if root := config.getoption("mnist_root"):
        os.environ["MNIST_ROOT"] = root


@pytest.hookimpl(optionalhook=True)  # the gate may be absent, as where a test takes this file alone
def pytest_gate_variants(cases: frozenset[str]) -> Mapping[str, Sequence[DescribedVariant] | str]:
    """Describe the variants of those packages of impl that a run measured."""
    found: dict[str, Sequence[DescribedVariant] | str] = {}
    for module in pkgutil.iter_modules(impl.__path__):
        if module.ispkg and module.name in cases:
            try:
                variants = importlib.import_module(f"impl.{module.name}").VARIANTS
                found[module.name] = [_described(name, variant) for name, variant in variants.items()]
            except (ImportError, AttributeError) as error:
                found[module.name] = f"{type(error).__name__}: {error}"
    return found


def _described(name: str, variant: Variant) -> DescribedVariant:
    """Describe a variant by the first paragraph of its module, which is a sentence, and by its attributes."""
    module = sys.modules.get(getattr(variant.build, "__module__", ""))
    sentence = " ".join((getattr(module, "__doc__", None) or "").strip().partition("\n\n")[0].split())
    return DescribedVariant(name, sentence, str(variant.promise), variant.best, variant.device)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test whose variant this machine cannot run, with the variant's own reason."""
    try:
        return (yield)
    except UnsupportedError as error:
        pytest.skip(str(error))
