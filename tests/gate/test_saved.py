"""Reading saved runs: what they hold, which one is chosen, and what is wrong with the rest."""

import json

import pytest

from benchmarks.gate.compare.saved import SavedRunError, newest, read
from benchmarks.gate.measure import machine
from benchmarks.gate.measure.bets import Question
from benchmarks.gate.measure.duel import run_duel


@pytest.fixture
def save(tmp_path):
    """Write a run with one duel and one benchmark without."""
    found = run_duel(
        "toy",
        lambda: sum(range(20_000)),
        lambda: sum(range(2_000)),
        [Question("floor", 1, 1)],
        alpha=0.5,
        budget=0,
        seed=1,
    )

    def write(name, **differences):
        benchmarks = [
            {"fullname": "test_toy.py::test_speedup", "extra_info": {"duel": found.to_dict()}},
            {"fullname": "test_toy.py::test_time", "extra_info": {}},
        ]
        gate = {**machine.describe(), **differences}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"machine_info": {"gate": gate}, "benchmarks": benchmarks}))
        return path

    return write


def test_the_duels_of_a_run(save):
    run = read(save("0001_a"))
    assert run.name == "0001_a"
    assert list(run.duels) == ["test_toy.py::test_speedup"]
    assert run.duels["test_toy.py::test_speedup"].ratio > 1
    assert machine.differences(machine.describe(), run.machine) == []


def test_a_run_of_plain_pytest_benchmark_has_none_and_does_not_say_where_it_was_made(tmp_path):
    path = tmp_path / "0001_plain.json"
    path.write_text(json.dumps({"machine_info": {"node": "x"}, "benchmarks": []}))
    run = read(path)
    assert (run.machine, run.duels) == (None, {})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"benchmarks": [{}]}', '{"benchmarks": 3}', "\x00", "null"])
def test_something_else_is_an_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "0001_odd.json"
    path.write_text(text)
    with pytest.raises(SavedRunError, match=r"0001_odd\.json is damaged"):
        read(path)


def test_a_file_cut_anywhere_is_damaged(save):
    path = save("0001_cut")
    text = path.read_text()
    for length in range(0, len(text) - 1, 97):
        path.write_text(text[:length])
        with pytest.raises(SavedRunError, match=r"0001_cut\.json is damaged"):
            read(path)


def test_a_duel_that_lacks_something_is_damaged(save):
    path = save("0001_a")
    path.write_text(path.read_text().replace('"ratio"', '"ratoi"'))
    with pytest.raises(SavedRunError, match="damaged"):
        read(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(SavedRunError, match=r"nowhere\.json cannot be read"):
        read(tmp_path / "nowhere.json")


def test_the_newest_of_a_like_machine_else_the_newest(save):
    here = machine.describe()
    unlike = [save("0003_unlike", cores=999), save("0004_unlike", cores=999)]
    paths = [save("0001_like"), save("0002_like"), *unlike]
    assert newest(paths, here).name == "0002_like"
    assert newest(unlike, here).name == "0004_unlike"
    paths[1].write_text("cut short")
    with pytest.raises(SavedRunError, match="0002_like"):
        newest(paths, here)
    with pytest.raises(SavedRunError, match="no saved run"):
        newest([], here)
