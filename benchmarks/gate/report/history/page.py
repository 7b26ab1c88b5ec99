"""The document as HTML: a section for another page, and a page that has nothing else."""

from pathlib import Path
from typing import Any

from ..words import number
from .chart import draw, percent, short

HERE = Path(__file__).parent


class PageError(Exception):
    """The page cannot be drawn; the message says which package to install."""


def section(document_part: dict[str, Any]) -> str:
    """Return the histories as a fragment of HTML. Its classes begin with `history-`, and `style` has their rules.

    Raises:
        PageError: jinja2 or matplotlib is not installed.
    """
    return _render("section.html", document_part)


def style() -> str:
    """Return the style sheet of the section, for a page that includes it."""
    return (HERE / "history.css").read_text(encoding="utf-8")


def page(document: dict[str, Any]) -> str:
    """Return a page that needs nothing from outside.

    Raises:
        PageError: jinja2 or matplotlib is not installed.
    """
    return _render("history.html", document)


def _render(name: str, document: dict[str, Any]) -> str:
    try:
        import matplotlib as mpl  # noqa: F401, PLC0415 - an extra of the gate: only the page needs it
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise PageError(
            f'{error.name} is not installed: it is in the extra `report` (pip install "ml-performance-suite[report]")'
        ) from error
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "percent": percent, "short": short, "p": _p, "marks": _marks}
    environment.globals |= {"style": style, "draw": draw}
    return environment.get_template(name).render(history=document)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.1g}"


def _marks(group: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the histories with each of their changes: the newest first, and of one run the worst first."""
    marks = [(history, change) for history in group["histories"] for change in history["changes"]]
    return sorted(marks, key=lambda mark: (-mark[1]["run"], not mark[1]["worse"], -abs(mark[1]["percent"])))
