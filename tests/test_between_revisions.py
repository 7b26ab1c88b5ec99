"""Each check of what two revisions return fails if it differs, and says how."""

import copy
from types import SimpleNamespace

import pytest
import torch

from benchmarks import test_augmentation as augmentation
from benchmarks import test_counter as counter
from benchmarks import test_evaluation as evaluation
from benchmarks.load import revisions
from impl.augmentation import VARIANTS
from impl.counter import check_log
from impl.evaluation import model as network
from impl.serving.client import Answer
from impl.variant import SAME_BYTES

EXACT = next(name for name, variant in VARIANTS.items() if variant.promise == SAME_BYTES)
BATCHES = [(torch.ones(2, 4), torch.zeros(2, 1)), (torch.ones(1, 4), torch.ones(1, 1))]
IMAGES = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)


def report(tmp_path, last):
    path = tmp_path / f"log{last}"
    counter.write_at_once(path, last)
    return check_log(path, 12)


def test_a_report_of_another_log(tmp_path):
    counter.assert_same_report(report(tmp_path, 12), report(tmp_path, 12))
    with pytest.raises(AssertionError):
        counter.assert_same_report(report(tmp_path, 12), report(tmp_path, 11))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda batches: batches[0][0].__setitem__((1, 2), 5), r"1 of 12 tokens differ .* at \[1, 2\]: 5 instead of 1"),
        (lambda batches: batches[1][1].fill_(0), r"1 of 3 labels differ .* at \[2\]: 0 instead of 1"),
        (lambda batches: batches.pop(), r"assert \[\(torch.Size"),
        (lambda batches: batches.__setitem__(0, [part.double() for part in batches[0]]), r"torch.float64"),
    ],
    ids=["token", "label", "batch", "type"],
)
def test_another_epoch(change, message):
    check, batches = augmentation.check_epochs(EXACT), copy.deepcopy(BATCHES)
    check(BATCHES, batches)
    change(batches)
    with pytest.raises(AssertionError, match=message):
        check(BATCHES, batches)


def test_a_streamed_epoch_may_draw_other_rows_but_not_other_shapes():
    check = augmentation.check_epochs(augmentation.BEST)
    check(BATCHES, [(2 * tokens, labels) for tokens, labels in BATCHES])
    with pytest.raises(AssertionError):
        check(BATCHES, [(tokens[:, :3], labels) for tokens, labels in BATCHES])


def test_other_data():
    images, labels = IMAGES[:, 0], torch.tensor([3, 4])
    data = (images, labels), (images, labels)
    evaluation.assert_same_data(data, copy.deepcopy(data))
    for other in ((images, labels + 1), (images + 1, labels), (images[:1], labels), (images, labels.int())):
        with pytest.raises(AssertionError):
            evaluation.assert_same_data(data, (data[0], other))


def test_another_model():
    model = network.build().eval()
    evaluation.assert_same_model(model, copy.deepcopy(model))
    for change in (torch.nn.Module.train, lambda other: torch.nn.init.zeros_(other.linear.bias)):
        other = copy.deepcopy(model)
        change(other)
        with pytest.raises(AssertionError):
            evaluation.assert_same_model(model, other)


def response(status=200, headers=None, **content):
    return SimpleNamespace(status_code=status, status=str(status), json=content, headers=headers or {})


def outputs(*data, shape=(1, 2)):
    return response(outputs=[{"shape": list(shape), "data": list(data)}])


def answers(*classes):
    body = {"success": True, "predictions": [{"index": index} for index in classes], "cached": False}
    return [Answer(200, body, {}, 0.1)]


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (revisions.assert_same_answers, response(predictions=[1]), response(predictions=[2])),
        (revisions.assert_same_answers, response(cached=True), response(cached=False)),
        (revisions.assert_same_answers, response(headers={revisions.HEADER: "1"}), response()),
        (revisions.assert_same_answers, response(), response(500)),
        (revisions.assert_same_outputs, outputs(0.5, 0.5), outputs(0.5, 0.50001)),
        (revisions.assert_same_outputs, outputs(0.5, 0.5), outputs(0.5, 0.5, shape=(2, 1))),
        (revisions.assert_same_outputs, outputs(0.5, 0.5), response(429)),
        (revisions.assert_same_images, IMAGES, IMAGES + 1),
        (revisions.assert_same_images, IMAGES, IMAGES.float()),
        (revisions.assert_same_images, IMAGES, IMAGES[:1]),
        (revisions.assert_same_classes, answers(1, 2), answers(1, 3)),
        (revisions.assert_same_classes, answers(1, 2), answers(1)),
    ],
)
def test_another_answer(check, right, wrong):
    check(right, copy.deepcopy(right))
    with pytest.raises(AssertionError, match="and not"):
        check(right, wrong)
