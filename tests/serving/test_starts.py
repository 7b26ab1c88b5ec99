"""The table of starts: what it damages, and the faults that it finds. The servers are stand-ins."""

from dataclasses import replace

import pytest

from benchmarks.load import starts as module
from benchmarks.load.starts import DAMAGES, Start, Starts, checked, measure, table

GOOD = Start("warm", "", 1.0, "int8", [(3, 0.9)], "")


@pytest.fixture
def starts(tmp_path, monkeypatch):
    """Starts with two kept files; by default a start makes a damaged one anew, and says so."""
    made = Starts(tmp_path)
    folder = made.cache / "serving/vit-7/int8"
    folder.mkdir(parents=True)
    contents = {folder / "bias.npy": b"bias", folder / "weight.npy": b"weights"}
    (folder.parent / "int8-agreement.json").write_bytes(b"{}")
    (made.cache / "serving/vit.safetensors").write_bytes(b"all weights")

    def start(state, file="", *, as_others=False):
        log = ""
        for path, content in contents.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                log = f"{path.name} is damaged, and is made anew"
        return replace(GOOD, state=state, file=file, log=log)

    monkeypatch.setattr(made, "start", start)
    return made


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_changes_the_file(damage):
    content, other = bytes(range(9)), b"other"
    damaged = DAMAGES[damage](content, other)
    assert damaged != content
    assert {
        "cut off": damaged == content[:4],
        "one bit flipped": [a ^ b for a, b in zip(content, damaged, strict=False)] == [0, 0, 0, 0, 1, 0, 0, 0, 0],
        "another's content": damaged == other,
    }[damage]


def test_every_state_is_started_and_every_file_damaged(starts):
    found = list(checked(measure(starts)))
    # The agreement is gone after a cold start, because this stand-in does not make it.
    damaged = [f"damaged: {damage}" for damage in DAMAGES for _ in range(2)]
    assert [each.state for each in found] == ["empty", "cold", *["warm"] * module.WARM_STARTS, "read-only", *damaged]
    assert [each.file for each in found if each.file] == ["bias.npy", "weight.npy"] * len(DAMAGES)
    assert not any(each.fault for each in found)
    assert (starts.cache / "serving/vit.safetensors").exists()
    assert not list(starts.cache.parent.glob("tree/**/__pycache__"))


def test_faults_are_found(starts, monkeypatch):
    starts.start("cold")
    path, other = starts.kept("int8")[:2]
    assert path.name == "bias.npy"
    start = starts.start
    monkeypatch.setattr(starts, "start", lambda *state: GOOD)
    assert "was not made again" in starts.damaged("cut off", path, other).fault
    assert path.read_bytes() == b"bias"
    monkeypatch.setattr(starts, "start", lambda *state: replace(start(*state), log=""))
    assert "does not say" in starts.damaged("cut off", path, other).fault
    wrong = [GOOD, GOOD, replace(GOOD, answer=[(4, 0.9)])]
    assert [bool(each.fault) for each in checked(iter(wrong))] == [False, False, True]
    both = [GOOD, replace(GOOD, answer=[(4, 0.9)], fault="not made again")]
    assert list(checked(iter(both)))[1].fault == "not made again; it answers otherwise than the first"


def test_nothing_can_be_written_and_modes_come_back(starts):
    starts.start("cold")
    path = starts.kept("int8")[0]
    before = path.stat().st_mode, path.parent.stat().st_mode
    with starts.unwritable():
        assert not path.stat().st_mode & 0o222
        assert not path.parent.stat().st_mode & 0o222
    assert (path.stat().st_mode, path.parent.stat().st_mode) == before


def test_the_table_has_a_row_per_state():
    rows = [GOOD, replace(GOOD, seconds=3.0), replace(GOOD, state="cold", file="a.npy", seconds=9.0, fault="wrong")]
    lines = table(rows, 0.5).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells == [["warm", "2", "2.00", "1.50", "3.00", "0"], ["cold", "1", "9.00", "8.50", "9.00 a.npy", "1"]]
