"""The rows of a GPU are `optimised`'s, bit for bit: by Numba's simulator, and on a GPU where there is one."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from impl.augmentation import VARIANTS, Config, create_dataloader
from impl.augmentation.gpu import DeviceDataset, DeviceLoader
from impl.augmentation.gpu_kernel import SCRATCH_BYTES, THREADS, scratch_shapes, threads_for
from impl.augmentation.rows import Rows
from impl.shared.device import no_cuda
from impl.variant import UnsupportedError, best_of

ROOT = Path(__file__).parents[2]
TEXT = "01:ccInterview-02:ccInterview-03:ccInterview-04:ccInterview"
WORDS = "The quick brown fox, jumps over the lazy dog (twice)!"
LONG = f"{TEXT} {WORDS} " * 3  # more than 253 characters: letters get random words of their own
TEXTS = {
    "one word": TEXT,
    "words": WORDS,
    "long": LONG,
    "short": "ab",
    "short words": "a b",
    "eszett": "ß",
    "empty": "",
}

# Rows that one thread makes one after the other, and rows beyond 32 bits, are among them.
SCRIPT = """
import sys
import numpy as np
from impl.augmentation.gpu_kernel import fill_rows, scratch_shapes
from impl.augmentation.rows import Rows

for text, budget, width, seed, first in {cases!r}:
    rows, count, threads = Rows(text, budget, width, seed), {rows}, 32
    plan, words = rows.plan, -(-width // 8)
    made, labels = np.zeros((count, words), np.uint64), np.full(count, 9, np.uint8)
    scratch = [np.full(shape, 77, kind) for shape, kind in scratch_shapes(plan, words, threads)]
    fill_rows[2, 16](
        plan.text, plan.has_words, plan.budget, plan.rounds, plan.alphabet, np.uint64(first), *rows.key,
        made, labels, *scratch,
    )
    expected, expected_labels = rows.compute(first, count)
    got = made.view(np.uint8)[:, :width]
    wrong = np.flatnonzero((got != expected).any(axis=1) | (labels != expected_labels))
    assert len(wrong) == 0, f"{{text!r}}: rows {{wrong[:10]}} differ: {{got[wrong[0]]}} and not {{expected[wrong[0]]}}"
    print(len(np.unique(made, axis=0)))
"""


def simulate(cases, rows, folder=ROOT):
    """Run the kernel of a folder in Numba's simulator, in another process: Numba decides when it is imported."""
    return subprocess.run(
        [sys.executable, "-W", "ignore::RuntimeWarning", "-c", SCRIPT.format(cases=cases, rows=rows)],
        cwd=folder,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_simulated_rows_are_those_of_the_processor():
    cases = [(text, 10, 64, 7, 0) for text in TEXTS.values()]
    cases += [(WORDS, 0, 20, 2**63, 2**32 - 20), (TEXT, 3, 2, 1, 5), (TEXT, 200, 70, 1, 0), ("a b", 60, 8, 3, 0)]
    done = simulate(cases, 48)
    assert done.returncode == 0, done.stderr[-2000:]
    different = list(map(int, done.stdout.split()))
    assert len(different) == len(cases)
    assert min(different[:3]) > 20, "too few rows differ from each other to compare anything"


def test_a_wrong_kernel_is_noticed(tmp_path):
    """One that removes the next character, in a copy of the package."""
    source = (ROOT / "impl/augmentation/gpu_kernel.py").read_text(encoding="utf-8")
    right = "for j in range(place, length + 2):"
    assert source.count(right) == 1
    shutil.copytree(ROOT / "impl", tmp_path / "impl", ignore=shutil.ignore_patterns("__pycache__"))
    wrong = source.replace(right, "for j in range(place + 1, length + 2):")
    (tmp_path / "impl/augmentation/gpu_kernel.py").write_text(wrong, encoding="utf-8")
    assert "AssertionError: '01:" in simulate([(TEXT, 10, 64, 7, 0)], 48, tmp_path).stderr


@pytest.mark.parametrize("text", [TEXT, WORDS, LONG * 100], ids=["one word", "words", "very long"])
def test_memory_on_the_device_is_limited(text):
    plan = Rows(text, 10, 64, 7).plan
    threads = threads_for(plan, 8, 10**7)
    used = sum(np.prod(shape) * np.dtype(kind).itemsize for shape, kind in scratch_shapes(plan, 8, threads))
    assert used <= SCRATCH_BYTES
    assert 1 <= threads <= THREADS
    assert threads_for(plan, 8, 5) == 5


def dataset_of(rows):
    tokens = torch.arange(rows * 4, dtype=torch.uint8).reshape(rows, 4)
    return DeviceDataset(tokens, torch.tensor([k % 2 for k in range(rows)], dtype=torch.uint8))


def test_items_and_batches():
    dataset = dataset_of(5)
    tokens, label = dataset[-1]
    assert tokens.tolist() == [16, 17, 18, 19]
    assert (tokens.dtype, label.dtype, label.tolist()) == (torch.float32, torch.float32, [0])
    with pytest.raises(IndexError):
        dataset[5]
    loader = DeviceLoader(dataset, 2)
    assert loader.batches_per_epoch == 3
    batches = list(itertools.islice(loader, 4))
    assert [len(part) for part, _ in batches] == [2, 2, 1, 2]
    assert torch.equal(batches[3][0], batches[0][0])
    assert batches[0][1].tolist() == [[0], [1]]
    assert torch.equal(torch.cat([part for part, _ in batches[:3]]), dataset.tokens.float())
    assert np.array_equal(dataset.to_host().tokens, dataset.tokens.numpy())
    with pytest.raises(ValueError, match="dataset_size is 0"):
        DeviceLoader(dataset_of(0), 2)


@pytest.mark.skipif(no_cuda() is None, reason="there is a GPU")
def test_without_a_gpu_the_reason_is_said():
    with pytest.raises(UnsupportedError, match="there is no GPU that CUDA can use"):
        VARIANTS["gpu"](TEXT, Config(dataset_size=1))
    with pytest.raises(UnsupportedError, match="there is no GPU that CUDA can use"):
        create_dataloader(TEXT, Config(dataset_size=1), variant="gpu")
    assert best_of(VARIANTS) != "gpu"


@pytest.mark.skipif(no_cuda() is not None, reason=str(no_cuda()))
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_rows_of_a_gpu_are_those_of_the_processor(text):
    config = Config(dataset_size=1_200_000 if text == TEXT else 100_003)
    expected, got = VARIANTS[best_of(VARIANTS)](text, config), VARIANTS["gpu"](text, config)
    assert got.tokens.is_cuda
    assert np.array_equal(got.to_host().tokens, expected.tokens)
    assert np.array_equal(got.to_host().labels, expected.labels)
