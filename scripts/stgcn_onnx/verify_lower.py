"""Verification of a file of lower precision: it has to run at every shape, and to answer as PyTorch does.

Its logits differ by more than rounding, so they are not held to a tolerance. Instead:

- at every shape that the file declares, with 0 to M people present, it has to give finite logits;
- at every such shape it has to give PyTorch's probabilities for real motion, cut or repeated to that many frames: on
  a few clips, so within a wider limit. This finds a shape that was quantised or reshaped for another;
- on the clips of `accuracy.py`, none of which it was calibrated on, the accuracy is held to the preset's limits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from stgcn_onnx.accuracy import AccuracyLimits, AccuracyReport, check_accuracy, set_text
from stgcn_onnx.clip_sets import ClipSet, clip_sets
from stgcn_onnx.console import Log
from stgcn_onnx.errors import VerificationError, first_line
from stgcn_onnx.export import FreeAxes
from stgcn_onnx.half_emulation import rounding_session
from stgcn_onnx.metrics import probability_difference, softmax
from stgcn_onnx.model import ClipShape, LoadedModel
from stgcn_onnx.preset import Preset
from stgcn_onnx.reference import Reference
from stgcn_onnx.runtime import FloatArray, Session
from stgcn_onnx.verify_cases import generated_cases, shapes

_CLIPS_A_SHAPE = 8
WIDER = 5.0
"""How many times the limit of the mean difference so few clips may show: a mean of 8 wanders, a broken shape is far
off."""
_KEPT_CLIPS = 8


@dataclass(frozen=True)
class ShapeRow:
    """One shape: whether every case gave finite logits, and how far the probabilities are from PyTorch's."""

    shape: tuple[int, ...]
    cases: int
    finite: bool
    clips: int
    mean_probability_difference: float
    allowed: float

    @property
    def passed(self) -> bool:
        return self.finite and self.mean_probability_difference <= self.allowed


@dataclass(frozen=True)
class LowerReport:
    """The verdict on a file of lower precision.

    Attributes:
        suggestions: layers to leave in float where it failed, the worst first.
        arithmetic: how the file was computed.
        failing: inputs that show a failure, `[M, T, V, C]` or `[N, M, T, V, C]`, by the name of clip or shape.
    """

    rows: tuple[ShapeRow, ...]
    accuracy: AccuracyReport
    suggestions: tuple[str, ...]
    failing: dict[str, FloatArray]
    arithmetic: str

    @property
    def passed(self) -> bool:
        return self.accuracy.passed and all(row.passed for row in self.rows)


def verify_lower(
    content: bytes,
    model: LoadedModel,
    preset: Preset,
    free: FreeAxes,
    log: Log,
    *,
    calibrated: Collection[str] = (),
    suggest: Callable[[], Sequence[str]] = tuple,
) -> LowerReport:
    """Judge a file of lower precision against the float32 PyTorch model.

    Args:
        free: the ranges of its free axes.
        calibrated: names of the clips that its calibration used.
        suggest: finds the layers to name where it fails.

    Raises:
        VerificationError: it does not run, or there is nothing to judge it by.
        UsageError: the given clips cannot be read, or the calibration used them all.
    """
    judge = _judge(content, model, preset)
    options = preset.verify
    data = None if options.data is None else Path(options.data)
    sets = clip_sets(model, data, calibrated=calibrated, frames=free.frames)
    with log.bar("verify") as progress:
        rows: list[ShapeRow] = []
        failing: dict[str, FloatArray] = {}
        wanted = shapes(model.shape, free)
        moving = _few(sets[0])
        for done, shape in enumerate(wanted, start=1):
            rows.append(_row(judge, preset, shape, moving, failing))
            progress("shapes", done, len(wanted))
        limits = AccuracyLimits(options.min_agreement, options.max_probability_difference, options.max_top1_drop)
        accuracy = check_accuracy(judge.judged, judge.reference, model, sets, limits, progress)
    for item in accuracy.sets:
        log.line("verify", set_text(item), style="green" if item.passed else "red")
    failing |= _failing(accuracy, sets)
    passed = accuracy.passed and all(row.passed for row in rows)
    return LowerReport(tuple(rows), accuracy, () if passed else tuple(suggest()), failing, judge.arithmetic)


