"""Evaluation over Ray Data gives what the variant gives by itself."""

import contextlib
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from impl.evaluation import VARIANTS
from impl.evaluation.ray_data import Predict, evaluate
from impl.variant import UnsupportedError, best_of

ROOT = Path(__file__).parents[2]
BEST = best_of(VARIANTS)
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: the extra `ray`")


SCRIPT = """
import sys, torch
from impl.evaluation import load_data, load_model, ray_data
from impl.shared.on_ray import start_ray
ray_data.IMAGES_PER_BLOCK = int(sys.argv[3])
start_ray(2)
torch.save(ray_data.evaluate(*load_data()[1], sys.argv[2], load_model(), 2).predictions, sys.argv[1])
"""


@needs_ray
@pytest.mark.serial
@pytest.mark.parametrize("kill", [False, True], ids=["", "a worker is killed"])
def test_two_workers_predict_what_one_process_does(kill, model, images, labels, tmp_path, monkeypatch):
    """In blocks of 300, the last one of 100; or of 10, with one of the two workers killed when it begins."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    file = tmp_path / "predictions.pt"
    command = [sys.executable, "-c", SCRIPT, file, BEST, "10" if kill else "300"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as run:
        killed = kill_one_worker(run.pid) if kill else None
        output, _ = run.communicate(timeout=240)
    assert run.returncode == 0, output
    assert bool(killed) is kill
    assert torch.equal(torch.load(file), VARIANTS[BEST](model)(images, labels).predictions)


def kill_one_worker(pid):
    """Kill the first worker that begins; return its process."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "Predict" in "".join(process.cmdline()):
                    process.kill()
                    return process
        time.sleep(0.01)
    return None


def test_a_worker_adds_predictions_and_keeps_the_other_columns(model, images, labels):
    block = {"image": images[:7].numpy(), "place": np.arange(7)}
    result = Predict(BEST, model)(block)
    assert result["place"].tolist() == list(range(7))
    assert result["prediction"].tolist() == VARIANTS[BEST](model)(images[:7], labels[:7]).predictions.tolist()
    assert set(result) == {"place", "prediction"}


def test_without_ray(model, images, labels, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'ml-performance-suite\[ray\]'"):
        evaluate(images, labels, BEST, model)


def test_bad_arguments():
    command = [sys.executable, "-m", "impl.evaluation.ray_data", "--workers", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--workers must be at least 1, not 0" in done.stderr
