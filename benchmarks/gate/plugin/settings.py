"""The options of one pytest session, checked, and those of one test."""

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ..judge.rules import revision_questions
from ..measure.bets import Question

BUDGET = 30.0  # seconds of a duel with another revision that takes no turns
# Seconds of a floor's proof. A pair may take seconds: where the least number of pairs took 31, one pair that a noisy
# neighbour hit left a ratio of 11 above a floor of 6 unproven (Intel Xeon, two shared cores, 2026-11-27).
FLOOR_BUDGET = 180.0
# That the duels against another revision share. In six minutes, 16 of this repository's 40 were `inconclusive` and 4 of
# those blind, on code that had hardly changed (Intel Xeon, two shared cores, 2026-11-26).
GATE_MINUTES = 10.0


@dataclass(frozen=True)
class Settings:
    """The options of one session.

    Attributes:
        alpha: probability of any wrong verdict; of the one duel in a process that confirms.
        budget: seconds after which a duel with another revision ends without a verdict, if it takes no turns.
        floor_budget: seconds after which a floor's duel, or the proof of a share, ends unproven.
        minutes: what the duels against another revision share, in turns; None if each has the `budget`.
        seed: of the coins that decide the order within pairs.
        tolerance: the slowdown that must not be missed, as a share.
        blind: the slowdown of wall time that must be ruled out in any case, as a share.
        strict: whether an inconclusive duel fails its test.
        removed: names of benchmarks whose removal is admitted.
        starts: whether the starts of processes are compared as well.
        full: whether the benchmarks of the full run are measured as well.
        confirming: in a process that confirms, the side to load first ("reference" or "candidate"); empty elsewhere.
        package: in a process that confirms, the package to load in that order.
    """

    alpha: float
    budget: float
    floor_budget: float
    seed: int
    minutes: float | None = None
    tolerance: float = 0.03
    blind: float = 0.1
    strict: bool = False
    removed: tuple[str, ...] = ()
    starts: bool = False
    full: bool = False
    confirming: str = ""
    package: str = ""


@dataclass(frozen=True)
class DuelSettings:
    """The settings of one test with the fixture `against`: those of the session, or its mark's.

    Attributes:
        tolerance, blind: as in `Settings`.
        budget: likewise; of each fresh process where the duel takes turns.
        takes_turns: whether the duel shares the time of others.
        cpu: whether CPU time counts as well.
        bound: of an acknowledged slowdown, as a share; None without one.
    """

    tolerance: float
    blind: float
    budget: float
    takes_turns: bool = False
    cpu: bool = True
    bound: float | None = None

    def questions(self) -> list[Question]:
        """Return what a duel with another revision asks.

        Raises:
            ValueError: The numbers make no sense.
        """
        return revision_questions(self.tolerance, self.blind, cpu=self.cpu, bound=self.bound)


def read_settings(config: pytest.Config) -> Settings:
    """Return the session's settings from its options.

    Raises:
        UsageError: An option makes no sense.
    """
    alpha, seed = (config.getoption(name) for name in ("alpha", "duel_seed"))
    if not 0 < alpha < 1:
        raise pytest.UsageError(f"--alpha is a probability between 0 and 1, not {alpha}")
    budget, minutes = _time_limits(config)
    removed = tuple(config.getoption("removed"))
    if removed and config.getoption("against") is None and not config.getoption("benchmark_compare"):
        raise pytest.UsageError("--removed admits what a comparison misses: add --against or --benchmark-compare")
    if config.getoption("starts") and config.getoption("against") is None and config.getoption("gate_side") is None:
        raise pytest.UsageError("--starts compares with another revision: add --against")
    confirming, _, package = config.getoption("confirm").partition(":")
    tolerance, blind = config.getoption("tolerance") / 100, config.getoption("blind") / 100
    try:
        revision_questions(tolerance, blind)
    except ValueError as error:
        raise pytest.UsageError(f"--tolerance, --blind (in per cent): {error}") from error
    return Settings(
        alpha=alpha,
        budget=BUDGET if budget is None else budget,
        floor_budget=FLOOR_BUDGET if budget is None else budget,
        seed=random.SystemRandom().getrandbits(32) if seed is None else seed,
        minutes=minutes,
        tolerance=tolerance,
        blind=blind,
        # pytest's own flag, from version 9 on a setting as well, applies to the gate too.
        strict=bool(config.getoption("strict", default=False) or _ini(config, "strict")),
        removed=removed,
        starts=config.getoption("starts"),
        full=config.getoption("full"),
        confirming=confirming,
        package=package,
    )


def _time_limits(config: pytest.Config) -> tuple[float | None, float | None]:
    """Return the seconds of each duel, or else the minutes that the duels with another revision share."""
    budget, minutes = config.getoption("budget"), config.getoption("gate_minutes")
    for option, value, unit in (("--budget", budget, "seconds"), ("--gate-minutes", minutes, "minutes")):
        if value is not None and not 0 <= value < float("inf"):
            raise pytest.UsageError(f"{option} is a number of {unit}, not {value}")
    if budget is not None and minutes is not None:
        raise pytest.UsageError("--budget is the time of each duel, --gate-minutes that of all: give one of them")
    return (budget, None) if budget is not None else (None, GATE_MINUTES if minutes is None else minutes)


def settings_of(settings: Settings, node: pytest.Item) -> DuelSettings:
    """Return one test's settings: the options, or its mark `gate(tolerance=..., blind=..., budget=..., clock="wall")`.

    Raises:
        UsageError: The mark makes no sense.
    """
    of_test = DuelSettings(settings.tolerance, settings.blind, settings.budget, settings.minutes is not None)
    for mark in reversed(list(node.iter_markers("gate"))):
        given = dict(mark.kwargs)
        if mark.args or set(given) - {"tolerance", "blind", "budget", "clock"} or given.get("clock", "wall") != "wall":
            raise pytest.UsageError(
                f'{node.nodeid}: the mark is gate(tolerance=PERCENT, blind=PERCENT, budget=SECONDS, clock="wall"), '
                f"not {mark}"
            )
        if "clock" in given:
            of_test = replace(of_test, cpu=False)
        if "budget" in given:
            of_test = replace(of_test, budget=given["budget"], takes_turns=False)
        try:
            shares = {name: given[name] / 100 for name in ("tolerance", "blind") if name in given}
            of_test = replace(of_test, **shares)
            of_test.questions()
        except (ValueError, TypeError) as error:
            raise pytest.UsageError(f"{node.nodeid}: gate (in per cent): {error}") from error
    return of_test


def _ini(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (KeyError, ValueError):
        return None
