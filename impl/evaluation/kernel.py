"""The network as vector instructions: the compiled part of `optimised` and `low_precision`.

Each image passes through both convolutions before the next one starts. So only the image and its 1,600 features leave
the core's cache. A vector holds 16 channels of one pixel.

The second convolution in float32 is Winograd's F(2x2, 3x3) (A. Lavin, S. Gray, "Fast Algorithms for Convolutional
Neural Networks", 2015). A 4x4 patch of the input gives a 2x2 block of the output by 16 multiplications instead of 36,
and the pool keeps the maximum of each such block. The patch is transformed into 16 numbers by additions. Each of the
16 takes part in a matrix product over channels, [25 places, 32] x [32, 64]. Additions transform the 16 products into
the block.

The second convolution in int8 is the direct one. Its instruction, VPDPBUSD, multiplies and adds four bytes per lane.

Plans are passed as plain tuples. Numba identifies a named tuple by its class, and where another revision of this module
is loaded beside it, telling two classes of the same name apart costs 0.1 ms per call.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ..shared.kept import kept
from ..shared.vectors import INT32, vector_code

__all__ = ["LANES", "FloatPlan", "IntegerPlan", "decide", "linear_layer", "predict_float", "predict_int8"]

LANES = 16
GROUP = 8
"""Images that the linear layer takes at a time: it reads its weights once for all of them."""

UNROLLED = 4
"""Steps of a sum that one pass of its loop contains. With the int8 loop fully unrolled, LLVM moves loads so far ahead
that the sums no longer fit the registers: 6.3 microseconds per image instead of 4.5 (AMD EPYC (Zen 5), one core,
2026-11-23)."""

SIDE = 28
FIRST = 32  # channels after the first convolution
SECOND = 64
POOLED = 12  # rows and columns of the first pool; the second one drops the 13th
BLOCKS = 5  # rows and columns of the second pool
PLACES = BLOCKS * BLOCKS
TRANSFORMED = 16  # numbers in a transformed 4x4 patch

CLASSES = 10

Floats = NDArray[np.float32]


class FloatPlan(NamedTuple):
    """The weights of the float32 kernel, all float32 and contiguous."""

    weights1: Floats
    """[9, 32]."""
    bias1: Floats
    """[32]."""
    weights2: Floats
    """[16, 32, 64], Winograd's G g G^T."""
    bias2: Floats
    """[64]."""
    weights3: Floats
    """[1600, 16]; the last six columns are 0."""
    bias3: Floats
    """[16]."""
    wide: bool
    """Whether the processor has AVX-512, and so 32 registers of 16 floats: a matrix product then takes 64 channels at a
    time, and 16 otherwise."""


class IntegerPlan(NamedTuple):
    """The weights of the int8 kernel, or of the int16 one. The linear layer is float32, as in FloatPlan."""

    weights1: NDArray[np.int8] | NDArray[np.int16]
    """int8 [2, 3, 32, 4]; int16 [5, 32, 2], see `kernel_int16`."""
    scale1: Floats
    """[32]."""
    offset1: Floats
    """[32]."""
    weights2: NDArray[np.int8] | NDArray[np.int16]
    """int8 [9, 8, 64, 4]; int16 [16, 16, 64, 2]."""
    scale2: Floats
    """[64]."""
    bias2: Floats
    """[64]."""
    weights3: Floats
    """[1600, 16]."""
    bias3: Floats
    """[16]."""


