"""The pictures of the page, drawn by matplotlib through its objects: nothing of its global state is used or changed.

A unit is a CSS pixel at 360 pixels' width, a phone's; wider screens show several pictures side by side.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .. import svg
from ..svg import ACCENT, BAD, GOOD, GRID, INK, MUTED
from ..words import duration, number, quantity
from .view import Facts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, SMALL = 360, 300
FONT = 11
CHARACTER = 6.5  # the width of a digit, at most
ROW = 36  # of a ladder: the name, and the mark below it
LONGEST = 42  # characters of a name
FEW = 60  # points that are drawn one by one
BINS = 120  # of a longer series
WIDTHS = {"floor": 1.8, "saved": 1.8, "revision": 1.8, "cpu": 1.1}  # of the lines of the questions that decide
MAIN = frozenset(WIDTHS)
LABEL = 46  # the width that a label of the horizontal axis takes, with the space beside it


@dataclass(frozen=True)
class Mark:
    """One row of a ladder: a ratio, its interval, and its floor; `proven` by a duel, or an estimate."""

    label: str
    ratio: float | None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    proven: bool = True


@contextmanager
def _figure(width: float, height: float) -> Iterator["Figure"]:
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and half a second
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    with mpl.rc_context(svg.SETTINGS):
        yield Figure(figsize=(width / 72, height / 72), dpi=72)


def _axes(figure: "Figure", left: float, top: float, right: float, bottom: float) -> "Axes":
    """Return axes at distances from the figure's edges, in its units, with nothing but a horizontal axis."""
    width, height = figure.get_size_inches() * 72
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height))
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(axis="x", colors=GRID, labelcolor=MUTED, labelsize=FONT - 1, length=3)
    axes.tick_params(axis="y", left=False, labelcolor=MUTED, labelsize=FONT - 1)
    return axes


def ladder(marks: Sequence[Mark], prefix: str, label: str) -> str:
    """Return ratios on a logarithmic scale, one below the other."""
    shown = [mark for mark in marks if mark.ratio and mark.ratio > 0]
    height = ROW * len(shown) + 26
    with _figure(WIDTH, height) as figure:
        axes = _axes(figure, 8, 2, 14, 24)
        values = [1.0] + [
            value for mark in shown for value in (mark.ratio, mark.low, mark.high, mark.floor) if value and value > 0
        ]
        low, high = min(values) / 1.15, max(values) * 1.15
        axes.set(xscale="log", xlim=(low, high), ylim=(ROW * len(shown), 0), yticks=[])
        _ticks(axes, low, high, WIDTH - 22)
        for row, mark in enumerate(shown):
            _rung(axes, mark, ROW * row)
        return svg.inline(figure, prefix, label)


def _rung(axes: "Axes", mark: Mark, top: float) -> None:
    across = axes.get_yaxis_transform()
    words: dict[str, Any] = {"fontsize": FONT, "va": "baseline", "transform": across, "parse_math": False, "zorder": 5}
    axes.text(0, top + 15, cut(mark.label), color=INK, ha="left", **words)
    axes.text(
        1, top + 15, f"{number(mark.ratio)}\N{MULTIPLICATION SIGN}", color=INK, ha="right", fontweight="bold", **words
    )
    place = top + 26
    axes.plot([1, 1], [place - 6, place + 6], color=MUTED, linewidth=1, zorder=2)  # in pieces: it crosses no text
    axes.plot([0, 1], [place, place], color=GRID, linewidth=1, transform=across, zorder=1)
    if mark.low and mark.high:
        axes.plot([mark.low, mark.high], [place, place], color=ACCENT, linewidth=7, alpha=0.35, solid_capstyle="butt")
    if mark.floor:
        axes.plot([mark.floor, mark.floor], [place - 6, place + 6], color=BAD, linewidth=2, zorder=3)
    face = ACCENT if mark.proven else "none"
    axes.plot([mark.ratio or 1], [place], marker="o", markersize=7, color=ACCENT, markerfacecolor=face, zorder=4)


