"""The graph on its way to 8 bits: made ready, divided into layers, and quantised."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, NodeProto
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from stgcn_onnx.blocks import scope_of, shortened
from stgcn_onnx.errors import ExportError
from stgcn_onnx.float_layers import node_label

OPERATORS = ("Conv", "MatMul", "Add", "Concat", "MaxPool", "Relu", "Transpose", "Reshape")
"""Operators that are computed in 8 bits, or hand 8 bits on."""
_LAYER_DEPTH = 3
_DOTS_OF_A_BLOCK = 2
_WEIGHTED = ("Conv", "MatMul")


@dataclass(frozen=True)
class Layers:
    """The nodes that can be quantised, by the path of their module, and what else stays in float and why."""

    members: Mapping[str, tuple[str, ...]]
    weighted: tuple[str, ...]
    floating: tuple[tuple[str, str], ...]

    def nodes(self, *, without: Collection[str] = ()) -> list[str]:
        """Names of the nodes of all layers but those of `without`."""
        return [node for layer, nodes in self.members.items() if layer not in without for node in nodes]


def prepared(proto: ModelProto) -> ModelProto:
    """The graph with its constants folded and the shapes of its values, as the quantiser wants it."""
    with tempfile.TemporaryDirectory() as folder:
        # As a file: of a model in memory it moves the weights out into a file of its own.
        source, target = Path(folder) / "source.onnx", Path(folder) / "prepared.onnx"
        onnx.save(proto, source)
        quant_pre_process(source, target, skip_symbolic_shape=True)
        return onnx.load(target)


def layers_of(graph: ModelProto, excluded: Collection[str]) -> Layers:
    """Divide the backbone's nodes into layers: graph convolutions, temporal convolutions, residuals.

    What is in front of the first layer and behind the last one stays in float: who is present, the coordinates of the
    first block, the mean over people, frames and joints, and the classifier.

    Raises:
        ExportError: no node is left, or nodes do not say which module they are from.
    """
    constants = {tensor.name for tensor in graph.graph.initializer}
    entries = {_layer_of(node) for node in graph.graph.node if _is_entry(node, constants)}
    members: dict[str, list[str]] = {}
    weighted: dict[str, None] = {}
    for node in graph.graph.node:
        layer = _layer_of(node)
        if node.op_type not in OPERATORS or not layer or layer in entries or node_label(node) in excluded:
            continue
        members.setdefault(layer, []).append(node.name)
        if node.op_type in _WEIGHTED:
            weighted[layer] = None
    if not weighted:
        raise ExportError(
            "int8: the graph has no layer to quantise: its nodes carry no module names, or all are excluded",
            hint="use the torchscript exporter, or exclude less",
        )
    floating = tuple((layer, "8 bits of a coordinate are too few") for layer in sorted(entries - {""}))
    return Layers({layer: tuple(nodes) for layer, nodes in members.items()}, tuple(weighted), floating)


def with_8_bits(graph: ModelProto, ranges: Any, nodes: Sequence[str]) -> ModelProto:
    """A copy of the graph in which `nodes` compute in 8 bits.

    Args:
        graph: from `prepared`.
        ranges: onnxruntime's `TensorsData`, from `value_ranges`.
        nodes: their names.
    """
    copy = ModelProto()
    copy.CopyFrom(graph)
    constants = {tensor.name for tensor in graph.graph.initializer}
    wanted = set(nodes)
    left = {node.input[0] for node in graph.graph.node if node.name in wanted and node.op_type == "MatMul"} & constants
    quantiser = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=list(nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=list(OPERATORS),
        extra_options={"TensorQuantOverrides": {name: [{"quant_type": QuantType.QUInt8}] for name in sorted(left)}},
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    quantised: ModelProto = quantiser.model.model
    return quantised


def _layer_of(node: NodeProto) -> str:
    """`backbone.gcn.1.tcn`, or `backbone.gcn.1` for what joins its parts; empty for a node outside of the blocks."""
    layer = shortened(scope_of(node.name), _LAYER_DEPTH)
    return layer if layer.startswith("backbone.") and layer.count(".") >= _DOTS_OF_A_BLOCK else ""


def _is_entry(node: NodeProto, constants: Collection[str]) -> bool:
    """Whether the node multiplies coordinates by a constant from the right (deploy/frame_major.py, first block)."""
    return node.op_type in ("MatMul", "Gemm") and len(node.input) > 1 and node.input[1] in constants
