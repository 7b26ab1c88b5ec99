"""Evaluation over Ray Data: `python -m impl.evaluation.ray_data --variant optimised`.

Each worker is an actor: it prepares the variant once, in one thread, and predicts block after block. A worker that
dies is replaced, and its block is predicted again. Workers, blocks and the progress bar are Ray's.
"""

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..shared.on_ray import ray_data, start_ray
from ..variant import UnsupportedError, best_of
from . import VARIANTS, load_data, load_model
from .contract import Evaluation, Images, Labels, checked, score

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["IMAGES_PER_BLOCK", "Predict", "evaluate", "predicted"]

IMAGES_PER_BLOCK = 1_000


class Predict:
    """A worker: adds the column `prediction` (int64) to blocks with a column `image` (uint8 [N, 28, 28])."""

    def __init__(self, variant: str, model: nn.Module) -> None:
        """Prepare the variant."""
        self._evaluate = VARIANTS[variant](model)

    def __call__(self, block: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Predict a block."""
        images = block.pop("image")
        labels = np.zeros(len(images), np.int64)  # what is correct is counted at the end
        return {**block, "prediction": self._evaluate(images, labels).predictions.numpy()}


def predicted(images: "Dataset", variant: str, model: nn.Module, workers: int) -> "Dataset":
    """Return a dataset with predictions in place of images: of any size, and from wherever Ray Data reads it.

    Args:
        images: with a column `image`, uint8 [28, 28] in each row.
        variant: a key of VARIANTS.
        model: the trained model.
        workers: how many actors, each with one core.
    """
    pool = ray_data().ActorPoolStrategy(size=workers)
    return images.map_batches(
        Predict, fn_constructor_args=(variant, model), batch_size=None, batch_format="numpy", compute=pool
    )


def evaluate(images: Images, labels: Labels, variant: str, model: nn.Module, workers: int = 1) -> Evaluation:
    """Evaluate images in memory, uint8 [N, 28, 28] with labels int64 [N], by so many workers.

    Raises:
        UnsupportedError: Ray is not installed, or this machine cannot run the variant.
        TypeError, ValueError: see `contract.checked`.
    """
    data = ray_data()
    VARIANTS[variant].require()
    pixels, classes = checked(images, labels)
    import pyarrow as pa  # noqa: PLC0415 - comes with Ray

    blocks = []
    for start in range(0, len(pixels), IMAGES_PER_BLOCK):
        block = pixels[start : start + IMAGES_PER_BLOCK].numpy()
        places = np.arange(start, start + len(block))
        blocks.append(pa.table({"place": places, "image": pa.FixedShapeTensorArray.from_numpy_ndarray(block)}))
    dataset = data.from_arrow(blocks)
    predictions = torch.empty(len(classes), dtype=torch.int64)
    for batch in predicted(dataset, variant, model, workers).iter_batches(batch_size=None, batch_format="numpy"):
        predictions[torch.from_numpy(batch["place"].copy())] = torch.from_numpy(batch["prediction"].copy())
    return score(predictions, classes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate the test set, and print the result."""
    parser = argparse.ArgumentParser(prog="python -m impl.evaluation.ray_data", description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS, default=best_of(VARIANTS))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers must be at least 1, not {options.workers}")
    try:
        start_ray(options.workers)
        images, labels = load_data()[1]
        model = load_model()
        start = time.perf_counter()
        result = evaluate(images, labels, options.variant, model, options.workers)
    except (UnsupportedError, ValueError, OSError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    seconds = time.perf_counter() - start
    print(f"{result.correct:,} of {result.total:,} are correct: {result.accuracy:.2%}, after {seconds:.1f} s")  # noqa: T201


if __name__ == "__main__":
    # By its own name: the workers could not import what is defined in `__main__`.
    from impl.evaluation.ray_data import main as main_by_name

    main_by_name()
