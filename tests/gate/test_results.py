"""Results on their way between processes: what is equal to one that was sent is not sent again."""

import io
import pickle
import warnings

import numpy as np
import pytest
import torch

from benchmarks.gate.compare.results import KEPT, Receiver, Sender, UnsendableError


def test_an_equal_result_is_sent_once_and_is_the_same_object():
    sender, receiver = Sender(), Receiver()
    parcels = [sender.pack({"rows": np.arange(1000), "name": "a"}) for _ in range(3)]
    assert [parcel.content is None for parcel in parcels] == [False, True, True]
    assert len(pickle.dumps(parcels[1])) < 200
    first, *others = map(receiver.unpack, parcels)
    assert all(other is first for other in others)
    np.testing.assert_array_equal(first["rows"], np.arange(1000))
    first["rows"][0] = 7  # NumPy and torch warn of memory that cannot be written


def test_another_result_is_sent_and_the_oldest_is_forgotten_at_both_ends():
    sender, receiver = Sender(), Receiver()
    for number in (*range(KEPT), KEPT, 0, KEPT):
        assert receiver.unpack(sender.pack(number)) == number
    assert sender.pack(KEPT).content is None
    assert sender.pack(1).content is not None
    assert len(receiver._results) == KEPT


def test_tensors_that_are_views_of_one_array_are_sent_once():
    batches = torch.arange(100_000, dtype=torch.float32).reshape(1000, 100).split(1)
    parcel = Sender().pack(batches)
    body, buffers = parcel.content
    assert len(body) + sum(map(len, buffers)) < 2 * 400_000
    for sent, batch in zip(Receiver().unpack(parcel), batches, strict=True):
        assert torch.equal(sent, batch)


@pytest.fixture
def forgets_sparse_tensors():
    """torch remembers each sparse tensor that pickle made, and its next load in this process warns of them."""
    yield
    file = io.BytesIO()
    torch.save(torch.zeros(1), file)
    file.seek(0)
    with warnings.catch_warnings(action="ignore"):
        torch.load(file, weights_only=True)


@pytest.mark.usefixtures("forgets_sparse_tensors")
@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12).reshape(3, 4).T,
        torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        torch.tensor([True, False]),
        torch.tensor(3.0),
        torch.empty(0, 4),
        torch.tensor([1 + 2j]).conj(),
        torch.eye(3).to_sparse(),
        torch.nn.Parameter(torch.ones(2)),
    ],
    ids=["transposed", "bfloat16", "bool", "scalar", "empty", "conjugate", "sparse", "parameter"],
)
def test_a_tensor_is_the_same(tensor):
    sent = Receiver().unpack(Sender().pack(tensor))
    assert (type(sent), sent.dtype, sent.shape, sent.layout) == (
        type(tensor),
        tensor.dtype,
        tensor.shape,
        tensor.layout,
    )
    assert torch.equal(sent.to_dense(), tensor.to_dense())
    if tensor.layout == torch.strided:
        sent.detach().zero_()  # a warning if its memory could not be written


@pytest.mark.parametrize("result", [lambda: 7, (number for number in range(3))])
def test_what_cannot_be_sent(result):
    with pytest.raises(UnsendableError, match="return data or a digest"):
        Sender().pack(result)
