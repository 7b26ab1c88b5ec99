"""The instruction sets that kernels may use: the processor's, or a lower level to which all cases are held.

With `ML_PERFORMANCE_SUITE_LEVEL=avx2` this machine computes as one with AVX2 would, in Numba, torch, oneDNN, MKL and
OpenBLAS alike, so that the code for other processors is tested and timed here.
"""

import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

__all__ = ["LEVEL_VARIABLE", "features", "hold_to_level"]

LEVEL_VARIABLE = "ML_PERFORMANCE_SUITE_LEVEL"

# The settings of the libraries, and prefixes of LLVM's names of the instruction sets that are ruled out.
LEVELS: Mapping[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    "avx2": (
        {
            "NUMBA_CPU_NAME": "haswell",
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
        },
        ("avx512", "avxvnni", "avxifma", "avxneconvert", "avx10", "evex512", "amx-"),
    ),
    "avx512": (
        {
            "NUMBA_CPU_NAME": "skylake-avx512",
            "ATEN_CPU_CAPABILITY": "avx512",
            "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
            "MKL_ENABLE_INSTRUCTIONS": "AVX512",
            "OPENBLAS_CORETYPE": "SkylakeX",
        },
        ("avx512vnni", "avx512bf16", "avx512fp16", "avxvnni", "avxifma", "avxneconvert", "avx10", "amx-"),
    ),
}
NEEDED = {"avx2": "avx2", "avx512": "avx512f"}


def features() -> frozenset[str]:
    """Return LLVM's names of the instruction sets that Numba compiles for, such as "avx512vnni"."""
    chosen = os.environ.get("NUMBA_CPU_FEATURES")
    if chosen is None and os.environ.get("NUMBA_CPU_NAME", "").lower() == "generic":
        chosen = ""
    if chosen is None:
        return frozenset(name for name, is_there in _of_host().items() if is_there)
    return frozenset(name[1:] for name in chosen.split(",") if name.startswith("+"))


def hold_to_level(environment: MutableMapping[str, str] = os.environ) -> None:
    """Hold all libraries to the level that LEVEL_VARIABLE names, if it is set.

    They read their settings when they are loaded or first used, so this comes before.

    Raises:
        ValueError: No such level; the processor does not reach it; or torch is in use and computes at another one.
    """
    wanted = environment.get(LEVEL_VARIABLE, "").lower()
    if not wanted:
        return
    if wanted not in LEVELS:
        raise ValueError(f"{LEVEL_VARIABLE} is one of {', '.join(LEVELS)}, not {wanted!r}: correct it, or unset it")
    host = _of_host()
    if not host.get(NEEDED[wanted]):
        raise ValueError(f"{LEVEL_VARIABLE}={wanted}: this processor has no {NEEDED[wanted]}: unset it")
    settings, without = LEVELS[wanted]
    signs = ("-" if name.startswith(without) or not is_there else "+" for name, is_there in host.items())
    environment.update({**settings, "NUMBA_CPU_FEATURES": ",".join(map("".join, zip(signs, host, strict=True)))})
    if "numba" in sys.modules:
        _config().reload_config()
    if "torch" in sys.modules:
        _check_torch(settings["ATEN_CPU_CAPABILITY"], wanted)


def _of_host() -> Mapping[str, bool]:
    import llvmlite.binding as llvm  # noqa: PLC0415 - it takes 0.1 s, and without kernels nothing needs it

    found: Mapping[str, bool] = llvm.get_host_cpu_features()
    return found


def _config() -> Any:
    import numba  # noqa: PLC0415 - it is loaded already

    return numba.config


def _check_torch(capability: str, wanted: str) -> None:
    import torch  # noqa: PLC0415 - it is loaded already

    found = torch.backends.cpu.get_cpu_capability().lower()
    if found != capability:
        raise ValueError(
            f"{LEVEL_VARIABLE}={wanted} comes too late: torch computes with {found} already; "
            "import impl before torch is used"
        )
