"""What Ray's worker processes do first in these tests: register the tiny model, and record their forward passes."""

import os
import time
from dataclasses import replace
from pathlib import Path

from impl.serving.runtime import replica
from tests.serving.tiny import register

BATCHES, SECONDS = "SERVING_TESTS_BATCHES", "SERVING_TESTS_SECONDS"


def prepare():
    register()
    if BATCHES in os.environ:
        file, seconds, load = Path(os.environ[BATCHES]), float(os.environ[SECONDS]), replica.prepare

        def recording(config):
            prepared = load(config)

            def run(images):
                with file.open("a") as lines:
                    lines.write(f"{len(images)}\n")
                time.sleep(seconds)
                return prepared.run(images)

            return replace(prepared, run=run)

        replica.prepare = recording
