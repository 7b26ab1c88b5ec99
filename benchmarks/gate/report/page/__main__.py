"""`python -m benchmarks.gate.report.page FILE.json -o FILE.html`: the page of a run that wrote --gate-json."""

import argparse
import json
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return the exit status: 2 if the page cannot be made."""
    package = (__package__ or "").strip(".")
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description="Make the page of a run.")
    parser.add_argument("document", type=Path, metavar="FILE.json", help="what --gate-json wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html", help="default: beside it, as .html")
    options = parser.parse_args(arguments)
    try:
        from .page import DocumentError, render  # noqa: PLC0415 - the extra may be missing
    except ImportError as error:
        parser.error(f"{error}: pip install 'ml-performance-suite[report]'")
    try:
        document = json.loads(options.document.read_text(encoding="utf-8"))
    except OSError as error:
        parser.error(f"{options.document} cannot be read: {error.strerror}")
    except ValueError as error:
        parser.error(f"{options.document} is no JSON: {error}")
    try:
        text = render(document)
    except DocumentError as error:
        parser.error(f"{options.document}: {error}")
    except ImportError as error:  # matplotlib's
        parser.error(f"{error}: pip install 'ml-performance-suite[report]'")
    output = options.output or options.document.with_suffix(".html")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
