"""Find the first commit at which the duels with GOOD turn slower.

The benchmarks are those of BAD at every commit; the packages under test are the commit's. Uncommitted changes are not
included.

The error rate (--alpha) covers a wrong verdict in any probe. So with probability 1 - alpha the named commit is
more than 1 % slower than GOOD, and the last good one is not slower than GOOD by the tolerance (3 %). If in addition a
slowdown, once there, stays, no earlier commit is slower than GOOD by the tolerance. Slowdowns of less than 1 % each add
up: then the commit is named at which their sum is first found, somewhere between 1 % and the tolerance.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from .history import History, HistoryError
from .probe import LONGER, Probe, Prober
from .search import GOOD, Bracket, Outcome, first_bad, most_probes

FOUND, NOTHING_SLOWER, USAGE, UNDECIDED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Search; return 0 for a commit, 1 if nothing is slower, 2 for a bad request, 3 if it stays open."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that checkouts are removed
    try:
        return _search(History.between(Path.cwd(), options.good, options.bad), options)
    except HistoryError as error:
        print(f"bisect: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("bisect: interrupted; the checkouts are removed", file=sys.stderr)
        return 128 + signal.SIGINT


def _search(history: History, options: argparse.Namespace) -> int:
    packages = tuple(options.package)
    commits = history.that_change(packages) if packages else history.commits
    if not commits:
        print(f"Nothing to look for: no commit from GOOD to BAD changes {', '.join(packages)}.")
        return NOTHING_SLOWER
    most = 1 + most_probes(len(commits), options.skips)
    prober = Prober(history, packages, options.alpha / (2 * most), options.budget, _options(options))
    print(
        f"{len(history.commits)} commits from {history.describe(history.good)} to {history.describe(history.bad)}; at "
        f"most {most} probes, BAD included, each of up to two tries ({options.budget:g} s, then "
        f"{options.budget * LONGER:g} s a duel). Uncommitted changes are left out. BAD comes first and shows how long."
    )
    end = prober.probe(history.bad, _select(history, options))
    _show(history, end)
    tests = end.of("slower")
    if not tests:
        return _nothing_slower(end)
    if not end.packages:
        raise HistoryError("the tests load no package of GOOD, so nothing differs between the commits")
    commits = history.that_change(packages or end.packages)
    if not commits:
        print("BAD is slower than GOOD, and no commit changes the packages: a wrong verdict, or other files matter.")
        return UNDECIDED
    return _between(_Search(history, replace(prober, packages=packages or end.packages), commits, tests, end), options)


def _nothing_slower(end: Probe) -> int:
    if end.outcome == "good":
        print("Nothing to look for: BAD is not slower than GOOD.")
        return NOTHING_SLOWER
    print("BAD is not proven slower than GOOD, nor the same: name tests that run at both, or give more --budget.")
    return UNDECIDED


@dataclass(frozen=True)
class _Search:
    """What the search among the commits needs."""

    history: History
    prober: Prober
    commits: tuple[str, ...]
    tests: list[str]
    end: Probe


def _between(search: _Search, options: argparse.Namespace) -> int:
    """Search among the commits, and report."""
    history, commits = search.history, search.commits
    probes: dict[int, Probe] = {len(commits) - 1: search.end}
    seconds = search.end.seconds_of(search.tests)
    usual, most = max(len(commits) - 1, 0).bit_length(), most_probes(len(commits), options.skips)
    print(
        f"{len(commits)} of the commits change {', '.join(search.prober.packages)}. Some {usual} more probes take "
        f"{_minutes(usual * seconds)}; skipped commits can make it {most}, "
        f"{_minutes(most * seconds)}. That is at the pace of BAD: a commit that is not slower, or needs "
        "a second try, takes longer."
    )

    def judge(place: int) -> Outcome:
        probe = search.prober.probe(commits[place], search.tests, tests=search.tests)
        probes[place] = probe
        _show(history, probe)
        return probe.outcome

    bracket = first_bad(len(commits), judge, options.skips)
    return _report(search, bracket, probes, options.alpha)


def _report(search: _Search, bracket: Bracket, probes: dict[int, Probe], alpha: float) -> int:
    history, commits, suspects = search.history, search.commits, bracket.suspects
    before = "GOOD itself" if bracket.good == GOOD else str(probes[bracket.good])
    found = len(suspects) == 1
    print("\nthe first slower commit:" if found else "\nthe first slower commit is one of these:")
    for place in suspects:
        skipped = probes.get(place)
        note = "" if found or place == bracket.bad else f": {skipped or 'not judged, --skips is used up'}"
        merge = " (a merge: bisect its branch next)" if history.is_merge(commits[place]) else ""
        print(f"  {commits[place]} {history.date(commits[place])} {history.describe(commits[place])}{merge}{note}")
    last = history.good if bracket.good == GOOD else commits[bracket.good]
    print(f"  there: {probes[bracket.bad]}")
    print(f"  before, {history.describe(last)}: {before}")
    print(
        f"A verdict above is wrong with probability {alpha:g} at most. That no earlier commit is slower assumes that a "
        "slowdown, once there, stays. Steps of less than 1 % each are found where their sum is."
    )
    return FOUND if found else UNDECIDED


def _show(history: History, probe: Probe) -> None:
    print(f"{history.describe(probe.commit)}: {probe}, {probe.seconds:.0f} s", flush=True)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _select(history: History, options: argparse.Namespace) -> list[str]:
    """Return pytest's words for the tests: an id or a path, or an expression for -k."""
    path = options.test.partition("::")[0]
    if path and ("::" in options.test or (history.root / path).exists()):
        return [options.test]
    return [*options.collect, *(["-k", options.test] if options.test else [])]


def _options(options: argparse.Namespace) -> tuple[str, ...]:
    return () if options.tolerance is None else (f"--tolerance={options.tolerance!r}",)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("good", metavar="GOOD", help="a revision that is fast")
    add("bad", metavar="BAD", help="a revision that is slower, a descendant of GOOD")
    add("--test", default="", metavar="TEST", help="the id of a test, or a -k expression (default: all duels)")
    add("--collect", action="append", default=[], metavar="PATH", help="where tests are (default: pytest's testpaths)")
    add("--package", action="append", default=[], metavar="FOLDER", help="under test (default: what is duelled)")
    add("--alpha", type=float, default=0.001, help="probability of any wrong verdict (default: 0.001)")
    add("--budget", type=float, default=30.0, metavar="SECONDS", help="of a duel's first try (default: 30)")
    add("--tolerance", type=float, metavar="PERCENT", help="the slowdown that must not be missed (default: 3)")
    add("--skips", type=int, default=10, metavar="N", help="commits that may be skipped (default: 10)")
    options = parser.parse_args(arguments)
    if not 0 < options.alpha < 1:
        parser.error(f"--alpha is a probability between 0 and 1, not {options.alpha}")
    if not 0 <= options.budget < float("inf"):
        parser.error(f"--budget is a number of seconds, not {options.budget}")
    if options.skips < 0:
        parser.error(f"--skips is a number of commits, not {options.skips}")
    for name in options.package:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or name in {"", "."}:
            parser.error(f"--package is a package's folder, relative to this one, not {name!r}")
    options.package = [PurePosixPath(name).as_posix() for name in options.package]
    return options
