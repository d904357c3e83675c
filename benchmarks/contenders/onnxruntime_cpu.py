"""ONNX Runtime's CPU provider: the operator of ONNX, or of its own set (`com.microsoft`), nearest to the program. All
operands are inputs of the graph (none is a weight that could be packed ahead) and bound once, as are the outputs; views
that move no bytes are taken outside the graph. Where there are several graphs, the fastest counts. f32 only: it has no
bf16 kernels for these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from cases import Case
from onnx import helper

from contenders import fastest

CHECKED, DTYPES, VERSION = True, ("f32",), ort.__version__
OPSET, IR_VERSION = 24, 11
Array = np.ndarray
Nodes = list[onnx.NodeProto]


@dataclass(frozen=True)
class Graph:
    """`feeds` by name, in any view; `outputs` with the shapes the graph gives; constants are small index arrays."""

    nodes: Nodes
    feeds: dict[str, Array]
    outputs: dict[str, tuple[int, ...]]
    constants: dict[str, Array]


def _node(op: str, inputs: str, outputs: str, domain: str = "", **attributes: object) -> onnx.NodeProto:
    """Names by blanks; `-` stands for an input or output left out."""
    names = [["" if n == "-" else n for n in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op, *names, domain=domain, **attributes)


def _graph(nodes: onnx.NodeProto | Nodes, feeds: dict[str, Array], **outputs: tuple[int, ...]) -> Graph:
    used = {name for node in (nodes if isinstance(nodes, list) else [nodes]) for name in node.input}
    return Graph(
        nodes if isinstance(nodes, list) else [nodes],
        {k: a for k, a in feeds.items() if k in used},
        outputs,
        {k: a for k, a in {"zero": np.array([0]), "one": np.array([1])}.items() if k in used},
    )


def _own(op: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return _node(op, inputs, outputs, "com.microsoft", **attributes)


def _like(op: str, inputs: str, **attributes: object) -> Callable[[dict[str, Array]], list[Graph]]:
    """One node whose result has the shape of `x`."""
    return lambda f: [_graph(_node(op, inputs, "y", **attributes), f, y=f["x"].shape)]


def _transpose(*order: int) -> Callable[[dict[str, Array]], list[Graph]]:
    node = _node("Transpose", "x", "y", perm=order)
    return lambda f: [_graph(node, f, y=tuple(f["x"].shape[k] for k in order))]


def _sum(axis: int) -> Callable[[dict[str, Array]], list[Graph]]:
    node = _node("ReduceSum", f"x {('zero', 'one')[axis]}", "y", keepdims=0)
    return lambda f: [_graph(node, f, y=(f["x"].shape[1 - axis],))]


def _epsilon(f: dict[str, Array]) -> float:
    return float(f["eps"])


def _cross_entropy(f: dict[str, Array]) -> list[Graph]:
    loss = _node("SoftmaxCrossEntropyLoss", "x label", "y", reduction="none")
    picked = [
        _node("ReduceLogSumExp", "x one", "lse", keepdims=1),
        _node("Unsqueeze", "label one", "column"),
        _node("GatherElements", "x column", "own", axis=1),
        _node("Sub", "lse own", "rows"),
        _node("Squeeze", "rows one", "y"),
    ]
    return [_graph(nodes, f, y=f["label"].shape) for nodes in (loss, picked)]


def _layer_norm(f: dict[str, Array]) -> list[Graph]:
    node = _node("LayerNormalization", "x gamma beta", "y", axis=-1, epsilon=_epsilon(f))
    return [_graph(node, f, y=f["x"].shape)]


def _rms_norm(f: dict[str, Array]) -> list[Graph]:
    new = _node("RMSNormalization", "x gamma", "y", axis=-1, epsilon=_epsilon(f))
    old = _node("SimplifiedLayerNormalization", "x gamma", "y", axis=-1, epsilon=_epsilon(f))
    return [_graph(node, f, y=f["x"].shape) for node in (new, old)]


def _residual_layer_norm(f: dict[str, Array]) -> list[Graph]:
    f = {name: a[None] if a.ndim == 2 else a for name, a in f.items()}
    node = _own("SkipLayerNormalization", "x z gamma beta", "y - - r", epsilon=_epsilon(f))
    plain = [_node("Add", "x z", "r"), _node("LayerNormalization", "r gamma beta", "y", axis=-1, epsilon=_epsilon(f))]
    return [_graph(nodes, f, r=f["x"].shape, y=f["x"].shape) for nodes in (node, plain)]


def _gelu(approximate: str) -> Callable[[dict[str, Array]], list[Graph]]:
    fused = _own("FastGelu" if approximate == "tanh" else "BiasGelu", "x b", "y")
    plain = [_node("Add", "x b", "t"), _node("Gelu", "t", "y", approximate=approximate)]
    return lambda f: [_graph(nodes, f, y=f["x"].shape) for nodes in (fused, plain)]


def _chain6(f: dict[str, Array]) -> list[Graph]:
    nodes = [
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        _node("Add", "x b", "a"),
        _node("Mul", "a half", "s"),
        _node("Relu", "s", "t"),
        _node("Add", "t z", "r"),
        _node("Mul", "r r", "q"),
        _node("Sub", "q s", "y"),
    ]
    return [_graph(nodes, f, y=f["x"].shape)]


def _gather(f: dict[str, Array]) -> list[Graph]:
    shape = (f["index"].shape[0], f["table"].shape[1])
    return [_graph(_node("Gather", "table index", "y", axis=0), f, y=shape)]


def _rotary(f: dict[str, Array]) -> list[Graph]:
    """x (S, H, 2, F) is (1, S, H 2 F) here."""
    s, h, _, half = f["x"].shape
    places = np.arange(s)[None]
    view = {"x": f["x"].reshape(1, s, h * 2 * half), "c": f["c"], "s": f["s"], "places": places}
    own = _own("RotaryEmbedding", "x places c s", "y", num_heads=h)
    new = _node("RotaryEmbedding", "x c s places", "y", num_heads=h)
    return [_graph(node, view, y=view["x"].shape) for node in (own, new)]


def _product(tail: str, transposed: int = 0) -> Callable[[dict[str, Array]], list[Graph]]:
    """Gemm adds the bias; what comes after it is a node of its own, for the library to fuse."""

    def build(f: dict[str, Array]) -> list[Graph]:
        shape = (f["a"].shape[0], f["b"].shape[1 - transposed])
        last = {"": "c", "Gelu": "t", "Add": "t"}[tail]
        nodes = [_node("Gemm", "a b bias" if "bias" in f else "a b", last, transB=transposed)]
        nodes += {"": [], "Gelu": [_node("Gelu", "t", "c")], "Add": [_node("Add", "t r", "c")]}[tail]
        graphs = [_graph(nodes, f, c=shape)]
        if not tail and not transposed and "bias" not in f:
            graphs.append(_graph(_node("MatMul", "a b", "c"), f, c=shape))
        return graphs

    return build


def _attention(causal: int) -> Callable[[dict[str, Array]], list[Graph]]:
    """(H, S, D) with a batch of one before it; MultiHeadAttention wants its queries as (1, S, H D)."""

    def build(f: dict[str, Array]) -> list[Graph]:
        f = {name: a[None] for name, a in f.items()}
        (_, h, s, d), e = f["q"].shape, f["v"].shape[-1]
        new = _node("Attention", "q k v", "o", is_causal=causal)
        own = [
            _node("Transpose", "q", "p", perm=(0, 2, 1, 3)),
            _node("Reshape", "p packed", "query"),
            _own("MultiHeadAttention", "query k v", "out", num_heads=h, unidirectional=causal),
            _node("Reshape", "out heads", "parts"),
            _node("Transpose", "parts", "o", perm=(0, 2, 1, 3)),
        ]
        shapes = {"packed": np.array([1, s, h * d]), "heads": np.array([1, s, h, e])}
        outputs = {"o": (1, h, s, e)}
        return [Graph([new], f, outputs, {}), Graph(own, f, outputs, shapes)]

    return build


def _decode(f: dict[str, Array]) -> list[Graph]:
    """The caches (B, T, G, D) are (B, T, G D) here, the queries (B, 1, G R D)."""
    b, g, r, _ = f["q"].shape
    view = {"q": f["q"].reshape(b, 1, -1), "k": f["k"].reshape(*f["k"].shape[:2], -1)}
    view["v"] = f["v"].reshape(*f["v"].shape[:2], -1)
    node = _node("Attention", "q k v", "o", q_num_heads=g * r, kv_num_heads=g)
    return [_graph(node, view, o=(b, 1, g * r * f["v"].shape[-1]))]


FUNCTIONS: dict[str, Callable[[dict[str, Array]], list[Graph]]] = {
    "softmax": _like("Softmax", "x", axis=-1),
    "softmax_axis": _like("Softmax", "x", axis=1),
    "log_softmax": _like("LogSoftmax", "x", axis=-1),
    "cross_entropy": _cross_entropy,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "residual_layer_norm": _residual_layer_norm,
    "bias_gelu": _gelu("none"),
    "bias_gelu_tanh": _gelu("tanh"),
    "chain6": _chain6,
    "sum_rows": _sum(1),
    "sum_columns": _sum(0),
    "cumsum_rows": _like("CumSum", "x one"),
    "transpose": _transpose(1, 0),
    "nchw_to_nhwc": _transpose(0, 2, 3, 1),
    "swap_heads": _transpose(0, 2, 1, 3),
    "gather_rows": _gather,
    "rotary": _rotary,
    "matmul": _product(""),
    "matmul_nt": _product("", transposed=1),
    "matmul_bias": _product(""),
    "matmul_bias_gelu": _product("Gelu"),
    "matmul_residual": _product("Add"),
    "attention": _attention(0),
    "attention_causal": _attention(1),
    "attention_decode": _decode,
}


def model_of(graph: Graph) -> onnx.ModelProto:
    def value(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)

    inputs = [value(name, a.dtype, a.shape) for name, a in graph.feeds.items()]
    outputs = [value(name, np.dtype(np.float32), shape) for name, shape in graph.outputs.items()]
    constants = [onnx.numpy_helper.from_array(a.astype(np.int64), name) for name, a in graph.constants.items()]
    body = helper.make_graph(graph.nodes, "program", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)


def _bound(graph: Graph, case: Case, threads: int) -> Callable[[], object]:
    """Raises where the library refuses the graph."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model_of(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    answers = [np.empty(shape, np.float32) for shape in graph.outputs.values()]
    held = {name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(a)) for name, a in graph.feeds.items()}
    results = {n: ort.OrtValue.ortvalue_from_numpy(a) for n, a in zip(graph.outputs, answers, strict=True)}
    for name, value in held.items():
        binding.bind_ortvalue_input(name, value)
    for name, value in results.items():
        binding.bind_ortvalue_output(name, value)
    shaped = [a.reshape(shape) for a, shape in zip(answers, case.output_shapes, strict=True)]

    def call(held: object = (held, results)) -> list[Array]:
        session.run_with_iobinding(binding)
        return shaped

    return call


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    ways = [_bound(graph, case, threads) for graph in FUNCTIONS[case.program](inputs)]
    return fastest(ways) if len(ways) > 1 else ways[0]
