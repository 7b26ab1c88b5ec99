import itertools
import time

import numpy as np
import psutil
import pytest
import torch

from impl.augmentation import VARIANTS, Config, create_dataloader, stream
from impl.augmentation.stream import StreamedDataset, StreamLoader

TEXT = "the quick brown fox"


def test_streamed_rows_equal_the_stored_rows():
    config = Config(dataset_size=777, max_letter_count=24)
    stored = VARIANTS["optimised"](TEXT, config, seed=3)
    streamed = StreamedDataset(TEXT, config, seed=3)
    assert np.array_equal(streamed.tokens, stored.tokens)
    assert np.array_equal(streamed.labels, stored.labels)
    for index in (0, 63, 64, 776, -1):
        for part, expected in zip(streamed[index], stored[index], strict=True):
            assert torch.equal(part, expected)
            assert part.dtype == torch.float32
            assert part.shape == expected.shape
    for index in (777, -778):
        with pytest.raises(IndexError, match="of 777"):
            streamed[index]


@pytest.mark.parametrize("rows_at_once", [1, 64, 100])
@pytest.mark.parametrize("start", [0, 1, 10, 11, 12, 27])
def test_a_run_resumes_from_a_batch_number(start, rows_at_once, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", rows_at_once)
    dataset = StreamedDataset(TEXT, Config(dataset_size=333), seed=3)
    loader = StreamLoader(dataset, batch_size=32)
    assert loader.batches_per_epoch == 11
    whole = list(itertools.islice(loader, start + 12))[start:]
    resumed = list(itertools.islice(StreamLoader(dataset, batch_size=32, start_batch=start), 12))
    assert [len(tokens) for tokens, _ in resumed] == [len(tokens) for tokens, _ in whole]
    for (tokens, labels), (expected, expected_labels) in zip(resumed, whole, strict=True):
        assert torch.equal(tokens, expected)
        assert torch.equal(labels, expected_labels)


def test_later_batches_do_not_overwrite_a_batch():
    _, loader, _ = create_dataloader(TEXT, Config(dataset_size=100_000))
    batches = iter(loader)
    first, _ = next(batches)
    kept = first.clone()
    for _ in itertools.islice(batches, 3 * 512):
        pass
    assert torch.equal(first, kept)


def test_ten_billion_rows_start_at_once_in_constant_memory():
    create_dataloader(TEXT, Config(dataset_size=100))[
        1
    ].__iter__().__next__()  # compile the kernel and start the threads first
    process = psutil.Process()
    began = time.perf_counter()
    dataset, loader, _ = create_dataloader(TEXT, Config(dataset_size=10_000_000_000))
    batches = iter(loader)
    next(batches)
    assert time.perf_counter() - began < 2
    assert len(dataset) == 10_000_000_000
    for _ in itertools.islice(batches, 2_000):
        pass
    before = process.memory_info().rss
    for _ in itertools.islice(batches, 20_000):  # 640,000 rows: 160 MB as float32
        pass
    assert process.memory_info().rss - before < 40e6
    assert dataset[9_999_999_999][0].shape == (64,)


def test_rows_that_do_not_fit_in_memory_are_refused_before_any_is_computed():
    dataset = StreamedDataset(TEXT, Config(dataset_size=10**13))
    with pytest.raises(MemoryError, match=r"10,000,000,000,000 rows .* are available: read them from the loader"):
        _ = dataset.tokens


def test_an_error_while_computing_reaches_the_reader(monkeypatch):
    def fail(*_):
        raise RuntimeError("kernel")

    dataset = StreamedDataset(TEXT, Config(dataset_size=100))
    monkeypatch.setattr(dataset.rows, "compute", fail)
    with pytest.raises(RuntimeError, match="kernel"):
        next(iter(StreamLoader(dataset, 32)))


def test_bad_input():
    dataset = StreamedDataset(TEXT, Config(dataset_size=100))
    with pytest.raises(ValueError, match="start_batch must be at least 0, not -1"):
        StreamLoader(dataset, 32, start_batch=-1)
    with pytest.raises(ValueError, match="needs at least one row"):
        create_dataloader(TEXT, Config(dataset_size=0))
