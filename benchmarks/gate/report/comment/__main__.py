"""Print the comment of a document: `python -m benchmarks.gate.report.comment gate.json`."""

import argparse
import sys
from pathlib import Path

from .document import DocumentError, load
from .render import comment


def main() -> int:
    """Print it, and return 2 if the document cannot be read."""
    parser = argparse.ArgumentParser(description="print a pull request's comment, made from the output of --gate-json")
    parser.add_argument("document", type=Path, help="what --gate-json wrote")
    path = parser.parse_args().document
    try:
        sys.stdout.buffer.write(comment(load(path)).encode())
    except DocumentError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
