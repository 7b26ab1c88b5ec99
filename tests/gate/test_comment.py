"""The pull request's comment: of real runs, of hostile documents, and how it gets to the pull request."""

import copy
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from benchmarks.gate.judge.memory import MIB, MemoryRow
from benchmarks.gate.judge.rules import JudgedDuel, RevisionRow, revision_questions
from benchmarks.gate.measure.bets import Question
from benchmarks.gate.measure.duel import run_duel
from benchmarks.gate.measure.profile import Growth
from benchmarks.gate.report.comment import post
from benchmarks.gate.report.comment.document import MOST_BYTES, DocumentError, load
from benchmarks.gate.report.comment.render import MARKER, comment, unreadable
from benchmarks.gate.report.comment.sheet import LIMIT, code
from benchmarks.gate.report.findings import Commit, Failure, Findings, Run
from benchmarks.gate.report.json_report import as_document, as_json

from .test_acknowledged import SLOWER, acknowledged, judged  # noqa: F401 - a fixture among them

ROOT = Path(__file__).parents[2]
MARKDOWN = MarkdownIt("commonmark").enable("table")
URL = "https://github.com/o/r/actions/runs/1"


def rendered(text):
    """Return the tables' rows as texts, after all that is no plain text, code or table was found to be ours."""
    tokens = MARKDOWN.parse(text)
    html = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert all(re.fullmatch(rf"{MARKER}|<details><summary>[\w ,:']+</summary>|</details>", part) for part in html), html
    assert html.count(MARKER) == 1
    assert html.count("</details>") == sum(part.startswith("<details>") for part in html)
    for token in tokens:
        for child in token.children or ():
            assert child.type in {
                "text",
                "code_inline",
                "strong_open",
                "strong_close",
                "softbreak",
                "link_open",
                "link_close",
            }
            if child.type == "link_open":
                assert child.attrs["href"] == URL
            if child.type == "text":
                assert not re.search(r"[@#<>`|]|://|www\.", child.content), child.content
    rows, cells = [], 0
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and cells:
            rows[-1].append("".join(child.content for child in token.children))
        cells += {"td_open": 1, "th_open": 1, "td_close": -1, "th_close": -1}.get(token.type, 0)
    return rows


# Real runs


def test_a_green_run(pytester, repository):
    _, document = judged(pytester)
    text = comment(document, conclusion="success", url=URL)
    assert text.startswith(f"{MARKER}\n🟢 **Green: nothing is slower.**\n")
    rows = rendered(text)
    assert [row[1] for row in rows[1:]] == ["toy test_revision[steady]", "toy test_revision[other]"]
    assert {row[2] for row in rows[1:]} == {"same"}
    assert text.index("2 without a finding") < text.index("toy test_revision[steady]")
    assert re.search(r"- `control: \w+ after", text)
    # The same run is red if another job of the workflow failed.
    assert "🔴 **Red: nothing is slower, and the workflow ended with timed out." in comment(
        document, conclusion="timed_out"
    )
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gate.report.comment", pytester.path / "gate.json"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout == comment(document)


def test_a_yellow_run(pytester, acknowledged, repository):  # noqa: F811 - the fixture
    repository(other=SLOWER)
    acknowledged()
    _, document = judged(pytester)
    text = comment(document, conclusion="success", url=URL)
    assert "🟡 **Yellow: nothing failed; 1 acknowledged slowdown.**" in text
    first, entry, *_ = (row for row in rendered(text) if "other" in row[0] + row[1])
    assert first[:3] == ["🟡 yellow", "toy test_revision[other]", "slower, acknowledged"]
    assert re.fullmatch(r"(wall|CPU) time \+\d+\.\d % \(\+\d+\.\d % to \+\d+\.\d %\), \d+ pairs", first[3])
    assert entry[1:] == ["+30.0 %", "9999-12-31", "admitted", "added by this change", "it flushes each line"]


def test_a_red_run(pytester, repository):
    repository(other=SLOWER)
    result, document = judged(pytester)
    result.stdout.fnmatch_lines(["E *If it is intended, acknowledge it for the review*gate_acknowledged*"])
    assert all(row["acknowledged"] is None for row in document["revision"]["benchmarks"])
    text = comment(document, conclusion="failure", url=URL)
    assert "🔴 **Red: 1 benchmark failed.**" in text
    assert rendered(text)[1][:3] == ["🔴 red", "toy test_revision[other]", "slower"]
    assert "- `suite/test_toy.py::test_revision[other] failed" not in text
    assert re.search(r"- `suite/test_toy\.py::test_revision\[other\]` failed: `.*is slower than at HEAD", text)
    assert "What grew in the slower ones" in text


