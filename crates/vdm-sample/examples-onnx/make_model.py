"""Writes signs.onnx: the best denoiser of components that are -1 or 1, tanh(z * alpha / sigma^2)."""

import onnx
from onnx import TensorProto, helper

nodes = [
    helper.make_node("Sigmoid", ["log_snr"], ["var_signal"]),
    helper.make_node("Sqrt", ["var_signal"], ["alpha"]),
    helper.make_node("Neg", ["log_snr"], ["gamma"]),
    helper.make_node("Sigmoid", ["gamma"], ["var_noise"]),
    helper.make_node("Div", ["alpha", "var_noise"], ["scale"]),
    helper.make_node("Mul", ["z", "scale"], ["scaled"]),
    helper.make_node("Tanh", ["scaled"], ["image"]),
]
value = helper.make_tensor_value_info
graph = helper.make_graph(
    nodes,
    "signs",
    [value("z", TensorProto.FLOAT, ["batch", "dims"]), value("log_snr", TensorProto.FLOAT, [])],
    [value("image", TensorProto.FLOAT, ["batch", "dims"])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, "signs.onnx")
