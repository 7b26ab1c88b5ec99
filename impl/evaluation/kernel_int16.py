"""The network in 16-bit integers, for processors with AVX2 and without VNNI: that part of `low_precision`.

VPMADDWD multiplies 16 pairs of 16-bit integers and adds neighbours: twice the products of a multiplication of floats.
The second convolution is Winograd's, as in `kernel`, and the first is direct. Activations are those of the int8 kernel,
0 .. 255. Transformed by additions they are within +-1,020; weights take the 16 bits. Sums may exceed 32 bits on the way
to a result and wrap around; the result itself does not (`plans.word_plan`), so it is exact.

Weights of the first layer are [5, 32, 2]: the two upper rows of taps in vertical pairs, the lower one in horizontal
ones. Those of the second are G g G^T, [16, 16, 64, 2]: two input channels of one output channel are adjacent.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..shared.kept import kept
from ..shared.vectors import INT32, vector_code
from .kernel import (
    BLOCKS,
    FIRST,
    GROUP,
    PLACES,
    POOLED,
    SECOND,
    SIDE,
    TRANSFORMED,
    UNROLLED,
    decide,
    linear_layer,
)
from .kernel import LANES as LOGITS

__all__ = ["predict_int16"]

LANES = 8
WORD = ir.IntType(16)
WORDS = ir.VectorType(WORD, 2 * LANES)
COLUMNS = 2
"""Vectors of output channels that are summed at a time, for a row of five places: 10 of AVX2's 16 registers."""
TAPS = 5
"""Pairs of taps of the first convolution."""


def _multiply(w, left, right):
    """Return in each 32-bit lane the sum of the products of two pairs of 16-bit integers."""
    builder = w.builder
    if w.has("avx2"):
        both = (builder.bitcast(each, WORDS) for each in (left, right))
        return w.call("llvm.x86.avx2.pmadd.wd", w.ints, *both)
    half = w.constant(16, w.ints)
    low, high = (
        builder.mul(*(builder.ashr(move(each), half) for each in (left, right)))
        for move in (lambda each: builder.shl(each, half), lambda each: each)
    )
    return builder.add(low, high)


