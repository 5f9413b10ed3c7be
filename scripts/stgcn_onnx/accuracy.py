"""The gate for lower precisions: a file is accepted where it answers as the float32 PyTorch model does.

Logits of a half or 8-bit file differ by far more than rounding, so `verify.py`'s tolerance says nothing about them.
What counts is whether anybody would notice: the winning class, its probability, the share of right answers. All three
are held to limits, on each set of clips by itself, and no clip may have been used for calibration (issue 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stgcn_onnx.clip_sets import ClipSet
from stgcn_onnx.errors import VerificationError
from stgcn_onnx.metrics import agrees, probability_difference, top1
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.predictions import Differing, Predictions, differing, predict
from stgcn_onnx.reference import Reference
from stgcn_onnx.runtime import Session

_SLACK = 1e-9
"""Shares of clips are quotients: 1 - 0.99 in floating point is not 0.01."""

OnProgress = Callable[[str, int, int], None]
"""Told the set's name, how many of its videos are done, and how many there are."""


@dataclass(frozen=True)
class AccuracyLimits:
    """What a lower precision has to keep.

    Args:
        min_agreement: least share of clips with the same winning class.
        max_probability_difference: mean over the clips, see `metrics.probability_difference`.
        max_top1_drop: largest loss of top-1 accuracy, as a share: 0.005 is half a point.
    """

    min_agreement: float = 0.99
    max_probability_difference: float = 0.01
    max_top1_drop: float = 0.005


@dataclass(frozen=True)
class SetReport:
    """One set: its figures, and which limits they break. Top-1 is None where the labels do not count."""

    name: str
    clips: int
    calibrated: int
    unused: int
    agreement: float
    mean_probability_difference: float
    max_probability_difference: float
    top1: float | None
    reference_top1: float | None
    top1_drop: float | None
    differing: tuple[Differing, ...]
    broken: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.broken


@dataclass(frozen=True)
class AccuracyReport:
    """The verdict, a report for each set."""

    limits: AccuracyLimits
    sets: tuple[SetReport, ...]

    @property
    def passed(self) -> bool:
        return all(item.passed for item in self.sets)


def check_accuracy(
    session: Session,
    reference: Reference,
    model: LoadedModel,
    sets: Iterable[ClipSet],
    limits: AccuracyLimits,
    on_progress: OnProgress | None = None,
) -> AccuracyReport:
    """Run a file of lower precision and the float32 PyTorch model over each set.

    Raises:
        VerificationError: nothing was compared, or onnxruntime cannot run the clips.
        UsageError: a clip cannot be read.
    """
    reports = []
    for clips in sets:
        said = predict(session, reference, model, clips.videos, _progress_of(clips, on_progress))
        reports.append(_judge(clips, said, limits))
    if not reports:
        raise VerificationError("nothing was compared", hint="give at least one set of clips")
    return AccuracyReport(limits, tuple(reports))


def accuracy_document(report: AccuracyReport, exclude: Sequence[str] = ()) -> dict[str, Any]:
    """The report as JSON values; `exclude_next` names the layers that cost most, the worst first."""
    sets = [{**asdict(item), "passed": item.passed} for item in report.sets]
    return {
        "passed": report.passed,
        "compared_with": "PyTorch eager, float32",
        "limits": asdict(report.limits),
        "sets": sets,
        "exclude_next": list(exclude),
    }


def set_text(item: SetReport) -> str:
    """A set's figures as a line of the log."""
    text = (
        f"{item.name}: {item.agreement:.2%} of {item.clips} clips agree with PyTorch, mean probability difference "
        f"{item.mean_probability_difference:.4f} (largest {item.max_probability_difference:.3f})"
    )
    if item.top1 is not None:
        text += f", top-1 {item.top1:.2%} against {item.reference_top1:.2%}"
    left_out = ((item.calibrated, "used for calibration"), (item.unused, "beyond the largest number"))
    return text + "".join(f"; {count} left out, {why}" for count, why in left_out if count)


def _progress_of(clips: ClipSet, on_progress: OnProgress | None) -> Callable[[int], None] | None:
    if on_progress is None:
        return None
    total = len(clips.videos)
    return lambda done: on_progress(clips.name, done, total)


def _judge(clips: ClipSet, said: Predictions, limits: AccuracyLimits) -> SetReport:
    same = agrees(said.candidate, said.reference)
    distance = probability_difference(said.candidate, said.reference)
    found = expected = drop = None
    if said.labels is not None:
        found, expected = top1(said.candidate, said.labels), top1(said.reference, said.labels)
        drop = expected - found
    return SetReport(
        name=clips.name,
        clips=len(said.names),
        calibrated=clips.calibrated,
        unused=clips.unused,
        agreement=float(same.mean()),
        mean_probability_difference=float(distance.mean()),
        max_probability_difference=float(distance.max()),
        top1=found,
        reference_top1=expected,
        top1_drop=drop,
        differing=differing(said),
        broken=_broken(float(same.mean()), float(distance.mean()), drop, limits),
    )


def _broken(agreement: float, distance: float, drop: float | None, limits: AccuracyLimits) -> tuple[str, ...]:
    broken = []
    if agreement < limits.min_agreement - _SLACK:
        broken.append(f"{agreement:.2%} of the clips agree with PyTorch, expected {limits.min_agreement:.2%} at least")
    if distance > limits.max_probability_difference + _SLACK:
        broken.append(f"mean probability difference {distance:.4f}, allowed {limits.max_probability_difference:g}")
    if drop is not None and drop > limits.max_top1_drop + _SLACK:
        broken.append(f"top-1 falls by {drop * 100:.2f} points, allowed {limits.max_top1_drop * 100:g}")
    return tuple(broken)
