"""`complaints` checks rules that neither zizmor nor the schema covers; other tests check that `make lint` runs both."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yml"))
SET_UP = "$/.github/actions/set-up"  # of this repository, at the workflow's own commit
TARGETS = frozenset(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = [name for line in PROJECT["classifiers"] if re.fullmatch(r"3\.\d+", name := line.rpartition(" :: ")[2])]

USES = re.compile(r"uses: (?P<action>[\w./-]+)@(?P<commit>[0-9a-f]{40}) # (?P<version>v\d+\.\d+\.\d+)\b")


def complaints(text, targets=TARGETS, pythons=PYTHONS) -> Iterator[str]:
    """Yield a sentence for each rule that a workflow, given as its text, breaks."""
    # YAML 1.1 reads the key `on` as true.
    workflow = {"on" if key is True else key: value for key, value in yaml.safe_load(text).items()}
    if workflow.get("permissions") != {}:
        yield "the workflow's permissions are not {}"
    concurrency = workflow.get("concurrency", {})
    if "pull_request" not in workflow["on"] and concurrency.get("cancel-in-progress") is not False:
        yield "a run on main can be cancelled"
    if "push" in workflow["on"]:
        if concurrency.get("cancel-in-progress") not in (False, "${{ github.event_name == 'pull_request' }}"):
            yield "a run on main can be cancelled"
        if not re.search(r"github\.(run_id|sha)\b", concurrency.get("group", "")):
            yield "runs on main share a group, so all waiting runs except the last are dropped"
    pinned = pins(text)
    for name, job in workflow["jobs"].items():
        for complaint in _of_job(job, pinned, targets, pythons, reacts="workflow_run" in workflow["on"]):
            yield f"{name}: {complaint}"


MAY_COMMENT = {"actions": "read", "contents": "read", "pull-requests": "write"}
SECRET = re.compile(r"\bsecrets\b|github\.token|GITHUB_TOKEN", re.IGNORECASE)
OF_THE_HEAD = re.compile(r"github\.(head_ref|event\.(pull_request|workflow_run\.(head|pull_requests)))")


def distrust(text) -> Iterator[str]:
    """Yield a sentence for each way in which a pull request's code could get at more than it is given.

    Its own workflow has no permission to write and no secret. The one that may write to pull requests runs none of its
    code: it checks out the default branch, and names nothing of the head in a step.
    """
    workflow = {"on" if key is True else key: value for key, value in yaml.safe_load(text).items()}
    jobs = workflow["jobs"].values()
    permissions = [workflow.get("permissions"), *(job.get("permissions") for job in jobs)]
    written = [of for of in permissions if isinstance(of, str) or (of and "write" in of.values())]
    if "pull_request_target" in workflow["on"]:
        yield "pull_request_target runs with the base's token"
    if "pull_request" in workflow["on"] and (written or SECRET.search(text)):
        yield "the pull request's own workflow may write, or has a secret"
    if written and ("workflow_run" not in workflow["on"] or written != [MAY_COMMENT]):
        yield "a permission to write, beyond comments"
    for step in (step for job in jobs for step in job["steps"] if "workflow_run" in workflow["on"]):
        action, options = step.get("uses", "").partition("@")[0], step.get("with", {})
        if action not in {"", "actions/checkout", "actions/download-artifact"}:
            yield f"{action} runs beside a token that may write"
        if action == "actions/checkout" and options != {"persist-credentials": False}:
            yield "it checks out something else than the default branch"
        if action == "actions/download-artifact" and not options["path"].startswith("${{ runner.temp }}/"):
            yield "it downloads among the code"
        if step.get("run", "make comment") != "make comment" or OF_THE_HEAD.search(yaml.safe_dump(step)):
            yield "a step runs something else, or has something of the head"


def pins(text):
    """Return the actions that a text pins to a commit, with the version in a comment (which YAML parsers drop)."""
    return {f"{match['action']}@{match['commit']}" for match in USES.finditer(text)}


def _of_job(job, pinned, targets, pythons, *, reacts):
    if not isinstance(job.get("timeout-minutes"), int):
        yield "no timeout-minutes"
    allowed = MAY_COMMENT if reacts else {"contents": "read"}
    if job.get("permissions") != allowed:
        yield f"permissions are missing, or more than {yaml.safe_dump(allowed)}"
    matrix = job.get("strategy", {}).get("matrix", {})
    if "python" in matrix and matrix["python"] != pythons:
        yield f"the matrix has {matrix['python']}, but pyproject.toml lists {pythons}"
    runs = [step["run"] for step in job["steps"] if "run" in step]
    for run in runs:
        target = re.fullmatch(r"make ([a-z]+)( [A-Z]+=\w+)*", run)
        if target is None:
            yield f"{run!r} is not one make target"
        elif target[1] not in targets:
            yield f"the Makefile has no target for {run!r}"
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    if (SET_UP in used) == reacts:
        yield "the job does not use the shared set-up action, or uses it and may write"
    for step in job["steps"]:
        if "uses" in step and step["uses"] != SET_UP:
            yield from _of_action(step["uses"], step.get("with", {}), pinned, runs)


def _of_action(uses, options, pinned, runs):
    if uses not in pinned:
        yield f"{uses} is not pinned to a commit with its version in a comment"
    if uses.startswith("actions/checkout@"):
        if options.get("persist-credentials") is not False:
            yield "checkout keeps its credentials"
        if "make gate" in runs and options.get("fetch-depth") != 0:
            yield "make gate needs the merge base, and checkout fetches one commit"
    if uses.startswith("actions/upload-artifact@"):
        if options.get("if-no-files-found") != "error":
            yield "an upload of nothing passes"
        if options["path"].startswith(".") and options.get("include-hidden-files") is not True:
            yield f"upload-artifact skips {options['path']}, which is hidden"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow(path):
    assert list(complaints(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", [*WORKFLOWS], ids=lambda path: path.name)
def test_a_pull_request_gets_at_nothing(path):
    assert list(distrust(path.read_text(encoding="utf-8"))) == []


def test_one_workflow_may_write_and_it_can_be_switched_off():
    writers = [path for path in WORKFLOWS if re.search(r"(?m)^[^#\n]*:\s*write\b", path.read_text(encoding="utf-8"))]
    assert [path.name for path in writers] == ["comment.yml"]
    (job,) = yaml.safe_load(writers[0].read_text(encoding="utf-8"))["jobs"].values()
    assert job["if"].startswith("vars.GATE_COMMENT != 'off' && ")
    assert not any(SECRET.search(path.read_text(encoding="utf-8")) for path in ACTIONS)


def test_what_it_reacts_to_is_what_uploads():
    """The name of the workflow and that of the artifact are each written in two files."""
    comment, gate = (
        yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8"))
        for name in ("comment", "gate")
    )
    assert comment[True]["workflow_run"]["workflows"] == [gate["name"]]
    (downloaded,) = (
        step["with"]["name"] for step in comment["jobs"]["comment"]["steps"] if "run-id" in step.get("with", {})
    )
    assert downloaded in [step.get("with", {}).get("name") for step in gate["jobs"]["gate"]["steps"]]


CHECKOUT = "          persist-credentials: false\n"
DISTRUSTED = {
    "write": ("gate.yml", "contents: read #", "contents: write #", {"own workflow", "beyond comments"}),
    "write all": ("gate.yml", "permissions: {}", "permissions: write-all", {"own workflow", "beyond comments"}),
    "secret": (
        "gate.yml",
        "run: make gate",
        "run: make gate\n        env:\n          X: ${{ secrets.X }}",
        {"own workflow"},
    ),
    "token": (
        "gate.yml",
        "run: make gate",
        "run: make gate\n        env:\n          X: ${{ github.token }}",
        {"own workflow"},
    ),
    "target": ("gate.yml", "  pull_request:", "  pull_request_target:", {"base's token"}),
    "nightly": ("nightly.yml", "contents: read #", "contents: write #", {"beyond comments"}),
    "more": ("comment.yml", "contents: read #", "contents: write #", {"beyond comments"}),
    "head": (
        "comment.yml",
        CHECKOUT,
        f"{CHECKOUT}          ref: ${{{{ github.event.workflow_run.head_sha }}}}\n",
        {"default branch", "of the head"},
    ),
    "fork": ("comment.yml", CHECKOUT, f"{CHECKOUT}          repository: x/y\n", {"default branch"}),
    "among the code": ("comment.yml", "path: ${{ runner.temp }}/gate", "path: .results", {"among the code"}),
    "script": ("comment.yml", "run: make comment", "run: make test", {"something else"}),
    "branch": ("comment.yml", "run: make comment", "run: make comment ARGS=${{ github.head_ref }}", {"something else"}),
    "cache": ("comment.yml", "actions/download-artifact@", "actions/cache@", {"beside a token"}),
}


@pytest.mark.parametrize(("file", "old", "new", "expected"), DISTRUSTED.values(), ids=DISTRUSTED)
def test_what_a_pull_request_must_not_get_at(file, old, new, expected):
    text = (ROOT / ".github/workflows" / file).read_text(encoding="utf-8")
    assert old in text
    reported = list(distrust(text.replace(old, new, 1)))
    assert len(reported) == len(expected)
    assert all(any(words in complaint for complaint in reported) for words in expected)


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.parent.name)
def test_action_is_pinned(path):
    text = path.read_text(encoding="utf-8")
    used = [step["uses"] for step in yaml.safe_load(text)["runs"]["steps"] if "uses" in step]
    assert used
    assert set(used) == pins(text)


def test_the_shared_action_exists():
    assert (ROOT / SET_UP.removeprefix("$/") / "action.yml") in ACTIONS


def test_supported_pythons_are_tested():
    text = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["jobs"]["tests"]
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


def test_each_action_has_one_commit_and_one_version():
    """All actions from one repository use the same commit, including those in its subfolders."""
    commits = defaultdict(set)
    for path in [*WORKFLOWS, *ACTIONS]:
        for match in USES.finditer(path.read_text(encoding="utf-8")):
            commits["/".join(match["action"].split("/")[:2])].add((match["commit"], match["version"]))
    assert {action: pinned for action, pinned in commits.items() if len(pinned) > 1} == {}


GOOD = """
on:
  push:
  pull_request:
