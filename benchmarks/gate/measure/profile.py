"""Which functions grew between the two sides of a duel: the time and the calls of each, side by side.

That says where to look. How much slower the candidate is, the duel says: cProfile adds time to each call, so functions
with many short calls look more expensive than they are.
"""

import cProfile
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from types import CodeType
from typing import Any, Literal, Protocol, TypeAlias

from .timing import Work, undisturbed

# Seconds of one side without a profiler, or one call if that takes longer; and how often the sides take turns.
FUNCTIONS = (0.5, 10)
OPERATORS = (0.1, 2)  # torch's profiler keeps every event in memory, and takes long to start
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
OWN = "method 'disable' of '_lsprof.Profiler' objects"

Kind: TypeAlias = Literal["functions", "operators"]
Times: TypeAlias = Mapping[str, tuple[float, int]]  # by function: its own seconds, and calls


class ProfileError(Exception):
    """There is no profile; the message says why."""


@dataclass(frozen=True)
class Growth:
    """One function on both sides.

    Attributes:
        function: its qualified name and its file, below where it is imported from: "count (impl/counter/locked.py)". A
            built-in function is listed once for each Python function that calls it: "built-in method time.sleep in
            count (impl/counter/locked.py)". A torch operator has the name that torch gives it: "aten::linear".
        reference_seconds, candidate_seconds: without the functions it calls, per call of the work; wall time, and CPU
            time of a torch operator.
        reference_calls, candidate_calls: per call of the work; 0 on a side that does not have the function.
    """

    function: str
    reference_seconds: float
    candidate_seconds: float
    reference_calls: float
    candidate_calls: float

    @property
    def seconds(self) -> float:
        """Return by how much it grew."""
        return self.candidate_seconds - self.reference_seconds


class Profiled(Protocol):
    """One side, in this process (`Profiler`) or in another one."""

    def seconds(self) -> float:
        """Return the wall time of one call."""

    def has_operators(self) -> bool:
        """Return whether torch is imported where the side runs."""

    def run(self, kind: Kind, calls: int) -> None:
        """Call the work that many times, and add what it did."""

    def times(self, kind: Kind) -> Times:
        """Return the sums over all calls."""


class Profiler:
    """A side in this process."""

    def __init__(self, work: Work, *, suffix: str = "") -> None:
        """Begin with no calls.

        Args:
            work: takes no arguments.
            suffix: of the names of its packages, to be ignored: "_at_0123456789ab".
        """
        self.work = work
        self._of: dict[Kind, _Functions | _Operators] = {"functions": _Functions(suffix), "operators": _Operators()}

    def seconds(self) -> float:
        """Return the wall time of one call."""
        with undisturbed(collects=True):
            start = time.perf_counter()
            self.work()
            return time.perf_counter() - start

    def has_operators(self) -> bool:
        """Return whether torch is imported."""
        return "torch" in sys.modules

    def run(self, kind: Kind, calls: int) -> None:
        """Call the work that many times, and add what it did.

        Raises:
            RuntimeError: Another profiler is active, up to Python 3.11.
            ValueError: Likewise from 3.12 on.
        """
        with undisturbed(collects=True):
            self._of[kind].run(self.work, calls)

    def times(self, kind: Kind) -> Times:
        """Return the sums over all calls."""
        return self._of[kind].times()


def growth(reference: Profiled, candidate: Profiled) -> tuple[Growth, ...]:
    """Profile both sides, and return the functions of both, the one that grew most first.

    Both sides are called equally often, in turns. Their functions are matched by file and qualified name. Functions
    that share both, such as two lambdas in one function, are added up.

    Code without Python frames, such as a C extension's, counts as time of the Python function that calls it. Functions
    that cProfile sees have rows of their own: built-in ones, and on Python 3.11 those of Numba that Python calls.

    Threads that the work starts are included. Up to Python 3.11 each has a profiler of its own. From 3.12 on one
    cProfile sees all threads and takes their calls for those of one, so with threads it charges time to the wrong
    function (seen in 3.12.1 and 3.13.0). Other processes, and up to 3.11 threads that ran before, show as waiting.

    If both sides have torch imported already, its operators are included. Their time is part of the calling function's
    time too.

    Args:
        reference: the side to compare with.
        candidate: the other side.

    Raises:
        ProfileError: A side raises, another profiler is active, or the work calls no function that a profiler sees.
    """
    sides = reference, candidate
    try:
        longest = max(side.seconds() for side in sides)
        grown = _side_by_side(sides, "functions", longest, *FUNCTIONS)
        if all(side.has_operators() for side in sides):
            grown += _side_by_side(sides, "operators", longest, *OPERATORS)
    except Exception as error:
        raise ProfileError(f"{type(error).__name__}: {error}") from error
    if not grown:
        raise ProfileError("the work calls no function that a profiler sees")
    return tuple(sorted(grown, key=lambda each: each.seconds, reverse=True))


