"""The ladder's picture: how many times faster than its case's baseline each variant is, as SVG."""

import io
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from benchmarks.gate.report.words import number

from .saved import BASELINE, Duel, Run, Step

__all__ = ["DARK", "LIGHT", "picture"]


class Colours(NamedTuple):
    """Those of GitHub's pages, so that a transparent picture is legible there."""

    text: str
    muted: str
    grid: str
    ratio: str
    floor: str


LIGHT = Colours("#1f2328", "#59636e", "#d1d9e0", "#0969da", "#bc4c00")
DARK = Colours("#f0f6fc", "#9198a1", "#3d444d", "#4493f8", "#f0883e")

# Text stays text, in the reader's own font; ids depend on the content alone. So one run has one picture, byte for byte.
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "ladder",
}
WIDTH = 7.5  # inches; 720 pixels in a browser
LINE = 0.21  # inches per variant or heading
ABOVE, BELOW = 0.1, 0.9  # inches, the latter for the scale, the legend and the machine
LEFT, RIGHT = 0.255, 0.9  # of the width; names are left of that, numbers right of it
ENDS = 0.7, 2.0  # the scale ends at these multiples of the least and greatest ratio


def picture(run: Run, colours: Colours) -> str:
    """Return the picture of a run as the text of an SVG file."""
    with mpl.rc_context(STYLE):
        text = io.StringIO()
        # Neither the day nor matplotlib's version: the picture is the run's.
        nothing = {"Date": None, "Creator": None}
        _figure(run, colours).savefig(text, format="svg", transparent=True, metadata=nothing)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _figure(run: Run, colours: Colours) -> Figure:
    rows = _rows(run)
    height = LINE * len(rows) + ABOVE + BELOW
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasSVG(figure)
    axes = figure.add_axes((LEFT, BELOW / height, RIGHT - LEFT, LINE * len(rows) / height))
    _scale(axes, rows, colours)
    for place, row in enumerate(rows):
        if isinstance(row, str):
            _beside(axes, -0.38, place, row, colours.text, weight="bold", align="left")
        else:
            _variant(axes, place, row, colours)
    _legend(axes, colours)
    where = f"times faster than the baseline of the case; {', '.join(run.machine[:2])}, {run.date}"
    figure.text(0.5, 0.01, where, color=colours.muted, ha="center", va="bottom")
    return figure


def _rows(run: Run) -> Sequence[str | Step]:
    """Return the lines from top to bottom: a case's name, then its variants that have a ratio."""
    rows: list[str | Step] = []
    for case, steps in groupby(run.steps, key=lambda step: step.case):
        rows += [case, *(step for step in steps if _claim(step) or step.full_size)]
    return rows


def _claim(step: Step) -> Duel | None:
    """Return the first duel against the baseline."""
    return next((duel for duel in step.duels if duel.against in {None, BASELINE}), None)


def _scale(axes: Axes, rows: Sequence[str | Step], colours: Colours) -> None:
    ratios = [1.0]
    for row in rows:
        if isinstance(row, Step):
            duel = _claim(row)
            ratios += [*duel.interval, duel.floor or 1.0] if duel else [row.full_size.ratio] if row.full_size else []
    axes.set_xscale("log")
    axes.set_xlim(min(ratios) * ENDS[0], max(ratios) * ENDS[1])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}\u00d7" if value >= 1 else "")
    axes.tick_params(axis="x", which="major", colors=colours.muted, length=0)
    axes.tick_params(axis="x", which="minor", length=0)
    axes.grid(axis="x", which="major", color=colours.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.patch.set_alpha(0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.axvline(1, color=colours.muted, linewidth=1.2)


def _variant(axes: Axes, place: int, step: Step, colours: Colours) -> None:
    duel = _claim(step)
    _beside(axes, -0.02, place, step.variant, colours.muted, align="right")
    if duel is None:
        if step.full_size:
            axes.plot([step.full_size.ratio], [place], "o", markersize=6, fillstyle="none", color=colours.ratio)
            _beside(axes, 1.02, place, f"{number(step.full_size.ratio)}\u00d7", colours.muted, align="left")
        return
    axes.plot(duel.interval, [place, place], color=colours.ratio, linewidth=2.2, solid_capstyle="butt")
    axes.plot([duel.ratio], [place], "o", markersize=6, color=colours.ratio)
    if duel.floor is not None:
        axes.plot([duel.floor], [place], "|", markersize=11, markeredgewidth=2, color=colours.floor)
    _beside(axes, 1.02, place, f"{number(duel.ratio)}\u00d7", colours.text, align="left")


def _beside(axes: Axes, x: float, place: int, text: str, colour: str, *, align: str, weight: str = "normal") -> None:
    """Write beside the axes: x in shares of their width, y in rows."""
    where = blended_transform_factory(axes.transAxes, axes.transData)
    axes.text(x, place, text, transform=where, color=colour, ha=align, va="center_baseline", weight=weight)


def _legend(axes: Axes, colours: Colours) -> None:
    marks = [
        Line2D([], [], color=colours.ratio, marker="o", markersize=6, linewidth=2.2, label="duel, with its interval"),
        Line2D([], [], color=colours.ratio, marker="o", fillstyle="none", linewidth=0, label="medians, no duel"),
        Line2D([], [], color=colours.floor, marker="|", markersize=11, markeredgewidth=2, linewidth=0, label="floor"),
        Line2D([], [], color=colours.muted, linewidth=1.2, label="baseline"),
    ]
    axes.legend(
        handles=marks,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.05),
        bbox_transform=axes.figure.transFigure,
        ncols=len(marks),
        frameon=False,
        labelcolor=colours.muted,
    )
