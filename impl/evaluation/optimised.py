"""DOC"""

import numpy as np
import torch
from torch import nn

from .contract import Evaluation, Evaluator, Images, Labels, checked, only_cpu, score
from .folding import fold
from .sharing import share

__all__ = ["build"]


def build(model: nn.Module, device: str | torch.device = "cpu") -> Evaluator:
    """Return an evaluator of the model's present weights; later changes of them are not seen.

    Raises:
        TypeError: The model is not the network of `model.build`.
        ValueError: A weight has another shape or dtype, or is not finite; or `device` is not the CPU.
    """
    only_cpu(device)
    from .kernel import predict_float
    from .plans import float_plan

    plan = float_plan(fold(model))

    def evaluate(images: Images, labels: Labels) -> Evaluation:
        images, labels = checked(images, labels)
        pixels = images.view(len(images), -1).numpy()
        predictions = np.empty(len(pixels), np.int64)
        with torch.profiler.record_function("predict_float"):
            share(lambda part: predict_float(plan, pixels[part], predictions[part]), len(pixels))
        return score(torch.from_numpy(predictions), labels)

    return evaluate
