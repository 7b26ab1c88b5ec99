"""Every check of the benchmark module fails for a wrong result, and reports the fault and its size."""

import copy
import dataclasses

import pytest
import torch

from benchmarks import test_evaluation as case
from impl.evaluation import VARIANTS
from impl.evaluation.contract import score
from impl.evaluation.model import normalised
from impl.variant import SAME_PREDICTIONS, agreement

SUITE = """
from benchmarks import test_evaluation as case
case.held_out = lambda: case.load_data()[1]  # the small set of these tests
case.IMAGES, case.FLOORS, case.FLOORS_NARROW = 50, *[{"optimised": 100_000}] * 2
from benchmarks.test_evaluation import rounds_of, test_speedup
"""


def test_a_weight_changed_slightly_too_much(model, images, labels):
    """The smallest gap between the top two logits sets the limit: adding half of it to the runner-up's bias changes no
    prediction, adding twice the gap changes at least one.
    """
    with torch.no_grad():
        logits = model(normalised(images))
    top = logits.topk(2, dim=1)
    gaps = top.values[:, 0] - top.values[:, 1]
    narrowest = int(gaps.argmin())
    gap, runner_up = float(gaps[narrowest]), int(top.indices[narrowest, 1])
    expected = VARIANTS["baseline"](model)(images, labels)
    for change, fails in ((gap / 2, False), (gap * 2, True)):
        other = copy.deepcopy(model)
        other[10].bias.data[runner_up] += change
        result = VARIANTS[case.BEST](other)(images, labels)
        if fails:
            with pytest.raises(AssertionError, match=r"\d+ of 1000 predictions differ from the baseline's; the first"):
                case.assert_same_predictions(expected, result)
        else:
            case.assert_same_predictions(expected, result)


def test_a_wrong_count(model, images, labels):
    right = VARIANTS["baseline"](model)(images, labels)
    for wrong in (
        dataclasses.replace(right, correct=right.correct - 1),
        dataclasses.replace(right, accuracy=right.accuracy - 1e-9),
        dataclasses.replace(right, predictions=right.predictions.int()),
        dataclasses.replace(right, predictions=right.predictions[:-1]),
    ):
        with pytest.raises(AssertionError):
            case.assert_same_predictions(right, wrong)


def test_too_little_agreement():
    assert_agreement = case.CHECKS["agreement"](agreement(0.999))
    labels = torch.zeros(10_000, dtype=torch.int64)
    right = score(labels, labels)

    def changed(count, *, wrong):
        """Change `count` predictions. Unless `wrong`, the labels change too, so that accuracy stays the same."""
        predictions = labels.clone()
        predictions[:count] = 1
        return score(predictions, labels if wrong else predictions)

    assert_agreement(right, changed(5, wrong=True))
    assert_agreement(right, changed(10, wrong=False))
    with pytest.raises(AssertionError, match=r"accuracy is 0\.060 points from the baseline's; 0\.05 are allowed"):
        assert_agreement(right, changed(6, wrong=True))
    with pytest.raises(AssertionError, match=r"11 of 10000 predictions differ from the baseline's; 99\.9% have to"):
        assert_agreement(right, changed(11, wrong=False))
    with pytest.raises(AssertionError, match="11 of 10000 predictions differ from the peer's"):
        case.assert_peer(changed(11, wrong=False).predictions.numpy(), right)


def test_matches_checks_what_the_variant_promises(model, images, labels, monkeypatch):
    """One changed prediction of 1,000 fails "same predictions" and passes an agreement of 99.9 %."""

    def build(model):
        def evaluate(images, labels):
            result = VARIANTS[case.BEST](model)(images, labels)
            predictions = result.predictions.clone()
            # Change a prediction that is already wrong, so that the accuracy stays the same.
            wrong = int((predictions != labels).nonzero()[0, 0])
            predictions[wrong] = (set(range(10)) - {int(labels[wrong]), int(predictions[wrong])}).pop()
            return score(predictions, labels)

        return evaluate

    expected = VARIANTS[case.BASELINE](model)(images, labels)
    monkeypatch.setattr(case, "held_out", lambda: (images, labels))
    monkeypatch.setattr(case, "expected", lambda *_: expected)
    monkeypatch.setattr(case, "evaluator", lambda name: case.VARIANTS[name](model))
    variant = dataclasses.replace(VARIANTS[case.BEST], build=build, promise=agreement(0.999))
    monkeypatch.setattr(case, "VARIANTS", {**VARIANTS, "wrong": variant})
    case.test_matches("wrong", 1_000)
    monkeypatch.setitem(case.VARIANTS, "wrong", dataclasses.replace(variant, promise=SAME_PREDICTIONS))
    with pytest.raises(AssertionError, match="1 of 1000 predictions differ from the baseline's; the first, of image"):
        case.test_matches("wrong", 1_000)


@pytest.mark.serial
def test_a_floor_that_is_not_reached(model, pytester, monkeypatch, request):
    """Ceilings and shares of the matrix product are checked by the same fixtures, which tests/gate covers."""
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    pytester.makepyfile(test_evaluation=SUITE)
    # It loads the model of these tests despite its fewer training steps: their cache key is a hash of data and code.
    result = pytester.runpytest_subprocess("-p", "benchmarks.gate.plugin", "--full", "-k", "optimised")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*candidate is * times faster*floor is 100,000*"])
