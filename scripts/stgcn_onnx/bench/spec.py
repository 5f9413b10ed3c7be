"""What is measured, as data that fits through a pipe: the parent writes it as JSON, the worker reads it back.

Imports nothing but NumPy, so that a worker's memory holds its own runtime and nothing of another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Clips:
    """An input `[N, M, T, V, C]`, of which the first `people` of the M slots of each clip hold somebody."""

    batch: int
    person: int
    frames: int
    joints: int
    channels: int
    people: int

    def sizes(self) -> tuple[int, int, int, int, int]:
        return (self.batch, self.person, self.frames, self.joints, self.channels)

    def with_frames(self, frames: int) -> Clips:
        return replace(self, frames=frames)

    def with_people(self, people: int) -> Clips:
        return replace(self, people=people)

    def generate(self, seed: int) -> FloatArray:
        """A seeded input; slots of absent people are all zero, as MMAction2 pads them."""
        clip = np.random.default_rng(seed).standard_normal(self.sizes()).astype(np.float32)
        clip[:, self.people :] = 0
        return clip


@dataclass(frozen=True)
class Effort:
    """How often is measured: processes per candidate, and runs in each process."""

    rounds: int
    iterations: int
    warmup: int
    seed: int = 0


@dataclass(frozen=True)
class Candidate:
    """One thing to measure.

    Args:
        label: as the tables call it; unique among candidates that are measured together.
        engine: a key of `engines.ENGINES`.
        clips: inputs, run one after the other; memory is that of the first.
        device: cpu, cuda or cuda:N.
        model: path of the ONNX file; empty for PyTorch, which takes `source` (the preset's `model` section).
        precision: arithmetic that is asked of the runtime, where it offers a choice.
        optional: whether a failure is a line of the result, with its reason, instead of the end.
    """

    label: str
    engine: str
    clips: tuple[Clips, ...]
    device: str = "cpu"
    model: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "f32"
    optional: bool = False


def to_json(candidate: Candidate, effort: Effort) -> str:
    """A job for a worker."""
    return json.dumps({"candidate": asdict(candidate), "effort": asdict(effort)})


def from_json(text: str) -> tuple[Candidate, Effort]:
    """The job that `to_json` wrote."""
    job = json.loads(text)
    clips = tuple(Clips(**item) for item in job["candidate"].pop("clips"))
    return Candidate(clips=clips, **job["candidate"]), Effort(**job["effort"])
