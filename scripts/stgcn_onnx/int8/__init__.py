"""Static 8-bit quantisation: `QuantizeLinear` and `DequantizeLinear` round what is to be computed in 8 bits.

onnxruntime's calibrators and quantiser do the work. What they do badly for this network is mended around them: the
graph comes in a form made for 8 bits (deploy/frame_major.py), the adjacencies, which multiply from the left, get one
unsigned scale (ranges per channel would keep their product in float), and layers that cost accuracy stay in float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx
from onnx import ModelProto

from stgcn_onnx.float_layers import EXCLUDED, FloatLayer, excluded_nodes
from stgcn_onnx.int8.compact import compact
from stgcn_onnx.int8.effects import measure_effects
from stgcn_onnx.int8.graph import layers_of, prepared, with_8_bits
from stgcn_onnx.int8.ranges import value_ranges
from stgcn_onnx.runtime import FloatArray

_SUGGESTIONS = 5

__all__ = ["Quantised", "quantise"]


@dataclass(frozen=True)
class Quantised:
    """A quantised model, the layers that stayed in float, and which others to exclude where that is not enough.

    The suggestions are the layers that cost most, the worst first.
    """

    proto: ModelProto
    float_layers: tuple[FloatLayer, ...]
    suggestions: tuple[str, ...]


def quantise(
    proto: ModelProto,
    clips: Sequence[FloatArray],
    *,
    method: str,
    exclude: Sequence[str],
    on_progress: Callable[[str, int, int], None],
) -> Quantised:
    """Quantise a float32 model.

    Args:
        proto: as it was exported, opset 13 or later; not changed.
        clips: `[N, M, T, V, C]` each, to calibrate on.
        method: min-max, entropy or percentile.
        exclude: paths of modules or names of nodes that stay in float.
        on_progress: told what is being done, how far it is, and of how much.

    Raises:
        UsageError: an entry of `exclude` that names nothing.
        ExportError: nothing in the graph can be quantised.
    """
    excluded = excluded_nodes(proto, exclude)
    graph = prepared(proto)
    layers = layers_of(graph, excluded)
    ranges = value_ranges(graph, clips, method, layers.nodes(), on_progress)
    effects = measure_effects(graph, ranges, layers, clips, on_progress)
    kept = [FloatLayer(name, EXCLUDED) for name in exclude]
    kept += [FloatLayer(name, reason) for name, reason in layers.floating]
    kept += [FloatLayer(name, "costs accuracy in 8 bits", cost) for name, cost in effects.left_out]
    quantised = compact(with_8_bits(graph, ranges, layers.nodes(without=[name for name, _ in effects.left_out])))
    onnx.checker.check_model(quantised)
    suggestions = tuple(name for name, _ in effects.costs[:_SUGGESTIONS])
    return Quantised(quantised, tuple(kept), suggestions)
