"""The entries of `make corpus` still fit the code that they edit, and its outcomes are what they should be."""

import pytest

from . import corpus
from .clones import ROOT

ROWS = {
    "slower": {"name": "toy test_revision[a]", "verdict": "slower", "clock": "cpu", "note": ""},
    "more": {"name": "toy test_memory[a]", "verdict": "more", "clock": "memory"},
    "same": {"name": "toy test_revision[b]", "verdict": "same", "clock": "wall", "note": ""},
}


@pytest.mark.parametrize("edit", corpus.EDITS, ids=lambda edit: edit.name)
def test_an_entry_fits_its_file_and_leaves_python(edit):
    text = (ROOT / edit.file).read_text(encoding="utf-8")
    assert text.count(edit.old) == 1
    changed = text.replace(edit.old, edit.new)
    assert changed != text
    compile(changed, edit.file, "exec")


def test_names_are_not_used_twice():
    names = [edit.name for edit in corpus.EDITS]
    assert len(set(names)) == len(names)
    assert sum(edit.harmless for edit in corpus.EDITS) >= 1


@pytest.mark.parametrize(
    ("verdicts", "status", "harmless", "unseen", "right", "words"),
    [
        (["slower", "same"], 1, False, "", True, "as it should be"),
        (["same", "more"], 1, False, "", True, "as it should be"),
        (["same"], 0, False, "", False, "WRONG"),
        (["slower"], 0, False, "", False, "WRONG"),
        (["same"], 0, False, "no row", False, "not named: no row"),
        (["same"], 0, True, "", True, "as it should be"),
        (["slower", "same"], 1, True, "", False, "WRONG"),
        ([], 2, False, "", False, "WRONG"),
    ],
)
def test_an_outcome(monkeypatch, tmp_path, verdicts, status, harmless, unseen, right, words):
    class Stand:
        """Stands in for a clone."""

        def __init__(self, _folder):
            self.changed = []

        def git(self, *_):
            pass

        def change(self, *_):
            pass

        def gate(self, *_):
            return status, "the output", [ROWS[verdict] for verdict in verdicts]

    monkeypatch.setattr(corpus, "Clone", Stand)
    found = corpus.measure(corpus.Edit("a change", "a.py", "a", "b", "toy", harmless, unseen), tmp_path)
    assert found["right"] is right
    line = corpus.table([found]).splitlines()[-1]
    assert words in line
    assert ("toy test_revision[a] (cpu)" in line) == ("slower" in verdicts)
    assert ("toy test_memory[a] (memory)" in line) == ("more" in verdicts)
    assert found["output"] == ("" if verdicts else "the output")
