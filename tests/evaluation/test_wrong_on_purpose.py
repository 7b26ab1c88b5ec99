"""Every check of the benchmark module, seen red: what is wrong turns its test red and is named with its size."""

import copy
import dataclasses

import pytest
import torch

from benchmarks import test_evaluation as case
from impl.evaluation import VARIANTS
from impl.evaluation.contract import score
from impl.evaluation.model import normalised

SUITE = """
from benchmarks import test_evaluation as case
case.held_out = lambda: case.load_data()[1]  # the tests' small set
case.IMAGES, case.FLOORS, case.FLOORS_NARROW = 50, *[{"optimised": 100_000}] * 2
from benchmarks.test_evaluation import test_speedup
"""


def test_a_weight_changed_a_little_too_far(model, images, labels):
    """The closest call decides what is too far: half of its gap changes no prediction, and twice of it does."""
    with torch.no_grad():
        logits = model(normalised(images))
    (best, second), places = logits.topk(2, dim=1).values.T, logits.topk(2, dim=1).indices
    closest = int((best - second).argmin())
    gap = float(best[closest] - second[closest])
    expected = VARIANTS["baseline"](model)(images, labels)
    for change, fails in ((gap / 2, False), (gap * 2, True)):
        other = copy.deepcopy(model)
        other[10].bias.data[places[closest, 1]] += change
        found = VARIANTS["optimised"](other)(images, labels)
        if fails:
            with pytest.raises(AssertionError, match=r"\d+ of 1000 predictions differ from the baseline's; the first"):
                case.assert_same(expected, found)
        else:
            case.assert_same(expected, found)


def test_a_wrong_count(model, images, labels):
    right = VARIANTS["baseline"](model)(images, labels)
    for wrong in (
        dataclasses.replace(right, correct=right.correct - 1),
        dataclasses.replace(right, accuracy=right.accuracy - 1e-9),
        dataclasses.replace(right, predictions=right.predictions.int()),
        dataclasses.replace(right, predictions=right.predictions[:-1]),
    ):
        with pytest.raises(AssertionError):
            case.assert_same(right, wrong)


def test_low_precision_too_low():
    labels = torch.zeros(10_000, dtype=torch.int64)
    right = score(labels, labels)

    def changed(count, *, wrong):
        """As many other predictions; where the labels are not 0 either, they cost no accuracy."""
        predictions = labels.clone()
        predictions[:count] = 1
        return score(predictions, labels if wrong else predictions)

    case.assert_close(right, changed(5, wrong=True))
    case.assert_close(right, changed(10, wrong=False))
    with pytest.raises(AssertionError, match=r"accuracy is 0\.060 points from the baseline's; 0\.05 are allowed"):
        case.assert_close(right, changed(6, wrong=True))
    with pytest.raises(AssertionError, match="11 of 10000 predictions differ"):
        case.assert_close(right, changed(11, wrong=False))
    with pytest.raises(AssertionError, match="11 of 10000 predictions are not the peer's"):
        case.assert_peer(changed(11, wrong=False).predictions.numpy(), right)


def test_a_floor_beyond_the_truth(model, pytester, monkeypatch, request):
    """The ceilings and the shares of the matrix product fail by the same fixtures; tests/gate has those."""
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    pytester.makepyfile(test_evaluation=SUITE)
    # The model is the session's, trained for fewer steps; it is found by the hash of data and code.
    result = pytester.runpytest_subprocess("-p", "benchmarks.gate.plugin", "-k", "optimised")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*candidate is * times faster*floor is 100,000*"])
