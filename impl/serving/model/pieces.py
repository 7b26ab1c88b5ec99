"""Work in pieces that the members of a team, threads of compiled code, share without the GIL.

Each member has a share of each step, in pieces that follow each other. A member that has finished its own share takes
pieces from the others. A step waits for pieces and not for threads. So a thread that has been preempted delays the
others by at most the piece that it has taken, and one that has not started does not delay them at all.
"""

import os
import platform

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from ...shared.vectors import INDEX, INT32, constant_index, vector_code
from .rows import OPTIONS

__all__ = ["PIECES", "counters_of", "pieces_of_step"]

PIECES = 4
"""Pieces of a member's share."""

POLLS = 4000
"""Polls of a counter before the core is offered to other threads: some 0.1 ms."""


@intrinsic
def _count(_context, counters, place):
    """Add 1 to a counter, int64; return its value before. Who sees the new value also sees all writes before it."""

    def body(w, counters, place):
        return w.builder.atomic_rmw("add", w.at(counters, place), constant_index(1), "acq_rel")

    return types.int64(counters, place), vector_code(body, lanes=1)


@intrinsic
def _wait(_context, counters, place, wanted):
    """Wait until a counter has reached `wanted`.

    It is usually microseconds away, so this polls. After `POLLS` polls it offers the core to other threads, in case the
    one that is waited for has been preempted.
    """

    def body(w, counters, place, wanted):
        builder = w.builder
        counter = w.at(counters, place)
        polls = cgutils.alloca_once(builder, INDEX)
        builder.store(constant_index(0), polls)
        poll, wait, done = (builder.append_basic_block(name) for name in ("poll", "wait", "done"))
        builder.branch(poll)
        builder.position_at_end(poll)
        builder.cbranch(builder.icmp_signed("<", builder.load_atomic(counter, "acquire", 8), wanted), wait, done)
        builder.position_at_end(wait)
        builder.store(builder.add(builder.load(polls), constant_index(1)), polls)
        if platform.machine() in ("x86_64", "AMD64"):
            w.call("llvm.x86.sse2.pause", ir.VoidType())
        if os.name == "posix":
            with builder.if_then(builder.icmp_signed(">", builder.load(polls), constant_index(POLLS)), likely=False):
                w.call("sched_yield", INT32)
        builder.branch(poll)
        builder.position_at_end(done)

    return types.void(counters, place, wanted), vector_code(body, lanes=1)


def counters_of(steps: int, team: int) -> NDArray[np.int64]:
    """Return counters of so many steps: of each, the pieces of each member's share that were taken, and all done."""
    return np.zeros((steps, team + 1), np.int64)


@njit(**OPTIONS)
def pieces_of_step(counters, step, member):
    """Yield the numbers of pieces, below PIECES * team, that no other member has taken; then wait until all are done.

    `counters` are those of `counters_of`, before the first member begins.
    """
    width = counters.shape[1]
    team, done = width - 1, width * step + width - 1
    for other in range(team):
        owner = (member + other) % team
        piece = _count(counters, width * step + owner)
        while piece < PIECES:
            yield PIECES * owner + piece
            _count(counters, done)
            piece = _count(counters, width * step + owner)
    _wait(counters, done, PIECES * team)