def test_a_run_that_fails_elsewhere_is_not_green(pytester, repository):
    """A benchmark is missing: no row says so."""
    repository(benchmarks="def test_plain():\n    pass\n")
    _, document = judged(pytester)
    text = comment(document)
    assert re.search(r"🔴 \*\*Red: \d other tests? failed\.\*\*", text)
    assert "removed or renamed?" in text
    rendered(text)


# Documents


@pytest.fixture(scope="module")
def made():
    """Return a document with each kind of row."""
    against = run_duel(
        "toy test_revision[a]",
        lambda: sum(range(20_000)),
        lambda: sum(range(30_000)),
        revision_questions(0.03, 0.1),
        alpha=0.1,
        budget=0.2,
        seed=1,
    )
    floor = run_duel(
        "toy test_speedup",
        lambda: sum(range(20_000)),
        lambda: sum(range(2_000)),
        [Question("floor", 1.5, 1.5)],
        alpha=0.5,
        budget=0,
        seed=1,
    )
    slower = RevisionRow(
        against.name, "t.py::test_revision[a]", "HEAD", "slower", against, growth=(Growth("f", 1e-3, 2e-3, 1, 2),)
    )
    findings = Findings(
        compared=[
            slower,
            dataclasses.replace(slower, name="toy b", test="t.py::b", verdict="inconclusive", growth=()),
            RevisionRow("toy c", "t.py::c", "HEAD", "new"),
        ],
        duels=[JudgedDuel("t.py::d", floor, 1.5)],
        memory=[
            MemoryRow("toy m", "t.py::m", 10 * MIB, 30 * MIB, None, revision="HEAD"),
            MemoryRow("toy n", "t.py::n", 10 * MIB, 3 * MIB, 0.5),
        ],
        remarks=["a remark"],
        proven=["control: same"],
        failures=[Failure("t.py::x", "an error\nin two lines")],
    )
    document = as_document(
        findings,
        run=Run("2026-11-27T12:00:00+00:00", Commit("0" * 40, dirty=False), status=1, failed=findings.first_messages()),
        machine={"processor": "P", "cores": 2, "system": "Linux", "python_full": "CPython 3.11"},
        alpha=0.001,
        seed=1,
        revision=Stub(),
        saved_runs=[],
    )
    document = json.loads(as_json(document))
    document["revision"]["acknowledged"] = [
        {"test": "t.py::e", "bound": 0.08, "reason": "why", "expires": "2027-01-31", "state": "expired", "change": None}
    ]
    return document


class Stub:
    """What the document has of a revision."""

    name, commit = "HEAD", "0" * 40


def test_each_kind_of_row(made):
    rows = {row[1]: row for row in rendered(comment(made)) if len(row) == 5}
    assert {name: row[0] for name, row in rows.items() if name.startswith("toy")} == {
        "toy test_revision[a]": "🔴 red",
        "toy b": "🟡 yellow",
        "toy c": "🟢",
        "toy m": "🔴 red",
        "toy n": "🟢",
        "toy test_speedup": "🟢",
    }
    assert rows["toy m"][2:4] == ["more memory", "10 there, 30 MiB here (3 times)"]
    assert rows["toy n"][2] == "ceiling holds"
    assert rows["toy test_speedup"][2] == "floor holds"


