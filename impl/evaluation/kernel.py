"""The network as vector instructions: the compiled heart of `optimised` and of `low_precision`.

One image at a time goes through both convolutions, so that nothing but the image and 1,600 features ever leaves the
cache of its core. Vectors are sixteen channels wide and are written as LLVM's own vector type, which it translates to
whatever the processor has.

The second convolution in float32 is Winograd's F(2x2, 3x3) (A. Lavin, S. Gray, "Fast Algorithms for Convolutional
Neural Networks", 2015): a 4x4 patch of the input gives a 2x2 block of the output, which is just what one place of the
pool keeps the greatest of, by 16 multiplications instead of 36. Additions turn the patch into 16 numbers; each of the
16 is a matrix product over channels, [25 places, 32] x [32, 64]; additions turn their results into the block.

The second convolution in int8 is the definition's, by the instruction that multiplies and adds four bytes at a time.

Numba notices changes in the module of a cached function only, so everything the kernels call is in this one. And it
takes two classes of one name for the same at first, and 0.1 ms a call to find out, where another revision of this
module is loaded beside it: so plans are passed as plain tuples.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["LANES", "BytePlan", "FloatPlan", "predict_float", "predict_int8"]

LANES = 16
GROUP = 8
"""Images whose features go through the linear layer together, which reads its weights once for all of them."""

UNROLLED = 4
"""Steps of a sum that are written out in its loop. More of them, and LLVM moves loads so far ahead that the sums no
longer fit the registers: written out whole, the int8 kernel took 6.3 microseconds an image instead of 4.5 (AMD EPYC
(Zen 5), one core, 2026-11-23)."""

SIDE = 28
FIRST = 32  # channels after the first convolution
SECOND = 64
POOLED = 12  # of 13 rows and columns of the first pool, those that the result depends on
BLOCKS = 5  # rows and columns of the second pool
PLACES = BLOCKS * BLOCKS
TRANSFORMED = 16  # numbers of a 4x4 patch

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
    """Whether there are 32 registers of 16 floats, so that a matrix product is done 64 channels at a time."""


class BytePlan(NamedTuple):
    """The weights of the int8 kernel; those of the linear layer are FloatPlan's."""

    weights1: NDArray[np.int8]
    """[2, 3, 32, 4]."""
    scale1: Floats
    """[32]."""
    offset1: Floats
    """[32]."""
    weights2: NDArray[np.int8]
    """[9, 8, 64, 4]."""
    scale2: Floats
    """[64]."""
    bias2: Floats
    """[64]."""
    weights3: Floats
    """[1600, 16]."""
    bias3: Floats
    """[16]."""


INDEX = ir.IntType(64)
INT = ir.IntType(32)
BYTE = ir.IntType(8)
FLOAT = ir.FloatType()
FLOATS = ir.VectorType(FLOAT, LANES)
INTS = ir.VectorType(INT, LANES)
BYTES = ir.VectorType(BYTE, LANES)


