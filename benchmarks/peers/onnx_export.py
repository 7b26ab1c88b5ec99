"""The trained network as an ONNX model, for the peers that read ONNX."""

import numpy as np
import pytest
from torch import nn

__all__ = ["BATCHES", "onnx_model"]

BATCHES = 16, 50, 100, 250, 1000
"""Batch sizes that each peer is tried with."""


def onnx_model(model: nn.Module) -> bytes:
    """Return the network of `impl.evaluation.model`, scaling included: uint8 [N, 28, 28] to logits, float32 [N, 10]."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    constants = {name: tensor.numpy() for name, tensor in model.state_dict().items() if "num_batches" not in name}
    constants |= {"scale": np.array(1 / 127.5, np.float32), "one": np.array(1, np.float32)}
    constants |= {"shape": np.array([-1, 1, 28, 28])}
    nodes, last = [], "images"

    def append(name: str, *constants: str, **attributes: object) -> None:
        nonlocal last
        output = f"after{len(nodes)}"
        nodes.append(helper.make_node(name, [last, *constants], [output], **attributes))
        last = output

    append("Cast", to=kind.FLOAT)
    append("Mul", "scale")
    append("Sub", "one")
    append("Reshape", "shape")
    for number in (1, 2):
        append("Conv", f"conv{number}.weight", f"conv{number}.bias")
        append("BatchNormalization", *(f"norm{number}.{k}" for k in ("weight", "bias", "running_mean", "running_var")))
        append("Relu")
        append("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    append("Flatten")
    append("Gemm", "linear.weight", "linear.bias", transB=1)
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("images", kind.UINT8, ["N", 28, 28])],
        [helper.make_tensor_value_info(last, kind.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    serialised: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return serialised
