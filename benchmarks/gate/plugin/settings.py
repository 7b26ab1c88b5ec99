"""The options of one pytest session, checked, and those of one test."""

import random
from dataclasses import dataclass
from typing import Any

import pytest

from ..judge.rules import revision_questions


@dataclass(frozen=True)
class Settings:
    """The options of one session.

    Attributes:
        alpha: probability of any wrong verdict; of the one duel in a process that confirms.
        budget: seconds after which a duel ends without a verdict.
        seed: of the coins that decide the order within pairs.
        tolerance: the slowdown that must not be missed, as a share.
        strict: whether an inconclusive duel fails its test.
        removed: names of benchmarks whose removal is admitted.
        confirming: in a process that confirms, the side to load first ("reference" or "candidate"); empty elsewhere.
        package: in a process that confirms, the package to load in that order.
    """

    alpha: float
    budget: float
    seed: int
    tolerance: float = 0.03
    strict: bool = False
    removed: tuple[str, ...] = ()
    confirming: str = ""
    package: str = ""


def read_settings(config: pytest.Config) -> Settings:
    """Return the session's settings from its options.

    Raises:
        UsageError: An option makes no sense.
    """
    alpha, budget, seed = (config.getoption(name) for name in ("alpha", "budget", "duel_seed"))
    if not 0 < alpha < 1:
        raise pytest.UsageError(f"--alpha is a probability between 0 and 1, not {alpha}")
    if not budget >= 0:
        raise pytest.UsageError(f"--budget is a number of seconds, not {budget}")
    removed = tuple(config.getoption("removed"))
    if removed and config.getoption("against") is None and not config.getoption("benchmark_compare"):
        raise pytest.UsageError("--removed admits what a comparison misses: add --against or --benchmark-compare")
    confirming, _, package = config.getoption("confirm").partition(":")
    return Settings(
        alpha=alpha,
        budget=budget,
        seed=random.SystemRandom().getrandbits(32) if seed is None else seed,
        tolerance=_tolerance("--tolerance", config.getoption("tolerance")),
        # pytest's own flag, from version 9 on a setting as well, applies to the gate too.
        strict=bool(config.getoption("strict", default=False) or _ini(config, "strict")),
        removed=removed,
        confirming=confirming,
        package=package,
    )


def settings_of(settings: Settings, node: pytest.Item) -> tuple[float, float]:
    """Return the tolerance and the budget of one test: the options, or its mark `gate(tolerance=..., budget=...)`.

    Raises:
        UsageError: The mark makes no sense.
    """
    tolerance, budget = settings.tolerance, settings.budget
    for mark in reversed(list(node.iter_markers("gate"))):
        if mark.args or set(mark.kwargs) - {"tolerance", "budget"}:
            raise pytest.UsageError(f"{node.nodeid}: the mark is gate(tolerance=PERCENT, budget=SECONDS), not {mark}")
        if "tolerance" in mark.kwargs:
            tolerance = _tolerance(f"{node.nodeid}: tolerance", mark.kwargs["tolerance"])
        budget = mark.kwargs.get("budget", budget)
    return tolerance, budget


def _tolerance(where: str, percent: float) -> float:
    """Return a tolerance in per cent as a share.

    Raises:
        UsageError: It makes no sense.
    """
    try:
        revision_questions(percent / 100)
    except (ValueError, TypeError) as error:
        raise pytest.UsageError(f"{where} (in per cent): {error}") from error
    return percent / 100


def _ini(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (KeyError, ValueError):
        return None
