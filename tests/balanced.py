"""The tiny model with a head that is undecided: its answers differ from clip to clip, so that a change of it shows.

With random weights it gives every clip the same class with certainty, whatever is done to its file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from tiny import CONFIG, Tiny, quiet, write_tiny

from stgcn_onnx.generated import JUDGEMENT
from stgcn_onnx.pipeline import convert
from stgcn_onnx.videos import Videos

SPREAD = 1.5
"""Standard deviation of the logits' difference, after balancing."""


def write_balanced(source: Tiny, folder: Path, *, classes: tuple[str, ...] = ("normal", "fight")) -> Tiny:
    """Write a copy of the tiny model whose head says either class equally often, with named classes."""
    model = source.load()
    views = np.stack([video.views[0] for video in Videos(JUDGEMENT.annotations(24), model, "generated")])
    with torch.inference_mode():
        logits = model.recogniser(torch.from_numpy(views))
    margin = (logits[:, 1] - logits[:, 0]).numpy()
    # Half way between two clips: none of an even number of them lies on the border.
    scale, middle = float(SPREAD / margin.std()), float(np.median(margin))
    weights = torch.load(source.checkpoint, weights_only=True)["state_dict"]
    weights["cls_head.fc.weight"] *= scale
    weights["cls_head.fc.bias"] *= scale
    weights["cls_head.fc.bias"][1] -= scale * middle
    tiny = write_tiny(folder, weights=weights)
    tiny.config.write_text(f"{CONFIG}class_names = {list(classes)}\n", encoding="utf-8")
    return tiny


def convert_balanced(tiny: Tiny, **overrides: object) -> Path:
    """Convert it; the path of the ONNX file."""
    return convert(tiny.resolve({key.replace("__", "."): value for key, value in overrides.items()}), quiet()).output


def shifted(content: bytes, step: float) -> bytes:
    """The file with `step` added to the second class's logit."""
    model = onnx.load_from_string(content)
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "head.fc.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([0, step]), bias.name))
    return model.SerializeToString()
