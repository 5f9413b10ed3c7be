"""What an ONNX file of ours says about itself, so that nobody has to guess how to feed it.

Users of exported recognisers most often ask what the input has to be normalised like (open-mmlab/mmaction2#2703,
mmdeploy#2754). All values are JSON; nothing depends on the machine or the folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from stgcn_onnx.deploy import Applied
from stgcn_onnx.export import INPUT_NAME, OUTPUT_NAME
from stgcn_onnx.joints import JOINTS
from stgcn_onnx.model import LoadedModel, graph_layout, test_pipeline
from stgcn_onnx.preset import Preset
from stgcn_onnx.runtime import onnxruntime_version

FORMAT_VERSION = 1
_PACKAGES = ("torch", "onnx", "mmaction2", "mmengine", "mmcv-lite", "numpy")


def describe(
    model: LoadedModel,
    preset: Preset,
    *,
    preset_name: str,
    applied: Sequence[Applied],
    blocks: Mapping[str, str],
    precision: Mapping[str, Any],
) -> dict[str, Any]:
    """The metadata of an artefact, as JSON values by key.

    Args:
        applied: the rewrites made before export.
        blocks: names of values in the graph by the path of the module that computes them.
        precision: the arithmetic, and what was done to lower it; see `precision.Lowered`.
    """
    return {
        "format_version": FORMAT_VERSION,
        "preset": preset_name,
        "opset": preset.export.opset,
        "exporter": preset.export.exporter,
        "runtime": preset.export.runtime,
        "deploy": [{"name": a.name, "count": a.count, "refusals": list(a.refusals)} for a in applied],
        "versions": _versions(preset),
        "config": _config(model),
        "checkpoint": {
            "file": model.checkpoint.path.name,
            "sha256": model.checkpoint.sha256,
            "trusted": model.checkpoint.trusted,
        },
        "axes": preset.axes.model_dump(),
        "input": _input(model),
        "output": {
            "name": OUTPUT_NAME,
            "shape": ["N", "classes"],
            "dtype": "float32",
            "meaning": "logits; a softmax over the classes gives probabilities",
            "classes": class_names(model),
        },
        "verification": preset.verify.model_dump(include=_limits(preset)) if preset.verify.enabled else "skipped",
        "blocks": dict(blocks),
        **precision,
    }


def _versions(preset: Preset) -> dict[str, str]:
    """Of the packages that the file's bytes depend on; calibration runs onnxruntime, whatever its package is called."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    return versions if preset.export.precision == "fp32" else versions | {"onnxruntime": onnxruntime_version()}


def _limits(preset: Preset) -> set[str]:
    """The keys of `verify` that a file of this precision is held to."""
    if preset.export.precision == "fp32":
        return {"rtol", "atol"}
    return {"min_agreement", "max_probability_difference", "max_top1_drop"}


def class_names(model: LoadedModel) -> list[str]:
    """The classes in the order of the logits: from the config or the checkpoint's data set, else their numbers."""
    values = model.config.values
    dataset_meta = model.checkpoint.meta.get("dataset_meta", {})
    for found in (values.get("class_names"), values.get("classes"), dataset_meta.get("classes")):
        if isinstance(found, list | tuple) and len(found) == model.num_classes:
            return [str(name) for name in found]
    return [str(index) for index in range(model.num_classes)]


def _config(model: LoadedModel) -> dict[str, Any]:
    own, *bases = model.config.files
    return {
        "file": own.path.name,
        "sha256": own.sha256,
        "bases": [{"file": base.path.name, "sha256": base.sha256} for base in bases],
        "trusted": model.config.trusted,
    }


def _input(model: LoadedModel) -> dict[str, Any]:
    layout = graph_layout(model.config)
    return {
        "name": INPUT_NAME,
        "shape": ["N clips", "M people", "T frames", "V joints", "C channels"],
        "traced_shape": list(model.shape.sizes()),
        "dtype": "float32",
        "layout": layout or "custom",
        "joints": list(JOINTS.get(layout or "", ())),
        "channels": ["x", "y", "score or z"][: model.shape.channels],
        "absent_person": "all zeros in every frame, after normalisation",
        "pipeline": _plain(test_pipeline(model.config)),
    }


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is ...:
        return "..."
    return value if isinstance(value, str | int | float | bool) or value is None else repr(value)
