"""The history of the ratios: which runs belong together, where they changed, and the page that shows it."""

import copy
import datetime as dt
import json
import math
import re
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.gate.compare.history import find_runs, group_runs, keep
from benchmarks.gate.judge.changes import LibraryMissingError, find_changes
from benchmarks.gate.report.history.__main__ import main
from benchmarks.gate.report.history.document import as_document
from benchmarks.gate.report.history.page import page, section

from .history_rates import false_alarms, found, heavy, normal

ROOT = Path(__file__).parents[2]
SAVED = ROOT / "benchmarks/baselines"
ZEN5 = ["0001_42d63d3", "0002_54bc024", "0003_6e2d490", "0004_3fd5442"]
EXACT = "benchmarks/test_augmentation.py::test_speedup[exact]"


@pytest.fixture(scope="session")
def ruptures():
    """Where it can be installed it has to be: the tests of change points must not skip for want of it."""
    if sys.version_info >= (3, 14):
        pytest.skip("ruptures is made for Python up to 3.13")
    import ruptures  # noqa: F401, PLC0415


def group_of(name, groups):
    (group,) = (group for group in groups if name in {run.name for run in group.runs})
    return group


@pytest.fixture(scope="module")
def committed():
    """The four saved runs of one machine."""
    runs, left_out = find_runs([SAVED])
    assert left_out == []
    return group_of(ZEN5[0], group_runs(runs))


@pytest.fixture(scope="module")
def noise(committed):
    """By test, the standard deviation of the ratio's logarithm between the four committed runs."""
    logs = {h.test: [math.log(point.ratio) for point in h.points] for h in committed.histories if h.kind == "time"}
    return {test: float(np.std(each, ddof=1)) for test, each in logs.items() if len(each) >= 3}


