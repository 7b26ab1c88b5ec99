"""The vision transformer in int8 as one compiled function, which a core runs alone or several run together.

All that happens between the images and their class tokens happens in `forward`, without the interpreter: its lock, for
which the threads that answer requests compete, is not asked for 150 times an image, and nothing is allocated.

`_multiply` is the matrix product: 10 rows by 32 columns are summed in 20 of the 32 registers, by the instruction that
multiplies 64 pairs of bytes. The weights lie in panels of 32 columns, in the order in which they are read. While one
panel is multiplied with all rows, the next is fetched from memory: 50 rows, which are an image, are too few for the
processor to hide that by itself. One without the instruction sums the same in plain vectors.

A row is a token. It is quantised with a step and a zero point of its own, so that the answer to an image does not
depend on the images that share its batch. A product makes `step * (sum * scale - zero * total) + bias` of the sums of
its bytes, where `scale` is the step of a column's weights, and `total` the sum of them times that step.

Numba compiles `forward` and keeps it. It notices changes in the module of a kept function only: so all is in this one.
"""

import os
import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["FAR", "FEW", "LANES", "PANEL", "ROWS", "STEP", "cut", "forward"]

LANES = 16
VECTORS = 2
PANEL = VECTORS * LANES
"""Columns that are summed together."""
ROWS = 10
"""Rows that are summed together: 10 by 32 is 4 % faster than 5 by 64 for an image, whose 50 tokens both divide."""
STEP = 16
"""Bytes of a row that a step of a product's loop takes."""
FEW, WIDE = 5, 4
"""Rows and vectors that a product of floats sums together."""
LINES = 2
"""Lines of 64 bytes that each such step fetches for the next panel."""
PATIENCE = 4000
"""Looks at a counter before the core is offered to others: some 0.1 ms."""
FAR = 2**40
"""What is added to the counter of a team that has lost a member."""

FAST = True
EPSILON = np.float32(1e-6)  # of the LayerNorms in torchvision's vision transformers
ZERO, HALF, ONE, LEVELS = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)
SIGN = np.uint32(0x80000000)
MAGNITUDE = np.int32(0x7FFFFFFF)
LEAST = np.float32(-1e30)

INDEX, INT, BYTE, FLOAT = ir.IntType(64), ir.IntType(32), ir.IntType(8), ir.FloatType()
INTS, FLOATS = ir.VectorType(INT, LANES), ir.VectorType(FLOAT, LANES)