def _side_by_side(
    sides: tuple[Profiled, Profiled], kind: Kind, longest: float, seconds: float, turns: int
) -> list[Growth]:
    """Call both sides in turns; `longest` is the time of one call of the slower one."""
    turns = max(1, min(turns, int(seconds / longest)))
    per_turn = max(1, int(seconds / longest / turns))
    for _ in range(turns):
        for side in sides:
            side.run(kind, per_turn)
    calls, none = turns * per_turn, (0.0, 0)
    there, here = (side.times(kind) for side in sides)
    rows = {name: (there.get(name, none), here.get(name, none)) for name in {**there, **here}}
    return [Growth(name, r[0] / calls, c[0] / calls, r[1] / calls, c[1] / calls) for name, (r, c) in rows.items()]


class _Functions:
    """cProfile, with a profiler for each thread where Python allows it."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.profilers = [cProfile.Profile()]

    def run(self, work: Work, calls: int) -> None:
        """Call the work that many times, and add what it did.

        Raises:
            RuntimeError: Another profiler is active, up to Python 3.11.
            ValueError: Likewise from 3.12 on.
        """
        if sys.getprofile() is not None:
            raise RuntimeError("another profiler is active, and a second one would end it")
        profiler, of_threads = self.profilers[0], threading.getprofile()
        if sys.version_info < (3, 12):
            threading.setprofile(self._begin)
        try:
            profiler.enable()
            try:
                for _ in range(calls):
                    work()
            finally:
                profiler.disable()
        finally:
            threading.setprofile(of_threads)

    def _begin(self, *_event: object) -> None:
        """Profile a new thread, which calls this at its first event, and never again: the profiler replaces it."""
        profiler = cProfile.Profile()
        self.profilers.append(profiler)
        profiler.enable()

    def times(self) -> Times:
        """Return the sums over all calls, by function; a built-in one by its caller, if that is a Python function."""
        seconds: dict[str, float] = defaultdict(float)
        calls: dict[str, int] = defaultdict(int)

        def add(name: str, entry: Any, sign: int = 1) -> None:
            seconds[name] += sign * entry.inlinetime
            calls[name] += sign * entry.callcount

        places = _places()
        for entry in (entry for profiler in self.profilers for entry in profiler.getstats()):
            caller = self._name(entry.code, places)
            add(caller, entry)
            for called in entry.calls or ():
                if isinstance(called.code, str) and not isinstance(entry.code, str):
                    name = self._name(called.code, places)
                    add(f"{name} in {caller}", called)
                    add(name, called, -1)
        return {name: (seconds[name], calls[name]) for name in calls if calls[name] and name != OWN}

    def _name(self, code: CodeType | str, places: Mapping[str, str]) -> str:
        if isinstance(code, str):
            return ADDRESS.sub("", code.strip("<>"))
        place = places.get(code.co_filename, code.co_filename).replace(self.suffix, "")
        return f"{code.co_qualname} ({place})"


def _places() -> dict[str, str]:
    """Return the files of all modules, relative to the folders they are imported from."""
    places = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str):
            path = PurePath(file)
            depth = name.count(".") + (2 if path.stem == "__init__" else 1)
            places[file] = "/".join(path.parts[-depth:])
    return places


@dataclass
class _Operators:
    """torch's profiler."""

    sums: dict[str, tuple[float, int]] = field(default_factory=dict)

    def run(self, work: Work, calls: int) -> None:
        """Call the work that many times, and add what it did."""
        from torch.profiler import ProfilerActivity, profile  # noqa: PLC0415 - the gate works in suites without torch

        with profile(activities=[ProfilerActivity.CPU]) as trace:
            for _ in range(calls):
                work()
        for event in trace.key_averages():
            seconds, count = self.sums.get(event.key, (0.0, 0))
            self.sums[event.key] = seconds + event.self_cpu_time_total / 1e6, count + event.count

    def times(self) -> Times:
        """Return the sums over all calls, by operator."""
        return self.sums
