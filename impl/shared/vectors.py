"""Vector instructions, written as LLVM IR: the one writer that the kernels of all cases use.

Numba turns loops into scalar code, and LLVM vectorises only those that it can prove safe and believes profitable. Where
that is not enough, a kernel calls an intrinsic whose code is written here, in vectors of a fixed number of lanes. LLVM
translates a vector of any width to the registers that the processor has.

An intrinsic is a typing function, which returns a signature and `vector_code(body, lanes)`. The body receives a
`VectorWriter` and the intrinsic's arguments as LLVM values:

    @intrinsic
    def double(_context, values):
        def body(w, values):  # `values` is a pointer to the first element
            w.store(w.multiply(w.load(values), w.constant(2.0)), values)

        return types.void(values), vector_code(body, lanes=16)

`borrowed` serves kernels that pass many arrays from function to function.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "BYTE",
    "FLOAT",
    "INDEX",
    "INT32",
    "Accumulator",
    "VectorWriter",
    "borrowed",
    "constant_index",
    "target_has",
    "vector_code",
]

INDEX, INT32, BYTE, FLOAT = ir.IntType(64), ir.IntType(32), ir.IntType(8), ir.FloatType()
BIT = ir.IntType(1)


def vector_code(body: Callable[..., Any], lanes: int) -> Callable[..., Any]:
    """Return the code generator of an intrinsic, as Numba calls it.

    Args:
        body: Writes the code: `body(writer, *arguments)`. An array argument arrives as the pointer to its first
            element, a number as its value, a tuple as a tuple of these. It returns the intrinsic's result, or None
            where the signature says void.
        lanes: Lanes of the writer's vectors.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def argument(kind: Any, value: Any) -> Any:
            if isinstance(kind, (types.UniTuple, types.Tuple)):
                return tuple(map(argument, kind.types, cgutils.unpack_tuple(builder, value, len(kind.types))))
            return context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value

        result = body(VectorWriter(context, builder, lanes), *map(argument, signature.args, args))
        return context.get_dummy_value() if result is None else result

    return generate


def target_has(context: Any, *features: str) -> bool:
    """Return whether the processor that Numba's context compiles for has all of LLVM's features, such as "amx-int8"."""
    return {f"+{feature}" for feature in features} <= set(context.codegen().magic_tuple()[2].split(","))


def _lanes(numbers: Iterable[int]) -> Any:
    """Return a constant vector of lanes' numbers, for a shuffle."""
    listed = list(numbers)
    return ir.Constant(ir.VectorType(INT32, len(listed)), listed)


def constant_index(value: Any) -> Any:
    """Wrap an int as an LLVM constant of 64 bits; return an LLVM value unchanged."""
    return ir.Constant(INDEX, value) if isinstance(value, int) else value


