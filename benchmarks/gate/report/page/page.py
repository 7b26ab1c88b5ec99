"""A document as a page: the templates, and the pictures in them."""

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ...measure.machine import summary
from ..history.page import section, style
from ..json_report import VERSION
from ..words import duration, number, quantity
from . import charts, verdicts, view
from .view import Case, Facts, Rung

UNKNOWN = "-"
LONGEST_MESSAGE = 1_000  # characters of a failed test's
MANY = 100  # values, from which on their percentiles say something
CODE = re.compile(r"`([^`]+)`")


class DocumentError(ValueError):
    """What was read is not a document of this version; the message says what to do."""


def render(document: Facts) -> str:
    """Return the page of one run as the text of an HTML file that refers to no other file.

    Args:
        document: what `json_report.as_document` returns, or what was read from a file of `--gate-json`.

    Raises:
        DocumentError: The document is of another version.
    """
    version = document.get("version") if isinstance(document, Mapping) else None
    if version != VERSION:
        raise DocumentError(
            f"a document of version {VERSION} of gate.schema.json is needed, and this one has version {version}: run "
            "the benchmarks again with --gate-json"
        )
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            document=document,
            headline=verdicts.headline(document),
            machine=_machine(document),
            cases=view.cases(document),
            revision=document["revision"],
            revision_memory=[row for row in document["memory"] if row["revision_verdict"] is not None],
            history=Markup(section(past)) if (past := document["history"]) else "",  # noqa: S704 - made by this package
            history_style=Markup(style()),  # noqa: S704 - the gate's own file
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = _Pictures()
    environment.filters |= {
        "ratio": lambda value: UNKNOWN if value is None else number(value),
        "seconds": lambda value: UNKNOWN if value is None else duration(value) if value > 0 else "0 s",
        "bytes": lambda value: UNKNOWN if value is None else quantity(value, "B"),
        "share": lambda value: UNKNOWN if value is None else f"{value:+.1%}",
        "quantity": lambda note: UNKNOWN if note["value"] is None else quantity(note["value"], note["unit"]),
        "evalue": _evalue,
        "title": view.title_of,
        "named": lambda test: f"{view.case_of(test)}, {view.title_of(test)}",
        "tone": verdicts.tone,
        "against": verdicts.verdict_of_revision,
        "case": view.case_of,
        "prose": prose,
        "breakable": breakable,
        "short": _short,
        "words": lambda text: str(text).replace("_", " "),
    }
    environment.globals |= {
        "duel_verdicts": verdicts.verdicts_of_duel,
        "memory_verdicts": verdicts.verdicts_of_memory,
        "ladder": pictures.ladder,
        "duel_picture": pictures.duel,
        "others": pictures.others,
        "series_picture": pictures.series,
        "dispersion": _dispersion,
        "UNKNOWN": UNKNOWN,
    }
    return environment


def prose(text: str) -> Markup:
    """Return a sentence with its `code` set as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def breakable(name: str) -> Markup:
    """Return a name in which a line may end after an underscore, and so does not end inside a word."""
    return Markup(str(escape(name)).replace("_", "_<wbr>"))  # noqa: S704 - escaped before


def _machine(document: Facts) -> str:
    try:
        return summary(document["machine"])
    except KeyError:  # described by another tool
        return ", ".join(f"{key} {value}" for key, value in document["machine"].items())


def _evalue(log: float | None) -> str:
    """Return what a bet is worth, from the natural logarithm."""
    if log is None:
        return "0"
    return f"{math.exp(log):.3g}" if abs(log) < 13 else f"10^{log / math.log(10):.1f}"


def _short(message: str) -> str:
    """Return what a failed test says, without the exception's name, which is hardly ever anything else."""
    text = message.strip().removeprefix("AssertionError: ")
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..."


def _dispersion(series: Facts) -> list[tuple[str, float | None]]:
    """Return the quantiles of a series; what did not happen is longer than all that did."""
    values = sorted(math.inf if value is None else value for value in series["values"])
    shares = [("least", 0.0), ("median", 0.5), ("greatest", 1.0)]
    if len(values) >= MANY:
        shares[2:2] = [("p90", 0.9), ("p99", 0.99)]
    picked = [
        (name, values[min(len(values) - 1, math.ceil(share * len(values)) - 1 if share else 0)])
        for name, share in shares
    ]
    return [(name, value if math.isfinite(value) else None) for name, value in picked]


class _Pictures:
    """The pictures of one page, each with ids of its own."""

    def __init__(self) -> None:
        """Begin to count."""
        self._numbers = itertools.count(1)

    def _prefix(self) -> str:
        return f"c{next(self._numbers)}"

    def ladder(self, case: Case) -> Markup:
        first = case.baseline if case.baseline == "baseline" else f"{case.baseline} (the baseline)"
        marks = [charts.Mark(first, 1.0, proven=False), *map(_mark, case.ladder)]
        parts = [f"{rung.label} {number(rung.ratio)} times" for rung in case.ladder if rung.ratio]
        label = (
            f"Times faster than {case.baseline}, on a logarithmic scale: {'; '.join(parts)}. The table has all numbers."
        )
        return _markup(charts.ladder(marks, self._prefix(), label))

    def others(self, duels: list[Facts]) -> Markup:
        marks = [
            charts.Mark(view.title_of(duel["test"]), duel["ratio"], low, high, duel["floor"])
            for duel in duels
            for low, high in [duel["interval"]]
        ]
        parts = [f"{mark.label} {number(mark.ratio)} times" for mark in marks if mark.ratio]
        label = f"Ratios of other duels, on a logarithmic scale: {'; '.join(parts)}. The table has all numbers."
        return _markup(charts.ladder(marks, self._prefix(), label))

    def duel(self, duel: Facts) -> Markup:
        quantiles = dict(map(tuple, duel["trace"]["quantiles"]))
        label = (
            f"{duel['name']}: paired ratios from {number(quantiles[0])} to {number(quantiles[100])}, median "
            f"{number(quantiles[50])}; below, what the bets are worth over {duel['pairs']} pairs."
        )
        return _markup(charts.duel(duel, _limits(duel), self._prefix(), label))

    def series(self, series: Facts) -> Markup:
        values = [value for value in series["values"] if value is not None]
        ends = [quantity(value, series["unit"]) for value in (min(values), max(values))]
        label = (
            f"{series['name']} of {view.title_of(series['test'])}: {len(values)} values from {ends[0]} to {ends[1]}."
        )
        return _markup(charts.series(series, self._prefix(), label))


def _markup(picture: str) -> Markup:
    return Markup(picture)  # noqa: S704 - ElementTree escaped every text and attribute in it


def _mark(rung: Rung) -> charts.Mark:
    return charts.Mark(rung.label, rung.ratio, rung.low, rung.high, rung.floor, rung.duel is not None)


def _limits(duel: Facts) -> list[float]:
    """Return the ratios that the deciding questions of a duel are about, by wall time."""
    asked: list[Any] = [
        answer["question"][side]
        for name, answer in duel["answers"].items()
        if name in charts.MAIN and answer["question"]["clock"] == "wall"
        for side in ("above", "below")
    ]
    return sorted({float(limit) for limit in asked if limit})
