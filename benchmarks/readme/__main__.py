"""Write what README and docs/ have from the committed run and the templates, or check that they have it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .document import generated

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if a file would change")
    check = parser.parse_args(arguments).check
    files = generated(root)
    stale = [place for place, text in files.items() if _content(root / place) != text]
    if check:
        for place in stale:
            print(f"{place} is not what the committed run says: make readme")
        return 1 if stale else 0
    for place in stale:
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).write_text(files[place], encoding="utf-8")
    print("\n".join(f"wrote {place}" for place in stale) or "nothing has changed")
    return 0


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
