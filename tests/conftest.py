"""Parallel tests share the cores."""

import os

# OpenMP's threads spin while they wait, and so take the core from a thread of another worker that they wait for. With
# two workers on two cores the training of the small model took 227 s instead of 12. The policy is read when torch is
# imported, which no conftest.py does before this one, and child processes inherit it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
