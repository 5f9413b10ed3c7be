"""The network that is exported: backbone and head, from a clip of skeletons to logits.

MMAction2's `RecognizerGCN.forward` takes six axes and returns features in its tensor mode, so exporting it as it is
gives a file without scores. `Recogniser` is what a camera pipeline needs: `[N, M, T, V, C]` to logits.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stgcn_onnx.checkpoint import Checkpoint, fit, read_checkpoint
from stgcn_onnx.config import RecogniserConfig, load_config, resolve_config_path
from stgcn_onnx.errors import UsageError, first_line
from stgcn_onnx.mmaction import load_mmaction
from stgcn_onnx.preset import InputShape, ModelSource


@dataclass(frozen=True)
class ClipShape:
    """Shape of the input: N clips of M people over T frames, V joints of C channels."""

    batch: int
    person: int
    frames: int
    joints: int
    channels: int

    def sizes(self) -> tuple[int, int, int, int, int]:
        return (self.batch, self.person, self.frames, self.joints, self.channels)

    def with_sizes(self, *, batch: int | None = None, frames: int | None = None) -> ClipShape:
        return replace(self, batch=batch or self.batch, frames=frames or self.frames)

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.sizes()))}]"


class Recogniser(nn.Module):
    """Backbone and classification head of an MMAction2 `RecognizerGCN`."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, clip: Tensor) -> Tensor:
        features = self.backbone(clip)  # (N, M, T, V, C) -> (N, M, C', T', V)
        logits: Tensor = self.head(features)  # (N, M, C', T', V) -> (N, classes)
        return logits


@dataclass(frozen=True)
class LoadedModel:
    """A recogniser with trained weights, in evaluation mode, and what is known of its input and output."""

    recogniser: Recogniser
    shape: ClipShape
    num_classes: int
    config: RecogniserConfig
    checkpoint: Checkpoint


def load_model(source: ModelSource, shape: InputShape) -> LoadedModel:
    """Build the config's recogniser and load its checkpoint.

    Raises:
        UsageError: the config is missing, is no skeleton recogniser, or does not fit the requested shape.
        CheckpointError: the checkpoint cannot be read safely or does not fit.
    """
    config = load_config(resolve_config_path(source.config, Path()), trust=source.trust_config)
    checkpoint = read_checkpoint(Path(source.checkpoint), expected_sha256=source.sha256, trust=source.trust_checkpoint)
    network = build_network(config)
    fit(network, checkpoint, config=config.path)
    recogniser = Recogniser(network.backbone, network.cls_head).eval()
    clip_shape = _clip_shape(config, recogniser.backbone, shape)
    num_classes = _probe(recogniser, clip_shape, config.path)
    return LoadedModel(recogniser, clip_shape, num_classes, config, checkpoint)


def build_network(config: RecogniserConfig) -> nn.Module:
    """The config's `RecognizerGCN`, with initial weights.

    Raises:
        UsageError: `model` is missing, is of another type, or MMAction2 refuses its arguments.
    """
    spec = config.values.get("model")
    if not isinstance(spec, Mapping) or spec.get("type") not in {"RecognizerGCN", "mmaction.RecognizerGCN"}:
        found = f"model.type '{spec.get('type')}'" if isinstance(spec, Mapping) else "no `model`"
        raise UsageError(
            f"config {config.path}: expected a skeleton recogniser (model.type 'RecognizerGCN'), found {found}",
            hint="give the config of a skeleton recogniser, such as ST-GCN++",
        )
    load_mmaction()
    from mmaction.registry import MODELS

    try:
        network: nn.Module = MODELS.build(copy.deepcopy(dict(spec)))
    except Exception as error:  # whatever a constructor of MMAction2 raises is about the config's arguments
        raise UsageError(
            f"config {config.path}: MMAction2 cannot build its model: {first_line(error)}",
            hint="correct `model` in the config",
        ) from error
    return network.eval()


def graph_layout(config: RecogniserConfig) -> str | None:
    """The name of the skeleton's joint layout (`coco`, `nturgb+d`, `openpose`), or None for a layout of one's own."""
    layout = config.values["model"]["backbone"].get("graph_cfg", {}).get("layout", "coco")
    return layout if isinstance(layout, str) else None


def test_pipeline(config: RecogniserConfig) -> list[dict[str, Any]]:
    """The config's own test pipeline, or its validation pipeline, or nothing."""
    for key in ("test_pipeline", "val_pipeline"):
        if config.values.get(key):
            return list(config.values[key])
    return []


def pipeline_person_count(transforms: Sequence[Mapping[str, Any]]) -> int | None:
    """How many people `FormatGCNInput` leaves in a clip, M; wrapped pipelines are searched as well."""
    for transform in transforms:
        if transform.get("type") == "FormatGCNInput":
            return int(transform.get("num_person", 2))
        nested = pipeline_person_count(transform.get("transforms", ()))
        if nested is not None:
            return nested
    return None


def _clip_shape(config: RecogniserConfig, backbone: nn.Module, wanted: InputShape) -> ClipShape:
    spec = config.values["model"]["backbone"]
    from_config = pipeline_person_count(test_pipeline(config)) or int(spec.get("num_person", 2))
    channels = int(spec.get("in_channels", 3))
    joints = int(backbone.graph.num_node)
    return ClipShape(wanted.batch_size, wanted.num_person or from_config, wanted.num_frames, joints, channels)


def _probe(recogniser: Recogniser, shape: ClipShape, config: Path) -> int:
    """Run the network once at the requested shape; its number of classes."""
    try:
        with torch.inference_mode():
            logits = recogniser(torch.zeros(shape.with_sizes(batch=1).sizes()))
    except RuntimeError as error:
        raise UsageError(
            f"config {config}: the network cannot take {shape} [N, M, T, V, C]: {first_line(error)}",
            hint="change input.num_frames or input.num_person",
        ) from error
    return int(logits.shape[-1])
