"""What is generated: sections of README between two comments, and whole files."""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.new_case.writing import texts

from . import ladder, tables
from .saved import read

__all__ = ["README", "generated"]

README = "README.md"
PICTURES = {"docs/ladder-light.svg": ladder.LIGHT, "docs/ladder-dark.svg": ladder.DARK}
EXAMPLE = "mine"  # the name of the worked case
SECTION = re.compile(
    r"(<!-- generated: (?P<name>[a-z ]+), by make readme; do not edit -->\n).*?(\n<!-- end of what is generated -->)",
    re.DOTALL,
)


def generated(root: Path) -> dict[str, str]:
    """Return the text that each file should have, by its path relative to the repository's root."""
    run = read(root)
    sections = {
        "machine": tables.machine(run),
        "ladder": tables.ladder(run),
        "other duels": tables.others(run),
        "worked case": _example(),
    }
    readme = _replaced((root / README).read_text(encoding="utf-8"), sections)
    return {README: readme, **{place: ladder.picture(run, colours) for place, colours in PICTURES.items()}}


def _example() -> str:
    """Return the files of the worked case as code blocks, each with its place in a comment."""
    return "\n\n".join(f"```python\n# {place}\n{text}```" for place, text in texts(EXAMPLE).items())


def _replaced(text: str, sections: Mapping[str, str]) -> str:
    """Return the text with new sections.

    Raises:
        ValueError: A section has no place, or two, or a place has no section.
    """
    places = sorted(match["name"] for match in SECTION.finditer(text))
    if places != sorted(sections):
        raise ValueError(f"{README} has places for {places}, and what is generated is {sorted(sections)}")
    return SECTION.sub(lambda match: f"{match[1]}\n{sections[match['name']]}\n{match[3]}", text)