@intrinsic
def first_layer_int16(_context, pairs, rows, weights, scale, offset, pooled):
    """Convolution, pool and ReLU of one image, to pooled, int16 [12, 12, 32] in 0 .. 255.

    `rows` are the pixels, int16 [784], and `pairs` each pixel and the one below it, int16 [756, 2]. Everything else is
    as for `kernel.first_layer_int8`.
    """

    def body(w, pairs, rows, weights, scale, offset, pooled):
        builder = w.builder
        outputs = [(dy, dx) for dy in range(2) for dx in range(2)]
        with w.loop(FIRST // LANES) as part:
            here = (part, LANES)
            taps = [w.load(weights, (part, 2 * LANES), 2 * tap * FIRST, kind=w.ints) for tap in range(TAPS)]
            scales = w.load(scale, here), w.load(offset, here)
            with w.loop(POOLED) as row, w.loop(POOLED) as column:
                sums = {output: w.constant(0, w.ints) for output in outputs}

                def add(value, dy, dx, tap):
                    if dx in range(2):
                        sums[dy, dx] = builder.add(sums[dy, dx], _multiply(w, value, taps[tap]))

                # Each pixel is loaded once, and added wherever it counts: the sums and taps fill 9 registers.
                for y in range(2):
                    for x in range(4):
                        corner = (row, 4 * SIDE), (column, 4)
                        value = w.broadcast(pairs, *corner, 2 * (y * SIDE + x), kind=INT32)
                        for tap in range(3):
                            add(value, y, x - tap, tap)
                        value = w.broadcast(rows, (row, 2 * SIDE), (column, 2), (y + 2) * SIDE + x, kind=INT32)
                        add(value, y, x, 3)
                        add(value, y, x - 2, 4)
                value = w.multiply_add(w.to_float(w.maximum(*sums.values())), *scales)
                value = w.minimum(w.maximum(value, w.constant(0.0)), w.constant(255.0))
                value = builder.trunc(builder.fptosi(value, w.ints), ir.VectorType(WORD, LANES))
                w.store(value, pooled, (row, POOLED * FIRST), (column, FIRST), here)

    return types.void(pairs, rows, weights, scale, offset, pooled), vector_code(body, LANES)


@intrinsic
def transform_patches_int16(_context, pooled, patches):
    """Winograd's B^T d B of each 4x4 patch: pooled, int16 [12, 12, 32], to patches, int16 [16, 25, 32]."""

    def body(w, pooled, patches):
        add, subtract = w.builder.add, w.builder.sub

        def transform(a, b, c, d):
            return subtract(a, c), add(b, c), subtract(c, b), subtract(b, d)

        with w.loop(BLOCKS) as row, w.loop(BLOCKS) as column:
            for part in range(0, FIRST, 2 * LANES):
                corner = (row, 2 * POOLED * FIRST), (column, 2 * FIRST), part
                patch = [
                    [w.load(pooled, *corner, (y * POOLED + x) * FIRST, kind=WORDS) for x in range(4)] for y in range(4)
                ]
                columns = [transform(*column_values) for column_values in zip(*patch, strict=True)]
                rows = [transform(*row_values) for row_values in zip(*columns, strict=True)]
                for number, value in enumerate(value for values in rows for value in values):
                    w.store(value, patches, number * PLACES * FIRST, (row, BLOCKS * FIRST), (column, FIRST), part)

    return types.void(pooled, patches), vector_code(body, LANES)


@intrinsic
def multiply_patches_int16(_context, patches, weights, products):
    """Sixteen matrix products: patches [16, 25, 32] x weights [16, 16, 64, 2] to products, int32 [16, 25, 64]."""

    def body(w, patches, weights, products):
        pairs = FIRST // 2
        with w.loop(TRANSFORMED) as number, w.loop(SECOND // LANES // COLUMNS) as part, w.loop(BLOCKS) as row:
            source = (number, PLACES * FIRST), (row, BLOCKS * FIRST)
            factors = (number, FIRST * SECOND), (part, 2 * COLUMNS * LANES)
            target = (number, PLACES * SECOND), (row, BLOCKS * SECOND), (part, COLUMNS * LANES)
            sums = w.accumulators(BLOCKS, COLUMNS, w.ints)
            with w.loop(pairs // UNROLLED) as step:
                for k in range(UNROLLED):
                    channels = [
                        w.load(
                            weights, *factors, (step, 2 * UNROLLED * SECOND), 2 * (k * SECOND + v * LANES), kind=w.ints
                        )
                        for v in range(COLUMNS)
                    ]
                    for place, totals in enumerate(sums):
                        value = w.broadcast(patches, *source, (step, 2 * UNROLLED), place * FIRST + 2 * k, kind=INT32)
                        for total, channel in zip(totals, channels, strict=True):
                            total.add(_multiply(w, value, channel))
            for place, totals in enumerate(sums):
                for v, total in enumerate(totals):
                    w.store(total.value, products, *target, place * SECOND + v * LANES)

    return types.void(patches, weights, products), vector_code(body, LANES)


@intrinsic
def pool_products_int16(_context, products, scale, bias, features):
    """Winograd's A^T m A, pool, scale, bias and ReLU: products, int32 [16, 25, 64], to features, float32 [25, 64]."""

    def body(w, products, scale, bias, features):
        add, subtract = w.builder.add, w.builder.sub

        def transform(a, b, c, d):
            return add(add(a, b), c), subtract(subtract(b, c), d)

        with w.loop(PLACES) as place, w.loop(SECOND // LANES) as part:
            here = (place, SECOND), (part, LANES)
            block = [
                [w.load(products, *here, (4 * y + x) * PLACES * SECOND, kind=w.ints) for x in range(4)]
                for y in range(4)
            ]
            columns = [transform(*column_values) for column_values in zip(*block, strict=True)]
            rows = [transform(*row_values) for row_values in zip(*columns, strict=True)]
            most = w.to_float(w.maximum(*rows[0], *rows[1]))
            value = w.multiply_add(most, w.load(scale, (part, LANES)), w.load(bias, (part, LANES)))
            w.store(w.maximum(value, w.constant(0.0)), features, *here)

    return types.void(products, scale, bias, features), vector_code(body, LANES)


@kept(nogil=True)
def predict_int16(plan, images, predictions, gaps):
    """Classify images as `kernel.predict_int8` does; `plan` is an IntegerPlan as a plain tuple. Releases the GIL."""
    weights1, scale1, offset1, weights2, scale2, bias2, weights3, bias3 = plan
    rows = np.empty(SIDE * SIDE, np.int16)
    pairs = np.empty((SIDE * (SIDE - 1), 2), np.int16)
    pooled = np.empty(POOLED * POOLED * FIRST, np.int16)
    patches = np.empty(TRANSFORMED * PLACES * FIRST, np.int16)
    products = np.empty(TRANSFORMED * PLACES * SECOND, np.int32)
    features = np.zeros((GROUP, PLACES * SECOND), np.float32)
    logits = np.empty((GROUP, LOGITS), np.float32)
    for start in range(0, len(images), GROUP):
        count = min(GROUP, len(images) - start)
        for image in range(count):
            for place in range(SIDE * SIDE):
                rows[place] = images[start + image, place]
            for place in range(SIDE * (SIDE - 1)):
                pairs[place, 0], pairs[place, 1] = rows[place], rows[place + SIDE]
            first_layer_int16(pairs, rows, weights1, scale1, offset1, pooled)
            transform_patches_int16(pooled, patches)
            multiply_patches_int16(patches, weights2, products)
            pool_products_int16(products, scale2, bias2, features[image])
        linear_layer(features, weights3, bias3, logits)
        for image in range(count):
            predictions[start + image], gaps[start + image] = decide(logits[image])
