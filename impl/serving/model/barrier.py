"""A barrier for threads that run compiled code without the GIL."""

import os
import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...shared.vectors import INT32, constant_index, vector_code

__all__ = ["RELEASED", "barrier"]

POLLS = 4000
"""Polls of the counter before the core is offered to other threads: some 0.1 ms."""
RELEASED = 2**40
"""Added to the counter when a member of the team fails, so that no other member waits for it."""


@intrinsic
def barrier(_context, counter, team):
    """Wait until all `team` members have called this as many times.

    `counter`, int64 [1], starts at 0 and counts the calls. From `RELEASED` on, no call waits.

    The other members are usually microseconds away, so a member that waits polls the counter. After `POLLS` polls it
    offers its core to other threads, in case a late member has been preempted.
    """

    def body(w, counter, team):
        builder = w.builder
        before = builder.atomic_rmw("add", counter, constant_index(1), "acq_rel")
        wanted = builder.mul(builder.add(builder.sdiv(before, team), constant_index(1)), team)
        wanted = builder.select(builder.icmp_signed("<", before, constant_index(RELEASED)), wanted, constant_index(0))
        polls = cgutils.alloca_once_value(builder, constant_index(0))
        builder.store(constant_index(0), polls)
        poll, wait, done = (builder.append_basic_block(name) for name in ("poll", "wait", "done"))
        builder.branch(poll)
        builder.position_at_end(poll)
        arrived = builder.load_atomic(counter, "acquire", 8)
        builder.cbranch(builder.icmp_signed("<", arrived, wanted), wait, done)
        builder.position_at_end(wait)
        builder.store(builder.add(builder.load(polls), constant_index(1)), polls)
        if platform.machine() in ("x86_64", "AMD64"):
            w.call("llvm.x86.sse2.pause", ir.VoidType())
        if os.name == "posix":
            with builder.if_then(builder.icmp_signed(">", builder.load(polls), constant_index(POLLS)), likely=False):
                w.call("sched_yield", INT32)
        builder.branch(poll)
        builder.position_at_end(done)

    return types.void(counter, team), vector_code(body, lanes=1)
