"""One history as an SVG element that takes its colours from the page, light or dark."""

from collections.abc import Sequence
from typing import Any

from .. import svg

# What matplotlib draws in, and what the page's style sheet makes of it.
INK, LINE, BETTER, WORSE = "#010101", "#010102", "#010103", "#010104"
COLOURS = {
    INK: "var(--history-ink)",
    LINE: "var(--history-line)",
    BETTER: "var(--history-better)",
    WORSE: "var(--history-worse)",
}
WIDTH, HEIGHT = 5.0, 2.1  # inches of 72 points: at 390 px of a phone its text is still 9 px high
LABELS = 5  # commits along the axis, at most
SETTINGS: dict[Any, Any] = {**svg.SETTINGS, "font.size": 9, "axes.edgecolor": LINE}


def draw(history: dict[str, Any], runs: Sequence[dict[str, Any]], prefix: str) -> str:
    """Return the picture of one history of the document.

    Args:
        history: an entry of a group's `histories`.
        runs: the group's.
        prefix: of the ids within the picture, its own in the page.
    """
    import matplotlib as mpl  # noqa: PLC0415 - an extra of the gate: only a page with charts needs it
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        _ratios(axes, history["points"], history["outliers"])
        _levels(axes, history)
        _axes(axes, history["points"], runs)
        return svg.inline(figure, prefix, label(history), COLOURS, "history-chart")


def label(history: dict[str, Any]) -> str:
    """Return what a picture shows, for those who do not see it; the table below it has the numbers."""
    count = len(history["changes"])
    what = "times faster" if history["kind"] == "time" else "share of the reference's peak memory"
    marks = f"{count} change point{'' if count == 1 else 's'}" if count else "no change point"
    return f"{history['name']}: {what} over {len(history['points'])} runs, {marks}"


def _ratios(axes: Any, points: Sequence[dict[str, Any]], outliers: Sequence[int]) -> None:
    """Draw the ratios, an outlier's as a ring, over their intervals."""
    ratios = [point["ratio"] for point in points]
    lows, highs = zip(*(point["interval"] or (point["ratio"], point["ratio"]) for point in points), strict=True)
    axes.vlines(range(len(points)), lows, highs, colors=LINE, linewidth=1.5)
    for places, fill in (([place for place in range(len(points)) if place not in outliers], INK), (outliers, "none")):
        shown = [ratios[place] for place in places]
        axes.plot(places, shown, color=INK, linestyle="none", marker="o", markersize=3.5, markerfacecolor=fill)


def _levels(axes: Any, history: dict[str, Any]) -> None:
    """Draw the mean between change points, and each change point with its size, where there is room for the text."""
    changes, last_text = history["changes"], -1.0
    ends = [-0.4, *(change["point"] - 0.5 for change in changes), len(history["points"]) - 0.6]
    levels = [change["before"] for change in changes[:1]] + [change["after"] for change in changes]
    for level, start, end in zip(levels, ends, ends[1:], strict=False):
        axes.hlines(level, start, end, colors=INK, linewidth=0.8)
    for change in changes:
        place, colour = change["point"] - 0.5, WORSE if change["worse"] else BETTER
        axes.axvline(place, color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
        share = place / max(1, len(history["points"]) - 1)
        if last_text < 0 or share - last_text > 0.15:
            axes.annotate(
                percent(change["percent"]),
                (place, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                color=colour,
            )
            last_text = share


def _axes(axes: Any, points: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: PLC0415 - as above

    lows, highs = zip(*(point["interval"] or (point["ratio"],) * 2 for point in points), strict=True)
    # At least 10 % up and down, or noise of a per mille would fill the picture.
    middle = (min(lows) * max(highs)) ** 0.5
    low, high = min(*lows, middle / 1.1), max(*highs, middle * 1.1)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.03, high * 1.03)
    axes.yaxis.set_major_locator(FixedLocator([low, middle, high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 100 else f"{value:.3g}"))
    axes.set_xlim(-0.5, len(points) - 0.5)
    step = -(-len(points) // LABELS)
    places = range(len(points) - 1, -1, -step)  # the newest run always has its label
    labels = [short(runs[points[place]["run"]]) for place in places]
    axes.set_xticks(list(places), labels, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color=LINE, labelcolor=INK)


def short(run: dict[str, Any]) -> str:
    """Return a run's commit as people write it, or its name."""
    return f"{run['commit'][:7]}{'+' if run['dirty'] else ''}" if run["commit"] else run["name"][:10]


def percent(value: float) -> str:
    """Return a change with its sign."""
    text = f"{value:+.1f} %" if abs(value) < 10 else f"{value:+,.0f} %"
    return text.replace("-", "\N{MINUS SIGN}")
