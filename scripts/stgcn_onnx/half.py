"""Half precision: weights and arithmetic in float16, input and output in float32, for GPUs and NPUs.

Some nodes stay in float32:

- what decides: a node that makes indices or truth values of floats (Equal, NonZero, Cast to int), and all that its
  floats are computed from. Rounded, they would choose another row, not a slightly different one.
- what overflows: a node that computes or reads a value which came within `MARGIN` of the largest half, 65504, on the
  calibration clips; and what vanishes: a value, or weights, that never reach the smallest normal half, 6.1e-5.
- operators that the file's opset does not define for half, and what the preset excludes.

A value crosses between the two precisions through one Cast, right after it is computed. The converters at hand
(onnxconverter-common 1.x and its copy in onnxruntime 1.31, `transformers/float16.py`) take a list of nodes to leave
alone as well, but send a value from one such node to the next through half, where it overflows all the same, name the
Cast of a value that two of them read twice, so that onnxruntime refuses the file, and leave the nodes out of order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import AttributeProto, ModelProto, defs

from stgcn_onnx.errors import ExportError
from stgcn_onnx.float_layers import EXCLUDED, FloatLayer, excluded_nodes, node_label
from stgcn_onnx.half_errors import costliest
from stgcn_onnx.half_graph import rewrite_in_half
from stgcn_onnx.runtime import FloatArray
from stgcn_onnx.value_ranges import float_values, largest_magnitudes

LARGEST = 65504.0
SMALLEST_NORMAL = 2.0**-14
MARGIN = 4.0
"""How far below the largest half a value has to stay on the calibration clips: others may reach further."""
_SUGGESTIONS = 5
_DECIDES = "decides which rows are taken"
_NOT_READ = frozenset({"Shape", "Size"})
"""Operators that look at a tensor's shape and not at its values."""


@dataclass(frozen=True)
class Half:
    """A model in half precision, and the nodes that stayed in float32.

    `suggest` finds others to exclude where that is not enough: those that add most to the error, the worst first.
    """

    proto: ModelProto
    float_layers: tuple[FloatLayer, ...]
    suggest: Callable[[], tuple[str, ...]]


def to_half(
    proto: ModelProto,
    clips: Sequence[FloatArray],
    *,
    exclude: Sequence[str],
    on_progress: Callable[[str, int, int], None],
) -> Half:
    """Lower a float32 model to half precision.

    Args:
        proto: as it was exported; not changed.
        clips: `[N, M, T, V, C]` each, on which overflows are looked for.
        exclude: paths of modules or names of nodes that stay in float32.
        on_progress: told what is being done, how much is done, and of how much.

    Raises:
        UsageError: an entry of `exclude` that names nothing.
        ExportError: the graph has branches or loops, which are not converted.
    """
    for node in proto.graph.node:
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            raise ExportError(
                f"fp16: {node_label(node)} holds a graph of its own", hint="leave out what makes it: export.deploy"
            )
    excluded = excluded_nodes(proto, exclude)
    largest = largest_magnitudes(
        proto, clips, on_clip=lambda done, total: on_progress("looking for overflows", done, total)
    )
    floats = frozenset(float_values(proto)) | largest.keys()
    reasons: dict[str, str] = {}
    for label, reason in (
        *((label, EXCLUDED) for label in excluded),
        *((label, _DECIDES) for label in _deciding(proto, floats)),
        *_without_half(proto, floats),
        *_out_of_range(proto, largest),
    ):
        reasons.setdefault(label, reason)
    lowered, types = rewrite_in_half(proto, floats, keep=frozenset(reasons))
    layers = (FloatLayer(label, reasons[label]) for label in map(node_label, proto.graph.node) if label in reasons)
    return Half(lowered, tuple(layers), lambda: costliest(proto, lowered, types, clips[0], _SUGGESTIONS))


def _deciding(proto: ModelProto, floats: frozenset[str]) -> Iterator[str]:
    """Labels of the nodes that make anything but floats of floats, and of all that lead there, backwards."""
    wanted: set[str] = set()
    for node in reversed(proto.graph.node):
        read = [name for name in node.input if name in floats]
        decides = read and node.op_type not in _NOT_READ and not any(name in floats for name in node.output)
        if node.op_type != "Constant" and (decides or wanted.intersection(node.output)):
            wanted.update(read)
            yield node_label(node)


def _without_half(proto: ModelProto, floats: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Nodes whose operator takes or gives no half where this node has floats, or names the type of its result."""
    opset = next(item.version for item in proto.opset_import if item.domain in ("", "ai.onnx"))
    for node in proto.graph.node:
        if node.op_type in ("Cast", "Constant"):
            continue
        schema = defs.get_schema(node.op_type, opset)
        ends = [*_typed(node.input, schema.inputs), *_typed(node.output, schema.outputs)]
        types = {entry.type_param_str: entry.allowed_type_strs for entry in schema.type_constraints}
        fixed = any(attribute.name in ("dtype", "value") for attribute in node.attribute)
        if any(name in floats and "tensor(float16)" not in types.get(kind, [kind]) for name, kind in ends) or (
            fixed and any(name in floats for name in node.output)
        ):
            yield node_label(node), f"{node.op_type} has no half in opset {opset}"


def _typed(names: Sequence[str], formal: Sequence[defs.OpSchema.FormalParameter]) -> Iterator[tuple[str, str]]:
    """Each actual value with its formal type; the last formal one may stand for many."""
    for index, name in enumerate(names):
        yield name, formal[min(index, len(formal) - 1)].type_str


def _out_of_range(proto: ModelProto, largest: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Nodes that compute or read a value which half cannot hold."""
    for node in proto.graph.node:
        for name in (*node.output, *node.input):
            size = largest.get(name, 0.0)
            if size > LARGEST / MARGIN or not size < float("inf"):
                yield node_label(node), f"{name} reaches {size:.3g}; the largest half is {LARGEST:.0f}"
            elif 0.0 < size < SMALLEST_NORMAL:
                yield node_label(node), f"{name} stays below {size:.1e}; half is exact to {SMALLEST_NORMAL:.1e} only"
