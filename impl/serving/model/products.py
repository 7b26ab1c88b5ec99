"""Matrix products of the vision transformer: int8 for the layers, float32 for attention and the head.

`multiply_bytes` sums 10 rows by 32 columns in 20 of AVX-512's 32 registers, by an instruction that multiplies 64 pairs
of bytes. A processor without that instruction computes the same sums in plain vector arithmetic. Weights are stored in
panels of 32 columns, in the order in which they are read. While one panel is multiplied with all rows, the next one is
prefetched: the 50 rows of one image are too few for the processor to hide the memory's latency by itself.

Each row, a token, has its own quantisation step and zero point, so that the answer to an image does not depend on the
other images of its batch. From the sums of bytes a product computes `step * (sum * scale - zero * total) + bias`, where
`scale` is the step of a column's weights, and `total` the sum of that column's weights times `scale`.
"""

from numba import types
from numba.extending import intrinsic

from ...shared.vectors import INT32, constant_index, vector_code

__all__ = ["FEW", "LANES", "PANEL", "ROWS", "STEP", "multiply_bytes", "multiply_floats", "store_scaled"]

LANES = 16
VECTORS = 2
PANEL = VECTORS * LANES
"""Columns that are summed at a time."""
ROWS = 10
"""Rows that are summed at a time. For one image 10 by 32 is 4 % faster than 5 by 64; both divide its 50 tokens."""
STEP = 16
"""Bytes of a row that one pass of a product's loop takes."""
FEW, WIDE = 5, 4
"""Rows and vectors that a product of floats sums at a time; one vector without AVX-512, which has 16 registers more.

Held to AVX2, attention for 8 images in one layer took 2.0 to 2.9 ms with one vector and 3.8 to 5.2 with four (Intel
Xeon, one core, 2026-11-28)."""
LINES = 2
"""Cache lines of 64 bytes of the next panel that one pass of the loop prefetches."""


def store_scaled(w, total, row, values_of_columns, column, target, add):
    """Write the code that makes a result of sums of bytes: of a vector of columns in one row.

    `row` is the step and the negative zero point, in every lane; `values_of_columns` are the scales, totals and bias.
    """
    step, minus = row
    scale, whole, offset = (w.load(values, column) for values in values_of_columns)
    value = w.multiply(w.to_float(total), scale)
    value = w.multiply_add(step, w.multiply_add(minus, whole, value), offset)
    known = w.builder.select(add, w.load(target), w.constant(0.0))
    w.store(w.add(value, known), target)


