"""The ONNX file that is measured: what it says of its input, and which checkpoint it belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from stgcn_onnx.artefact import read_metadata
from stgcn_onnx.bench.spec import Clips
from stgcn_onnx.errors import IntegrityError, UsageError

_SWEEP_POINTS = 4


@dataclass(frozen=True)
class Subject:
    """A file of ours. `batch_range` and `frames_range` are (smallest, largest), None where the axis is fixed."""

    path: Path
    metadata: dict[str, Any]
    traced: Clips
    batch_range: tuple[int, int] | None
    frames_range: tuple[int, int] | None

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    @property
    def runtime(self) -> str:
        """What its graph is arranged for; files of earlier versions are for onnxruntime."""
        return str(self.metadata.get("runtime", "onnxruntime"))

    def clips(self, *, batch: int | None = None, frames: int | None = None) -> Clips:
        """The traced input, or another that the file declares.

        Raises:
            UsageError: the file does not take that size.
        """
        traced = self.traced
        batch = traced.batch if batch is None else batch
        frames = traced.frames if frames is None else frames
        for option, asked, own, limits in (
            ("--batch-size", batch, traced.batch, self.batch_range),
            ("--num-frames", frames, traced.frames, self.frames_range),
        ):
            low, high = limits or (own, own)
            if not low <= asked <= high:
                takes = f"{low} to {high}" if limits else f"{own} alone, the axis is fixed"
                raise UsageError(f"{option} {asked}: {self.path.name} takes {takes}", hint="choose a size it takes")
        return Clips(batch, traced.person, frames, traced.joints, traced.channels, traced.person)

    def sweep(self) -> tuple[int, ...]:
        """Numbers of frames from the smallest to the largest that is declared; none where T is fixed."""
        if self.frames_range is None:
            return ()
        return tuple(sorted({round(size) for size in np.linspace(*self.frames_range, _SWEEP_POINTS)}))


def read_subject(path: Path) -> Subject:
    """Open a file of ours.

    Raises:
        UsageError: it is missing, is no ONNX file, or was not made by this converter.
    """
    if not path.is_file():
        raise UsageError(f"model {path} does not exist", hint="build it with `make` or `invoke convert`")
    try:
        proto = onnx.load(path)
    except Exception as error:  # protobuf raises classes of its own
        raise UsageError(f"model {path}: not an ONNX file: {error}", hint="give an .onnx file") from error
    metadata = read_metadata(proto)
    if "checkpoint" not in metadata:
        raise UsageError(
            f"model {path}: it does not say which checkpoint it was made from; expected a file of this converter",
            hint="build it with `make` or `invoke convert`",
        )
    axes, sizes = metadata["axes"], metadata["input"]["traced_shape"]
    limits = (
        (axis["min"], axis["max"]) if axis["dynamic"] else None for axis in (axes["batch_size"], axes["num_frames"])
    )
    batch, person, frames, joints, channels = sizes
    return Subject(path, metadata, Clips(batch, person, frames, joints, channels, person), *limits)


def require_same_checkpoint(subject: Subject, checkpoint: Path) -> None:
    """Refuse to compare a file with a checkpoint that it was not made from.

    Raises:
        UsageError: the checkpoint is missing.
        IntegrityError: its digest is another than the one in the file.
    """
    if not checkpoint.is_file():
        raise UsageError(f"checkpoint {checkpoint} does not exist", hint="give the one of the file with --checkpoint")
    with checkpoint.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    recorded = subject.metadata["checkpoint"]["sha256"]
    if found != recorded:
        raise IntegrityError(
            f"model {subject.path} was made from {subject.metadata['checkpoint']['file']} (sha256 {recorded[:12]}…), "
            f"not from {checkpoint} (sha256 {found[:12]}…)",
            hint="give its own checkpoint with --checkpoint, or convert again",
        )
