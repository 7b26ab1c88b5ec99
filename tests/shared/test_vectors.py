"""Vector instructions for processors that this machine is not: ARM's are compiled here, and emulated to be run."""

import ctypes
import os
import re
import subprocess
import sys
import types

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from impl.shared.vectors import BYTE, INT32, VectorWriter

ARM = "aarch64-unknown-linux-gnu"
BYTES = BYTE.as_pointer()


@pytest.fixture(scope="module", autouse=True)
def targets():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def dots(lanes, features, writer=VectorWriter):
    """Return a module with a function that adds the dot products of unsigned and signed bytes to some sums."""
    module = ir.Module()
    kind = ir.FunctionType(ir.VoidType(), [BYTES, BYTES, INT32.as_pointer()])
    builder = ir.IRBuilder(ir.Function(module, kind, "dots").append_basic_block())
    context = types.SimpleNamespace(codegen=lambda: types.SimpleNamespace(magic_tuple=lambda: (ARM, "", features)))
    w = writer(context, builder, lanes)
    unsigned, signed, sums = builder.function.args
    w.store(w.dot_bytes(*(w.load(given, kind=w.ints) for given in (unsigned, signed, sums))), sums)
    builder.ret_void()
    return str(module)


def compiled(text, triple, features):
    """Return assembly, and the module's machine code is thrown away."""
    module = llvm.parse_assembly(text)
    module.verify()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu="generic", features=features, opt=3)
    module.triple, module.data_layout = triple, str(machine.target_data)
    return machine.emit_assembly(module)


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_arm_has_one_instruction_for_four_dot_products(lanes):
    assert len(re.findall(r"\busdot\b", compiled(dots(lanes, "+neon,+i8mm"), ARM, "+neon,+i8mm"))) == lanes // 4
    assert "usdot" not in compiled(dots(lanes, "+neon"), ARM, "+neon")


class Emulated(VectorWriter):
    """Writes for an ARM, with plain arithmetic in place of its instruction."""

    def call(self, name, result, *values):
        if "usdot" not in name:
            return super().call(name, result, *values)
        assert name == "llvm.aarch64.neon.usdot.v4i32.v16i8"
        total, *both = values
        plain = VectorWriter(
            types.SimpleNamespace(codegen=lambda: types.SimpleNamespace(magic_tuple=lambda: ("",) * 3)), self.builder, 4
        )
        return plain.dot_bytes(*(self.builder.bitcast(value, plain.ints) for value in both), total)


@pytest.mark.parametrize("writer", [Emulated, VectorWriter], ids=["in fours", "plain"])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_dot_products_are_put_together_in_order(lanes, writer):
    random = np.random.default_rng(lanes)
    unsigned = random.integers(0, 256, (lanes, 4), np.uint8)
    signed = random.integers(-128, 128, (lanes, 4), np.int8)
    sums = random.integers(-(10**6), 10**6, lanes, np.int32)
    expected = sums + (unsigned.astype(np.int32) * signed).sum(axis=1, dtype=np.int32)
    module = llvm.parse_assembly(dots(lanes, "+i8mm" if writer is Emulated else "", writer))
    target = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(engine.get_function_address("dots"))
    call(*(array.ctypes.data for array in (unsigned, signed, sums)))
    assert sums.tolist() == expected.tolist()


# Compiles every kernel of two cases for a processor of which nothing is known, and prints LLVM's code of each.
KERNELS = """
import torch
from numba.core.codegen import CPUCodeLibrary
from impl.augmentation import VARIANTS as AUGMENTATION, Config
from impl.evaluation import VARIANTS as EVALUATION, low_precision, model as network
from impl.variant import best_of

optimise = CPUCodeLibrary._optimize_final_module
def show(library):
    optimise(library)
    print(f"; KERNEL {library.name}", library._final_module, sep="\\n")
CPUCodeLibrary._optimize_final_module = show
low_precision.features = lambda: frozenset({"i8mm"})  # so that it takes the kernel that an ARM takes
low_precision.missing = lambda: None
data = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (3,))
for name in ("optimised", "low_precision"):
    EVALUATION[name].build(network.build().eval())(*data)
AUGMENTATION[best_of(AUGMENTATION)]("a text of words", Config(dataset_size=3))
AUGMENTATION["exact"]("a text of words", Config(dataset_size=3))
"""


def test_every_kernel_compiles_for_an_arm(tmp_path):
    settings = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", KERNELS]
    printed = subprocess.run(
        command, check=True, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True
    ).stdout
    names, texts = zip(*(part.split("\n", 1) for part in printed.split("; KERNEL ")[1:]), strict=True)
    for kernel in ("predict_float", "predict_int8", "fill_rows", "misspell_rows"):
        assert any(kernel in name for name in names), kernel
    for name, text in zip(names, texts, strict=True):
        plain = re.sub(r"^target (triple|datalayout) = .*$", "", text, flags=re.MULTILINE)
        # Numba's count of references, which LLVM has made for x86 before it is linked to a kernel.
        plain = plain.replace("llvm.x86.atomic.sub.cc.i64", "atomic_sub_cc").replace(" immarg", "")
        assert "llvm.x86" not in plain, name
        assert compiled(plain, ARM, "+neon")
