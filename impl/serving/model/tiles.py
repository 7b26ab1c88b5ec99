"""Matrix products of bytes by AMX, which multiplies a tile of 16 rows by 64 bytes with one of 64 bytes by 16 columns.

`multiply_tiles` computes exactly what `products.multiply_bytes` does, from the same panels of weights. It is used where
the processor has AMX and the operating system grants it. Four of the eight tile registers sum two tiles of rows by the
32 columns of a panel; the other four hold what is multiplied. A product takes a cycle for each row of a tile, so tiles
have no more rows than it takes to divide all rows evenly.

Rows of activations are kept in groups of 64 columns, uint8 [inner / 64, rows, 64], so that a tile is one piece of
memory. If whole rows were, those of a tile would be 1 or 4 KiB apart, and compete for the same lines of the cache.
"""

import ctypes
import platform

from llvmlite import ir
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from ...shared.vectors import BYTE, constant_index, target_has, vector_code
from .products import LANES, PANEL, store_scaled
from .rows import OPTIONS

__all__ = ["CONFIG", "DEPTH", "PAIR", "granted", "multiply_tiles"]

HEIGHT = 16
"""The most rows of a tile."""
PAIR = 2 * HEIGHT
"""The most rows that are summed at a time."""
DEPTH = 64
"""Bytes of a row of a tile: 64 columns of activations, or 16 columns by 4 rows of weights."""
CONFIG = 64
"""Bytes of the configuration of the tile registers."""

SUMS, ROWS, COLUMNS = (0, 1, 2, 3), (4, 5), (6, 7)  # the registers
LINES = DEPTH * PANEL // 64  # cache lines of a panel that one pass of the loop reads
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILE_DATA = 158, 0x1023, 18  # of x86-64 Linux: asm/unistd_64.h, asm/prctl.h
FEATURES = "amx-tile", "amx-int8"


def granted() -> bool:
    """Ask the operating system for the tile registers, for all threads; return whether compiled code may use them."""
    if platform.system() != "Linux" or not target_has(cpu_target.target_context, *FEATURES):
        return False
    return bool(ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0)


def _tile(w, name, *values):
    """Write an instruction on tile registers, whose numbers are constants; there is none for other processors."""
    if w.has(*FEATURES):
        values = [ir.Constant(BYTE, value) if isinstance(value, int) else value for value in values]
        values = [w.builder.bitcast(v, BYTE.as_pointer()) if isinstance(v.type, ir.PointerType) else v for v in values]
        w.call(f"llvm.x86.{name}", ir.VoidType(), *values)


@intrinsic
def _begin(_context, config):
    """Configure the tile registers."""
    return types.void(config), vector_code(lambda w, config: _tile(w, "ldtilecfg", config), LANES)


@intrinsic
def _end(_context):
    """Free the tile registers: in use, the operating system saves them whenever it switches threads."""
    return types.void(), vector_code(lambda w: _tile(w, "tilerelease"), LANES)


def _store_row(w, sums, i, row, panel, of_rows, of_columns, result):
    """Write the code that makes the results of row `i` of `sums`, int32 [rows, 32], for row `row + i` of a product."""
    out, pitch, add = result
    place = w.builder.add(row, i)
    step, zero = (w.broadcast(values, place) for values in of_rows)
    for first in range(0, PANEL, LANES):
        column = w.builder.add(w.builder.mul(panel, constant_index(PANEL)), constant_index(first))
        total = w.load(sums, (i, PANEL), first, kind=w.ints)
        target = w.at(out, (place, pitch), column)
        store_scaled(w, total, (step, w.builder.fneg(zero)), of_columns, column, target, add)


@intrinsic
def _store(_context, sums, half, block, of_rows, of_columns, result):
    """Make results of sums.

    Args:
        sums: int32 [2, 32, 32].
        half: Which of them, 0 or 1.
        block: What they are the sums of: rows, the first of them, and a panel.
        of_rows: Steps and zeros, float32 [rows].
        of_columns: Scales, totals and bias, float32 [columns].
        result: Where to, float32, how many numbers its rows are apart, and whether to add.
    """

    def body(w, sums, half, block, of_rows, of_columns, result):
        rows, row, panel = block
        with w.loop(rows) as i:
            _store_row(w, w.at(sums, (half, PAIR * PANEL)), i, row, panel, of_rows, of_columns, result)

    return types.void(sums, half, block, of_rows, of_columns, result), vector_code(body, LANES)