def duel(row: Facts, limits: Sequence[float], prefix: str, label: str) -> str:
    """Return how the paired ratios of a duel are distributed, above what its bets were worth as pairs were added.

    `limits` are ratios that the duel was asked about.
    """
    with _figure(SMALL, 208) as figure:
        _distribution(_axes(figure, 38, 6, 14, 118), row, limits)
        _evidence(_axes(figure, 38, 124, 14, 22), row["trace"]["evidence"])
        return svg.inline(figure, prefix, label)


def _distribution(axes: "Axes", row: Facts, limits: Sequence[float]) -> None:
    edges, counts = row["trace"]["histogram"]["edges"], row["trace"]["histogram"]["counts"]
    # What is far outside is beyond the picture's edge, as long as the pairs and the limits near them are within.
    near = [limit for limit in limits if edges[0] / 2 < limit < edges[-1] * 2]
    low, high = min([*edges, *near]), max([*edges, *near])
    margin = (high / low) ** 0.04 if high > low else 1.01
    low, high = low / margin, high * margin
    axes.set(xscale="log", xlim=(low, high), yticks=[], ylim=(0, 1.08 * max(counts)))
    if len(counts) == 1:
        edges = [edges[0] / margin**0.1, edges[0] * margin**0.1]
    axes.stairs(counts, edges, fill=True, color=ACCENT, alpha=0.35, linewidth=0)
    axes.stairs(counts, edges, color=ACCENT, linewidth=1)
    for limit in near:
        axes.axvline(limit, color=BAD, linewidth=1.4)
    if row["ratio"]:
        axes.axvline(row["ratio"], color=INK, linewidth=1.4)
    _ticks(axes, low, high, SMALL - 52)


