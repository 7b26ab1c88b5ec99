"""The page of a run: made of the document alone, whole without other files, and fit to be looked at."""

import contextlib
import copy
import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.gate.plugin import documents
from benchmarks.gate.report import json_report
from benchmarks.gate.report.page import __main__ as program
from benchmarks.gate.report.page import charts
from benchmarks.gate.report.page.page import DocumentError, breakable, prose, render

from . import browser
from .duel_suite import run
from .toy_suite import run as run_against

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(Path(json_report.__file__).with_name("gate.schema.json").read_text())
HOSTILE = "<script>alert(1)</script> $x^2$ & 'quoted' \"twice\" --> {{ 7 * 7 }}"

INI = """
[pytest]
addopts = -p pytest_benchmark.plugin -p benchmarks.gate.plugin --strict-markers
filterwarnings = error
"""

CONFTEST = """
from benchmarks.gate.report.findings import DescribedVariant

def pytest_gate_variants(cases):
    assert cases == {"toy", "other"}
    variants = [
        DescribedVariant("baseline", "The obvious way.", "same bytes"),
        DescribedVariant("half", "Sleeps for `half` the time.", "same bytes"),
        DescribedVariant(HOSTILE, HOSTILE, HOSTILE, best=True),
        DescribedVariant("timed", "Is only timed.", "agreement of at least 99.0%", device="cuda"),
    ]
    return {"toy": variants, "other": "ImportError: no module"}

HOSTILE = """