@intrinsic
def _sum(_context, codes, panels, block, fetched, sums, half, before, of_rows, of_columns, result):
    """Sum the products of two tiles of rows and one panel, and make the results of the block before meanwhile.

    So vector instructions run while tiles are multiplied: each pass of the loop makes the results of some rows.

    Args:
        codes: The rows, in groups of 64 columns; the number of groups, and how many bytes they are apart.
        panels: Weights.
        block: Rows, the first of them, and a panel.
        fetched: A panel to prefetch from, the first line of it, and the lines of each pass of the loop.
        sums: int32 [2, 32, 32].
        half: Where the sums go, 0 or 1.
        before: The block whose sums are in the other half, with no rows at first.
        of_rows: As for `_store`, like the following.
        of_columns: Likewise.
        result: Likewise.
    """

    def body(w, codes, panels, block, fetched, sums, half, before, of_rows, of_columns, result):
        (codes, turns, apart), (rows, row, panel), (coming, begin, lines) = codes, block, fetched
        rows_before, row_before, panel_before = before
        builder = w.builder
        here = w.at(sums, (half, PAIR * PANEL))
        there = w.at(sums, (builder.sub(constant_index(1), half), PAIR * PANEL))
        height = builder.sdiv(rows, constant_index(2))
        line = constant_index(4 * PANEL)  # bytes from one row of a tile to the next, of weights and of sums
        weights = w.at(panels, (panel, builder.mul(turns, constant_index(DEPTH * PANEL))))
        upper = w.at(codes, (row, DEPTH))
        lower = w.at(upper, (height, DEPTH))
        some = builder.sdiv(builder.add(rows_before, builder.sub(turns, constant_index(1))), turns)
        for register in SUMS:
            _tile(w, "tilezero", register)
        with w.loop(turns) as turn:
            number_of_line = builder.add(begin, builder.mul(turn, lines))
            with w.loop(lines) as number:
                w.prefetch(coming, (builder.add(number_of_line, number), 64), caches=2)
            for number, register in enumerate(COLUMNS):
                _tile(w, "tileloadd64", register, w.at(weights, (turn, DEPTH * PANEL), 4 * LANES * number), line)
            for rows_of_tile, register in zip((upper, lower), ROWS, strict=True):
                _tile(w, "tileloadd64", register, w.at(rows_of_tile, (turn, apart)), constant_index(DEPTH))
            for number, register in enumerate(SUMS):
                _tile(w, "tdpbusd", register, ROWS[number // 2], COLUMNS[number % 2])
            first = builder.mul(turn, some)
            last = builder.add(first, some)
            last = builder.select(builder.icmp_signed("<", last, rows_before), last, rows_before)
            with w.loop(first, last) as i:
                _store_row(w, there, i, row_before, panel_before, of_rows, of_columns, result)
        for number, register in enumerate(SUMS):
            place = w.at(here, (height, PANEL * (number // 2)), LANES * (number % 2))
            _tile(w, "tilestored64", register, place, line)

    return (
        types.void(codes, panels, block, fetched, sums, half, before, of_rows, of_columns, result),
        vector_code(body, LANES),
    )


@njit(**OPTIONS)
def _configure(config, height):
    """Write a configuration: tiles of `height` rows for sums and activations, and of 16 for weights."""
    config[:] = 0
    config[0] = 1  # the only palette
    for register in range(8):
        config[16 + 2 * register] = DEPTH
        config[48 + register] = HEIGHT if register in COLUMNS else height


@njit(**OPTIONS)
def multiply_tiles(scratch, rows, codes, of_rows, panels, of_columns, first, last, then, out, add):
    """Multiply `rows` rows, and up to 31 more, by the panels `first` to `last` - 1 of a matrix, in int8.

    `scratch` is of this thread: uint8 [CONFIG] and int32 [2, PAIR, PANEL]. `codes` are uint8 [inner / 64, rows, 64],
    `of_rows` the steps and zeros, and `of_columns` the scales, totals and bias. Everything else is as for
    `products.multiply_bytes`.
    """
    config, sums = scratch
    pairs = (rows + PAIR - 1) // PAIR
    height = (rows + 2 * pairs - 1) // (2 * pairs)
    lines = (LINES + pairs - 1) // pairs
    groups, result = (codes, len(codes), codes.shape[1] * DEPTH), (out, out.shape[1], add)
    _configure(config, height)
    _begin(config)
    half, before = 0, (0, 0, 0)
    for panel in range(first, last):
        coming = panels[panel + 1] if panel + 1 < last else then
        for pair in range(pairs):
            block = 2 * height, 2 * height * pair, panel
            fetched = coming, len(codes) * lines * pair, lines
            _sum(groups, panels, block, fetched, sums, half, before, of_rows, of_columns, result)
            half, before = 1 - half, block
    _end()
    _store(sums, 1 - half, before, of_rows, of_columns, result)