def _evidence(axes: "Axes", evidence: Facts) -> None:
    """Draw the logarithms of the bets. What was lost is cut off: a lost bet may be worth nothing at all."""
    pairs, won = evidence["pairs"], evidence["log_threshold"]
    least, most = -0.6 * won, 1.15 * won
    axes.set(xlim=(0, max(pairs) * 1.02), ylim=(least, most), yticks=[])
    axes.axhline(won, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.axhline(0, color=GRID, linewidth=1)
    axes.set_yticks([0, won], labels=["even", "won"])
    for name, bets in sorted(evidence["questions"].items(), key=lambda item: item[0] in MAIN):
        for side, colour, style in (("above", GOOD, "-"), ("below", BAD, (0, (5, 1.5)))):
            logs = [least if log is None else min(max(log, least), most) for log in bets[side]]
            if not any(logs):
                continue  # no such bet
            main = name in MAIN
            axes.plot(
                pairs,
                logs,
                color=colour if main else MUTED,
                linestyle=style,
                linewidth=WIDTHS.get(name, 0.7),
                marker="o" if len(pairs) == 1 else "",
                markersize=3,
            )
    _whole_ticks(axes, max(pairs), "pairs")


def series(row: Facts, prefix: str, label: str) -> str:
    """Return a series' numbers in their order; of a long one the median of each part, between least and greatest."""
    numbers = [(place, value) for place, value in enumerate(row["values"], 1) if value is not None]
    with _figure(WIDTH, 170) as figure:
        axes = _axes(figure, 58, 8, 14, 22)
        greatest = max(value for _, value in numbers)
        axes.set(xlim=(0, len(row["values"]) + 1), ylim=(min(0, *(value for _, value in numbers)), greatest * 1.1 or 1))
        if len(numbers) <= FEW:
            axes.plot(*zip(*numbers, strict=True), color=ACCENT, linewidth=1, marker="o", markersize=4)
        else:
            size = math.ceil(len(numbers) / min(BINS, len(numbers) / 4))
            parts = [numbers[start : start + size] for start in range(0, len(numbers), size)]
            middles = [part[len(part) // 2][0] for part in parts]
            values = [sorted(value for _, value in part) for part in parts]
            axes.fill_between(middles, [v[0] for v in values], [v[-1] for v in values], color=ACCENT, alpha=0.3, lw=0)
            axes.plot(middles, [v[len(v) // 2] for v in values], color=ACCENT, linewidth=1.5)
        top = axes.get_ylim()[1]
        places = [place for place in _nice(0, top, 4) if place <= top]
        axes.set_yticks(places, labels=[_with_unit(place, row["unit"]) for place in places])
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        _whole_ticks(axes, len(row["values"]), "")
        return svg.inline(figure, prefix, label)


def _with_unit(value: float, unit: str) -> str:
    if unit == "s":
        return duration(value) if value else "0"
    return quantity(value, "" if len(unit) > 3 else unit)


def cut(text: str) -> str:
    """Return a name on one line, and cut in the middle if it is long: both ends distinguish it."""
    text = " ".join(text.split())
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[-half:]}"


def _ticks(axes: "Axes", low: float, high: float, width: float) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator  # noqa: PLC0415 - see _figure

    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    found = ratio_labels(low, high, width)
    axes.set_xticks(list(found), labels=list(found.values()))


def ratio_labels(low: float, high: float, width: float) -> dict[float, str]:
    """Return round ratios and how they are written, so that the labels do not touch on an axis of this width."""
    places = ratio_ticks(low, high, most=max(1, int(width / LABEL)))
    while True:
        write = _digits(places)
        found = {place: write(place) for place in places}
        longest = max(map(len, found.values())) * CHARACTER + 6
        gaps = [width * math.log(b / a) / math.log(high / low) for a, b in pairwise(places)]
        if len(places) == 1 or min(gaps) >= longest:
            return found
        places = places[::2]


def ratio_ticks(low: float, high: float, *, most: int) -> list[float]:
    """Return round ratios between two, evenly spaced on a logarithmic scale, so that their labels do not touch."""
    if high / low < 3:
        return _inside(low, high, min(most, 5))
    least = (high / low) ** (1 / most)  # of the ratio of two neighbours, which is their distance on this scale
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        places = [step * 10.0**decade for decade in decades for step in steps]
        inside = [place for place in places if low <= place <= high]
        if len(inside) >= 2 and min(b / a for a, b in pairwise(inside)) >= least:
            return inside
    if len(inside) >= 2:
        return inside[:: math.ceil(len(inside) / most)]
    apart: list[float] = []
    for place in _inside(low, high, most):  # between two decades, say from 2.2 to 7
        if not apart or place / apart[-1] >= least:
            apart.append(place)
    return apart


def _inside(low: float, high: float, most: int) -> list[float]:
    """Return round numbers between two, as few as there are; without any, one in the middle."""
    for number_of_steps in (most, 2 * most, 5 * most):
        if inside := [place for place in _nice(low, high, number_of_steps) if low <= place <= high]:
            return inside
    return [math.sqrt(low * high)]


def _nice(low: float, high: float, most: int) -> list[float]:
    """Return round numbers between two, at most so many, evenly spaced."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _digits(places: Sequence[float]) -> Callable[[float], str]:
    """Return how to write these numbers, with as many decimals as tell them apart and show where they are."""
    if len(places) > 1 and max(places) / min(places) < 3:
        step = min(b - a for a, b in pairwise(places))
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        # Of steps of 0.005 every other one may be left: 134.375 and 134.385 are a hundredth apart, and no hundredths.
        if any(abs(round(place, decimals) - place) > step / 100 for place in places):
            decimals += 1
        return lambda value: f"{value:,.{decimals}f}"
    return lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _whole_ticks(axes: "Axes", last: int, unit: str) -> None:
    """Put the first and the last number below the axis, the last one with its unit."""
    places: dict[str, Any] = {"1": 1, f"{last:,} {unit}".strip(): last} if last > 1 else {f"1 {unit}".strip(): 1}
    axes.set_xticks(list(places.values()), labels=list(places))
    labels = axes.get_xticklabels()
    labels[-1].set_horizontalalignment("right" if last > 1 else "center")
    if last > 1:
        labels[0].set_horizontalalignment("left")