def write_copies(folder, noise, count, changed=None, factor=1.5):
    """Write copies of run 0004 whose ratios have the measured noise; one is divided by a factor from a run on."""
    folder.mkdir(exist_ok=True)
    (path,) = SAVED.rglob("0004_*.json")
    original, rng = json.loads(path.read_text()), np.random.default_rng(1)
    for i in range(count):
        content = copy.deepcopy(original)
        moment = dt.datetime(2026, 12, 1, 3, tzinfo=dt.UTC) + dt.timedelta(days=i)
        content["commit_info"] |= {"id": f"{i:07x}{'0' * 33}", "time": moment.isoformat(), "dirty": False}
        content["datetime"] = (moment + dt.timedelta(minutes=20)).isoformat()
        for bench in content["benchmarks"]:
            duel = bench["extra_info"].get("duel")
            if duel and bench["fullname"] in noise:
                by = math.exp(rng.normal() * noise[bench["fullname"]])
                by /= factor if changed is not None and i >= changed and bench["fullname"] == EXACT else 1
                duel["ratio"] *= by
                duel["interval"] = [end * by for end in duel["interval"]]
        # The names run backwards: what counts is the date.
        (folder / f"{9999 - i:04}_copy.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def copies(tmp_path, noise):
    return partial(write_copies, tmp_path / "runs", noise)


def marks(folder):
    """Return the changes of a folder's only group: {test: [places of the first runs after a change]}."""
    (group,) = as_document(group_runs(find_runs([folder])[0]))["groups"]
    return {h["test"]: [change["run"] for change in h["changes"]] for h in group["histories"] if h["changes"]}


def places(ratios, error=0.0):
    """Return the places of the changes."""
    return [change.index for change in find_changes(ratios, [error] * len(ratios)).changes]


# Reading.


def test_the_committed_runs_are_of_two_machines_with_one_name(committed):
    assert [run.name for run in committed.runs] == ZEN5
    other = group_of("0005_2ab610a", group_runs(find_runs([SAVED])[0]))
    assert len(other.runs) == 1
    assert [run.machine["processor"] for run in (*committed.runs, *other.runs)] == ["AMD EPYC"] * 5
    assert ("family 26" in committed.machine, "family 25" in other.machine) == (True, True)


def test_each_ratio_of_the_runs_is_a_point(committed):
    (exact,) = (h for h in committed.histories if (h.test, h.kind) == (EXACT, "time"))
    saved = [run.duels[EXACT] for run in committed.runs]
    assert [point.ratio for point in exact.points] == [duel.ratio for duel in saved]
    assert [point.interval for point in exact.points] == [tuple(duel.interval) for duel in saved]
    memory = [h for h in committed.histories if h.kind == "memory"]
    assert memory
    (other,) = (group for group in group_runs(find_runs([SAVED])[0]) if len(group.runs) == 1)
    its_own_reference = "benchmarks/test_evaluation.py::test_memory[baseline]"
    assert its_own_reference in other.runs[0].memory
    assert its_own_reference not in {h.test for h in other.histories}


def test_a_renamed_test_ends_one_history_and_begins_another(committed):
    by_test = {h.test: [point.run for point in h.points] for h in committed.histories if h.kind == "time"}
    assert by_test["benchmarks/test_serving.py::test_speedup[preloaded-8]"] == [2]
    assert by_test["benchmarks/test_serving.py::test_speedup[preloaded-4]"] == [3]


def test_runs_are_ordered_by_date_and_not_by_name(copies):
    runs, _ = find_runs([copies(3)])
    assert [run.name for run in runs] == ["9999_copy", "9998_copy", "9997_copy"]


def test_two_runs_of_one_commit_are_in_the_order_in_which_they_ran(copies):
    folder = copies(2)
    for name, hour in (("9999_copy", 8), ("9998_copy", 9)):
        path = folder / f"{name}.json"
        content = json.loads(path.read_text())
        content["commit_info"]["time"] = "2026-12-01T01:00:00+02:00"
        content["datetime"] = f"2026-12-01T0{hour}:00:00+00:00"
        path.write_text(json.dumps(content))
    assert [run.name for run in find_runs([folder])[0]] == ["9999_copy", "9998_copy"]


def test_what_cannot_be_read_is_named_and_does_not_stop_the_rest(copies):
    folder = copies(3)
    (folder / "0001_cut.json").write_text('{"benchmarks": [')
    (folder / "0002_plain.json").write_text('{"benchmarks": [], "machine_info": {"node": "x"}}')
    content = json.loads((folder / "9999_copy.json").read_text())
    (folder / "0003_undated.json").write_text(json.dumps(content | {"datetime": "yesterday"}))
    runs, left_out = find_runs([folder], [folder / "nowhere.json"])
    assert len(runs) == 3
    for text, expected in zip(
        left_out,
        [r"0001_cut\.json is damaged", r"0002_plain\.json has no desc", r"0003_undated\.json has no date", "nowhere"],
        strict=True,
    ):
        assert re.search(expected, text)
    assert as_document(group_runs(runs), left_out)["remarks"][: len(left_out)] == left_out


def test_a_run_that_is_there_twice_counts_once(copies):
    folder = copies(2)
    again = folder / "kept"
    keep(find_runs([folder])[0], again)
    assert len(list(again.iterdir())) == 2
    assert len(find_runs([folder, again], [folder / "9999_copy.json"])[0]) == 2


def test_kept_runs_are_whole_but_for_their_single_times_and_the_newest_stay(copies, tmp_path, monkeypatch):
    folder = copies(3)
    path = folder / "9999_copy.json"
    content = json.loads(path.read_text())
    content["benchmarks"][0]["stats"]["data"] = [1.0] * 100
    path.write_text(json.dumps(content))
    runs, _ = find_runs([folder])
    keep(runs, tmp_path / "kept")
    kept, left_out = find_runs([tmp_path / "kept"])
    assert left_out == []
    assert [(run.origin, run.duels, run.memory) for run in kept] == [
        (run.origin, run.duels, run.memory) for run in runs
    ]
    for file in (tmp_path / "kept").iterdir():
        assert not any("data" in bench["stats"] for bench in json.loads(file.read_text())["benchmarks"])
    monkeypatch.setattr("benchmarks.gate.compare.history.KEPT", 2)
    keep(runs, tmp_path / "kept")
    assert [run.origin for run in find_runs([tmp_path / "kept"])[0]] == [run.origin for run in runs[1:]]


# Change points.


@pytest.mark.parametrize("changed", [4, 9, 15])
def test_an_injected_change_is_marked_at_its_run_and_nothing_else_is(copies, changed, ruptures):
    assert marks(copies(16, changed)) == {EXACT: [changed]}


def test_without_an_injection_there_is_no_mark(copies, ruptures):
    assert marks(copies(16)) == {}


def test_the_committed_runs_and_one_more(copies, committed, ruptures):
    """The least that a page has: four runs, and a fifth that is slower."""
    folder = copies(1, changed=0, factor=1.5)
    (changed,) = folder.glob("*.json")
    runs, _ = find_runs([SAVED], [changed])
    group = group_of("9999_copy", group_runs(runs))
    assert [run.name for run in group.runs] == [*ZEN5, "9999_copy"]
    (document,) = as_document([group])["groups"]
    found_in = {h["test"]: h["changes"] for h in document["histories"] if h["changes"]}
    assert list(found_in) == [EXACT]
    (change,) = found_in[EXACT]
    assert (change["run"], change["previous"], change["worse"], change["same_commit"]) == (4, 3, True, False)
    assert change["percent"] == pytest.approx(-33.3, abs=3)
    assert 0 < change["p"] <= 0.001


def test_the_committed_runs_alone_have_no_mark(committed, ruptures):
    (document,) = as_document([committed])["groups"]
    assert [h["test"] for h in document["histories"] if h["changes"]] == []


def test_a_slowdown_and_its_repair_are_two_marks(ruptures):
    ratios = 30 * np.exp(0.03 * np.random.default_rng(3).normal(size=40))
    ratios[15:25] /= 1.5
    down, up = find_changes(list(ratios), [0.0] * 40).changes
    assert (down.index, up.index) == (15, 25)
    assert (down.percent, up.percent) == (pytest.approx(-33, abs=3), pytest.approx(50, abs=4))


def test_a_change_within_what_is_uncertain_is_none(ruptures):
    ratios = [10.0] * 5 + [9.0] * 5
    assert places(ratios, error=0.001) == [5]
    assert places(ratios, error=0.1) == []


def test_less_than_three_per_cent_is_no_mark_however_clear(ruptures):
    assert places([10.0] * 10 + [9.75] * 10, error=0.0001) == []
    assert places([10.0] * 10 + [9.65] * 10, error=0.0001) == [10]


@pytest.mark.parametrize("count", range(4))
def test_three_runs_show_nothing(count, ruptures):
    assert places([1.0] * count) == []


def test_equal_ratios_have_no_mark(ruptures):
    assert places([2.0] * 20) == []


def test_a_single_run_that_stands_out_is_an_outlier_until_the_next_repeats_it(ruptures):
    ratios = list(30 * np.exp(0.03 * np.random.default_rng(3).normal(size=30)))
    ratios[10] /= 2
    assert find_changes(ratios, [0.0] * 30) == ([], [10])
    for newest in (11, 12):  # the run itself, and the next one, which repeats it not
        assert places(ratios[:newest]) == ([10] if newest == 11 else [])
    ratios[20:] = [ratio / 1.5 for ratio in ratios[20:]]
    (change,), outliers = find_changes(ratios, [0.0] * 30)
    assert (change.index, change.previous, outliers) == (20, 19, [10])
    ratios[19] *= 2  # an outlier just before a change: the run before that is the one to compare with
    (change,), outliers = find_changes(ratios, [0.0] * 30)
    assert (change.index, change.previous, outliers) == (20, 18, [10, 19])


@pytest.mark.parametrize("length", [4, 5, 10, 50])
def test_normal_noise_has_marks_as_rarely_as_is_said(length, ruptures):
    # One in a thousand at most: more than six in 2,000 have a probability of 0.4 %.
    assert false_alarms(normal, length, 2000, seed=7) <= 6


def test_the_error_rate_is_not_that_of_heavy_tails(ruptures):
    """METHODOLOGY says so. If this fails, the method has become better, and METHODOLOGY is to be changed."""
    assert false_alarms(heavy, 30, 1000, seed=7) > 10


def test_a_change_of_a_third_is_marked_after_two_runs(ruptures):
    marked, right = found(before=20, after=2, factor=1.5, size=0.05, trials=200, seed=7)
    assert (marked, right) >= (198, 190)


def test_two_runs_of_one_commit_say_that_it_is_not_the_code(copies, ruptures):
    folder = copies(12, changed=6)
    for i, packages in ((5, {"numpy": "2.4.6"}), (6, {"numpy": "2.5.5"})):
        path = folder / f"{9999 - i}_copy.json"
        content = json.loads(path.read_text())
        content["commit_info"]["id"] = "f" * 40
        content["machine_info"]["gate"] |= packages
        path.write_text(json.dumps(content))
    document = as_document(group_runs(find_runs([folder])[0]))
    (change,) = (change for h in document["groups"][0]["histories"] for change in h["changes"])
    assert (change["same_commit"], change["packages"]) == (True, ["numpy 2.4.6 -> 2.5.5"])
    assert "not the code, but what is around it; numpy 2.4.6 -&gt; 2.5.5" in re.sub(r"\s+", " ", page(document))
    assert "make bisect" not in page(document)


def test_without_the_library_the_page_says_which_extra_to_install(copies, monkeypatch):
    monkeypatch.setitem(sys.modules, "ruptures", None)
    with pytest.raises(LibraryMissingError, match=r"ml-performance-suite\[report\]"):
        find_changes([1.0] * 9, [0.0] * 9)
    document = as_document(group_runs(find_runs([copies(6, changed=3)])[0]))
    assert not document["marked"]
    html = page(document)
    assert "no change points are marked, because ruptures is not installed" in html
    assert "No change point." not in html  # which would be a claim


# The page.


class Elements(HTMLParser):
    """What a page consists of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "path", "use", "g", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory, noise, ruptures):
    """The page of 16 runs, one change among them, by the program."""
    folder = tmp_path_factory.mktemp("written")
    runs, output, document = folder / "runs", folder / "out/history.html", folder / "document.json"
    write_copies(runs, noise, 16, changed=9)
    assert main(["--storage", str(runs), "-o", str(output), "--document", str(document)]) == 0
    return output.read_text(encoding="utf-8"), json.loads(document.read_text())


def test_the_page_needs_nothing_from_outside(written):
    html, _ = written
    elements = Elements(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(elements.tags)
    outside = [value for name, value in elements.attributes if name in {"src", "href", "xlink:href"} if value[0] != "#"]
    assert outside == []
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_the_page_has_each_run_and_the_mark(written):
    html, document = written
    (group,) = document["groups"]
    (exact,) = (h for h in group["histories"] if (h["test"], h["kind"]) == (EXACT, "time"))
    assert [change["run"] for change in exact["changes"]] == [9]
    text = re.sub(r"\s+", " ", Elements(html).text)
    change = exact["changes"][0]
    assert "augmentation test_speedup[exact]" in text
    assert f"{change['before']:.3g} {change['after']:.3g}" in text
    assert "make bisect GOOD=000000800000 BAD=000000900000" in text
    assert all(run["name"] in text for run in group["runs"])
    assert f"{group['runs'][0]['date'][:10]}" in text
    assert html.count("<svg") == sum(len(h["points"]) > 1 for h in group["histories"])


def test_ids_are_unique_and_references_resolve(written):
    attributes = Elements(written[0]).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for name, value in attributes if name in {"href", "xlink:href"}} <= set(ids)


def test_colours_are_the_style_sheets_so_that_dark_is_dark(written):
    pictures = "".join(re.findall(r"<svg.*?</svg>", written[0], re.DOTALL))
    assert pictures
    assert re.findall(r"#[0-9a-f]{6}\b(?=[;\"])", pictures) == []
    assert "prefers-color-scheme: dark" in written[0]


def test_all_classes_have_the_prefix(written):
    attributes = Elements(section(written[1])).attributes
    classes = {each for name, value in attributes if name == "class" for each in value.split()}
    assert classes
    assert {each for each in classes if not each.startswith("history-")} == set()


def test_what_a_file_says_is_escaped(copies, ruptures):
    folder = copies(5)
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        content["commit_info"] = {}
        content["machine_info"]["gate"]["processor"] = "<script>alert(1)</script>"
        for bench in content["benchmarks"]:
            bench["fullname"] = bench["fullname"].replace("[exact]", '[<b onclick="$x$">&]')
        path.with_name(f"<i>$a${path.name}").write_text(json.dumps(content))
        path.unlink()
    html = page(as_document(group_runs(find_runs([folder])[0])))
    elements = Elements(html)
    assert not {"script", "b", "i"} & set(elements.tags)
    assert "<script>alert(1)</script> (family 26" in elements.text
    labels = [value for name, value in elements.attributes if name == "aria-label"]
    assert 'augmentation test_speedup[<b onclick="$x$">&]: times faster over 5 runs, no change point' in labels
    # matplotlib would draw what is between dollar signs as a formula.
    assert all("<i>$a$99" in Elements(picture).text for picture in re.findall(r"<svg.*?</svg>", html, re.DOTALL))


# The program.


def test_further_runs_join_those_of_the_storage(copies, tmp_path, capsys, ruptures):
    folder = copies(6, changed=3)
    newest = folder / "9994_copy.json"
    extra = tmp_path / "elsewhere"
    extra.mkdir()
    newest.rename(extra / "bench.json")
    kept = tmp_path / "kept"
    arguments = ["--storage", str(folder), "--json", str(extra / "bench.json"), "-o", str(tmp_path / "h.html")]
    assert main([*arguments, "--keep", str(kept)]) == 0
    assert "runs: 6, change points: " in capsys.readouterr().out
    assert len(list(kept.iterdir())) == 6


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_a_package_of_the_page_the_program_names_the_extra(missing, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["--storage", str(SAVED), "-o", str(tmp_path / "h.html")]) == 2
    assert f'{missing} is not installed: it is in the extra `report` (pip install "ml-performance-suite[report]")' in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "h.html").exists()


def test_no_runs_and_no_folder_are_errors(tmp_path, capsys):
    assert main(["--storage", str(tmp_path), "-o", str(tmp_path / "h.html")]) == 2
    assert "there is no saved run in" in capsys.readouterr().err
    assert main(["--storage", str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_damaged_run_is_named_by_the_program_and_on_the_page(copies, tmp_path, capsys, ruptures):
    folder = copies(5)
    (folder / "0001_cut.json").write_text("{")
    assert main(["--storage", str(folder), "-o", str(tmp_path / "h.html")]) == 0
    assert "0001_cut.json is damaged" in capsys.readouterr().err
    assert "0001_cut.json is damaged" in (tmp_path / "h.html").read_text(encoding="utf-8")


# CI.


def steps(workflow, job):
    text = (ROOT / f".github/workflows/{workflow}.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["jobs"][job]["steps"]


def test_runs_are_kept_apart_from_those_that_pull_requests_are_judged_by():
    """A benchmark that main has removed may be in the history, and must not be missed by every pull request."""
    paths = {}
    for workflow, job in (("baseline", "baseline"), ("nightly", "bench"), ("gate", "bench")):
        for step in steps(workflow, job):
            if step.get("uses", "").startswith("actions/cache/"):
                paths.setdefault(step["with"]["path"], set()).add((workflow, step["with"]["key"].partition("-")[0]))
    assert paths == {
        "benchmarks/baselines": {("baseline", "baseline"), ("gate", "baseline")},
        ".benchmarks": {("baseline", "history"), ("nightly", "history")},
    }


@pytest.mark.parametrize(("workflow", "job"), [("baseline", "baseline"), ("nightly", "bench")])
def test_a_red_run_belongs_to_the_history(workflow, job):
    own = [step for step in steps(workflow, job) if "istory" in json.dumps(step)]
    assert len(own) == 4
    assert [step["if"] for step in own] == ["${{ !cancelled() }}"] * 4
    assert [step.get("run") for step in own] == [None, "make history", None, None]
    assert own[1]["env"] == {"KEEP": "1"}
    assert own[0]["with"]["path"] == own[2]["with"]["path"] == ".benchmarks"
    assert own[0]["with"]["key"] == own[2]["with"]["key"]