def _few(clips: ClipSet) -> list[FloatArray]:
    """Some clips `[M, T, V, C]` of a set."""
    return [video.views[0] for video in itertools.islice(clips.videos, _CLIPS_A_SHAPE)]


def _row(
    judge: _Judge, preset: Preset, shape: ClipShape, moving: Sequence[FloatArray], failing: dict[str, FloatArray]
) -> ShapeRow:
    """Run one shape; the first input that shows a failure goes into `failing`."""
    infinite = []
    cases = list(generated_cases(shape, FreeAxes(), preset.verify.seed))
    for case in cases:
        if not np.isfinite(judge.found(case.clip)).all():
            infinite.append(case.clip)
    batches = list(_batches(moving, shape))
    differences = np.concatenate([judge.differences(batch) for batch in batches])[: len(moving)]
    allowed = WIDER * preset.verify.max_probability_difference
    row = ShapeRow(shape.sizes(), len(cases), not infinite, len(moving), float(differences.mean()), allowed)
    if not row.passed:
        failing[f"shape {shape}"] = (infinite or batches)[0]
    return row


def _judge(content: bytes, model: LoadedModel, preset: Preset) -> _Judge:
    """On the CPU a half file is computed in float32: it is judged by its values rounded to half, see half_emulation."""
    session = Session(content, preset.device, spinning=False)
    reference = Reference(model.recogniser, preset.device)
    if preset.export.precision == "fp16" and preset.device == "cpu":
        rounding = rounding_session(onnx.load_from_string(content))
        return _Judge(session, rounding, reference, "onnxruntime on cpu, every value rounded to half")
    return _Judge(session, session, reference, f"onnxruntime on {preset.device}")


@dataclass(frozen=True)
class _Judge:
    """The file as it runs, the file as it is judged, and the PyTorch model."""

    session: Session
    judged: Session
    reference: Reference
    arithmetic: str

    def found(self, clip: FloatArray) -> FloatArray:
        """Logits (N, classes) as they are judged; NaN where the file as it runs gives no finite ones."""
        try:
            logits = self.judged.run(clip)
            if self.session is not self.judged:
                logits = np.where(np.isfinite(self.session.run(clip)), logits, np.float32(np.nan))
            return logits
        except Exception as error:  # onnxruntime raises classes of its own
            raise VerificationError(
                f"onnxruntime cannot run {list(clip.shape)}: {first_line(error)}",
                hint="an axis that was declared free is not; make it static",
            ) from error

    def differences(self, clip: FloatArray) -> npt.NDArray[np.float64]:
        """(N,) how far the probabilities of the two are apart."""
        return probability_difference(softmax(self.found(clip)), softmax(self.reference.logits(clip)))


def _batches(clips: Sequence[FloatArray], shape: ClipShape) -> Iterator[FloatArray]:
    """The clips at another number of frames, cut or repeated, in full batches."""
    for start in range(0, len(clips), shape.batch):
        group = list(clips[start : start + shape.batch])
        group += [clips[0]] * (shape.batch - len(group))
        yield np.stack([_with_frames(clip, shape.frames) for clip in group])  # N x (M, T, V, C) -> (N, M, T, V, C)


def _with_frames(clip: FloatArray, frames: int) -> FloatArray:
    """Forwards and backwards in turns, so that nobody jumps where it repeats."""
    there_and_back = np.concatenate([clip, clip[:, ::-1]], axis=1)  # (M, T, V, C) -> (M, 2T, V, C)
    times = -(-frames // there_and_back.shape[1])
    return np.tile(there_and_back, (1, times, 1, 1))[:, :frames]  # -> (M, frames, V, C)


def _failing(accuracy: AccuracyReport, sets: Sequence[ClipSet]) -> dict[str, FloatArray]:
    """Clips that show the failure: those with another winning class, or the first ones where there are none."""
    kept: dict[str, FloatArray] = {}
    for item, clips in zip(accuracy.sets, sets, strict=True):
        if item.passed:
            continue
        names = {each.frame_dir.partition(", clip ")[0] for each in item.differing}
        shown = (video for video in clips.videos if not names or video.frame_dir in names)
        kept |= {video.frame_dir: video.views[0] for video in itertools.islice(shown, _KEPT_CLIPS)}
    return kept