class VectorWriter:
    """Appends vector instructions to the function that Numba is compiling.

    Memory is addressed by a pointer and terms that are added to it, in elements of what it points to: an int, an LLVM
    value of 64 bits, or a pair of these, which is their product. `w.load(pixels, (row, 28), column)` loads from
    `pixels[row * 28 + column]`. No alignment is assumed.

    Attributes:
        builder: llvmlite's builder, for instructions that have no method here.
        lanes: Lanes of a vector.
        bytes, ints, longs, floats: The types of vectors of 8, 32 and 64-bit integers and of float32.
    """

    def __init__(self, context: Any, builder: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        self.bytes, self.ints, self.longs, self.floats = (
            ir.VectorType(element, lanes) for element in (BYTE, INT32, INDEX, FLOAT)
        )
        self._context = context

    # Memory

    def at(self, pointer: Any, *terms: Any) -> Any:
        """Return the pointer moved on by the terms."""
        offset = constant_index(0)
        for term in terms:
            number, factor = term if isinstance(term, tuple) else (term, 1)
            product = self.builder.mul(constant_index(number), constant_index(factor))
            offset = self.builder.add(offset, product)
        return self.builder.gep(pointer, [offset])

    def load(self, pointer: Any, *terms: Any, kind: Any = None) -> Any:
        """Load a vector of floats, or a value of another type."""
        kind = kind or self.floats
        return self.builder.load(self.builder.bitcast(self.at(pointer, *terms), kind.as_pointer()), align=1)

    def store(self, value: Any, pointer: Any, *terms: Any) -> None:
        """Store a vector."""
        self.builder.store(value, self.builder.bitcast(self.at(pointer, *terms), value.type.as_pointer()), align=1)

    def broadcast(self, pointer: Any, *terms: Any, kind: Any = FLOAT) -> Any:
        """Load one value into every lane."""
        return self.splat(self.load(pointer, *terms, kind=kind))

    def prefetch(self, pointer: Any, *terms: Any, caches: int = 3) -> None:
        """Ask for the cache line at an address, to be read soon: into all caches, or not into the first one (2)."""
        read, locality, data = (ir.Constant(INT32, value) for value in (0, caches, 1))
        self.call("llvm.prefetch.p0", ir.VoidType(), self.at(pointer, *terms), read, locality, data)

    # Values

    def splat(self, value: Any) -> Any:
        """Put one value into every lane."""
        undefined = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(INT32, 0))
        return self.builder.shuffle_vector(first, undefined, self.constant(0, self.ints))

    def constant(self, value: float, kind: Any = None) -> Any:
        """Return a vector of one constant: floats, or another type of vector."""
        return ir.Constant(kind or self.floats, [value] * self.lanes)

    def add(self, left: Any, right: Any) -> Any:
        """Add floats."""
        return self.builder.fadd(left, right)

    def subtract(self, left: Any, right: Any) -> Any:
        """Subtract floats."""
        return self.builder.fsub(left, right)

    def multiply(self, left: Any, right: Any) -> Any:
        """Multiply floats."""
        return self.builder.fmul(left, right)

    def multiply_add(self, left: Any, right: Any, total: Any) -> Any:
        """Return left * right + total of floats, fused where the processor can do that."""
        return self.call(f"llvm.fmuladd.v{self.lanes}f32", self.floats, left, right, total)

    def has(self, *features: str) -> bool:
        """Return whether the target has all of LLVM's features, such as "amx-int8"."""
        return target_has(self._context, *features)

    def dot_bytes(self, unsigned: Any, signed: Any, total: Any) -> Any:
        """Add to each 32-bit lane the four products of its unsigned and signed bytes.

        One instruction, VPDPBUSD, where the target has AVX512-VNNI and a vector has 16 lanes; USDOT for every 4 lanes
        where it is an ARM with i8mm. Otherwise the same sums in plain vector arithmetic.
        """
        build = self.builder
        if self.lanes == 16 and self.has("avx512vnni"):
            return self.call("llvm.x86.avx512.vpdpbusd.512", self.ints, total, unsigned, signed)
        if self.lanes in {4, 8, 16} and self.has("i8mm"):
            fours = zip(*map(self._fours, (unsigned, signed, total)), strict=True)
            return self._joined([self._usdot(*four) for four in fours])
        for shift in (0, 8, 16, 24):
            byte = build.and_(build.lshr(unsigned, self.constant(shift, self.ints)), self.constant(255, self.ints))
            weight = build.shl(signed, self.constant(24 - shift, self.ints))
            weight = build.ashr(weight, self.constant(24, self.ints))
            total = build.add(total, build.mul(byte, weight))
        return total

    def _usdot(self, unsigned: Any, signed: Any, total: Any) -> Any:
        """Return `dot_bytes` of vectors of 4 lanes."""
        of_bytes = ir.VectorType(BYTE, 16)
        both = (self.builder.bitcast(value, of_bytes) for value in (unsigned, signed))
        return self.call("llvm.aarch64.neon.usdot.v4i32.v16i8", total.type, total, *both)

    def _fours(self, vector: Any) -> list[Any]:
        """Return a vector's lanes as vectors of four."""
        numbers = (_lanes(range(first, first + 4)) for first in range(0, self.lanes, 4))
        return [self.builder.shuffle_vector(vector, vector, four) for four in numbers]

    def _joined(self, parts: list[Any]) -> Any:
        """Return one vector of several that are equally long, a power of two of them."""
        while len(parts) > 1:
            lanes = _lanes(range(2 * parts[0].type.count))
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [self.builder.shuffle_vector(*pair, lanes) for pair in pairs]
        return parts[0]

    def to_float(self, integers: Any) -> Any:
        """Convert signed integers to floats."""
        return self.builder.sitofp(integers, self.floats)

    def compare(self, operator: str, left: Any, right: Any, *, signed: bool = True) -> Any:
        """Compare floats, or integers that are signed or not, lane by lane: `operator` as in Python."""
        kind = left.type.element if isinstance(left.type, ir.VectorType) else left.type
        if not isinstance(kind, ir.IntType):
            return self.builder.fcmp_ordered(operator, left, right)
        return (self.builder.icmp_signed if signed else self.builder.icmp_unsigned)(operator, left, right)

    def minimum(self, left: Any, right: Any) -> Any:
        """Return the lesser of floats or signed integers in each lane."""
        return self.builder.select(self.compare("<", left, right), left, right)

    def maximum(self, first: Any, *others: Any) -> Any:
        """Return the greatest of floats or signed integers in each lane."""
        for other in others:
            first = self.builder.select(self.compare(">", first, other), first, other)
        return first

    def first_lane(self, mask: Any) -> Any:
        """Return the number of the first lane in which a mask is set, or `lanes` where there is none."""
        bits = self.builder.zext(self.builder.bitcast(mask, ir.IntType(self.lanes)), INDEX)
        # A bit beyond the last lane ends the count where no lane is set.
        bits = self.builder.or_(bits, ir.Constant(INDEX, 1 << self.lanes))
        return self.builder.cttz(bits, ir.Constant(BIT, 1))

    def call(self, name: str, result: Any, *values: Any) -> Any:
        """Call an intrinsic of LLVM or a function of C by its name."""
        kind = ir.FunctionType(result, [value.type for value in values])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), values)

    # Loops

    @contextmanager
    def loop(self, first: Any, end: Any = None) -> Iterator[Any]:
        """Loop like `range(first)` or `range(first, end)`; the context is the body, and its value the index."""
        if end is None:
            first, end = 0, first
        with cgutils.for_range(self.builder, constant_index(end), constant_index(first), intp=INDEX) as loop:
            yield loop.index

    def accumulators(self, rows: int, columns: int, kind: Any) -> "list[list[Accumulator]]":
        """Return [rows][columns] sums of a type of vector, set to 0 here."""
        return [[Accumulator(self, kind) for _ in range(columns)] for _ in range(rows)]


