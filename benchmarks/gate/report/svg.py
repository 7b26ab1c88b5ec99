"""matplotlib's SVG as a part of a page: ids of its own, colours by CSS, text that is text."""

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a chart is drawn in, and what the page makes of it: so one picture serves light, dark and paper.
INK, MUTED, GRID, ACCENT = "#010101", "#010102", "#010103", "#010104"
GOOD, BAD, OPEN, PANEL = "#010105", "#010106", "#010107", "#010108"
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    ACCENT: "var(--accent)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
    OPEN: "var(--open)",
    PANEL: "var(--panel)",
}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gate",
    "font.family": "DejaVu Sans",
    "path.simplify": True,
}
_NUMBER = re.compile(r"(?<![\w#.])-?\d+\.\d{2,}")


def inline(
    figure: "Figure", prefix: str, label: str, variables: Mapping[str, str] = VARIABLES, name: str = "chart"
) -> str:
    """Return a figure as an `svg` element.

    Args:
        figure: drawn in the colours of `variables`.
        prefix: of every id, which is the figure's own in the page.
        label: what it shows, for those who do not see it.
        variables: of the page's style sheet, by the colours that stand for them.
        name: the element's class.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    root = ET.fromstring(file.getvalue())  # noqa: S314 - matplotlib wrote it just now
    _strip(root)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _changed(key.rpartition("}")[2], value, prefix, variables)
            for key, value in element.attrib.items()
        }
    width, height = (root.attrib.pop(side).removesuffix("pt") for side in ("width", "height"))
    root.attrib = {
        "class": name,
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-label": label,
        "style": f"max-width: {float(width) * 1.25:.0f}px",
    }
    return ET.tostring(root, encoding="unicode")


def _strip(element: ET.Element) -> None:
    """Remove the metadata, and styles that would be the whole page's."""
    for child in list(element):
        if child.tag.rpartition("}")[2] in {"metadata", "style"}:
            element.remove(child)
        else:
            _strip(child)


def _changed(key: str, value: str, prefix: str, variables: Mapping[str, str]) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key == "href":
        return value.replace("#", f"#{prefix}-")
    value = re.sub(r"url\(#", f"url(#{prefix}-", value)
    if key in {"style", "fill", "stroke"}:
        for colour, variable in variables.items():
            value = value.replace(colour, variable)
    if key in {"d", "x", "y", "transform", "width", "height", "points"}:
        value = _NUMBER.sub(lambda found: f"{float(found[0]):.1f}", value)
    return value
