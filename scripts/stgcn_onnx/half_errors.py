"""Which nodes of a graph in half precision lose most: what to exclude when its accuracy is not enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper

from stgcn_onnx.float_layers import node_label
from stgcn_onnx.half_emulation import rounding_session
from stgcn_onnx.runtime import FloatArray, Session

_AT_A_TIME = 16
"""How many values leave the graph in one run: of a large batch they take much memory."""


def costliest(
    proto: ModelProto, lowered: ModelProto, halves: Mapping[str, int], clip: FloatArray, count: int
) -> tuple[str, ...]:
    """Labels of the nodes that add most to the relative error of what they compute, the worst first.

    Args:
        proto: in float32.
        lowered: the same in half; values have the same names.
        halves: the types that the values of `lowered` are computed in, by name.
        clip: an input `[N, M, T, V, C]`.
        count: how many to name, at most.
    """
    names = [name for node in proto.graph.node for name in node.output if name in halves]
    error: dict[str, float] = {}
    for start in range(0, len(names), _AT_A_TIME):
        some = names[start : start + _AT_A_TIME]
        floats = dict.fromkeys(some, int(TensorProto.FLOAT))
        exact = Session(_watched(proto, some, floats).SerializeToString(), spinning=False).run_all(clip)
        found = rounding_session(_watched(lowered, some, halves)).run_all(clip)
        error |= {name: _relative_error(found[name], exact[name]) for name in some}
    added = {}
    for node in proto.graph.node:
        own = [error[name] for name in node.output if name in error]
        if own:
            added[node_label(node)] = max(own) - max((error.get(name, 0.0) for name in node.input), default=0.0)
    ranked: Sequence[str] = sorted(added, key=lambda label: -added[label])
    return tuple(label for label in ranked[:count] if added[label] > 0)


def _watched(model: ModelProto, names: Sequence[str], types: Mapping[str, int]) -> ModelProto:
    """The model with these values as outputs."""
    watched = ModelProto()
    watched.CopyFrom(model)
    present = {output.name for output in model.graph.output}
    for name in names:
        if name not in present:
            watched.graph.output.append(helper.make_tensor_value_info(name, types[name], None))
    return watched


def _relative_error(found: FloatArray, exact: FloatArray) -> float:
    """Euclidean, 0 for a value that is zero throughout; infinite where `found` is not finite."""
    norm = float(np.linalg.norm(exact.astype(np.float64)))
    off = float(np.linalg.norm(found.astype(np.float64) - exact))
    return (off / norm if np.isfinite(off) else float("inf")) if norm else 0.0
