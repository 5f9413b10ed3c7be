"""How large the values inside a graph get on given clips: what decides whether half precision can hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from stgcn_onnx.errors import ExportError
from stgcn_onnx.runtime import FloatArray, Session

_PREFIX = "largest magnitude of "


def float_values(proto: ModelProto) -> list[str]:
    """Names of the float32 values that the graph's nodes compute, in the order of computation.

    Raises:
        ExportError: onnx cannot tell the type of a value.
    """
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    computed = [name for node in inferred.node for name in node.output if name]
    unknown = [name for name in computed if not types.get(name)]
    if unknown:
        raise ExportError(f"onnx cannot tell the type of '{unknown[0]}' in the graph", hint="try the other exporter")
    return [name for name in computed if types[name] == TensorProto.FLOAT]


def largest_magnitudes(
    proto: ModelProto, clips: Sequence[FloatArray], *, on_clip: Callable[[int, int], None]
) -> Mapping[str, float]:
    """The largest absolute value of every float value of the graph over all clips, weights and input included.

    The graph itself takes the maxima, so that no value has to leave it.

    Args:
        proto: a float32 model; not changed.
        clips: inputs, `[N, M, T, V, C]` each.
        on_clip: told how many inputs are done, and of how many.
    """
    names = float_values(proto)
    session = Session(_with_maxima(proto, names), spinning=False)
    found = dict.fromkeys(names, 0.0)
    found[session.input_name] = 0.0
    for index, clip in enumerate(clips):
        found[session.input_name] = max(found[session.input_name], _largest(clip))
        for name, value in session.run_all(clip).items():
            if name.startswith(_PREFIX):
                key = name.removeprefix(_PREFIX)
                found[key] = max(found[key], float(value))
        on_clip(index + 1, len(clips))
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            found[tensor.name] = _largest(numpy_helper.to_array(tensor))
    return found


def _with_maxima(proto: ModelProto, names: Iterable[str]) -> bytes:
    model = ModelProto()
    model.CopyFrom(proto)
    for name in names:
        magnitude = f"magnitude of {name}"
        # Without `axes` and with `keepdims` 0 the maximum is taken over everything, in every opset.
        model.graph.node.extend(
            [
                helper.make_node("Abs", [name], [magnitude]),
                helper.make_node("ReduceMax", [magnitude], [_PREFIX + name], keepdims=0),
            ]
        )
        model.graph.output.append(helper.make_tensor_value_info(_PREFIX + name, TensorProto.FLOAT, []))
    content: bytes = model.SerializeToString()
    return content


def _largest(values: FloatArray) -> float:
    return float(np.abs(values).max(initial=0.0))
