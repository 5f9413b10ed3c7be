"""What is measured of a preset."""

from __future__ import annotations

from pathlib import Path

from stgcn_onnx.bench.report import PYTORCH
from stgcn_onnx.bench.spec import Candidate, Clips
from stgcn_onnx.errors import UsageError
from stgcn_onnx.preset import Preset


def torch_candidate(preset: Preset, clips: tuple[Clips, ...]) -> Candidate:
    """MMAction2's model of the preset in eager mode."""
    return Candidate(PYTORCH, "torch", clips, preset.device, source=preset.model.model_dump())


def onnx_candidate(label: str, path: Path, clips: tuple[Clips, ...], device: str) -> Candidate:
    """An ONNX file in onnxruntime."""
    return Candidate(label, "onnxruntime", clips, device, model=str(path))


def present(clips: Clips, people: int) -> Clips:
    """The same input with so many people present.

    Raises:
        UsageError: there are fewer slots.
    """
    if not 0 <= people <= clips.person:
        raise UsageError(
            f"--people {people}: the model has {clips.person} slots for people", hint=f"give 0 to {clips.person}"
        )
    return clips.with_people(people)