class Writer:
    """Writes vector instructions; `args` are the arguments, of an array the pointer to its first element."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.builder = builder
        self.args = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, args, strict=True)
        ]
        self.result = context.get_dummy_value()

    def index(self, *terms: Any) -> Any:
        """Return the sum of numbers and of (number, factor) pairs."""
        total = ir.Constant(INDEX, 0)
        for term in terms:
            number, factor = term if isinstance(term, tuple) else (term, 1)
            number = ir.Constant(INDEX, number) if isinstance(number, int) else number
            total = self.builder.add(total, self.builder.mul(number, ir.Constant(INDEX, factor)))
        return total

    def at(self, pointer: Any, *terms: Any) -> Any:
        return self.builder.gep(pointer, [self.index(*terms)])

    def load(self, pointer: Any, *terms: Any, kind: Any = FLOATS) -> Any:
        place = self.builder.bitcast(self.at(pointer, *terms), kind.as_pointer())
        return self.builder.load(place, align=1)

    def store(self, vector: Any, pointer: Any, *terms: Any) -> None:
        place = self.builder.bitcast(self.at(pointer, *terms), vector.type.as_pointer())
        self.builder.store(vector, place, align=1)

    def splat(self, value: Any, lanes: int = LANES) -> Any:
        """Put one value into every lane."""
        kind = ir.VectorType(value.type, lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(INT, 0))
        return self.builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(INT, lanes), [0] * lanes))

    def broadcast(self, pointer: Any, *terms: Any, kind: Any = FLOAT) -> Any:
        """Load one value into every lane."""
        return self.splat(self.load(pointer, *terms, kind=kind))

    def constant(self, value: float, kind: Any = FLOATS) -> Any:
        return ir.Constant(kind, [value] * LANES)

    def call(self, name: str, *values: Any) -> Any:
        kind = ir.FunctionType(values[0].type, [value.type for value in values])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), values)

    def add(self, one: Any, other: Any) -> Any:
        return self.builder.fadd(one, other)

    def sub(self, one: Any, other: Any) -> Any:
        return self.builder.fsub(one, other)

    def multiply_add(self, one: Any, other: Any, total: Any) -> Any:
        """Return one * other + total, by one instruction where the processor has it."""
        return self.call("llvm.fmuladd.v16f32", one, other, total)

    def multiply_add_bytes(self, unsigned: Any, signed: Any, total: Any) -> Any:
        """Add to each lane of 32 bits the products of its four bytes; only for processors with AVX512-VNNI."""
        return self.call("llvm.x86.avx512.vpdpbusd.512", total, unsigned, signed)

    def to_float(self, whole: Any) -> Any:
        return self.builder.sitofp(whole, FLOATS)

    def least(self, one: Any, other: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered("<", one, other), one, other)

    def greatest(self, *vectors: Any) -> Any:
        first, *others = vectors
        whole = isinstance(first.type.element, ir.IntType)
        for other in others:
            greater = (self.builder.icmp_signed if whole else self.builder.fcmp_ordered)(">", first, other)
            first = self.builder.select(greater, first, other)
        return first

    def loop(self, count: int) -> Any:
        return cgutils.for_range(self.builder, ir.Constant(INDEX, count), intp=INDEX)


@intrinsic
def first_layer(_context, pixels, weights, bias, pooled):
    """Convolution, pool and ReLU of one image: pixels, float32 [28, 28], to pooled, float32 [12, 12, 32].

    Weights are [9, 32]. All 18 vectors of them stay in registers, with the 8 sums of one place of the pool.
    """
    signature = types.void(pixels, weights, bias, pooled)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        pixels, weights, bias, pooled = w.args
        halves = range(0, FIRST, LANES)
        taps = {(tap, half): w.load(weights, tap * FIRST + half) for tap in range(9) for half in halves}
        biases = {half: w.load(bias, half) for half in halves}
        with w.loop(POOLED) as row, w.loop(POOLED) as column:
            corner = (row.index, 2 * SIDE), (column.index, 2)
            patch = {(y, x): w.broadcast(pixels, *corner, y * SIDE + x) for y in range(4) for x in range(4)}
            for half in halves:
                sums = []
                for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    total = w.constant(0.0)
                    for tap in range(9):
                        total = w.multiply_add(patch[dy + tap // 3, dx + tap % 3], taps[tap, half], total)
                    sums.append(total)
                value = w.greatest(w.add(w.greatest(*sums), biases[half]), w.constant(0.0))
                w.store(value, pooled, (row.index, POOLED * FIRST), (column.index, FIRST), half)
        return w.result

    return signature, generate


@intrinsic
def transform_patches(_context, pooled, patches):
    """Winograd's B^T d B of each 4x4 patch: pooled, float32 [12, 12, 32], to patches, float32 [16, 25, 32]."""
    signature = types.void(pooled, patches)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        pooled, patches = w.args

        def transform(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, ...]:
            return w.sub(a, c), w.add(b, c), w.sub(c, b), w.sub(b, d)

        with w.loop(BLOCKS) as row, w.loop(BLOCKS) as column:
            for half in range(0, FIRST, LANES):
                corner = (row.index, 2 * POOLED * FIRST), (column.index, 2 * FIRST), half
                patch = [[w.load(pooled, *corner, (y * POOLED + x) * FIRST) for x in range(4)] for y in range(4)]
                columns = [transform(*column_values) for column_values in zip(*patch, strict=True)]
                rows = [transform(*row_values) for row_values in zip(*columns, strict=True)]
                for number, value in enumerate(value for values in rows for value in values):
                    place = (row.index, BLOCKS * FIRST), (column.index, FIRST)
                    w.store(value, patches, number * PLACES * FIRST, *place, half)
        return w.result

    return signature, generate


