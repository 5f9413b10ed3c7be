"""From a PyTorch module to the bytes of an ONNX file; the only file that imports `torch.onnx`.

Two exporters, chosen explicitly. `torchscript` writes opset 11 to 20 and is deprecated; newer opsets are reached with
onnx's version converter. `dynamo` starts at opset 18, writes a second data file unless told otherwise and leaves local
paths in the nodes' metadata (both removed here). The result is one self-contained model in the standard domain, and
the same bytes each time.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx
import torch
from onnx import ModelProto, version_converter
from torch import nn

from stgcn_onnx.errors import ExportError, UsageError, first_line
from stgcn_onnx.model import ClipShape
from stgcn_onnx.runtime import newest_opset

INPUT_NAME = "input"
OUTPUT_NAME = "output"
BATCH_AXIS = "batch_size"
FRAMES_AXIS = "num_frames"
_TORCHSCRIPT_OPSETS = (11, 20)
_DYNAMO_OLDEST_OPSET = 18


@dataclass(frozen=True)
class FreeAxes:
    """Declared ranges of the free axes, as (smallest, largest); None where the axis is fixed."""

    batch: tuple[int, int] | None = None
    frames: tuple[int, int] | None = None

    def by_position(self) -> Mapping[int, str]:
        """Axis positions of the input, with the symbolic names they have in the file."""
        named = {0: (BATCH_AXIS, self.batch), 2: (FRAMES_AXIS, self.frames)}
        return {position: name for position, (name, limits) in named.items() if limits is not None}


def check_opset(opset: int, exporter: str) -> None:
    """Refuse an opset that the exporter or the runtime does not know.

    Raises:
        UsageError: with the range that works.
    """
    newest = newest_opset()
    oldest = _DYNAMO_OLDEST_OPSET if exporter == "dynamo" else _TORCHSCRIPT_OPSETS[0]
    if not oldest <= opset <= newest:
        raise UsageError(
            f"export.opset is {opset}; the {exporter} exporter and the installed onnxruntime take {oldest} to {newest}",
            hint="choose an opset in that range" + (" or exporter torchscript" if exporter == "dynamo" else ""),
        )


def export(module: nn.Module, shape: ClipShape, free: FreeAxes, *, opset: int, exporter: str) -> ModelProto:
    """Export `module` (`[N, M, T, V, C]` float32 to `[N, classes]`) to an ONNX model.

    Args:
        shape: the traced shape.
        free: axes that stay symbolic.
        exporter: `torchscript` or `dynamo`.

    Raises:
        UsageError: the opset is out of range.
        ExportError: the exporter fails, or the file it wrote breaks the contract.
    """
    check_opset(opset, exporter)
    example = torch.zeros(shape.sizes())
    # People who are all zero may be left out of the arithmetic; the traced clip has everybody present.
    example += torch.linspace(0.1, 0.9, example.numel()).reshape(shape.sizes())
    write = _export_dynamo if exporter == "dynamo" else _export_torchscript
    try:
        with _quiet():
            model = write(module, example, free, opset)
    except Exception as error:
        raise ExportError(
            f"the {exporter} exporter failed at opset {opset}: {first_line(error)}",
            hint="try another opset, the other exporter, or deploy: none",
        ) from error
    return model


def _export_torchscript(module: nn.Module, example: torch.Tensor, free: FreeAxes, opset: int) -> ModelProto:
    axes = free.by_position()
    traced_opset = min(opset, _TORCHSCRIPT_OPSETS[1])
    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        (example,),
        buffer,
        dynamo=False,
        opset_version=traced_opset,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamic_axes={
            INPUT_NAME: dict(axes),
            OUTPUT_NAME: {0: BATCH_AXIS} if 0 in axes else {},
        },
    )
    model = onnx.load_from_string(buffer.getvalue())
    if traced_opset < opset:
        model = version_converter.convert_version(model, opset)
    return model


def _export_dynamo(module: nn.Module, example: torch.Tensor, free: FreeAxes, opset: int) -> ModelProto:
    limits = {0: free.batch, 2: free.frames}
    dynamic = {
        position: torch.export.Dim(name, min=limits[position][0], max=limits[position][1])  # type: ignore[index]
        for position, name in free.by_position().items()
    }
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        opset_version=opset,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamic_shapes=(dynamic,),
        external_data=False,
        verbose=False,
    )
    model: ModelProto = program.model_proto
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' progress and deprecation notices out of the log; errors still raise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
