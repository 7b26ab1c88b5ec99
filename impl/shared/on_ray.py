"""Ray, where it is installed: started on this machine, or connected to a cluster."""

import os
from types import ModuleType

from ..variant import UnsupportedError
from .cores import usable_cores

__all__ = ["ray_data", "start_ray"]


def ray_data() -> ModuleType:
    """Return the module `ray.data`.

    Raises:
        UnsupportedError: Ray is not installed.
    """
    try:
        from ray import data  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UnsupportedError(f"Ray Data is needed ({error}): pip install 'ml-performance-suite[ray]'") from error
    return data


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
