import io
import sys

import pytest

from impl.augmentation import VARIANTS, Config, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "delay", "shown"),
    [(Terminal, 0.0, True), (Terminal, progress.DELAY, False), (io.StringIO, 0.0, False)],
    ids=["terminal", "terminal, done at once", "log"],
)
def test_bar(monkeypatch, stream, delay, shown):
    errors = stream()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr(progress, "DELAY", delay)
    VARIANTS["baseline"]("some text", Config(dataset_size=2000))
    assert ("%|" in errors.getvalue()) == shown