HOSTILE = [
    "a|b",
    "a\\|b",
    "a\\",
    "`code`",
    "``",
    "` | <img src=x onerror=alert(1)> |",
    "<script>alert(1)</script>",
    "</code></summary></details><b>",
    "<!-- performance-gate -->",
    "-->",
    "@everyone and @org/team",
    "#1 GH-1 o/r#1 0123456789abcdef0123456789abcdef01234567",
    "[text](https://evil.example) ![x](https://evil.example/x.png)",
    "https://evil.example www.evil.example a@evil.example",
    "**bold** ~~no~~ $math$ :boom:",
    "line\n\n# heading\n\n| a | b |\n|---|---|",
    "line\r\u2028\u2029\x85\x0b\x0c# heading",
    "\x00\x1b[31m\u202etxet\u202c\u200b",
    "\ud800",
    "",
    "   ",
    "x" * 100_000,
    "\U0001f600" * 1_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_of_the_document_is_more_than_text(made, text):
    """In each place that has free text, at once."""
    document = copy.deepcopy(made)
    places = [*document["revision"]["benchmarks"], *document["memory"], *document["duels"]]
    for row in places:
        row.update(name=text, note=text)
    for row in document["revision"]["benchmarks"]:
        row["test"] = text
        for each in row["profile"]:
            each["function"] = text
    document["revision"]["name"] = document["revision"]["commit"] = document["commit"]["hash"] = text
    document["revision"]["acknowledged"][0].update(test=text, reason=text)
    document["outcome"]["failed"] = {text: text}
    document["remarks"], document["proven"] = [text], [text]
    document["machine"] = dict.fromkeys(document["machine"], text)
    made_of_it = comment(document, conclusion=text, url=text)
    made_of_it.encode()
    rows = rendered(made_of_it)
    assert {len(row) for row in rows} == {5, 6}  # the columns of the three tables
    assert len(rows) == len(rendered(comment(made)))


def test_a_code_span_is_one_whatever_the_text():
    for text in HOSTILE:
        (paragraph,) = (token for token in MARKDOWN.parse(code(text)) if token.type == "inline")
        assert [child.type for child in paragraph.children] == ["code_inline"]
        assert len(code(text)) <= 162


def places_of(value, path=()):
    """Yield the path to each part of a document."""
    yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_of(part, (*path, key))


ODD = [None, True, -1, 10**400, float("nan"), float("inf"), 5e-324, "x", [], {}, [[]], {"a": []}]


def test_a_document_is_read_or_refused(made):
    """Whatever stands in whatever place, there is a comment within the limit or a DocumentError."""
    refused = 0
    for path in places_of(made):
        for odd in ODD:
            document = copy.deepcopy(made)
            if path:
                *parents, last = path
                parent = document
                for key in parents:
                    parent = parent[key]
                parent[last] = odd
            else:
                document = odd
            try:
                text = comment(document)
            except DocumentError as error:
                refused += 1
                text = str(error)
            assert len(text) <= LIMIT
    assert refused > 100


def test_an_unknown_version_is_refused(made):
    with pytest.raises(DocumentError, match="not of version 6"):
        comment({**made, "version": 7})


def test_a_long_document_is_cut(made):
    document = copy.deepcopy(made)
    row = document["revision"]["benchmarks"][0]
    document["revision"]["benchmarks"] = [
        {**row, "name": f"{number} {'é' * 150}", "test": str(number), "verdict": verdict}
        for verdict in ("same", "slower")
        for number in range(2_000)
    ]
    text = comment(document, url=URL)
    assert LIMIT - 2_000 < len(text.encode()) <= LIMIT
    assert re.search(r"\d{4} lines are left out, for GitHub limits a comment", text)
    assert text.endswith(f"[The run]({URL})\n")
    assert "without a finding" not in text
    rendered(text)


def ended(status):
    return {"status": status, "failed": {}, "skipped": {}}


@pytest.mark.parametrize("exit_status", [1, 2, 5, None])
def test_a_run_that_did_not_end_well_is_red(made, exit_status):
    document = {**made, "revision": None, "memory": [], "outcome": ended(exit_status)}
    assert "🔴 **Red: the run failed, and no test says why." in comment(document)
    assert "🟢 **Green" in comment({**document, "outcome": ended(0)})
    assert "🟡 **Yellow: nothing was measured" in comment({**document, "outcome": ended(0), "duels": []})


def test_a_failed_test_makes_its_row_red(made):
    document = copy.deepcopy(made)
    document["outcome"]["failed"] = {"t.py::b": "blind"}
    rows = {row[1]: row[0] for row in rendered(comment(document)) if len(row) == 5}
    assert rows["toy b"] == "🔴 red"


def test_what_is_no_document(tmp_path):
    file = tmp_path / "gate.json"
    for content in ("", "{", "[" * 100_000, "1" * 10_000, "\udcff"):
        file.write_text(content, encoding="utf-8", errors="surrogateescape")
        with pytest.raises(DocumentError):
            load(file)
    file.write_text("{}")
    with pytest.raises(DocumentError):
        comment(load(file))
    (tmp_path / "link.json").symlink_to(file)
    for name in ("link.json", "missing.json", "."):
        with pytest.raises(DocumentError, match="there is no file"):
            load(tmp_path / name)
    with file.open("wb") as large:
        large.truncate(MOST_BYTES + 1)
    with pytest.raises(DocumentError, match="larger than 32 MiB"):
        load(file)


def test_the_comment_needs_no_package(made, tmp_path):
    """The job that may write installs nothing."""
    (tmp_path / "gate.json").write_text(json.dumps(made), encoding="utf-8")
    command = ["-S", "-m", "benchmarks.gate.report.comment.post", tmp_path / "gate.json"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == comment(made)
    assert "nothing is posted" in done.stderr


# The pull request


GH = """#!{python}
import json, sys
from pathlib import Path
folder = Path(__file__).parent
arguments = sys.argv[1:]
stdin = sys.stdin.read() if "--input=-" in arguments else ""
with (folder / "calls.jsonl").open("a") as file:
    print(json.dumps([arguments, stdin]), file=file)
path = next(word for word in arguments if word.startswith("repos/"))
if "--method=GET" in arguments:
    print((folder / ("pulls.json" if path.endswith("/pulls") else "comments.json")).read_text())
"""


def pull(number, sha="a" * 40, repository=7):
    return {"number": number, "head": {"sha": sha, "repo": repository and {"id": repository}}}


def said(number, login=post.BOT, body=f"{MARKER}\nold"):
    return {"id": number, "user": {"login": login}, "body": body}


@pytest.fixture
def github(tmp_path, made, monkeypatch):
    """Return what runs `post` on an event, with what GitHub knows, and returns gh's calls that write."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gh").write_text(GH.format(python=sys.executable), encoding="utf-8")
    (folder / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    results, event = tmp_path / "gate.json", tmp_path / "event.json"
    results.write_text(json.dumps(made), encoding="utf-8")

    def run(pulls, comments=(), branch="topic", results=results):
        head = {"id": 7, "owner": {"login": "someone"}}
        of_run = {"head_repository": head, "head_branch": branch, "head_sha": "a" * 40}
        of_run |= {"conclusion": "failure", "html_url": URL, "pull_requests": []}
        event.write_text(json.dumps({"workflow_run": of_run}), encoding="utf-8")
        (folder / "pulls.json").write_text(json.dumps(pulls), encoding="utf-8")
        (folder / "comments.json").write_text(json.dumps([list(comments)[:1], list(comments)[1:]]), encoding="utf-8")
        environment = {"GITHUB_EVENT_NAME": "workflow_run", "GITHUB_EVENT_PATH": str(event), "GITHUB_REPOSITORY": "o/r"}
        assert post.main([str(results)], environment) == 0
        calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
        (folder / "calls.jsonl").unlink()
        assert f"--raw-field=head=someone:{branch}" in calls[0][0]
        return [(*words[1:3], json.loads(stdin)["body"]) for words, stdin in calls if stdin]

    return run


def test_the_first_comment_is_written(github, made):
    expected = comment(made, conclusion="failure", url=URL)
    assert github([pull(3)]) == [("--method=POST", "repos/o/r/issues/3/comments", expected)]


def test_a_later_one_replaces_it(github, made):
    others = [said(1, login="someone"), said(2, body="thanks"), said(3), said(4)]
    ((method, path, _),) = github([pull(3)], others)
    assert (method, path) == ("--method=PATCH", "repos/o/r/issues/comments/3")


def test_only_the_pull_request_of_the_run_is_commented(github):
    """Another repository's branch of that name, a newer commit, and a repository that is gone."""
    assert github([pull(1, repository=8), pull(2, sha="b" * 40), pull(3, repository=None)]) == []


def test_a_branch_may_have_any_name(github):
    assert github([pull(3)], branch="x; rm -rf $HOME `id` & \"'")


def test_a_run_without_results_is_red(github, tmp_path):
    ((_, _, body),) = github([pull(3)], results=tmp_path / "missing.json")
    assert body == unreadable("there is no file of results", conclusion="failure", url=URL)
    assert "🔴 **Red" in body
    rendered(body)