@intrinsic(prefer_literal=True)
def multiply_patches(_context, patches, weights, products, wide):
    """Sixteen matrix products: patches [16, 25, 32] x weights [16, 32, 64] to products [16, 25, 64], float32.

    A row of five places by `wide` vectors of output channels is summed in registers: 20 of 32 with AVX-512.
    """
    vectors = wide.literal_value
    signature = types.void(patches, weights, products, wide)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        patches, weights, products, _ = w.args
        with w.loop(TRANSFORMED) as number, w.loop(SECOND // LANES // vectors) as part, w.loop(BLOCKS) as row:
            source = (number.index, PLACES * FIRST), (row.index, BLOCKS * FIRST)
            factors = (number.index, FIRST * SECOND), (part.index, vectors * LANES)
            target = (number.index, PLACES * SECOND), (row.index, BLOCKS * SECOND), (part.index, vectors * LANES)
            sums = [[cgutils.alloca_once(builder, FLOATS) for _ in range(vectors)] for _ in range(BLOCKS)]
            for total in itertools.chain(*sums):
                builder.store(w.constant(0.0), total)
            with w.loop(FIRST // UNROLLED) as step:
                for k in range(UNROLLED):
                    channel = [
                        w.load(weights, *factors, (step.index, UNROLLED * SECOND), k * SECOND + vector * LANES)
                        for vector in range(vectors)
                    ]
                    for place in range(BLOCKS):
                        value = w.broadcast(patches, *source, (step.index, UNROLLED), place * FIRST + k)
                        for total, factor in zip(sums[place], channel, strict=True):
                            builder.store(w.multiply_add(value, factor, builder.load(total)), total)
            for place in range(BLOCKS):
                for vector in range(vectors):
                    w.store(builder.load(sums[place][vector]), products, *target, place * SECOND + vector * LANES)
        return w.result

    return signature, generate


@intrinsic
def pool_products(_context, products, bias, features):
    """Winograd's A^T m A, pool, bias and ReLU: products, float32 [16, 25, 64], to features, float32 [25, 64]."""
    signature = types.void(products, bias, features)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        products, bias, features = w.args

        def transform(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, ...]:
            return w.add(w.add(a, b), c), w.sub(w.sub(b, c), d)

        with w.loop(PLACES) as place, w.loop(SECOND // LANES) as part:
            here = (place.index, SECOND), (part.index, LANES)
            block = [[w.load(products, *here, (4 * y + x) * PLACES * SECOND) for x in range(4)] for y in range(4)]
            columns = [transform(*column_values) for column_values in zip(*block, strict=True)]
            rows = [transform(*row_values) for row_values in zip(*columns, strict=True)]
            value = w.add(w.greatest(*rows[0], *rows[1]), w.load(bias, (part.index, LANES)))
            w.store(w.greatest(value, w.constant(0.0)), features, *here)
        return w.result

    return signature, generate


@intrinsic
def linear_layer(_context, features, weights, bias, logits):
    """The last layer of eight images: features, float32 [8, 1600], to logits, float32 [8, 16], 10 of 16 used."""
    signature = types.void(features, weights, bias, logits)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        features, weights, bias, logits = w.args
        sums = [cgutils.alloca_once_value(builder, w.constant(0.0)) for _ in range(GROUP)]
        for total in sums:
            builder.store(w.constant(0.0), total)
        with w.loop(PLACES * SECOND) as number:
            row = w.load(weights, (number.index, LANES))
            for image, total in enumerate(sums):
                value = w.broadcast(features, number.index, image * PLACES * SECOND)
                builder.store(w.multiply_add(value, row, builder.load(total)), total)
        for image, total in enumerate(sums):
            w.store(w.add(builder.load(total), w.load(bias, 0)), logits, image * LANES)
        return w.result

    return signature, generate


@intrinsic
def first_layer_int8(_context, pixels, weights, scale, offset, pooled):
    """Convolution, pool and ReLU of one image: pixels, uint8 [784], to pooled, uint8 [12, 12, 32].

    Weights are int8 [2, 3, 32, 4]: a row of a patch has four pixels, and the three that count are the first or the last
    of them. A sum becomes sum * scale + offset, where offset holds the half that makes cutting off a rounding.
    """
    signature = types.void(pixels, weights, scale, offset, pooled)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        pixels, weights, scale, offset, pooled = w.args
        halves = range(0, FIRST, LANES)
        taps = {
            (dx, row, half): w.load(weights, ((dx * 3 + row) * FIRST + half) * 4, kind=INTS)
            for dx in range(2)
            for row in range(3)
            for half in halves
        }
        scales = {half: (w.load(scale, half), w.load(offset, half)) for half in halves}
        with w.loop(POOLED) as row, w.loop(POOLED) as column:
            corner = (row.index, 2 * SIDE), (column.index, 2)
            patch = [w.broadcast(pixels, *corner, y * SIDE, kind=INT) for y in range(4)]
            for half in halves:
                sums = []
                for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    total = w.constant(0, INTS)
                    for y in range(3):
                        total = w.multiply_add_bytes(patch[dy + y], taps[dx, y, half], total)
                    sums.append(total)
                value = w.multiply_add(w.to_float(w.greatest(*sums)), *scales[half])
                value = w.least(w.greatest(value, w.constant(0.0)), w.constant(255.0))
                value = builder.trunc(builder.fptosi(value, INTS), BYTES)
                w.store(value, pooled, (row.index, POOLED * FIRST), (column.index, FIRST), half)
        return w.result

    return signature, generate


@intrinsic
def second_layer_int8(_context, pooled, weights, scale, bias, features):
    """Convolution, pool and ReLU: pooled, uint8 [12, 12, 32], to features, float32 [25, 64].

    Weights are int8 [9, 8, 64, 4]: four input channels of an output channel lie together. The four places of a block by
    64 output channels are summed in 16 registers.
    """
    signature = types.void(pooled, weights, scale, bias, features)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        pooled, weights, scale, bias, features = w.args
        places = [(y * POOLED + x) * FIRST for y in range(2) for x in range(2)]
        parts = range(0, SECOND, LANES)
        sums = {(place, part): cgutils.alloca_once(builder, INTS) for place in places for part in parts}
        with w.loop(BLOCKS) as row, w.loop(BLOCKS) as column:
            for total in sums.values():
                builder.store(w.constant(0, INTS), total)
            with w.loop(3) as dy, w.loop(3 * FIRST // 4 // UNROLLED) as step:
                corner = (row.index, 2 * POOLED * FIRST), (column.index, 2 * FIRST), (dy.index, POOLED * FIRST)
                table = (dy.index, 3 * FIRST * SECOND), (step.index, UNROLLED * SECOND * 4)
                # The three pixels of a row lie together: 96 bytes, in fours.
                for four in range(UNROLLED):
                    factors = {part: w.load(weights, *table, (four * SECOND + part) * 4, kind=INTS) for part in parts}
                    for place in places:
                        value = w.broadcast(pooled, *corner, (step.index, UNROLLED * 4), place + four * 4, kind=INT)
                        for part in parts:
                            total = sums[place, part]
                            builder.store(w.multiply_add_bytes(value, factors[part], builder.load(total)), total)
            for part in parts:
                most = w.to_float(w.greatest(*(builder.load(sums[place, part]) for place in places)))
                value = w.multiply_add(most, w.load(scale, part), w.load(bias, part))
                here = (row.index, BLOCKS * SECOND), (column.index, SECOND), part
                w.store(w.greatest(value, w.constant(0.0)), features, *here)
        return w.result

    return signature, generate


@njit(cache=True, nogil=True)
def predict_float(plan, images, predictions):
    """The class of each image in float32: images, uint8 [n, 784], to predictions, int64 [n].

    `plan` is a FloatPlan as a plain tuple.
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


@njit(cache=True, nogil=True)
def predict_int8(plan, images, predictions, gaps):
    """The class of each image in int8: images, uint8 [n, 784], to predictions, int64 [n], and gaps, float32 [n].

    `plan` is a BytePlan as a plain tuple. A gap is how far the greatest logit is above the second, as a share of how
    far it is above the least.
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
            row = logits[image, :CLASSES]
            best = np.argmax(row)
            predictions[start + image] = best
            top, least = row[best], np.min(row)
            row[best] = least
            gaps[start + image] = (top - np.max(row)) / (top - least) if top > least else np.float32(0)
