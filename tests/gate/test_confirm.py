"""What fresh processes are asked: the sides by turns first, and no more of them than decide."""

from pathlib import Path

import pytest

from benchmarks.gate.compare import confirm as module


@pytest.mark.parametrize(
    ("verdicts", "agrees"),
    [
        (["slower", "slower", "slower"], True),
        (["same", "slower", "inconclusive", "slower", "slower"], True),
        (["same", "slower", "slower", "faster", "same"], False),
        (["same", "inconclusive", "same"], False),
    ],
)
def test_the_majority_of_five_decides_as_soon_as_it_is_known(monkeypatch, verdicts, agrees):
    asked = []

    def repeat(root, test, options):
        asked.append((root, test, options))
        return verdicts[len(asked) - 1]

    monkeypatch.setattr(module, "_repeat", repeat)
    result = module.confirm(Path("root"), "test_a", "impl.case", {"--alpha": 0.1})
    assert (result.verdicts, result.agrees) == (tuple(verdicts), agrees)
    assert {(root, test, options["--alpha"]) for root, test, options in asked} == {(Path("root"), "test_a", 0.1)}
    orders = ["reference:impl.case", "candidate:impl.case"] * 3
    assert [options["--confirm"] for _, _, options in asked] == orders[: len(verdicts)]
