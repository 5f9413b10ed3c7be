"""What each layer costs in accuracy when it is computed in 8 bits, found by measuring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from stgcn_onnx.int8.graph import Layers, with_8_bits
from stgcn_onnx.metrics import probability_difference, softmax
from stgcn_onnx.runtime import FloatArray, Session

_CLIPS = 48
_TARGET = 0.005
"""Mean difference of the probability that is good enough on these clips: half of what verification allows."""
_LEAST_GAIN = 0.001
"""By how much that difference has to fall for a layer to be worth its time in float."""
_MOST_LEFT_OUT = 3


@dataclass(frozen=True)
class Effects:
    """Layers that were left in float, all others, each with what it gains, and the difference that is left."""

    left_out: tuple[tuple[str, float], ...]
    gains: tuple[tuple[str, float], ...]
    reached: float


def measure_effects(
    graph: ModelProto,
    ranges: Any,
    layers: Layers,
    clips: Sequence[FloatArray],
    on_progress: Callable[[str, int, int], None],
) -> Effects:
    """Leave the costliest layer in float until the answers are close enough, and say what the others cost.

    A layer's gain is by how much the mean absolute difference of the probabilities, against the float graph, falls
    when the layer stays in float and all others do not.

    Args:
        graph: from `graph.prepared`.
        ranges: from `value_ranges`.
        layers: that can be quantised.
        clips: `[N, M, T, V, C]` each; those on which the float graph is least sure are looked at.
        on_progress: told what is being done, how far it is, and of how much.
    """
    sample, expected = _least_sure(clips, _probabilities(graph, clips), _CLIPS)

    def distance(without: Sequence[str]) -> float:
        quantised = with_8_bits(graph, ranges, layers.nodes(without=without))
        return float(probability_difference(_probabilities(quantised, sample), expected).mean())

    reached = distance([])
    gains = []
    for done, layer in enumerate(layers.weighted, start=1):
        gains.append((layer, reached - distance([layer])))
        on_progress("measuring layers", done, len(layers.weighted))
    gains.sort(key=lambda item: -item[1])
    left_out = 0
    most = min(_MOST_LEFT_OUT, len(gains) - 1)
    while reached > _TARGET and left_out < most and gains[left_out][1] >= _LEAST_GAIN:
        left_out += 1
        reached = distance([layer for layer, _ in gains[:left_out]])
    return Effects(tuple(gains[:left_out]), tuple(gains[left_out:]), reached)


def _least_sure(
    clips: Sequence[FloatArray], probabilities: npt.NDArray[np.float64], count: int
) -> tuple[list[FloatArray], npt.NDArray[np.float64]]:
    """The `count` clips whose two likeliest classes are closest, where an error shows, and their probabilities."""
    per_clip = probabilities.reshape(len(clips), -1, probabilities.shape[1])  # (clips * N, classes) -> (clips, N, ..)
    ordered = np.sort(per_clip, axis=2)
    lead = (ordered[..., -1] - ordered[..., -2]).min(axis=1)  # (clips, N, classes) -> (clips,)
    chosen = np.sort(np.argsort(lead, kind="stable")[:count])
    return [clips[index] for index in chosen], per_clip[chosen].reshape(-1, probabilities.shape[1])


def _probabilities(graph: ModelProto, clips: Sequence[FloatArray]) -> npt.NDArray[np.float64]:
    session = Session(graph.SerializeToString(), spinning=False)
    return softmax(np.concatenate([session.run(clip) for clip in clips]))
