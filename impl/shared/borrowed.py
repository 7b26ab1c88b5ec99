"""Arrays that Numba does not count references of.

Passing an array from one compiled function to another costs two atomic additions, some 40 cycles, which is more than
most of the functions here do: without this, `exact` takes four times as long.
"""

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

__all__ = ["borrowed"]


@intrinsic
def borrowed(_context, array):
    """Return the same array without its owner. Only for arguments of a function that Python calls: it keeps them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.return_type)(context, builder, args[0])
        view.meminfo = ir.Constant(view.meminfo.type, None)
        view.parent = ir.Constant(view.parent.type, None)
        return view._getvalue()  # noqa: SLF001 - the documented way in Numba's own extensions

    return array(array), generate
