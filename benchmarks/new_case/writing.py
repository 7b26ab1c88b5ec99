"""The files of a new case: which they are, what they say, and when they are not written."""

import keyword
import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from string import Template

__all__ = ["CaseError", "refusal", "texts", "write"]

ROOT = Path(__file__).parents[2]
TEMPLATES = Path(__file__).with_name("templates")
SUFFIX = ".txt"  # so that no tool takes a template for a module
BENCHMARK = "benchmark.py"  # the one template that is not for the folder in impl/
LONGEST = 30  # letters; with more the templates' lines would be longer than ruff allows


class CaseError(ValueError):
    """A case of this name is not written; the message says why."""


def refusal(name: str, root: Path = ROOT) -> str | None:
    """Return why no case of this name can be written, or None."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return f"{name!r} cannot name a package: use lower-case letters, digits and _, and begin with a letter"
    if keyword.iskeyword(name):
        return f"{name!r} is a keyword of Python, so no package can have that name"
    if len(name) > LONGEST:
        return f"{name!r} has {len(name)} letters, and {LONGEST} are the most"
    for place in (f"impl/{name}", f"impl/{name}.py", f"benchmarks/test_{name}.py"):
        if (root / place).exists():
            return f"{place} is there already: choose another name, or remove it first"
    return None


def texts(name: str) -> dict[str, str]:
    """Return the text of each file, by its path relative to the repository's root."""
    found = {}
    for template in sorted(TEMPLATES.glob(f"*{SUFFIX}")):
        file = template.name.removesuffix(SUFFIX)
        place = f"benchmarks/test_{name}.py" if file == BENCHMARK else f"impl/{name}/{file}"
        found[place] = Template(template.read_text(encoding="utf-8")).substitute(name=name)
    return dict(sorted(found.items(), key=lambda each: (not each[0].startswith("impl/"), each[0])))


def write(name: str, root: Path = ROOT) -> list[str]:
    """Write a case, all of it or nothing; return the paths of its files, relative to `root`.

    Raises:
        CaseError: The name is refused.
        OSError: A file cannot be written.
    """
    if reason := refusal(name, root):
        raise CaseError(reason)
    written = texts(name)
    with ExitStack() as undo:
        folder = root / "impl" / name
        folder.mkdir()
        undo.callback(shutil.rmtree, folder)
        for place, text in written.items():
            with (root / place).open("x", encoding="utf-8") as file:
                undo.callback((root / place).unlink, missing_ok=True)
                file.write(text)
        undo.pop_all()  # all is written, so nothing is undone
    return list(written)