class Writer:
    """Writes LLVM's instructions; a vector is sixteen values of 32 bits."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.context, self.builder = context, builder
        self.args = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, args, strict=True)
        ]
        self.result = context.get_dummy_value()

    def at(self, pointer: Any, *terms: Any) -> Any:
        """Move a pointer on by terms, each a number of elements or a product of two numbers."""
        for term in terms:
            one, other = term if isinstance(term, tuple) else (term, 1)
            pointer = self.builder.gep(pointer, [self.builder.mul(number(one), number(other))])
        return pointer

    def load(self, pointer: Any, kind: Any = FLOATS) -> Any:
        return self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()), align=1)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer()), align=1)

    def broadcast(self, pointer: Any, kind: Any = FLOAT) -> Any:
        """Load one value into every lane."""
        undefined = ir.Constant(ir.VectorType(kind, LANES), ir.Undefined)
        one = self.builder.insert_element(undefined, self.load(pointer, kind), ir.Constant(INT, 0))
        return self.builder.shuffle_vector(one, undefined, every(0))

    def call(self, name: str, kind: Any, *values: Any) -> Any:
        wanted = ir.FunctionType(kind, [value.type for value in values])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, wanted, name), values)

    def multiply_add(self, one: Any, other: Any, total: Any) -> Any:
        return self.call("llvm.fmuladd.v16f32", FLOATS, one, other, total)

    def multiply_add_bytes(self, unsigned: Any, signed: Any, total: Any) -> Any:
        """Add to each lane the products of its four bytes."""
        build = self.builder
        if "+avx512vnni" in self.context.codegen().magic_tuple()[2]:  # of what Numba compiles for
            return self.call("llvm.x86.avx512.vpdpbusd.512", INTS, total, unsigned, signed)
        for shift in (0, 8, 16, 24):
            byte = build.and_(build.lshr(unsigned, every(shift)), every(255))
            weight = build.ashr(build.shl(signed, every(24 - shift)), every(24))
            total = build.add(total, build.mul(byte, weight))
        return total

    def fetch(self, pointer: Any) -> None:
        """Have memory bring a line to the nearest cache."""
        read, near, data = (ir.Constant(INT, value) for value in (0, 3, 1))
        self.call("llvm.prefetch.p0", ir.VoidType(), pointer, read, near, data)

    def sums(self, rows: int, vectors: int, kind: Any) -> list[list[Any]]:
        """Make places for sums, all 0; they become registers."""
        found = [[cgutils.alloca_once(self.builder, kind) for _ in range(vectors)] for _ in range(rows)]
        for total in (total for row in found for total in row):
            self.builder.store(ir.Constant(kind, [0] * LANES), total)
        return found

    def loop(self, first: Any, last: Any) -> Any:
        return cgutils.for_range_slice(self.builder, number(first), number(last), number(1), intp=INDEX)


def number(value: Any) -> Any:
    """Make a constant of what is none yet."""
    return ir.Constant(INDEX, value) if isinstance(value, int) else value


def every(value: int) -> Any:
    """Make a vector of one whole number."""
    return ir.Constant(INTS, [value] * LANES)


@intrinsic
def _multiply(
    _context, codes, inner, steps, zeros, blocks, panels, scales, totals, bias, first, last, then, out, columns, add
):
    """Multiply `blocks` times ten rows with the panels from `first` to `last` of a matrix.

    The rows are `codes`, uint8 [rows, inner], quantised by `steps` and `zeros`, float32 [rows]. The panels are int8
    [columns / 32, inner / 4, 32, 4]; their `scales`, `totals` and `bias`, float32 [columns]. With the last panel, the
    weights that come `then` are fetched. `out`, float32 [rows, columns], is written, or added to.
    """
    signature = types.void(
        codes, inner, steps, zeros, blocks, panels, scales, totals, bias, first, last, then, out, columns, add
    )

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        codes, inner, steps, zeros, blocks, panels, scales, totals, bias, first, last, then, out, columns, add = w.args
        turns = builder.sdiv(inner, number(STEP))
        size = builder.mul(inner, number(PANEL))
        with w.loop(first, last) as (panel, _), w.loop(0, blocks) as (block, _):
            weights = w.at(panels, (panel, size))
            is_last = builder.icmp_signed("==", builder.add(panel, number(1)), last)
            coming = builder.select(is_last, then, w.at(weights, size))
            # The next panel's lines are shared out to the first blocks; after them what is at hand is fetched again.
            fetched = builder.mul(builder.mul(block, turns), number(64 * LINES))
            some_left = builder.icmp_signed("<", fetched, size)
            coming = builder.select(some_left, w.at(coming, fetched), weights)
            ahead = builder.select(some_left, number(64 * LINES), number(0))

            rows = [w.at(codes, (block, builder.mul(inner, number(ROWS))), (row, inner)) for row in range(ROWS)]
            sums = w.sums(ROWS, VECTORS, INTS)
            with w.loop(0, turns) as (turn, _):
                for line in range(LINES):
                    w.fetch(w.at(coming, (turn, ahead), 64 * line))
                here = w.at(weights, (turn, STEP * PANEL))
                for four in range(0, STEP, 4):
                    factors = [w.load(w.at(here, PANEL * four + 64 * vector), INTS) for vector in range(VECTORS)]
                    for start, row in zip(rows, sums, strict=True):
                        value = w.broadcast(w.at(start, (turn, STEP), four), INT)
                        for factor, total in zip(factors, row, strict=True):
                            builder.store(w.multiply_add_bytes(value, factor, builder.load(total)), total)

            for place, row in enumerate(sums):
                number_of_row = builder.add(builder.mul(block, number(ROWS)), number(place))
                step, zero = (w.broadcast(w.at(values, number_of_row)) for values in (steps, zeros))
                minus = builder.fneg(zero)
                for vector, total in enumerate(row):
                    column = builder.add(builder.mul(panel, number(PANEL)), number(LANES * vector))
                    scale, whole, offset = (w.load(w.at(values, column)) for values in (scales, totals, bias))
                    target = w.at(out, (number_of_row, columns), column)
                    value = builder.fmul(builder.sitofp(builder.load(total), FLOATS), scale)
                    value = w.multiply_add(step, w.multiply_add(minus, whole, value), offset)
                    known = builder.select(add, w.load(target), ir.Constant(FLOATS, [0.0] * LANES))
                    w.store(builder.fadd(value, known), target)
        return w.result

    return signature, generate


@intrinsic
def _multiply_floats(_context, left, start, wide, inner, rows, right, begin, apart, vectors, out, place, columns):
    """Multiply matrices that lie in larger ones, all float32, of 5 rows or more.

    `left`, [rows, inner], begins at element `start` and has a row every `wide`; `right`, [inner, 16 * vectors], at
    `begin`, every `apart`; and `out`, [rows, 16 * vectors], at `place`, every `columns`.
    """
    signature = types.void(left, start, wide, inner, rows, right, begin, apart, vectors, out, place, columns)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        left, start, wide, inner, rows, right, begin, apart, vectors, out, place, columns = w.args
        blocks = builder.sdiv(builder.add(rows, number(FEW - 1)), number(FEW))
        groups = builder.sdiv(vectors, number(WIDE))
        with w.loop(0, blocks) as (block, _):
            # The last block begins early where the rows are no multiple of five: what overlaps is written twice.
            row, latest = builder.mul(block, number(FEW)), builder.sub(rows, number(FEW))
            row = builder.select(builder.icmp_signed("<", row, latest), row, latest)

            def tile(width: int, column: Any) -> None:
                sums = w.sums(FEW, width, FLOATS)
                with w.loop(0, inner) as (k, _):
                    factors = [w.load(w.at(right, begin, (k, apart), column, LANES * v)) for v in range(width)]
                    for place_of_row, totals in enumerate(sums):
                        value = w.broadcast(w.at(left, start, (row, wide), (place_of_row, wide), k))
                        for factor, total in zip(factors, totals, strict=True):
                            builder.store(w.multiply_add(value, factor, builder.load(total)), total)
                for place_of_row, totals in enumerate(sums):
                    target = w.at(out, place, (row, columns), (place_of_row, columns), column)
                    for v, total in enumerate(totals):
                        w.store(builder.load(total), w.at(target, LANES * v))

            with w.loop(0, groups) as (group, _):
                tile(WIDE, builder.mul(group, number(WIDE * LANES)))
            with w.loop(builder.mul(groups, number(WIDE)), vectors) as (vector, _):
                tile(1, builder.mul(vector, number(LANES)))
        return w.result

    return signature, generate


@intrinsic
def _meet(_context, counter, team):
    """Wait until all of a team are here: int64 [1] counts who comes, and starts at 0. Beyond `FAR` nobody waits.

    The first to come look at the counter, because the others are microseconds away, unless somebody else has their
    core: then it is offered this one.
    """
    signature = types.void(counter, team)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args)
        counter, team = w.args
        before = builder.atomic_rmw("add", counter, number(1), "acq_rel")
        wanted = builder.mul(builder.add(builder.sdiv(before, team), number(1)), team)
        wanted = builder.select(builder.icmp_signed("<", before, number(FAR)), wanted, number(0))
        looks = cgutils.alloca_once_value(builder, number(0))
        builder.store(number(0), looks)
        look, wait, done = (builder.append_basic_block(name) for name in ("look", "wait", "done"))
        builder.branch(look)
        builder.position_at_end(look)
        here = builder.load_atomic(counter, "acquire", 8)
        builder.cbranch(builder.icmp_signed("<", here, wanted), wait, done)
        builder.position_at_end(wait)
        builder.store(builder.add(builder.load(looks), number(1)), looks)
        if platform.machine() in ("x86_64", "AMD64"):
            w.call("llvm.x86.sse2.pause", ir.VoidType())
        if os.name == "posix":
            with builder.if_then(builder.icmp_signed(">", builder.load(looks), number(PATIENCE)), likely=False):
                w.call("sched_yield", INT)
        builder.branch(look)
        builder.position_at_end(done)
        return w.result

    return signature, generate


@intrinsic
def _as_float(_context, bits):
    """Return the float32 that these 32 bits are."""
    signature = types.float32(types.int32)

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], FLOAT)

    return signature, generate


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _to_bytes(row, codes):
    """float32 [n] to uint8 [n]; return the step and the zero point. 0 is among the values that have a code."""
    # As integers, floats of one sign are in order; LLVM knows how to take the greatest of many integers at a time.
    bits, signed = row.view(np.uint32), row.view(np.int32)
    low, high = np.uint32(0), np.int32(0)
    for j in range(len(row)):
        low = max(low, bits[j])
        high = max(high, signed[j])
    least, most = ZERO, _as_float(high)
    if low > SIGN:
        least = _as_float(np.int32(low))
    step = (most - least) / LEVELS
    if not step > ZERO:
        step = ONE
    inverse = ONE / step
    zero = np.floor(-least * inverse + HALF)
    shift = zero + HALF
    for j in range(len(row)):
        codes[j] = np.uint8(np.int32(min(max(row[j] * inverse + shift, ZERO), LEVELS)))
    return step, zero


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _norm(row, gain, bias, normed):
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
        normed[j] = (row[j] - mean) * scale * gain[j] + bias[j]


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _gelu(row):
    """The exact GELU: x/2 (1 + erf(x / sqrt 2)), with Eigen's rational erf (off by 3e-7 at most, and no branch)."""
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


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _soften(scores, count):
    """Softmax of the first `count` of each row, with the exponential function of Cephes (expf.c, S. Moshier)."""
    ordered, width = scores.view(np.int32), scores.shape[1]
    for i in range(len(scores)):
        for j in range(count, width):
            scores[i, j] = LEAST
        most = np.int32(-MAGNITUDE)
        for j in range(width):
            bits = ordered[i, j]
            most = max(most, np.int32(bits ^ np.int32(np.int32(bits >> 31) & MAGNITUDE)))  # in the order of floats
        top = _as_float(np.int32(most ^ np.int32(np.int32(most >> 31) & MAGNITUDE)))
        total = ZERO
        for j in range(width):
            x = max(scores[i, j] - top, np.float32(-80))
            biased = np.int32(x * np.float32(1.44269504088896341) + np.float32(127.5))  # the exponent of the result
            whole = np.float32(biased) - np.float32(127)
            r = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
            p = np.float32(1.9875691500e-4)
            p = p * r + np.float32(1.3981999507e-3)
            p = p * r + np.float32(8.3334519073e-3)
            p = p * r + np.float32(4.1665795894e-2)
            p = p * r + np.float32(1.6666665459e-1)
            p = p * r + np.float32(5.0000001201e-1)
            power = (p * r * r + r + ONE) * _as_float(np.int32(biased << np.int32(23)))
            scores[i, j] = power
            total += power
        inverse = ONE / total
        for j in range(width):
            scores[i, j] *= inverse


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _attend(mixed, image, head, tokens, width, keys, scores, out):
    """One head of one image: `out`, float32 [rows, hidden], of `mixed`, float32 [rows, 3 * hidden].

    `keys`, [width, padded tokens], and `scores`, [tokens, padded tokens], are room for them.
    """
    hidden, padded, row = out.shape[1], keys.shape[1], image * tokens
    scale = ONE / np.sqrt(np.float32(width))
    for token in range(tokens):
        for j in range(width):
            keys[j, token] = mixed[row + token, hidden + head * width + j] * scale
    queries = row * 3 * hidden + head * width
    _multiply_floats(mixed, queries, 3 * hidden, width, tokens, keys, 0, padded, padded // LANES, scores, 0, padded)
    _soften(scores, tokens)
    target = row * hidden + head * width
    _multiply_floats(
        scores, 0, padded, tokens, tokens, mixed, queries + 2 * hidden, 3 * hidden, width // LANES, out, target, hidden
    )


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _product(member, team, codes, steps, zeros, rows, weights, layer, then, out, add):
    """This member's share of a product's panels; `then` has the panels of the product that comes next."""
    panels, scales, totals, bias = weights
    blocks, count, coming = (rows + ROWS - 1) // ROWS, panels.shape[1], len(then)
    _multiply(
        codes,
        codes.shape[1],
        steps,
        zeros,
        blocks,
        panels[layer],
        scales[layer],
        totals[layer],
        bias[layer],
        count * member // team,
        count * (member + 1) // team,
        then[coming * member // team],
        out,
        out.shape[1],
        add,
    )


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _quantise_rows(member, team, rows, values, apart, codes, steps, zeros):
    """This member's share of rows, of which `values` has one every `apart`."""
    for i in range(rows * member // team, rows * (member + 1) // team):
        steps[i], zeros[i] = _to_bytes(values[i * apart], codes[i])


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _norm_rows(member, team, rows, stream, gain, bias, normed, codes, steps, zeros):
    """This member's share of a LayerNorm, quantised."""
    for i in range(rows * member // team, rows * (member + 1) // team):
        _norm(stream[i], gain, bias, normed[i])
        steps[i], zeros[i] = _to_bytes(normed[i, : stream.shape[1]], codes[i])


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _gelu_rows(member, team, rows, wide, codes, steps, zeros):
    """This member's share of the perceptron's middle, quantised."""
    for i in range(rows * member // team, rows * (member + 1) // team):
        _gelu(wide[i])
        steps[i], zeros[i] = _to_bytes(wide[i], codes[i])


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _begin(member, team, rows, embedded, positions, stream):
    """This member's share of the first rows: the class token, and the windows with their positions."""
    tokens = len(positions)
    for i in range(rows * member // team, rows * (member + 1) // team):
        image, token = i // tokens, i % tokens
        stream[i] = positions[token]
        if token:
            stream[i] += embedded[image * (tokens - 1) + token - 1]


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def forward(member, team, counter, images, heads, positions, products, norms, head, room, scratch):
    """Turn windows into logits; every member of a team calls it with the same arguments but for itself.

    Args:
        member: Which of the team, from 0.
        team: How many there are.
        counter: Where they meet, int64 [1]; 0 at first, and then left alone.
        images: How many.
        heads: Of the attention.
        positions: float32 [tokens, hidden]; the first has the class token in it.
        products: The matrices embed, qkv, out, up and down of all layers: panels, int8 [layers, columns / 32, bytes],
            and scales, totals and bias, float32 [layers, columns].
        norms: The two LayerNorms of all layers: gain and bias, float32 [layers, hidden].
        head: The last LayerNorm's gain and bias, float32 [hidden], and the linear layer's weights and bias, float32
            [hidden, classes] and [classes].
        room: `windows`, which are the input, and what else `int8.Room` has; `logits` are the output.
        scratch: This member's own.
    """
    embed, qkv, out, up, down = products
    (gain1, bias1), (gain2, bias2) = norms
    windows, window_codes, codes, wide_codes, steps, zeros, stream, mixed, attended, wide, last, logits = room
    last_gain, last_bias, weights, bias = head
    keys, scores = scratch
    tokens, width = len(positions), stream.shape[1] // heads
    layers, patches, rows, apart = len(gain1), images * (tokens - 1), images * tokens, 1

    _quantise_rows(member, team, patches, windows, 1, window_codes, steps, zeros)
    _meet(counter, team)
    _product(member, team, window_codes, steps, zeros, patches, embed, 0, qkv[0][0], attended, False)
    _meet(counter, team)
    _begin(member, team, rows, attended, positions, stream)
    for layer in range(layers):
        _norm_rows(member, team, rows, stream, gain1[layer], bias1[layer], mixed, codes, steps, zeros)
        _meet(counter, team)
        _product(member, team, codes, steps, zeros, rows, qkv, layer, out[0][layer], mixed, False)
        _meet(counter, team)
        for unit in range(images * heads * member // team, images * heads * (member + 1) // team):
            _attend(mixed, unit // heads, unit % heads, tokens, width, keys, scores, attended)
        _meet(counter, team)
        if layer == layers - 1:  # of the last only the class tokens are asked for
            rows, apart = images, tokens
            if member == 0:
                last[:images] = stream[: images * tokens : tokens]
            stream = last
        _quantise_rows(member, team, rows, attended, apart, codes, steps, zeros)
        _meet(counter, team)
        _product(member, team, codes, steps, zeros, rows, out, layer, up[0][layer], stream, True)
        _meet(counter, team)
        _norm_rows(member, team, rows, stream, gain2[layer], bias2[layer], mixed, codes, steps, zeros)
        _meet(counter, team)
        _product(member, team, codes, steps, zeros, rows, up, layer, down[0][layer], wide, False)
        _meet(counter, team)
        _gelu_rows(member, team, rows, wide, wide_codes, steps, zeros)
        _meet(counter, team)
        following = qkv[0][min(layer + 1, layers - 1)]
        _product(member, team, wide_codes, steps, zeros, rows, down, layer, following, stream, True)
        _meet(counter, team)

    if member == 0:
        for i in range(images):
            _norm(last[i], last_gain, last_bias, attended[i])
        hidden, classes = weights.shape
        few = max(images, FEW)
        _multiply_floats(attended, 0, hidden, hidden, few, weights, 0, classes, classes // LANES, logits, 0, classes)
        for i in range(images):
            logits[i] += bias


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def cut(images, scale, shift, patch, windows):
    """Cut images, [N, channels, side, side], into windows that do not overlap, float32 [N * windows, ...].

    A pixel of a channel becomes `pixel * scale + shift`, float32 [channels]. What is longer in a window stays 0.
    """
    count, channels, side, _ = images.shape
    across = side // patch
    for image in range(count):
        for channel in range(channels):
            for y in range(across * patch):
                row = images[image, channel, y]
                first = (image * across + y // patch) * across
                offset = (channel * patch + y % patch) * patch
                for window in range(across):
                    target = windows[first + window, offset : offset + patch]
                    for x in range(patch):
                        target[x] = np.float32(row[window * patch + x]) * scale[channel] + shift[channel]
