"""Runs `python -m impl.serving ...` with a small model that waits for a file to exist: `slow_start.py FILE ...`."""

import runpy
import sys
import time
from pathlib import Path

import torchvision
from torchvision.models._api import register_model

MODEL = "serving_tests_slow_vit"
RELEASE = Path(sys.argv[1])
DEADLINE = 60.0


@register_model(name=MODEL)
def slow_vit(weights=None, num_classes=10):
    """Wait until the file exists, then build the model."""
    deadline = time.monotonic() + DEADLINE
    while not RELEASE.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return torchvision.models.VisionTransformer(64, 16, 1, 4, 64, 128, num_classes=num_classes)


if __name__ == "__main__":
    sys.argv = ["impl.serving", *sys.argv[2:], "--model", MODEL]
    runpy.run_module("impl.serving", run_name="__main__", alter_sys=True)
