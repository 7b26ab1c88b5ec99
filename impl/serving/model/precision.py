"""The choice of a precision: the fastest that this processor has and that agrees with float32.

A precision agrees if its top-1 answers for 256 drawn pictures are float32's, up to a small share; otherwise the next
more precise one is tried. Agreement is measured once per set of weights and kept on disk.
"""

import logging

from ...shared.device import no_cuda
from ...shared.processor import features
from ...shared.sealed import DamagedError, read_seal, write_seal
from ..config import ServingConfig
from .pictures import drawn
from .snapshot import Prepared, identity_of, load_or_make, place_of, snapshots_of
from .weights import Source, source_of

__all__ = ["AGREEMENT", "COMPARED", "available", "drawn", "prepare"]

log = logging.getLogger(__name__)

AGREEMENT = {"int8": 0.97, "int7": 0.97, "bfloat16": 0.99}
"""The least share of pictures with the top-1 of float32."""
COMPARED = 256
"""Pictures that the share is measured on."""


def available(device: str = "cpu") -> list[str]:
    """Return the precisions this processor has instructions for, or a GPU, the fastest first and float32 last."""
    if device != "cpu":
        return ["bfloat16", "float32"]
    has, precisions = features(), ["float32"]
    if has & {"avx512bf16", "amx-bf16"}:
        precisions.insert(0, "bfloat16")
    if has & {"avx512vnni", "amx-int8"}:
        precisions.insert(0, "int8")
    elif "avx2" in has:
        precisions.insert(0, "int7")
    return precisions


def prepare(config: ServingConfig) -> Prepared:
    """Load the model of a configuration, in the precision that it forces or in the fastest that agrees with float32.

    Raises:
        ValueError, TypeError, OSError: The model, its weights or the device cannot be used; the message says why.
    """
    if config.device == "cuda" and (reason := no_cuda()):
        raise ValueError(f"device {config.device} cannot be used: {reason}")
    source = source_of(config)
    if config.precision != "auto":
        return load_or_make(config, source, config.precision)
    for precision in available(config.device):
        if precision == "float32":
            break
        try:
            share = _agreement(config, source, precision)
        except TypeError as error:  # this model cannot run in this precision
            log.info("not %s: %s", precision, error)
            continue
        if share >= AGREEMENT[precision]:
            return load_or_make(config, source, precision, share)
        log.warning(
            "not %s: it agrees with float32 on %.1f %% of %d pictures; %.0f %% are required",
            *(precision, 100 * share, COMPARED, 100 * AGREEMENT[precision]),
        )
    return load_or_make(config, source, "float32")


def _agreement(config: ServingConfig, source: Source, precision: str) -> float:
    """Return the share of pictures with float32's top-1, measured or as kept by an earlier start.

    Raises:
        TypeError: This model cannot run in this precision.
    """
    place = place_of(config, precision)
    path = snapshots_of(config, source) / f"{place}-agreement.json"
    identity = identity_of("agreement", config, source, place)
    try:
        return float(read_seal(path, identity).facts["share"])
    except FileNotFoundError:
        log.info("comparing %s with float32 on %d pictures, once for these weights", precision, COMPARED)
    except DamagedError as error:
        log.warning("the agreement with float32 is damaged, and is measured again: %s", error)
    candidate = load_or_make(config, source, precision)
    images = drawn(COMPARED, 256, candidate.side)
    expected = load_or_make(config, source, "float32").run(images).argmax(dim=1)
    share = float((candidate.run(images).argmax(dim=1) == expected).double().mean())
    write_seal(path, {**identity, "share": share})
    return share
