"""The direct script's options as a preset: one model, one file, no YAML."""

from __future__ import annotations

import argparse

from stgcn_onnx.cli import preset_overrides
from stgcn_onnx.preset import BatchAxis, FramesAxis
from stgcn_onnx.preset_file import Override, ResolvedPreset, preset_of_options

NAME = "direct"


def direct_preset(arguments: argparse.Namespace) -> ResolvedPreset:
    """A preset of the options alone.

    The range of a free axis is the presets' default, widened so far that the traced size lies within it.

    Raises:
        UsageError: a value that is out of range.
    """
    ranges = [
        ("batch_size", BatchAxis(), arguments.batch_size, "--batch-size"),
        ("num_frames", FramesAxis(), arguments.num_frames, "--num-frames"),
    ]
    widened = [
        Override(f"axes.{name}.{end}", choose(getattr(axis, end), traced), option)
        for name, axis, traced, option in ranges
        for end, choose in (("min", min), ("max", max))
        if traced >= 1  # a size that is none is answered where it was given
    ]
    return preset_of_options(NAME, [*widened, *preset_overrides(arguments)])