class Accumulator:
    """A sum that a loop adds to. LLVM keeps it in a register, if there are enough of them.

    A vector of floats sums products of floats. A vector of 32-bit integers sums products of bytes, four to a lane.
    """

    def __init__(self, writer: VectorWriter, kind: Any) -> None:
        self._writer, self._whole = writer, isinstance(kind.element, ir.IntType)
        self._place = cgutils.alloca_once(writer.builder, kind)
        writer.builder.store(writer.constant(0, kind), self._place)

    @property
    def value(self) -> Any:
        """The sum at this point of the code."""
        return self._writer.builder.load(self._place)

    def add(self, value: Any) -> None:
        """Add a vector."""
        add = self._writer.builder.add if self._whole else self._writer.add
        self._writer.builder.store(add(value, self.value), self._place)

    def add_product(self, left: Any, right: Any) -> None:
        """Add left * right; of bytes, those of `left` are unsigned and those of `right` signed."""
        multiply_add = self._writer.dot_bytes if self._whole else self._writer.multiply_add
        self._writer.builder.store(multiply_add(left, right, self.value), self._place)


@intrinsic
def borrowed(_context, array):
    """Return the same array without its owner, so that Numba does not count references to it.

    Passing an array from one compiled function to another otherwise costs two atomic additions, some 40 cycles, which
    is more than most functions of the augmentation kernels take: without this, `exact` takes four times as long.

    Only for arguments of a function that Python calls, because Python keeps those alive during the call.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.return_type)(context, builder, args[0])
        view.meminfo = ir.Constant(view.meminfo.type, None)
        view.parent = ir.Constant(view.parent.type, None)
        return view._getvalue()  # noqa: SLF001 - the documented way in Numba's own extensions

    return array(array), generate
