"""The row-wise work between int8 matrix products, in one pass over a row that stays in the first-level cache.

A row is a token. It is quantised with a step and a zero point of its own, so that the answer to an image does not
depend on the images that share its batch. The matrix product knows neither: it takes bytes and returns
`step_w * sum(q * w)`, and the next kernel makes `step * (product - zero * sums) + bias` of that, where `sums` [columns]
are the sums of each column's weights, times their step.

Numba compiles them, and keeps them from process to process. They let go of the interpreter's lock and run on one core.
"""

import numpy as np
from numba import njit

__all__ = ["dequantise", "gelu_quantise", "norm_quantise", "quantise", "residual_norm_quantise"]

# Without "nnan" and "ninf": an overflow stays what it is.
FAST = True
EPSILON = np.float32(1e-6)  # of the LayerNorms in torchvision's vision transformers
ZERO, HALF, ONE, LEVELS = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)
SIGN = np.uint32(0x80000000)


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _to_bytes(row, codes):
    """float32 [n] to uint8 [n]; return the step and the zero point. 0 is among the values that have a code."""
    # As integers, floats of one sign are in order; LLVM knows how to take the greatest of many integers at a time.
    bits, signed = row.view(np.uint32), row.view(np.int32)
    ends = np.zeros(2, np.uint32)
    low, high = np.uint32(0), np.int32(0)
    for j in range(len(row)):
        low = max(low, bits[j])
        high = max(high, signed[j])
    if low > SIGN:
        ends[0] = low
    ends[1] = high
    values = ends.view(np.float32)
    step = (values[1] - values[0]) / LEVELS
    if not step > ZERO:
        step = ONE
    inverse = ONE / step
    zero = np.floor(-values[0] * inverse + HALF)
    shift = zero + HALF
    for j in range(len(row)):
        codes[j] = np.uint8(np.int32(min(max(row[j] * inverse + shift, ZERO), LEVELS)))
    return step, zero


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def quantise(values, codes, steps, zeros):
    """float32 [rows, n] to uint8 [rows, n], with steps and zeros, float32 [rows]."""
    for i in range(len(values)):
        steps[i], zeros[i] = _to_bytes(values[i], codes[i])


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _norm(row, gain, bias, scratch):
    """LayerNorm of one row."""
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
        scratch[j] = (row[j] - mean) * scale * gain[j] + bias[j]


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def norm_quantise(stream, gain, bias, codes, steps, zeros):
    """LayerNorm over the last dimension of float32 [rows, n], then as `quantise`."""
    scratch = np.empty(stream.shape[1], np.float32)
    for i in range(len(stream)):
        _norm(stream[i], gain, bias, scratch)
        steps[i], zeros[i] = _to_bytes(scratch, codes[i])


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def dequantise(product, sums, offset, steps, zeros):
    """Make values, float32 [rows, columns], of a matrix product, in place."""
    for i in range(len(product)):
        row, step, zero = product[i], steps[i], zeros[i]
        for j in range(len(row)):
            row[j] = step * (row[j] - zero * sums[j]) + offset[j]


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def residual_norm_quantise(stream, product, sums, offset, gain, bias, codes, steps, zeros):
    """Add what a matrix product stands for to the stream, float32 [rows, n], in place; then as `norm_quantise`.

    `steps` and `zeros` are read before they are written: first they are of what the product was fed with.
    """
    scratch = np.empty(stream.shape[1], np.float32)
    for i in range(len(stream)):
        row, found, step, zero = stream[i], product[i], steps[i], zeros[i]
        for j in range(len(row)):
            row[j] += step * (found[j] - zero * sums[j]) + offset[j]
        _norm(row, gain, bias, scratch)
        steps[i], zeros[i] = _to_bytes(scratch, codes[i])


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _gelu(x):
    """The exact GELU: x/2 (1 + erf(x / sqrt 2)), with Eigen's rational erf (off by 3e-7 at most, and no branch)."""
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
    return HALF * x * (ONE + t * p / q)


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def gelu_quantise(product, sums, offset, codes, steps, zeros):
    """GELU of what a matrix product stands for, then as `quantise`; `steps` and `zeros` are read, then written."""
    scratch = np.empty(product.shape[1], np.float32)
    for i in range(len(product)):
        row, step, zero = product[i], steps[i], zeros[i]
        for j in range(len(row)):
            scratch[j] = _gelu(step * (row[j] - zero * sums[j]) + offset[j])
        steps[i], zeros[i] = _to_bytes(scratch, codes[i])
