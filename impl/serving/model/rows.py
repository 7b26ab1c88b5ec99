"""Functions of one row of activations: quantisation, LayerNorm, GELU and softmax, compiled."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["OPTIONS", "encode", "gelu", "layer_norm", "softmax", "step_of"]

OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy"}
"""Numba's options for all compiled functions of the transformer."""

EPSILON = np.float32(1e-6)  # of the LayerNorms in torchvision's vision transformers
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
SIGN = np.uint32(0x80000000)
MAGNITUDE = np.int32(0x7FFFFFFF)
LEAST = np.float32(-1e30)


@intrinsic
def as_float(_context, bits):
    """Return the float32 with the bits of an int32."""
    signature = types.float32(types.int32)

    def generate(_context, builder, _signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return signature, generate


@njit(**OPTIONS)
def step_of(row, codes):
    """Return the step and the zero point that `encode` takes for `row`, float32 [n], and the dtype of `codes`.

    0 is coded exactly.
    """
    # A constant, because LLVM multiplies by the reciprocal of a constant and divides by an argument: with an argument,
    # some steps differed in the last bit, and then the codes of later layers.
    greatest = np.float32(np.iinfo(codes.dtype).max)
    # Floats of one sign sort like their bits as integers, and LLVM vectorises the maximum of integers.
    bits, signed = row.view(np.uint32), row.view(np.int32)
    low, high = np.uint32(0), np.int32(0)
    for j in range(len(row)):
        low = max(low, bits[j])
        high = max(high, signed[j])
    least, most = ZERO, as_float(high)
    if low > SIGN:
        least = as_float(np.int32(low))
    step = (most - least) / greatest
    if not step > ZERO:
        step = ONE
    return step, np.floor(-least * (ONE / step) + HALF)


@njit(**OPTIONS)
def encode(row, step, zero, codes):
    """Quantise `row`, float32 [n], to `codes`, uint8 [n], or int8 [n] without negative ones."""
    inverse, shift, greatest = ONE / step, zero + HALF, np.float32(np.iinfo(codes.dtype).max)
    for j in range(len(row)):
        codes[j] = np.uint8(np.int32(min(max(row[j] * inverse + shift, ZERO), greatest)))


@njit(**OPTIONS)
def layer_norm(row, gain, bias, normed):
    """Apply LayerNorm to `row`, float32 [n], and write the result to `normed`."""
    total = ZERO
    for j in range(len(row)):
        total += row[j]
    mean = total / np.float32(len(row))
    squares = ZERO
    for j in range(len(row)):
        apart = row[j] - mean
        squares += apart * apart
    scale = ONE / np.sqrt(squares / np.float32(len(row)) + EPSILON)
    for j in range(len(row)):
        normed[j] = (row[j] - mean) * scale * gain[j] + bias[j]


@njit(**OPTIONS)
def gelu(row):
    """Apply the exact GELU, x/2 (1 + erf(x / sqrt 2)), in place.

    erf is Eigen's rational approximation, which is off by at most 3e-7 and has no branch.
    """
    for j in range(len(row)):
        x = row[j]
        t = min(max(x * np.float32(0.7071067811865476), np.float32(-4)), np.float32(4))
        s = t * t
        p = np.float32(-2.72614225801306e-10)
        p = p * s + np.float32(2.77068142495902e-08)
        p = p * s + np.float32(-2.10102402082508e-06)
        p = p * s + np.float32(-5.69250639462346e-05)
        p = p * s + np.float32(-7.34990630326855e-04)
        p = p * s + np.float32(-2.95459980854025e-03)
        p = p * s + np.float32(-1.60960333262415e-02)
        q = np.float32(-1.45660718464996e-05)
        q = q * s + np.float32(-2.13374055278905e-04)
        q = q * s + np.float32(-1.68282697438203e-03)
        q = q * s + np.float32(-7.37332916720468e-03)
        q = q * s + np.float32(-1.42647390514189e-02)
        row[j] = HALF * x * (ONE + t * p / q)


@njit(**OPTIONS)
def softmax(scores, count):
    """Apply softmax to the first `count` numbers of each row, in place; the rest become 0.

    The exponential function is that of Cephes (expf.c, S. Moshier).
    """
    ordered, width = scores.view(np.int32), scores.shape[1]
    for i in range(len(scores)):
        for j in range(count, width):
            scores[i, j] = LEAST
        most = np.int32(-MAGNITUDE)
        for j in range(width):
            bits = ordered[i, j]
            most = max(most, np.int32(bits ^ np.int32(np.int32(bits >> 31) & MAGNITUDE)))  # sorts as floats do
        top = as_float(np.int32(most ^ np.int32(np.int32(most >> 31) & MAGNITUDE)))
        total = ZERO
        for j in range(width):
            x = max(scores[i, j] - top, np.float32(-80))
            biased = np.int32(
                x * np.float32(1.44269504088896341) + np.float32(127.5)
            )  # the biased exponent of the result
            whole = np.float32(biased) - np.float32(127)
            r = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
            p = np.float32(1.9875691500e-4)
            p = p * r + np.float32(1.3981999507e-3)
            p = p * r + np.float32(8.3334519073e-3)
            p = p * r + np.float32(4.1665795894e-2)
            p = p * r + np.float32(1.6666665459e-1)
            p = p * r + np.float32(5.0000001201e-1)
            power = (p * r * r + r + ONE) * as_float(np.int32(biased << np.int32(23)))
            scores[i, j] = power
            total += power
        inverse = ONE / total
        for j in range(width):
            scores[i, j] *= inverse
