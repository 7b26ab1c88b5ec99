"""README says what the committed run, the templates and the gate say, and its links lead somewhere."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.readme.__main__ import main
from benchmarks.readme.document import PICTURES
from benchmarks.readme.saved import RUN, read

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST_SCREEN = README.partition("\n## ")[0]


@pytest.fixture
def copy(tmp_path):
    """A copy of what is generated, and of what it is generated from."""
    for place in ("README.md", *PICTURES, RUN):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place, tmp_path / place)
    return tmp_path


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def stale(root, capsys):
    """Return the status of the check, and the files that it names."""
    status = main(["--check"], root)
    return status, [line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()]


def test_readme_and_its_pictures_are_those_of_the_committed_run(capsys):
    assert stale(ROOT, capsys) == (0, [])


@pytest.mark.parametrize(
    ("place", "old"),
    [
        ("README.md", "| augmentation | `exact` | baseline | "),  # followed by a ratio
        ("README.md", "IDS = [number * number % "),
        ("README.md", " duels; the intervals cover "),
        *((place, "<text style=") for place in PICTURES),
    ],
)
def test_a_changed_number_is_found_and_written_anew(place, old, copy, capsys):
    edit(copy / place, old, f"{old}1")
    assert stale(copy, capsys) == (1, [place])
    assert main([], copy) == 0
    assert (copy / place).read_bytes() == (ROOT / place).read_bytes()


def test_another_run_changes_the_tables_and_both_pictures(copy, capsys):
    duel = read(ROOT).steps[2].duels[0]
    edit(copy / RUN, f'"ratio": {duel.ratio!r}', f'"ratio": {2 * duel.ratio!r}')
    assert stale(copy, capsys) == (1, ["README.md", *PICTURES])


def test_a_section_that_is_missing_is_no_agreement(copy):
    edit(copy / "README.md", "<!-- generated: other duels", "<!-- other duels")
    with pytest.raises(ValueError, match=r"README\.md has places for"):
        main(["--check"], copy)


def test_the_pictures_name_every_variant_of_the_run_and_their_machine():
    run = read(ROOT)
    for place in PICTURES:
        text = (ROOT / place).read_text(encoding="utf-8")
        for word in (*(step.variant for step in run.steps), *(step.case for step in run.steps), run.date):
            assert f">{word}<" in text or f" {word}<" in text, word


def test_the_first_screen():
    assert len(FIRST_SCREEN.splitlines()) <= 45
    assert "(prefers-color-scheme: dark)" in FIRST_SCREEN
    assert all(place in FIRST_SCREEN for place in PICTURES)
    assert re.findall(r"^    make (\w+)", FIRST_SCREEN, re.MULTILINE) == ["bench", "gate"]
    assert "control: same after" in FIRST_SCREEN


WORKFLOW = re.search(r"^```yaml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[1]


def test_the_workflow_has_ten_lines_and_fits_its_schema(tmp_path):
    assert len(WORKFLOW.splitlines()) == 10
    assert yaml.safe_load(WORKFLOW)["jobs"]["gate"]["steps"][-1]["run"].endswith("make gate")
    file = tmp_path / "gate.yml"
    file.write_text(WORKFLOW, encoding="utf-8")
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_uses_the_action_that_gate_yml_uses():
    (uses,) = re.findall(r"uses: (.*)", WORKFLOW)
    assert f"uses: {uses}\n" in (ROOT / ".github/workflows/gate.yml").read_text(encoding="utf-8")


def texts_of(node):
    """Yield the texts that a module builds, with a NUL for what is filled in; parts that adjoin are one text."""
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        elif isinstance(child, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in child.values)


SAID = "\n".join(
    [
        (ROOT / "Makefile").read_text(encoding="utf-8"),
        *(
            text
            for path in sorted((ROOT / "benchmarks/gate").rglob("*.py"))
            for text in texts_of(ast.parse(path.read_text(encoding="utf-8")))
        ),
    ]
)
MESSAGES = re.findall(
    r"^\| `(.*?)` \|", README.partition("\n## When it is red\n")[2].partition("\n## ")[0], re.MULTILINE
)


def test_there_are_messages():
    assert len(MESSAGES) >= 20


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_that_the_gate_prints(message):
    for part in message.split("..."):
        words = part.strip(" :(),")
        assert not words or words in SAID, f"nothing in the gate or the Makefile says {words!r}"


def anchors(text):
    """Return the anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["README.md", "METHODOLOGY.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = ROOT / (file or page)
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_targets_are_those_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= targets
