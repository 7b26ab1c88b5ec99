"""Write the page of the history: each ratio over the saved runs of like machines, with change points."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ...compare.history import find_runs, group_runs, keep
from .document import as_document
from .page import PageError, page

STORAGE = Path("benchmarks/baselines")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and return the exit status: 2 if there is no run to show, or the page cannot be drawn."""
    options = _parse(arguments)
    storages = options.storage or [STORAGE]
    for storage in storages:
        if not storage.is_dir():
            return _failed(f"there is no folder {storage}: --storage names one of runs saved by pytest-benchmark")
    runs, left_out = find_runs(storages, options.json)
    for remark in left_out:
        sys.stderr.write(f"history: {remark}\n")
    if not runs:
        return _failed(f"there is no saved run in {', '.join(map(str, storages))} (make baseline saves one)")
    if options.keep:
        keep(runs, options.keep)
    document = as_document(group_runs(runs), left_out)
    try:
        html = page(document)
    except PageError as error:
        return _failed(str(error))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(html, encoding="utf-8")
    if options.document:
        options.document.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for group in document["groups"]:
        marks = sum(len(history["changes"]) for history in group["histories"])
        sys.stdout.write(f"{group['machine']}: runs: {len(group['runs'])}, change points: {marks}\n")
    for remark in document["remarks"][len(left_out) :]:
        sys.stderr.write(f"history: {remark}\n")
    sys.stdout.write(f"history: {options.output}\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.add_argument(
        "--storage",
        type=Path,
        action="append",
        metavar="DIR",
        help=f"a folder of runs that pytest-benchmark saved; may be repeated (default: {STORAGE})",
    )
    parser.add_argument(
        "--json",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="further runs, written by --benchmark-json",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="add all of these runs to DIR, for the next page (the newest 200)"
    )
    parser.add_argument("--document", type=Path, metavar="FILE", help="write what the page shows as JSON, too")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(".results/history.html"), help="the page (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def _failed(message: str) -> int:
    sys.stderr.write(f"history: {message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
