"""Results on their way between processes: what is equal to one that was sent is not sent again."""

import pickle

import numpy as np
import pytest

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


@pytest.mark.parametrize("result", [lambda: 7, (number for number in range(3))])
def test_what_cannot_be_sent(result):
    with pytest.raises(UnsendableError, match="return data or a digest"):
        Sender().pack(result)