permissions: {}
concurrency:
  group: x-${{ github.event.pull_request.number || github.run_id }}
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}
jobs:
  job:
    timeout-minutes: 5
    permissions:
      contents: read
    strategy:
      matrix:
        python: ["3.11", "3.12"]
    steps:
      - uses: actions/checkout@0123456789012345678901234567890123456789 # v1.2.3
        with:
          persist-credentials: false
          fetch-depth: 0
      - uses: $/.github/actions/set-up
      - run: make gate
      - uses: actions/upload-artifact@0123456789012345678901234567890123456789 # v1.2.3
        with:
          path: .results/
          include-hidden-files: true
          if-no-files-found: error
"""
BREAKS = {
    "tag": ("checkout@0123456789012345678901234567890123456789 #", "checkout@v1.2.3 #", "not pinned"),
    "short commit": ("checkout@0123456789012345678901234567890123456789", "checkout@0123456", "not pinned"),
    "no version": (
        "upload-artifact@0123456789012345678901234567890123456789 # v1.2.3",
        "upload-artifact@0123456789012345678901234567890123456789",
        "not pinned",
    ),
    "vague version": (
        "# v1.2.3\n        with:\n          persist",
        "# v1\n        with:\n          persist",
        "not pinned",
    ),
    "no permissions": ("permissions: {}\n", "", "the workflow's permissions"),
    "permissions": ("permissions: {}\n", "permissions:\n  contents: read\n", "the workflow's permissions"),
    "no job permissions": ("    permissions:\n      contents: read\n", "", "more than contents: read"),
    "write": ("      contents: read\n", "      contents: write\n", "more than contents: read"),
    "one more": ("      contents: read\n", "      contents: read\n      actions: read\n", "more than contents: read"),
    "no limit": ("    timeout-minutes: 5\n", "", "timeout-minutes"),
    "credentials": ("persist-credentials: false", "persist-credentials: true", "credentials"),
    "credentials by default": ("          persist-credentials: false\n", "", "credentials"),
    "shallow": ("          fetch-depth: 0\n", "", "merge base"),
    "no set-up": ("      - uses: $/.github/actions/set-up\n", "", "shared set-up action"),
    "script": ("make gate", "cat .results/gate.md", "not one make target"),
    "two commands": ("make gate", "make gate && make test", "not one make target"),
    "injection": ("make gate", "make gate ARGS=${{ github.head_ref }}", "not one make target"),
    "two lines": ("run: make gate", "run: |\n          make gate\n          make test", "not one make target"),
    "no such target": ("make gate", "make haste", "no target for 'make haste'"),
    "Python missing": ('["3.11", "3.12"]', '["3.11"]', "pyproject.toml lists"),
    "Python as a number": ('["3.11", "3.12"]', "[3.11, 3.12]", "pyproject.toml lists"),
    "main cancelled": ("${{ github.event_name == 'pull_request' }}", "true", "can be cancelled"),
    "schedule cancelled": ("  push:\n  pull_request:\n", "  schedule:\n", "can be cancelled"),
    "main dropped": ("github.event.pull_request.number || github.run_id", "github.ref", "dropped"),
    "hidden": ("          include-hidden-files: true\n", "", "hidden"),
    "nothing uploaded": ("          if-no-files-found: error\n", "", "upload of nothing"),
}


def test_a_good_workflow_has_no_complaints():
    assert list(complaints(GOOD, {"gate", "test"}, ["3.11", "3.12"])) == []


@pytest.mark.parametrize(("old", "new", "expected"), BREAKS.values(), ids=BREAKS)
def test_a_broken_workflow_has_exactly_one_complaint(old, new, expected):
    assert GOOD.count(old) == 1
    reported = list(complaints(GOOD.replace(old, new), {"gate", "test"}, ["3.11", "3.12"]))
    assert len(reported) == 1
    assert expected in reported[0]


@pytest.fixture
def lint(tmp_path):
    """Return a function that breaks a copy of a file and runs one tool on it, with the commands of `make lint`."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    folder = Path(sys.executable).parent
    makefile = subprocess.run(
        ["make", "--dry-run", "lint", f"BIN={folder}"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    def run(tool, file, old, new):
        path = tmp_path / ".github" / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        commands = [line for line in makefile.stdout.splitlines() if line.startswith(f"{folder / tool} ")]
        assert commands
        done = subprocess.run(
            ["bash", "-c", " && ".join(commands)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("tool", ["zizmor", "check-jsonschema"])
def test_lint_passes_on_a_copy(tool, lint):
    code, output = lint(tool, "dependabot.yml", "weekly", "weekly")
    assert code == 0, output


@pytest.mark.parametrize(
    ("tool", "file", "old", "new", "expected"),
    [
        ("zizmor", "workflows/gate.yml", "run: make gate", 'run: echo "${{ github.head_ref }}"', "template-injection"),
        ("zizmor", "workflows/gate.yml", "  pull_request:", "  pull_request_target:", "dangerous-triggers"),
        ("zizmor", "workflows/comment.yml", "# zizmor: ignore[dangerous-triggers]", "#", "dangerous-triggers"),
        ("zizmor", "dependabot.yml", "default-days: 7", "default-days: 1", "dependabot-cooldown"),
        ("zizmor", "workflows/tests.yml", "jobs:", "jobs: [", "tests.yml"),
        ("check-jsonschema", "workflows/tests.yml", "runs-on:", "run-on:", "tests.yml"),
        ("check-jsonschema", "workflows/tests.yml", "timeout-minutes: 30", "timeout-minutes: soon", "timeout-minutes"),
        ("check-jsonschema", "dependabot.yml", "interval: weekly", "interval: often", "dependabot.yml"),
    ],
)
def test_lint_fails(tool, file, old, new, expected, lint):
    code, output = lint(tool, file, old, new)
    assert code != 0
    assert expected in output