@intrinsic
def first_layer(_context, pixels, weights, bias, pooled):
    """Convolution, pool and ReLU of one image: pixels, float32 [28, 28], to pooled, float32 [12, 12, 32].

    Weights are float32 [9, 32]. Their 18 vectors stay in registers, together with the 8 sums of one place of the pool.
    """

    def body(w, pixels, weights, bias, pooled):
        halves = range(0, FIRST, LANES)
        taps = {(tap, half): w.load(weights, tap * FIRST + half) for tap in range(9) for half in halves}
        biases = {half: w.load(bias, half) for half in halves}
        with w.loop(POOLED) as row, w.loop(POOLED) as column:
            corner = (row, 2 * SIDE), (column, 2)
            patch = {(y, x): w.broadcast(pixels, *corner, y * SIDE + x) for y in range(4) for x in range(4)}
            for half in halves:
                sums = []
                for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    total = w.constant(0.0)
                    for tap in range(9):
                        total = w.multiply_add(patch[dy + tap // 3, dx + tap % 3], taps[tap, half], total)
                    sums.append(total)
                value = w.maximum(w.add(w.maximum(*sums), biases[half]), w.constant(0.0))
                w.store(value, pooled, (row, POOLED * FIRST), (column, FIRST), half)

    return types.void(pixels, weights, bias, pooled), vector_code(body, LANES)


@intrinsic
def transform_patches(_context, pooled, patches):
    """Winograd's B^T d B of each 4x4 patch: pooled, float32 [12, 12, 32], to patches, float32 [16, 25, 32]."""

    def body(w, pooled, patches):
        def transform(a, b, c, d):
            return w.subtract(a, c), w.add(b, c), w.subtract(c, b), w.subtract(b, d)

        with w.loop(BLOCKS) as row, w.loop(BLOCKS) as column:
            for half in range(0, FIRST, LANES):
                corner = (row, 2 * POOLED * FIRST), (column, 2 * FIRST), half
                patch = [[w.load(pooled, *corner, (y * POOLED + x) * FIRST) for x in range(4)] for y in range(4)]
                columns = [transform(*column_values) for column_values in zip(*patch, strict=True)]
                rows = [transform(*row_values) for row_values in zip(*columns, strict=True)]
                for number, value in enumerate(value for values in rows for value in values):
                    place = (row, BLOCKS * FIRST), (column, FIRST)
                    w.store(value, patches, number * PLACES * FIRST, *place, half)

    return types.void(pooled, patches), vector_code(body, LANES)


@intrinsic(prefer_literal=True)
def multiply_patches(_context, patches, weights, products, vectors):
    """Sixteen matrix products: patches [16, 25, 32] x weights [16, 32, 64] to products [16, 25, 64], float32.

    `vectors`, a literal, is how many vectors of output channels are summed at a time, for a row of five places: 4 take
    20 of AVX-512's 32 registers.
    """
    width = vectors.literal_value

    def body(w, patches, weights, products, _vectors):
        with w.loop(TRANSFORMED) as number, w.loop(SECOND // LANES // width) as part, w.loop(BLOCKS) as row:
            source = (number, PLACES * FIRST), (row, BLOCKS * FIRST)
            factors = (number, FIRST * SECOND), (part, width * LANES)
            target = (number, PLACES * SECOND), (row, BLOCKS * SECOND), (part, width * LANES)
            sums = w.accumulators(BLOCKS, width, w.floats)
            with w.loop(FIRST // UNROLLED) as step:
                for k in range(UNROLLED):
                    channel = [
                        w.load(weights, *factors, (step, UNROLLED * SECOND), k * SECOND + vector * LANES)
                        for vector in range(width)
                    ]
                    for place in range(BLOCKS):
                        value = w.broadcast(patches, *source, (step, UNROLLED), place * FIRST + k)
                        for total, factor in zip(sums[place], channel, strict=True):
                            total.add_product(value, factor)
            for place in range(BLOCKS):
                for vector, total in enumerate(sums[place]):
                    w.store(total.value, products, *target, place * SECOND + vector * LANES)

    return types.void(patches, weights, products, vectors), vector_code(body, LANES)


@intrinsic
def pool_products(_context, products, bias, features):
    """Winograd's A^T m A, pool, bias and ReLU: products, float32 [16, 25, 64], to features, float32 [25, 64]."""

    def body(w, products, bias, features):
        def transform(a, b, c, d):
            return w.add(w.add(a, b), c), w.subtract(w.subtract(b, c), d)

        with w.loop(PLACES) as place, w.loop(SECOND // LANES) as part:
            here = (place, SECOND), (part, LANES)
            block = [[w.load(products, *here, (4 * y + x) * PLACES * SECOND) for x in range(4)] for y in range(4)]
            columns = [transform(*column_values) for column_values in zip(*block, strict=True)]
            rows = [transform(*row_values) for row_values in zip(*columns, strict=True)]
            value = w.add(w.maximum(*rows[0], *rows[1]), w.load(bias, (part, LANES)))
            w.store(w.maximum(value, w.constant(0.0)), features, *here)

    return types.void(products, bias, features), vector_code(body, LANES)


@intrinsic
def linear_layer(_context, features, weights, bias, logits):
    """The linear layer for eight images: features, float32 [8, 1600], to logits, float32 [8, 16], of which 10 count."""

    def body(w, features, weights, bias, logits):
        [sums] = w.accumulators(1, GROUP, w.floats)
        with w.loop(PLACES * SECOND) as number:
            row = w.load(weights, (number, LANES))
            for image, total in enumerate(sums):
                value = w.broadcast(features, number, image * PLACES * SECOND)
                total.add_product(value, row)
        for image, total in enumerate(sums):
            w.store(w.add(total.value, w.load(bias)), logits, image * LANES)

    return types.void(features, weights, bias, logits), vector_code(body, LANES)


@intrinsic
def first_layer_int8(_context, pixels, weights, scale, offset, pooled):
    """Convolution, pool and ReLU of one image: pixels, uint8 [784], to pooled, uint8 [12, 12, 32].

    Weights are int8 [2, 3, 32, 4]. Four pixels of a row are loaded at a time. The window covers the first three or the
    last three of them, and the weight of the fourth is 0. A sum becomes sum * scale + offset; the offset includes the
    0.5 that turns truncation into rounding.
    """

    def body(w, pixels, weights, scale, offset, pooled):
        halves = range(0, FIRST, LANES)
        taps = {
            (dx, row, half): w.load(weights, ((dx * 3 + row) * FIRST + half) * 4, kind=w.ints)
            for dx in range(2)
            for row in range(3)
            for half in halves
        }
        scales = {half: (w.load(scale, half), w.load(offset, half)) for half in halves}
        with w.loop(POOLED) as row, w.loop(POOLED) as column:
            corner = (row, 2 * SIDE), (column, 2)
            patch = [w.broadcast(pixels, *corner, y * SIDE, kind=INT32) for y in range(4)]
            for half in halves:
                sums = []
                for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    total = w.constant(0, w.ints)
                    for y in range(3):
                        total = w.dot_bytes(patch[dy + y], taps[dx, y, half], total)
                    sums.append(total)
                value = w.multiply_add(w.to_float(w.maximum(*sums)), *scales[half])
                value = w.minimum(w.maximum(value, w.constant(0.0)), w.constant(255.0))
                value = w.builder.trunc(w.builder.fptosi(value, w.ints), w.bytes)
                w.store(value, pooled, (row, POOLED * FIRST), (column, FIRST), half)

    return types.void(pixels, weights, scale, offset, pooled), vector_code(body, LANES)


@intrinsic
def second_layer_int8(_context, pooled, weights, scale, bias, features):
    """Convolution, pool and ReLU: pooled, uint8 [12, 12, 32], to features, float32 [25, 64].

    Weights are int8 [9, 8, 64, 4]: four input channels of one output channel are adjacent. The sums of the four places
    of a block, for 64 output channels, take 16 registers.
    """

    def body(w, pooled, weights, scale, bias, features):
        places = [(y * POOLED + x) * FIRST for y in range(2) for x in range(2)]
        parts = range(0, SECOND, LANES)
        with w.loop(BLOCKS) as row, w.loop(BLOCKS) as column:
            sums = w.accumulators(len(places), len(parts), w.ints)
            with w.loop(3) as dy, w.loop(3 * FIRST // 4 // UNROLLED) as step:
                corner = (row, 2 * POOLED * FIRST), (column, 2 * FIRST), (dy, POOLED * FIRST)
                table = (dy, 3 * FIRST * SECOND), (step, UNROLLED * SECOND * 4)
                # The three pixels of a row are adjacent: 96 bytes, taken four at a time.
                for four in range(UNROLLED):
                    factors = [w.load(weights, *table, (four * SECOND + part) * 4, kind=w.ints) for part in parts]
                    for place, totals in zip(places, sums, strict=True):
                        value = w.broadcast(pooled, *corner, (step, UNROLLED * 4), place + four * 4, kind=INT32)
                        for total, factor in zip(totals, factors, strict=True):
                            total.add_product(value, factor)
            for part, totals in zip(parts, zip(*sums, strict=True), strict=True):
                most = w.to_float(w.maximum(*(total.value for total in totals)))
                value = w.multiply_add(most, w.load(scale, part), w.load(bias, part))
                here = (row, BLOCKS * SECOND), (column, SECOND), part
                w.store(w.maximum(value, w.constant(0.0)), features, *here)

    return types.void(pooled, weights, scale, bias, features), vector_code(body, LANES)


@kept(nogil=True)
def predict_float(plan, images, predictions):
    """Classify images, uint8 [n, 784], in float32 and write predictions, int64 [n].

    `plan` is a FloatPlan as a plain tuple. The GIL is released.
    """
    weights1, bias1, weights2, bias2, weights3, bias3, wide = plan
    pixels = np.empty(SIDE * SIDE, np.float32)
    pooled = np.empty(POOLED * POOLED * FIRST, np.float32)
    patches = np.empty(TRANSFORMED * PLACES * FIRST, np.float32)
    products = np.empty(TRANSFORMED * PLACES * SECOND, np.float32)
    features = np.zeros((GROUP, PLACES * SECOND), np.float32)
    logits = np.empty((GROUP, LANES), np.float32)
    for start in range(0, len(images), GROUP):
        count = min(GROUP, len(images) - start)
        for image in range(count):
            for place in range(SIDE * SIDE):
                pixels[place] = images[start + image, place]
            first_layer(pixels, weights1, bias1, pooled)
            transform_patches(pooled, patches)
            if wide:
                multiply_patches(patches, weights2, products, 4)
            else:
                multiply_patches(patches, weights2, products, 1)
            pool_products(products, bias2, features[image])
        linear_layer(features, weights3, bias3, logits)
        for image in range(count):
            predictions[start + image] = np.argmax(logits[image, :CLASSES])


@njit
def decide(logits):
    """Return the greatest of the first ten logits' number, and the gap to the next; `logits` is overwritten."""
    row = logits[:CLASSES]
    best = np.argmax(row)
    top, least = row[best], np.min(row)
    row[best] = least
    return best, (top - np.max(row)) / (top - least) if top > least else np.float32(0)


@kept(nogil=True)
def predict_int8(plan, images, predictions, gaps):
    """Classify images, uint8 [n, 784], in int8 and write predictions, int64 [n], and gaps, float32 [n].

    `plan` is an IntegerPlan as a plain tuple. A gap is the difference of the two greatest logits, as a share of the
    difference of the greatest and the least. The GIL is released.
    """
    weights1, scale1, offset1, weights2, scale2, bias2, weights3, bias3 = plan
    pooled = np.empty(POOLED * POOLED * FIRST, np.uint8)
    features = np.zeros((GROUP, PLACES * SECOND), np.float32)
    logits = np.empty((GROUP, LANES), np.float32)
    for start in range(0, len(images), GROUP):
        count = min(GROUP, len(images) - start)
        for image in range(count):
            first_layer_int8(images[start + image], weights1, scale1, offset1, pooled)
            second_layer_int8(pooled, weights2, scale2, bias2, features[image])
        linear_layer(features, weights3, bias3, logits)
        for image in range(count):
            predictions[start + image], gaps[start + image] = decide(logits[image])
