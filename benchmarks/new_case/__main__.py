"""Write a new case: `python -m benchmarks.new_case NAME`, which `make case NAME=...` runs."""

import argparse
import sys
from collections.abc import Sequence

from .writing import CaseError, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the case and print what to do next; return the exit status."""
    parser = argparse.ArgumentParser(prog="make case", usage="make case NAME=mine", description=__doc__)
    parser.add_argument("name", help="the case, in lower-case letters, digits and _")
    name = parser.parse_args(arguments).name
    try:
        written = write(name)
    except CaseError as error:
        parser.error(f"{error}. Nothing was written.")
    except OSError as error:
        parser.error(f"{error.filename} cannot be written: {error.strerror}. Nothing was written.")
    print("\n".join(f"wrote {place}" for place in written))
    print(f"It passes as it is: {sys.executable} -m pytest benchmarks/test_{name}.py")
    print("Replace the task, one file at a time, and set the floor well below the least ratio that you observe.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
