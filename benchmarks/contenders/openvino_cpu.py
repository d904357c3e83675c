"""OpenVINO's CPU plugin, graphs built from its operations. For f32 its inference precision is set to f32 (it would take
bf16 by itself), for bf16 to bf16. All operands are inputs of the graph; tensors are bound once. Without the allocator
that the others share, which crashes it: `workers.py` tunes the system's instead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov
from cases import Case
from openvino import opset15 as ops

from contenders import fastest

CHECKED, DTYPES, VERSION = True, ("f32", "bf16"), ov.__version__.split("-")[0]
Node = ov.Node


def _int(*values: int) -> Node:
    return ops.constant(np.array(values if len(values) > 1 else values[0], np.int64))


def _number(value: float, like: Node) -> Node:
    return ops.constant(value, like.get_element_type())


def _permute(x: Node, *order: int) -> Node:
    return ops.transpose(x, _int(*order))


def _mvn(x: Node, eps: float) -> Node:
    return ops.mvn(x, ops.constant(np.array([-1], np.int64)), True, eps, "inside_sqrt")


def _layer_norm(x: Node, gamma: Node, beta: Node, eps: float) -> Node:
    return _mvn(x, eps) * gamma + beta


def _rms_norm(x: Node, gamma: Node, eps: float) -> Node:
    mean = ops.reduce_mean(ops.power(x, _number(2, x)), _int(-1), True)
    return x * (_number(1, x) / ops.sqrt(mean + _number(eps, x))) * gamma


def _residual_layer_norm(x: Node, z: Node, gamma: Node, beta: Node, eps: float) -> list[Node]:
    r = x + z
    return [r, _layer_norm(r, gamma, beta, eps)]


def _cross_entropy(x: Node, label: Node) -> Node:
    own = ops.gather_elements(x, ops.unsqueeze(label, _int(1)), 1)
    return ops.squeeze(_log_sum_exp(x) - own, _int(1))


def _log_sum_exp(x: Node) -> Node:
    m = ops.reduce_max(x, _int(1), True)
    return m + ops.log(ops.reduce_sum(ops.exp(x - m), _int(1), True))


def _cross_entropy_of_log_softmax(x: Node, label: Node) -> Node:
    own = ops.gather_elements(ops.log_softmax(x, 1), ops.unsqueeze(label, _int(1)), 1)
    return ops.squeeze(ops.negative(own), _int(1))


def _chain6(x: Node, z: Node, b: Node) -> Node:
    s = (x + b) * _number(0.5, x)
    r = ops.relu(s) + z
    return r * r - s


def _rotary(x: Node, c: Node, s: Node) -> Node:
    c, s = (ops.unsqueeze(ops.unsqueeze(t, _int(1)), _int(1)) for t in (c, s))
    a, b = ops.split(x, _int(2), 2).outputs()
    times = ops.multiply
    return ops.concat([times(a, c) - times(b, s), times(b, c) + times(a, s)], 2)


def _attention(causal: bool) -> Callable[[Node, Node, Node], Node]:
    def build(q: Node, k: Node, v: Node) -> Node:
        q, k, v = (ops.unsqueeze(t, _int(0)) for t in (q, k, v))
        return ops.squeeze(ops.scaled_dot_product_attention(q, k, v, causal=causal), _int(0))

    return build


def _decode(q: Node, k: Node, v: Node, length: Node) -> Node:
    return ops.scaled_dot_product_attention(q, _permute(k, 0, 2, 1, 3), _permute(v, 0, 2, 1, 3))


def _plain_decode(q: Node, k: Node, v: Node, length: Node) -> Node:
    s = ops.matmul(q * _number(q.get_shape()[-1] ** -0.5, q), _permute(k, 0, 2, 3, 1), False, False)
    return ops.matmul(ops.softmax(s, 3), _permute(v, 0, 2, 1, 3), False, False)


def _product(a: Node, b: Node) -> Node:
    return ops.matmul(a, b, False, False)


FUNCTIONS: dict[str, list[Callable[..., Node | list[Node]]]] = {
    "softmax": [lambda x: ops.softmax(x, 1)],
    "softmax_axis": [lambda x: ops.softmax(x, 1)],
    "log_softmax": [lambda x: ops.log_softmax(x, 1)],
    "cross_entropy": [_cross_entropy, _cross_entropy_of_log_softmax],
    "layer_norm": [_layer_norm],
    "rms_norm": [_rms_norm],
    "residual_layer_norm": [_residual_layer_norm],
    "bias_gelu": [lambda x, b: ops.gelu(x + b, "erf")],
    "bias_gelu_tanh": [lambda x, b: ops.gelu(x + b, "tanh")],
    "chain6": [_chain6],
    "sum_rows": [lambda x: ops.reduce_sum(x, _int(1), False)],
    "sum_columns": [lambda x: ops.reduce_sum(x, _int(0), False)],
    "cumsum_rows": [lambda x: ops.cum_sum(x, _int(1))],
    "transpose": [lambda x: _permute(x, 1, 0)],
    "nchw_to_nhwc": [lambda x: _permute(x, 0, 2, 3, 1)],
    "swap_heads": [lambda x: _permute(x, 0, 2, 1, 3)],
    "gather_rows": [lambda table, index: ops.gather(table, index, _int(0))],
    "rotary": [_rotary],
    "matmul": [_product],
    "matmul_nt": [lambda a, b: ops.matmul(a, b, False, True)],
    "matmul_bias": [lambda a, b, bias: _product(a, b) + bias],
    "matmul_bias_gelu": [lambda a, b, bias: ops.gelu(_product(a, b) + bias, "erf")],
    "matmul_residual": [lambda a, b, bias, r: _product(a, b) + bias + r],
    "attention": [_attention(False)],
    "attention_causal": [_attention(True)],
    "attention_decode": [_decode, _plain_decode],
}


def _way(
    build: Callable[..., Node | list[Node]], case: Case, inputs: dict[str, np.ndarray], threads: int
) -> Callable[[], object]:
    parameters, arguments, tensors = [], [], []
    for array in inputs.values():
        if array.ndim == 0:
            arguments.append(float(array))  # an attribute of the operation
            continue
        dtype = ov.Type.bf16 if array.dtype.kind == "V" else ov.Type(array.dtype)
        parameters.append(ops.parameter(array.shape, dtype))
        arguments.append(parameters[-1])
        bits = array.view(np.uint16) if dtype == ov.Type.bf16 else array
        tensors.append(ov.Tensor(bits, ov.Shape(array.shape), dtype))
    built = build(*arguments)
    model = ov.Model(built if isinstance(built, list) else [built], parameters, "program")
    settings = {
        "INFERENCE_PRECISION_HINT": case.dtype,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # the process keeps to its CPUs already
    }
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    for k, tensor in enumerate(tensors):
        request.set_input_tensor(k, tensor)
    outputs = [request.get_output_tensor(k) for k in range(len(case.op.outputs))]

    def call(held: object = tensors) -> list[ov.Tensor]:
        request.infer()
        return outputs

    return call


def arrays(answer: list[ov.Tensor]) -> list[np.ndarray]:
    return [_widened(t) if t.element_type == ov.Type.bf16 else t.data for t in answer]


def _widened(tensor: ov.Tensor) -> np.ndarray:
    """A bf16 is the upper half of an f32."""
    return (tensor.data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    ways = [_way(build, case, inputs, threads) for build in FUNCTIONS[case.program]]
    return fastest(ways) if len(ways) > 1 else ways[0]
