import itertools

import numpy as np
import pytest
import torch

from impl.augmentation import VARIANTS, Config, Tokenizer, create_dataloader
from impl.augmentation import loader as loader_module
from impl.augmentation.dataset import Dataset
from impl.augmentation.loader import EndlessLoader, usable_cores

TEXT = "the quick brown fox"
LOADED_VARIANTS = [name for name in ("numpy_vectorised", "optimised") if name in VARIANTS]


def dataset_of(rows, letters=4):
    tokens = np.arange(rows * letters, dtype=np.uint8).reshape(rows, letters)
    return Dataset(tokens, np.arange(rows, dtype=np.uint8) % 2)


def test_dataset_items():
    dataset = dataset_of(3)
    assert len(dataset) == 3
    tokens, label = dataset[1]
    assert torch.equal(tokens, torch.tensor([4.0, 5.0, 6.0, 7.0]))
    assert torch.equal(label, torch.tensor([1.0]))
    assert torch.equal(dataset[-1][0], dataset[2][0])
    for index in (3, -4):
        with pytest.raises(IndexError):
            dataset[index]


def test_item_does_not_share_memory_with_the_dataset():
    dataset = dataset_of(1)
    dataset[0][0].fill_(99)
    assert dataset.tokens.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(("rows", "sizes"), [(10, [4, 4, 2]), (8, [4, 4]), (1, [1]), (4, [4])])
def test_epochs_repeat_endlessly(rows, sizes):
    dataset = dataset_of(rows)
    loader = EndlessLoader(dataset, batch_size=4)
    assert loader.batches_per_epoch == len(sizes)
    batches = list(itertools.islice(loader, 3 * len(sizes)))
    assert [len(tokens) for tokens, _ in batches] == sizes * 3
    for epoch in range(3):
        part = batches[epoch * len(sizes) : (epoch + 1) * len(sizes)]
        assert torch.equal(torch.cat([tokens for tokens, _ in part]), torch.from_numpy(dataset.tokens).float())
        assert torch.equal(torch.cat([labels for _, labels in part])[:, 0], torch.from_numpy(dataset.labels).float())


def test_an_empty_dataset_is_an_error_and_does_not_hang():
    with pytest.raises(ValueError, match="needs at least one row"):
        EndlessLoader(dataset_of(0), batch_size=4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_create_dataloader_with_an_empty_dataset(variant):
    if variant == "optimised":
        pytest.skip("streamed: covered by its own tests")
    with pytest.raises(ValueError, match="needs at least one row"):
        create_dataloader(TEXT, Config(dataset_size=0, workers=0), variant=variant)


@pytest.mark.parametrize("variant", LOADED_VARIANTS)
def test_create_dataloader(variant):
    config = Config(dataset_size=70, batch_size=32, workers=0, max_letter_count=24)
    dataset, loader, tokenizer = create_dataloader(TEXT, config, seed=3, variant=variant)
    assert isinstance(tokenizer, Tokenizer)
    assert len(dataset) == 70
    assert loader.batches_per_epoch == 3
    batches = list(itertools.islice(loader, 6))
    assert [tuple(tokens.shape) for tokens, _ in batches] == [(32, 24), (32, 24), (6, 24)] * 2
    assert [tuple(labels.shape) for _, labels in batches] == [(32, 1), (32, 1), (6, 1)] * 2
    assert {part.dtype for batch in batches for part in batch} == {torch.float32}
    first = torch.cat([tokens for tokens, _ in batches[:3]])
    assert torch.equal(first, torch.stack([dataset[i][0] for i in range(70)]))
    assert torch.equal(first, torch.cat([tokens for tokens, _ in batches[3:]]))
    assert tokenizer.decode(batches[0][0][0]).strip()


def test_workers_serve_the_same_batches(monkeypatch):
    monkeypatch.setattr(loader_module, "usable_cores", lambda: 1)
    config = Config(dataset_size=5, batch_size=2, workers=4, max_letter_count=24)
    _, loader, _ = create_dataloader(TEXT, config, variant="numpy_vectorised")
    assert loader._loader.num_workers == 1  # more workers than cores would only compete
    alone = EndlessLoader(loader.dataset, batch_size=2)
    for (tokens, labels), (expected, expected_labels) in zip(
        itertools.islice(loader, 6), itertools.islice(alone, 6), strict=True
    ):
        assert torch.equal(tokens, expected)
        assert torch.equal(labels, expected_labels)


def test_usable_cores():
    assert usable_cores() >= 1


def test_baseline_loader():
    config = Config(dataset_size=3, batch_size=2, workers=0)
    dataset, loader, tokenizer = create_dataloader(TEXT, config, variant="baseline")
    tokens, _ = next(iter(loader))
    assert tokenizer.decode(tokens[1]) == tokenizer.decode(dataset.tokens[1])


def test_unknown_variant_error_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown variant 'optimized'.*baseline, process_pool"):
        create_dataloader(TEXT, Config(), variant="optimized")
