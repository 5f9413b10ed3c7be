"""Small graphs, written out, for the tests of what lowers their precision."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper, parser

from stgcn_onnx.runtime import FloatArray, Session

CLIP_SHAPE = (1, 2, 4, 3, 2)
_HEAD = (
    '<ir_version: 9, opset_import: ["" : {opset}]> recogniser (float[N, 2, T, 3, 2] input) => (float[A, B] output) {{'
)


def graph(body: str, opset: int = 17, **weights: object) -> ModelProto:
    """A model of the nodes in `body`, from `input` `[N, 2, T, 3, 2]` to `output`, with names for its nodes."""
    model: ModelProto = parser.parse_model(f"{_HEAD.format(opset=opset)}\n{body}\n}}")
    for node in model.graph.node:
        node.name = f"/{node.output[0]}"
    for name, values in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model)


def clips(count: int = 3, scale: float = 1.0) -> list[FloatArray]:
    rng = np.random.default_rng(0)
    return [(scale * rng.normal(size=CLIP_SHAPE)).astype(np.float32) for _ in range(count)]


def run(model: ModelProto, clip: FloatArray) -> FloatArray:
    return Session(model.SerializeToString()).run(clip)
