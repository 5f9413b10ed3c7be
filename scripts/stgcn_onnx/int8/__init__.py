"""Static 8-bit quantisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from stgcn_onnx.errors import UsageError
from stgcn_onnx.float_layers import FloatLayer
from stgcn_onnx.runtime import FloatArray


@dataclass(frozen=True)
class Quantised:
    """A quantised model, the layers that stayed in float, and which others to exclude where that is not enough."""

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
    """Quantise a float model; `on_progress` is told what is done, how far, and of how much.

    Raises:
        UsageError: always, until the quantiser is there.
    """
    del proto, clips, exclude, on_progress
    raise UsageError(f"int8: the quantiser ({method}) is not there yet", hint="use fp32 or fp16")