SUITE = """
import math, time
import pytest
from conftest import HOSTILE

SECONDS = {"baseline": 0.004, "half": 0.002, HOSTILE: 0.0004, "timed": 0.003}
FLOORS = {"half": 1.2, HOSTILE: 2}

def sleeping(variant):
    return lambda: time.sleep(SECONDS[variant])

@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("variant", SECONDS)
def test_time(benchmark, variant, size, note, series):
    benchmark.group = f"toy {size}"
    benchmark.pedantic(sleeping(variant), rounds=3)
    note("rate", 1234.5, "per second")
    series("request times", benchmark.stats.stats.data, "s")

@pytest.mark.parametrize("variant", FLOORS)
def test_speedup(duel, variant):
    duel(sleeping("baseline"), sleeping(variant), floor=FLOORS[variant])

@pytest.mark.parametrize("peer", ["theirs", HOSTILE])
def test_against_peers(duel, peer):
    duel(sleeping("timed"), sleeping("half"), floor=1)

def test_impossible(duel):
    duel(sleeping("half"), sleeping("baseline"), floor=1)

@pytest.mark.parametrize("variant", SECONDS)
def test_memory(ceiling, variant):
    ceiling(100_000_000, 50_000_000, 0.6)

@pytest.mark.measures
def test_load(series):
    series("waited", [math.inf if n % 100 == 7 else 0.02 + n % 13 / 1000 for n in range(700)], "s")
    series("steps", [0], "")

@pytest.mark.measures
def test_elsewhere():
    pytest.skip("this machine has no such thing")
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A run of a small suite in a process of its own, with one failure: what it printed, its document and its page."""
    folder = tmp_path_factory.mktemp("toy")
    files = {
        "pytest.ini": INI,
        "conftest.py": CONFTEST + repr(HOSTILE) + "\n",
        "test_toy.py": SUITE,
        "test_other.py": "def test_note(note, benchmark):\n    benchmark.pedantic(int)\n    note('x', 1)\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "GITHUB_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--gate-json=gate.json", "--gate-html=out/report.html", "--duel-seed=1"],
        cwd=folder,
        env=inherited | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    output = done.stdout + done.stderr
    assert (folder / "out/report.html").exists(), output
    text = (folder / "gate.json").read_text(encoding="utf-8")
    page = (folder / "out/report.html").read_text(encoding="utf-8")
    return SimpleNamespace(folder=folder, output=output, document=json.loads(text), page=page)


class Page(HTMLParser):
    """A page taken apart: its tags, its tables' rows of (text, attributes), and the text outside of style."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.tables, self.open, self.text = [], [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "table":
            self.tables.append((attributes, []))
        if tag == "tr":
            self.tables[-1][1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][1][-1].append(["", attributes])
        if tag not in {"meta", "link", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][1][-1][-1][0] += data

    def ladder(self):
        (rows,) = (rows for attributes, rows in self.tables if attributes.get("class") == "ladder")
        return rows[1:]


def test_the_document_is_valid_and_has_what_the_page_shows(toy):
    document = toy.document
    jsonschema.validate(document, SCHEMA)
    assert document["version"] == 6
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", document["date"])
    assert document["commit"] is None
    assert document["versions"]["pytest"] == pytest.__version__
    outcome = document["outcome"]
    assert (outcome["status"], list(outcome["failed"])) == (1, ["test_toy.py::test_impossible"])
    assert "the floor is 1 times. Find what made" in outcome["failed"]["test_toy.py::test_impossible"]
    assert outcome["skipped"] == {"test_toy.py::test_elsewhere": "Skipped: this machine has no such thing"}
    timed = [row for row in document["benchmarks"] if "::test_time[" in row["test"]]
    assert [row["params"] for row in timed[:2]] == [{"variant": "baseline", "size": size} for size in (1, 2)]
    assert all(row["rounds"] == 3 and row["min"] <= row["median"] <= row["max"] for row in timed)
    assert [each["name"] for each in document["variants"]["toy"]] == ["baseline", "half", HOSTILE, "timed"]
    assert "the report does not describe the variants of other: ImportError: no module" in document["remarks"]
    waited = next(row for row in document["series"] if row["name"] == "waited")
    assert waited["values"][6:9] == [pytest.approx(0.026), None, pytest.approx(0.028)]
    assert {row["params"]["variant"] for row in document["memory"]} == {"baseline", "half", HOSTILE, "timed"}


def test_a_trace_ends_with_the_answers_of_its_duel(toy):
    for duel in toy.document["duels"]:
        trace = duel["trace"]
        assert sum(trace["histogram"]["counts"]) == duel["pairs"] == trace["evidence"]["pairs"][-1]
        assert dict(map(tuple, trace["quantiles"]))[50] == pytest.approx(duel["ratio"], rel=1e-4)
        for name, answer in duel["answers"].items():
            bets = trace["evidence"]["questions"][name]
            assert bets["above"][-1] == pytest.approx(answer["log_e_above"], rel=1e-4)
            assert bets["below"][-1] == pytest.approx(answer["log_e_below"], rel=1e-4)
            if answer["verdict"] != "open":
                assert max(bets["above"][-1], bets["below"][-1]) >= trace["evidence"]["log_threshold"] * (1 - 1e-4)


def test_the_page_needs_no_other_file_and_has_no_script(toy):
    page = Page(toy.page)
    assert page.open == []
    assert not re.search(r"https?:|@import|url\((?!#c\d+-)", toy.page)
    names = {tag for tag, _ in page.tags}
    assert names.isdisjoint({"script", "img", "iframe", "object", "base"})
    assert [attributes["href"] for tag, attributes in page.tags if tag == "link"] == ["data:,"]
    references = [attributes["href"] for tag, attributes in page.tags if tag in {"a", "use"}]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {reference.removeprefix("#") for reference in references} <= set(ids)


def test_hostile_names_are_text(toy):
    assert "<script" not in toy.page
    assert Page(toy.page).text.count(HOSTILE) >= 3
    assert "alert(1)" in toy.output  # the run did have them


def test_every_number_of_the_ladder_is_the_documents(toy):
    rows = {cells[0][0]: cells for cells in Page(toy.page).ladder()}
    duels = {duel["test"]: duel for duel in toy.document["duels"]}
    for variant in ("half", HOSTILE):
        duel = duels[f"test_toy.py::test_speedup[{variant}]"]
        _, ratio, interval, floor, verdict, pairs = rows[variant]
        assert float(ratio[1]["data-value"]) == duel["ratio"]
        assert [float(interval[1][f"data-{end}"]) for end in ("low", "high")] == duel["interval"]
        assert float(floor[1]["data-value"]) == float(floor[0]) == duel["floor"]
        assert verdict[0].strip() == "floor holds"
        assert int(pairs[0]) == duel["pairs"]
    medians = {
        (row["params"]["variant"], row["group"]): row["median"]
        for row in toy.document["benchmarks"]
        if row["test"].startswith("test_toy.py::test_time[")
    }
    group = max(("toy 1", "toy 2"), key=lambda group: medians["baseline", group])
    _, ratio, interval, floor, verdict, pairs = rows["timed"]
    assert len(rows) == 3
    assert float(ratio[1]["data-value"]) == medians["baseline", group] / medians["timed", group]
    assert (interval[0], floor[0], pairs[0], verdict[0]) == ("-", "-", "-", f"medians {group}")


def test_what_failed_and_what_was_skipped_is_named(toy):
    page = Page(toy.page).text
    assert "Failed: 1 test" in page
    assert "test_toy.py::test_impossible" in page
    assert "the floor is 1 times. Find what made the candidate slower" in page
    assert "this machine has no such thing" in page
    assert "floors: 4 hold, 1 broken" in page


def test_every_picture_has_a_text_and_a_caption(toy):
    page = Page(toy.page)
    pictures = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("class") == "chart"]
    assert len(pictures) >= 5 + 2 + 2
    assert all(picture["role"] == "img" and len(picture["aria-label"]) > 20 for picture in pictures)
    names = [tag for tag, _ in page.tags]
    assert names.count("figcaption") == names.count("figure") == len(pictures)


def test_no_colour_of_a_picture_is_fixed(toy):
    for picture in re.findall(r"<svg class=\"chart\".*?</svg>", toy.page, re.DOTALL):
        ET.fromstring(picture)  # noqa: S314 - our own
        assert not re.search(r"#[0-9a-f]{6}", picture)
        assert "var(--" in picture


@pytest.mark.parametrize("name", ["$x^2$", "a < b & c", "--><b>", "$\\frac{1}{"])
def test_a_name_in_a_picture_is_text_and_no_formula(name):
    picture = ET.fromstring(charts.ladder([charts.Mark(name, 2.0)], "c1", name))  # noqa: S314 - our own
    assert name in [element.text for element in picture.iter("text")]
    assert picture.attrib["aria-label"] == name


def test_the_program_makes_the_same_page_from_the_file(toy, tmp_path):
    assert program.main([str(toy.folder / "gate.json"), "-o", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == toy.page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("{}", "version 6 of gate.schema.json is needed, and this one has version None"),
        ('{"version": 5}', "this one has version 5: run the benchmarks again with --gate-json"),
        ("[]", "this one has version None"),
        (None, "cannot be read: No such file"),
    ],
)
def test_the_program_refuses_what_is_no_document(text, message, tmp_path, capsys):
    path = tmp_path / "gate.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as error:
        program.main([str(path)])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_parts_without_facts_are_left_out(toy):
    document = copy.deepcopy(toy.document)
    for name in ("duels", "memory", "benchmarks", "series", "notes", "remarks", "proven"):
        document[name] = []
    document |= {"variants": {}, "outcome": {"status": 5, "failed": {}, "skipped": {}}}
    page = Page(render(document))
    assert "No test ran" in page.text
    names = [tag for tag, _ in page.tags]
    assert "svg" not in names
    assert names.count("section") == 1
    assert names.count("h3") == 1  # the versions
    with pytest.raises(DocumentError, match="has version 7"):
        render(document | {"version": 7})


def test_what_is_not_known_is_no_fault(toy):
    document = copy.deepcopy(toy.document)
    unknown = {"ratio": None, "interval": [None, None], "reference": None, "candidate": None, "cpu": None}
    for number, duel in enumerate(document["duels"]):
        duel.update([unknown, unknown | {"trace": None}, {"trace": None}, {"saved_verdict": "slower"}][number % 4])
    for number, row in enumerate(document["benchmarks"]):
        row.update([{"median": 0.0, "iqr": 0.0}, {"group": None}, {}][number % 3])
    document["notes"][0]["value"] = None
    document["memory"][0] |= {"reference_bytes": 0, "candidate_bytes": 0, "ratio": 0.0, "ceiling": None}
    values = [[], [None, None], [0, 0], [-1, 5], [1], [None, 3, None], list(range(61)), [0] * 500]
    document["series"] = [document["series"][0] | {"values": each} for each in values]
    document["machine"], document["seconds"], document["commit"] = {"processor": "one"}, {}, None
    page = Page(render(document))
    assert page.open == []
    assert "slower than saved run" in page.text
    assert not re.search(r"\b(nan|None|inf)\b", page.text)


def test_a_comparison_alone_makes_a_page(pytester, repository):
    repository("time.sleep(0.012)")
    run_against(pytester, "--gate-json=gate.json", "--gate-html=report.html", passed=1, failed=1)
    document = json.loads((pytester.path / "gate.json").read_text())
    jsonschema.validate(document, SCHEMA)
    page = Page((pytester.path / "report.html").read_text(encoding="utf-8"))
    assert document["commit"]["dirty"] is True
    assert document["commit"]["hash"] == document["revision"]["commit"]
    for words in (
        "Against HEAD",
        "toy, revision: other",
        "slower",
        "What grew in",
        "control: ",
        "with uncommitted",
    ):
        assert words in page.text
    assert all(row["duel"]["trace"] for row in document["revision"]["benchmarks"])
    charts_of_duels = [tag for tag, attributes in page.tags if tag == "svg" and "c1" not in attributes]
    assert len(charts_of_duels) >= 2


def test_without_the_extra_there_is_a_remark_and_no_page(pytester, suite, monkeypatch):
    monkeypatch.setattr(documents, "PAGE_NEEDS", ("jinja2", "no_such_package", "nor_this"))
    result = run(pytester, "--gate-html=report.html", "--gate-json=gate.json")
    result.stdout.fnmatch_lines(
        ["report.html is not written, because no_such_package and nor_this are missing: *[[]report]'"]
    )
    assert not (pytester.path / "report.html").exists()
    assert any("nor_this" in remark for remark in json.loads((pytester.path / "gate.json").read_text())["remarks"])
    result.stdout.no_fnmatch_line("*results:*report.html*")


def test_a_fault_of_the_page_hides_no_verdict(pytester, suite, monkeypatch):
    def broken(*_args, **_settings):
        raise ZeroDivisionError("no such picture")

    monkeypatch.setattr(charts, "duel", broken)
    result = run(pytester, "--gate-html=report.html")
    result.stdout.fnmatch_lines(
        ["report.html is not written, by a fault of the page: ZeroDivisionError: no such picture", "*1 passed*"]
    )


def test_a_name_is_escaped_and_its_line_ends_after_an_underscore():
    assert breakable("process_pool[<b>]") == "process_<wbr>pool[&lt;b&gt;]"


def test_prose_is_escaped_before_it_is_set():
    assert str(prose("`a<b>` & <i>")) == "<code>a&lt;b&gt;</code> &amp; &lt;i&gt;"


@given(low=st.floats(1e-9, 1e9), factor=st.floats(1 + 1e-9, 1e12) | st.floats(1.0001, 20), width=st.floats(60, 500))
@example(low=2.2, factor=3.3, width=248)  # no decade between them
@example(low=0.999, factor=1.002, width=248)
@example(low=134.375, factor=1.0001, width=138)  # every other one of steps of 0.005
@settings(deadline=None)
def test_labels_of_ratios_do_not_touch(low, factor, width):
    high = low * factor
    labels = charts.ratio_labels(low, high, width)
    assert 1 <= len(labels) <= 12
    assert all(low <= place <= high for place in labels)
    assert len(set(labels.values())) == len(labels)
    ends = [
        (width * math.log(place / low) / math.log(high / low), len(text) * charts.CHARACTER)
        for place, text in labels.items()
    ]
    assert all(b - a >= (one + two) / 2 for (a, one), (b, two) in pairwise(ends))


# In a browser

OVERLAPS = """
[...document.querySelectorAll("svg.chart")].flatMap(chart => {
  const labels = [...chart.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()])
  return labels.flatMap(([one, a], i) => labels.slice(i + 1).filter(([, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2).map(([two]) => [chart.ariaLabel, one, two]))
})
"""
OUTSIDE = """
[...document.querySelectorAll("svg.chart text")].filter(text => {
  const box = text.getBoundingClientRect()
  return box.width && (box.left < 0 || box.right > document.documentElement.clientWidth)
}).map(text => text.textContent)
"""
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
SETTINGS = [(scheme, width) for scheme in ("light", "dark") for width in (390, 1280)]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    program = browser.find()
    if program is None:
        pytest.skip("no Chromium on the path, and none in $CHROMIUM")
    with contextlib.closing(browser.Browser(program, tmp_path_factory.mktemp("chromium"))) as running:
        yield running


@pytest.mark.serial
@pytest.mark.parametrize(("scheme", "width"), SETTINGS)
def test_in_a_browser(chromium, toy, scheme, width):
    complaints = chromium.open(toy.folder / "out/report.html", width=width, scheme=scheme)
    assert complaints == []
    assert [address.partition(":")[0] for address in chromium.requested()] == ["file"]
    chromium.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    scrolled, visible = chromium.evaluate(WIDTHS)
    assert visible == width
    assert scrolled == visible, "the page itself scrolls sideways"
    assert chromium.evaluate("document.querySelectorAll('svg.chart').length") >= 9
    assert chromium.evaluate(OVERLAPS) == []
    assert chromium.evaluate(OUTSIDE) == []
    dark = chromium.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def axe():
    """Return axe-core's source: $AXE_CORE is the path of axe.min.js, or npm has installed it here."""
    places = [os.environ.get("AXE_CORE", ""), str(ROOT / ".results/node_modules/axe-core/axe.min.js")]
    return next((Path(place) for place in places if place and Path(place).is_file()), None)


@pytest.mark.serial
@pytest.mark.parametrize(("scheme", "width"), SETTINGS)
def test_axe_finds_no_serious_fault(chromium, toy, scheme, width):
    source = axe()
    if source is None:
        pytest.skip("no axe-core: npm install --prefix .results axe-core, or set AXE_CORE to the path of axe.min.js")
    chromium.open(toy.folder / "out/report.html", width=width, scheme=scheme)
    chromium.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    chromium.evaluate(source.read_text(encoding="utf-8") + "; 0")
    found = chromium.evaluate(
        "axe.run().then(found => found.violations.map("
        "  each => [each.impact, each.id, each.nodes.map(node => node.html).slice(0, 3)]))"
    )
    assert [each for each in found if each[0] in {"serious", "critical"}] == []