@intrinsic
def multiply_bytes(
    _context, codes, inner, steps, zeros, blocks, panels, scales, totals, bias, first, last, then, out, columns, add
):
    """Multiply `blocks` blocks of ten rows by the panels `first` to `last` - 1 of a matrix, in int8.

    The rows are `codes`, uint8 [rows, inner], quantised by `steps` and `zeros`, float32 [rows]. The panels are int8
    [columns / 32, inner / 4, 32, 4]; their `scales`, `totals` and `bias` are float32 [columns]. During the last panel,
    the weights at `then` are prefetched. The result goes to `out`, float32 [rows, columns], or is added to it if `add`.
    """

    def body(w, codes, inner, steps, zeros, blocks, panels, scales, totals, bias, first, last, then, out, columns, add):
        builder = w.builder
        turns = builder.sdiv(inner, constant_index(STEP))
        size = builder.mul(inner, constant_index(PANEL))
        with w.loop(first, last) as panel, w.loop(0, blocks) as block:
            weights = w.at(panels, (panel, size))
            is_last = builder.icmp_signed("==", builder.add(panel, constant_index(1)), last)
            coming = builder.select(is_last, then, w.at(weights, size))
            # The first blocks prefetch the next panel; later blocks prefetch lines that are in the cache already.
            fetched = builder.mul(builder.mul(block, turns), constant_index(64 * LINES))
            some_left = builder.icmp_signed("<", fetched, size)
            coming = builder.select(some_left, w.at(coming, fetched), weights)
            ahead = builder.select(some_left, constant_index(64 * LINES), constant_index(0))

            first_row = w.at(codes, (block, builder.mul(inner, constant_index(ROWS))))
            rows = [w.at(first_row, (row, inner)) for row in range(ROWS)]
            sums = w.accumulators(ROWS, VECTORS, w.ints)
            with w.loop(0, turns) as turn:
                lines = w.at(coming, (turn, ahead))
                for line in range(LINES):
                    w.prefetch(lines, 64 * line)
                here = w.at(weights, (turn, STEP * PANEL))
                for four in range(0, STEP, 4):
                    factors = [w.load(here, PANEL * four + 64 * vector, kind=w.ints) for vector in range(VECTORS)]
                    for start, row in zip(rows, sums, strict=True):
                        value = w.broadcast(w.at(start, (turn, STEP)), four, kind=INT32)
                        for factor, total in zip(factors, row, strict=True):
                            total.add_product(value, factor)

            for place, row in enumerate(sums):
                number_of_row = builder.add(builder.mul(block, constant_index(ROWS)), constant_index(place))
                step, zero = (w.broadcast(values, number_of_row) for values in (steps, zeros))
                minus = builder.fneg(zero)
                for vector, total in enumerate(row):
                    column = builder.add(builder.mul(panel, constant_index(PANEL)), constant_index(LANES * vector))
                    target = w.at(w.at(out, (number_of_row, columns)), column)
                    store_scaled(w, total.value, (step, minus), (scales, totals, bias), column, target, add)

    return types.void(
        codes, inner, steps, zeros, blocks, panels, scales, totals, bias, first, last, then, out, columns, add
    ), vector_code(body, LANES)


@intrinsic
def multiply_floats(_context, left, start, wide, inner, rows, right, begin, apart, vectors, out, place, columns):
    """Multiply two matrices of float32 that are parts of larger ones; the left one has 5 rows or more.

    `left`, [rows, inner], begins at element `start`, and its rows are `wide` elements apart. `right`, [inner,
    16 * vectors], begins at `begin`, with rows `apart` elements apart. `out`, [rows, 16 * vectors], begins at `place`,
    with rows `columns` elements apart.
    """

    def body(w, left, start, wide, inner, rows, right, begin, apart, vectors, out, place, columns):
        builder = w.builder
        blocks = builder.sdiv(builder.add(rows, constant_index(FEW - 1)), constant_index(FEW))
        wide_vectors = WIDE if w.has("avx512f") else 1
        groups = builder.sdiv(vectors, constant_index(wide_vectors))
        with w.loop(0, blocks) as block:
            # Unless the rows are a multiple of five, the last block begins early and writes some rows again.
            row, latest = builder.mul(block, constant_index(FEW)), builder.sub(rows, constant_index(FEW))
            row = builder.select(builder.icmp_signed("<", row, latest), row, latest)

            def tile(width, column):
                sums = w.accumulators(FEW, width, w.floats)
                with w.loop(0, inner) as k:
                    line = w.at(w.at(w.at(right, begin), (k, apart)), column)
                    factors = [w.load(line, LANES * v) for v in range(width)]
                    for place_of_row, totals in enumerate(sums):
                        value = w.broadcast(w.at(w.at(w.at(left, start), (row, wide)), (place_of_row, wide)), k)
                        for factor, total in zip(factors, totals, strict=True):
                            total.add_product(value, factor)
                for place_of_row, totals in enumerate(sums):
                    target = w.at(w.at(w.at(w.at(out, place), (row, columns)), (place_of_row, columns)), column)
                    for v, total in enumerate(totals):
                        w.store(total.value, target, LANES * v)

            with w.loop(0, groups) as group:
                tile(wide_vectors, builder.mul(group, constant_index(wide_vectors * LANES)))
            with w.loop(builder.mul(groups, constant_index(wide_vectors)), vectors) as vector:
                tile(1, builder.mul(vector, constant_index(LANES)))

    return types.void(left, start, wide, inner, rows, right, begin, apart, vectors, out, place, columns), vector_code(
        body, LANES
    )
