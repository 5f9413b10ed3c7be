"""A quantised file without what makes it larger than it has to be.

Three quarters of the names in a quantised graph are those of the nodes that round, each spelt out twice, and what
stays in float holds constants, of which half precision keeps enough beside 8 bits: a third of the file's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from stgcn_onnx.half import LARGEST, SMALLEST_NORMAL

_ROUNDING = ("QuantizeLinear", "DequantizeLinear")
_LARGE = 256


def compact(model: ModelProto) -> ModelProto:
    """A copy with short names for all that rounding needs, and large float constants in half precision."""
    smaller = ModelProto()
    smaller.CopyFrom(model)
    del smaller.graph.value_info[:]
    _drop_unused_domains(smaller)
    _drop_zero_points(smaller)
    _halve_constants(smaller)
    _rename(smaller, _short_names(smaller))
    return smaller


def _drop_unused_domains(model: ModelProto) -> None:
    """onnxruntime's optimiser declares every domain that it knows."""
    used = {node.domain for node in model.graph.node}
    kept = [item for item in model.opset_import if item.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _drop_zero_points(model: ModelProto) -> None:
    """Zero points of weights and biases, one zero for each channel: that is what their absence stands for."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        zeros = constants.get(node.input[2]) if node.op_type == "DequantizeLinear" and len(node.input) > 2 else None
        if zeros is not None and node.input[0] in constants and not numpy_helper.to_array(zeros).any():
            del node.input[2]
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _halve_constants(model: ModelProto) -> None:
    """Large float constants as halves and a Cast, which runtimes compute when they load the file."""
    graph = model.graph
    scales = {name for node in graph.node if node.op_type in _ROUNDING for name in node.input}
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in scales:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _LARGE or not _fits(values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *rest])


def _fits(values: np.ndarray) -> bool:
    """Whether halves hold the values: all within range, and the largest of them not among the smallest."""
    return bool(np.isfinite(values).all()) and SMALLEST_NORMAL < float(np.abs(values).max()) < LARGEST


def _short_names(model: ModelProto) -> Mapping[str, str]:
    """Short names of what the rounding nodes give and of the constants they read; the network's values keep theirs."""
    graph = model.graph
    given = {name for node in graph.node if node.op_type in _ROUNDING for name in node.output}
    read = {name for node in graph.node if node.op_type in _ROUNDING for name in node.input}
    constants = {tensor.name for tensor in graph.initializer}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    fresh = (name for name in _numbered() if name not in taken)
    public = {value.name for value in (*graph.input, *graph.output)}
    wanted = [*(name for node in graph.node for name in node.output if name in given), *sorted(read & constants)]
    return {name: next(fresh) for name in wanted if name not in public}


def _numbered() -> Iterator[str]:
    number = 0
    while True:
        yield f"q{number}"
        number += 1


def _rename(model: ModelProto, names: Mapping[str, str]) -> None:
    for node in model.graph.node:
        if node.op_type in _ROUNDING:
            node.ClearField("name")
        _rename_ends(node, names)
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)


def _rename_ends(node: NodeProto, names: Mapping[str, str]) -> None:
    for ends in (node.input, node.output):
        renamed = [names.get(name, name) for name in ends]
        del ends[:]
        ends.extend(renamed)
