"""From the exported float32 graph to the arithmetic that a preset asks for; the only file that knows all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onnx import ModelProto

from stgcn_onnx import deploy, int8
from stgcn_onnx.calibration import calibration_clips, unused_options
from stgcn_onnx.console import Log
from stgcn_onnx.deploy import joint_rank, people_groups
from stgcn_onnx.export import FreeAxes
from stgcn_onnx.half import to_half
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.preset import Preset

# joint_rank multiplies weights that nothing folds in half, and adds to the rounding; people_groups makes a loop, which
# is not lowered, and is of no use on a GPU.
_NOT_WITH: dict[str, Collection[str]] = {"fp16": (joint_rank.NAME, people_groups.NAME)}
"""Rewrites that `deploy: all` leaves out, by precision; a list of names is taken as it is."""


@dataclass(frozen=True)
class Lowered:
    """A graph in its final precision.

    Attributes:
        proto: the graph.
        metadata: what the artefact says of it, JSON values by key.
        calibrated_on: names of the clips that its calibration used.
        suggest: finds layers to exclude where the accuracy is not enough, the worst first.
    """

    proto: ModelProto
    metadata: dict[str, Any]
    calibrated_on: frozenset[str] = frozenset()
    suggest: Callable[[], Sequence[str]] = tuple


def available_rewrites(preset: Preset) -> tuple[deploy.Rewrite, ...]:
    """The rewrites that there are for the preset's precision and runtime, in order."""
    if preset.export.runtime == "openvino":
        return deploy.OPENVINO_REWRITES
    return deploy.INT8_REWRITES if preset.export.precision == "int8" else deploy.REWRITES


def chosen_rewrites(preset: Preset) -> tuple[str, ...]:
    """Names of the rewrites before export, see `deploy.resolve`; some are of no use in a lower precision.

    Raises:
        UsageError: an unknown rewrite.
    """
    chosen = deploy.resolve(preset.export.deploy, available_rewrites(preset))
    if preset.export.deploy != "all":
        return chosen
    return tuple(name for name in chosen if name not in _NOT_WITH.get(preset.export.precision, ()))


def lower(proto: ModelProto, model: LoadedModel, preset: Preset, free: FreeAxes, log: Log) -> Lowered:
    """Bring a float32 graph to the preset's precision.

    Args:
        proto: as it was exported; not changed.
        free: the ranges of the free axes.

    Raises:
        UsageError: the calibration clips or the excluded layers cannot be used.
        ExportError: the graph cannot be lowered.
    """
    precision, options = preset.export.precision, preset.calibration
    unused = [f"calibration.{name}" for name in unused_options(options, precision)]
    if unused:
        log.line("calibrate", f"{', '.join(unused)}: of no meaning for {precision}, not used", style="yellow")
    if precision == "fp32":
        return Lowered(proto, {"precision": precision})
    with log.bar("calibrate") as progress:
        calibration = calibration_clips(model, options, frames=free.frames, on_progress=progress)
        for warning in calibration.warnings:
            log.line("calibrate", warning, style="yellow")
        if precision == "fp16":
            half = to_half(proto, calibration.batches, exclude=options.exclude, on_progress=progress)
            lowered, layers, suggest = half.proto, half.float_layers, half.suggest
        else:
            quantised = int8.quantise(
                proto, calibration.batches, method=options.method, exclude=options.exclude, on_progress=progress
            )
            suggestions = quantised.suggestions
            lowered, layers, suggest = quantised.proto, quantised.float_layers, lambda: suggestions
    kept = f"{len(layers)} {'layer stays' if len(layers) == 1 else 'layers stay'} in float32"
    log.line("precision", f"{precision}, {kept}")
    for layer in layers:
        log.detail("precision", f"{layer.name} stays in float32: {layer.reason}")
    document = {
        "precision": precision,
        "calibration": calibration.document(options),
        "float_layers": [asdict(layer) for layer in layers],
    }
    return Lowered(lowered, document, calibration.frame_dirs, suggest)
