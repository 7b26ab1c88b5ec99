"""Markdown from untrusted text, within the length of a comment."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

LIMIT = 65_536  # GitHub's, in characters; kept in bytes, which are never fewer
SPARE = 200  # bytes, for the sentence about what is left out
LONGEST = 160  # characters of a code span

# Controls, characters without a width (those that reverse the direction among them), surrogates, and what has no
# meaning yet or none for all. Line and paragraph separators are spaces.
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


def code(text: str, longest: int = LONGEST) -> str:
    r"""Return text as a code span, which may stand in a table.

    A grave accent would end the span and a vertical bar the cell. A backslash makes neither literal in every place, so
    both are replaced by characters that look like them.
    """
    cut = text[: 8 * longest]  # whatever follows is not worth its time
    visible = (" " if each.isspace() or unicodedata.category(each) in INVISIBLE else each for each in cut)
    words = " ".join("".join(visible).split()).replace("`", "\u02cb").replace("|", "\u00a6")
    if len(words) > longest or len(text) > len(cut):
        words = f"{words[: longest - 4].rstrip()} ..."
    return f"`{words or '-'}`"


class Sheet:
    """Markdown that grows block by block, as long as there is room for the footer."""

    def __init__(self, header: str, footer: str) -> None:
        """Take what stands in any case."""
        self._parts = [header]
        self._footer = footer
        self._left = LIMIT - SPARE - len(f"{header}\n{footer}\n".encode())
        self._left_out = 0

    def text(self, paragraph: str) -> None:
        """Add a paragraph."""
        self._add(f"{paragraph}\n\n")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table, if it has rows; those for which there is no room are counted."""
        lines = [_line(row) for row in rows]
        if lines and self._add(f"{_line(header)}{_line(['---'] * len(header))}"):
            for line in lines:
                self._add(line)
            self._add("\n")

    def list(self, items: Iterable[str]) -> None:
        """Add a list, without empty items."""
        added = [self._add(f"- {item}\n") for item in items if item]
        if added:
            self._add("\n")

    @contextmanager
    def folded(self, summary: str) -> Iterator[None]:
        """Put what is added within under a summary, which is our own words."""
        end = "</details>\n\n"
        self._left -= len(end)
        opened = self._add(f"<details><summary>{summary}</summary>\n\n")
        yield
        if opened:
            self._parts.append(end)

    def _add(self, block: str) -> bool:
        """Add a block if there is room, and from the first one without room on nothing but line ends."""
        size = len(block.encode())
        if block.strip() and (self._left_out or size > self._left):
            self._left_out += 1
            return False
        self._left -= size
        self._parts.append(block)
        return True

    def __str__(self) -> str:
        """Return the text."""
        note = f"{self._left_out} lines are left out, for GitHub limits a comment: the job's summary has all.\n\n"
        return "".join([*self._parts, note if self._left_out else "", self._footer])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
