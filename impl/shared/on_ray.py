"""Ray, where it is installed: started on this machine, or connected to a cluster."""

import os
from importlib import import_module
from types import ModuleType

from ..variant import UnsupportedError
from .cores import usable_cores

__all__ = ["ray_data", "ray_serve", "start_ray"]


def ray_data() -> ModuleType:
    """Return the module `ray.data`.

    Raises:
        UnsupportedError: Ray is not installed.
    """
    return _library("Data")


def ray_serve() -> ModuleType:
    """Return the module `ray.serve`.

    Raises:
        UnsupportedError: Ray, or what its servers need, is not installed.
    """
    return _library("Serve")


def _library(name: str) -> ModuleType:
    try:
        return import_module(f"ray.{name.lower()}")
    except ImportError as error:
        message = f"Ray {name} is needed ({error}): pip install 'ml-performance-suite[ray]'"
        raise UnsupportedError(message) from error


def start_ray(workers: int | None = None, *, others: int = 0) -> None:
    """Start Ray with so many workers on this machine; by default connect to RAY_ADDRESS, or start one per usable core.

    If Ray runs already in this process, it is used as it is. `others` is how many processes that do little need a place
    beside the workers.

    Raises:
        UnsupportedError: Ray is not installed.
    """
    ray_data()
    import ray  # noqa: PLC0415 - an optional extra

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if ray.is_initialized():
        return
    if workers is None and "RAY_ADDRESS" in os.environ:
        ray.init()
    else:
        ray.init(address="local", num_cpus=(workers or usable_cores()) + others, include_dashboard=False)
