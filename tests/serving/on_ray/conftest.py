"""A server on Ray Serve for the tests of this folder: one in all, because it takes 20 s to start."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.serving.on_ray.worker import BATCHES, SECONDS
from tests.serving.tiny import TINY

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys
import ray
from impl.serving.ray_serve import main
import tests.serving.tiny  # which registers the model in this process
ray.init(
    address="local", num_cpus=2, include_dashboard=False,
    runtime_env={"worker_process_setup_hook": "tests.serving.on_ray.worker.prepare"},
)
sys.exit(main(sys.argv[1:]))
"""


# Of every module here.
MARKS = [
    pytest.mark.serial,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: the extra `ray`"),
]


def free_port():
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@contextlib.contextmanager
def serving(*options, **variables):
    """Serve the tiny model on Ray; yield the URL and the process."""
    port = free_port()
    command = [sys.executable, "-c", SCRIPT, "--model", TINY, "--precision", "float32", "--port", str(port), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", **variables}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            before = []
            for line in process.stdout:
                before.append(line)
                if f":{port}/predict" in line:
                    break
            else:
                pytest.fail(f"the server has ended:\n{''.join(before)}")
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            process.wait(60)


@pytest.fixture(scope="package")
def recorded(small_cache, tmp_path_factory):
    """Serve, and record the images of each forward pass; `seconds` is how much longer each of them takes."""

    @contextlib.contextmanager
    def start(*options, seconds=0.0):
        file = tmp_path_factory.mktemp("batches") / "sizes"
        file.touch()
        with serving(*options, **{BATCHES: str(file), SECONDS: str(seconds)}) as (address, process):
            yield address, process, lambda: [int(line) for line in file.read_text().split()]

    return start


@pytest.fixture(scope="package")
def server(recorded):
    """The URL of a server of two replicas for most tests, and what returns the sizes of its forward passes."""
    with recorded("--max-body-mb", "1", "--max-pixels", "1000000", "--replicas", "2") as (address, _, sizes):
        yield address, sizes


@pytest.fixture(scope="package")
def url(server):
    return server[0]
