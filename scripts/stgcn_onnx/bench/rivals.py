"""Files to compare with: onnxslim's version of the plain export, our own in 8 bits, and the official ST-GCN++ with
random weights."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch

from stgcn_onnx.bench.builds import FIXED, Source, build
from stgcn_onnx.bench.subject import Subject, read_subject
from stgcn_onnx.config import load_config, resolve_config_path
from stgcn_onnx.console import Log
from stgcn_onnx.errors import UsageError, VerificationError
from stgcn_onnx.model import build_network, load_model
from stgcn_onnx.pipeline import check_logits
from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_file import Override

OFFICIAL_CONFIG = "mmaction::skeleton/stgcnpp/stgcnpp_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d.py"
"""Ten stages, base 64, COCO-17, x, y and score: the published architecture."""


def slimmed(plain: Subject, preset: Preset, folder: Path, log: Log) -> tuple[Subject, str | None]:
    """The plain export after onnxslim, and why it must not be used where its results differ.

    Raises:
        ConverterError: the model cannot be loaded, or the file does not run.
    """
    import onnxslim

    path = folder / "slimmed.onnx"
    onnx.save(onnxslim.slim(onnx.load(plain.path)), path)
    report = check_logits(path.read_bytes(), load_model(preset.model, preset.input), preset, log)
    return read_subject(path), None if report.passed else "its results differ from PyTorch's"


def in_8_bits(source: Source, folder: Path, log: Log) -> dict[str, Subject]:
    """This converter's file in 8 bits; nothing where the model cannot be calibrated or does not keep its accuracy.

    Raises:
        ConverterError: the conversion fails for another reason.
    """
    values = {**FIXED, "export.deploy": "all", "export.precision": "int8", "input.batch_size": 1}
    try:
        return build({"ours_int8": values}, source, folder, log)
    except (UsageError, VerificationError) as error:
        log.line("build", f"no file in 8 bits: {error}", style="yellow")
        return {}


def official(source: Source, person: int, frames: int, folder: Path, log: Log) -> dict[str, Subject]:
    """The official ST-GCN++ as plain export and as this converter writes it, from the same random weights.

    Its weights are not in reach of every machine, and speed does not depend on them.
    """
    config = load_config(resolve_config_path(OFFICIAL_CONFIG, Path()))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(config)
    checkpoint = folder / "official.pth"
    torch.save({"state_dict": network.state_dict()}, checkpoint)
    values = {
        "model": {"config": OFFICIAL_CONFIG, "checkpoint": str(checkpoint)},
        "verify.data": None,
        "input": {"batch_size": 1, "num_person": person, "num_frames": frames},
    }
    replaced = [Override(key, value, "the benchmark") for key, value in values.items()]
    own = Source(source.name, (*source.overrides, *replaced))
    return build(
        {"official_plain": {**FIXED, "export.deploy": "none"}, "official": {**FIXED, "export.deploy": "all"}},
        own,
        folder,
        log,
    )
