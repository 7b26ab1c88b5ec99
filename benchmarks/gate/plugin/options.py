"""The gate's options on pytest's command line; `environments` and `profiling` have more of them."""

import argparse
from pathlib import Path

import pytest

from .acknowledged import add_ini
from .environments import add_options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the gate's options."""
    group = parser.getgroup("gate", "duels and saved runs")
    add = group.addoption
    add(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="time after which a duel ends without a verdict (default: 180; with --against, see --gate-minutes)",
    )
    add(
        "--gate-minutes",
        type=float,
        metavar="MINUTES",
        help="with --against: time that all duels share, in turns (default: 10, unless --budget gives each its own)",
    )
    add("--alpha", type=float, default=0.001, help="probability of any wrong verdict in the suite (default: 0.001)")
    add("--duel-seed", type=int, metavar="N", help="seed of the order within pairs (default: a new one, and printed)")
    add(
        "--same-machine",
        action="store_true",
        help="with --benchmark-compare: a saved run of another machine is an error",
    )
    add("--against", metavar="REV", help="duel every variant with itself at another revision, of any kind git knows")
    add(
        "--tolerance",
        type=float,
        default=3.0,
        metavar="PERCENT",
        help="with --against: the slowdown that must not be missed (default: 3)",
    )
    add(
        "--blind",
        type=float,
        default=10.0,
        metavar="PERCENT",
        help="with --against: fail where the pairs cannot rule out even this slowdown of wall time (default: 10)",
    )
    add(
        "--removed",
        action="append",
        default=[],
        metavar="NAME",
        help="admit that a benchmark of the saved run or the other revision is gone or does less; repeatable",
    )
    add(
        "--evidence",
        type=Path,
        metavar="FILE",
        help="with --against: keep what the duels measure in FILE, and continue what an earlier run left in it",
    )
    add(
        "--starts",
        action="store_true",
        help="with --against: duel the starts of processes as well, which takes minutes more",
    )
    add(
        "--full",
        action="store_true",
        help="run the benchmarks marked `full` as well: full sizes, peers, whatever takes minutes",
    )
    add("--gate-report", type=Path, metavar="FILE", help="write the gate's findings as Markdown")
    add("--gate-json", type=Path, metavar="FILE", help="write the gate's findings as JSON, see gate.schema.json")
    add(
        "--gate-html",
        type=Path,
        metavar="FILE",
        help="write the run as a page to look at, of one file (needs the extra `report`)",
    )
    # For processes that confirm: the side to load first ("reference" or "candidate"), and the package.
    add("--confirm", default="", help=argparse.SUPPRESS)
    add_options(parser, group)
    add_ini(parser)
